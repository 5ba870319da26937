"""Who goes on and who stops: asynchronous successive halving among trials of one's own size. Pure Python."""

import math
from collections import defaultdict
from dataclasses import dataclass, field


def milestones(epochs: int, reduction: int = 2) -> tuple[int, ...]:
    """KD epochs at which trials of at most `epochs` are judged: a third, then each time `reduction` times later.

    The same for all trials, however many of its epochs a trial gives to hints: equal curves get equal verdicts.
    """
    found, at = [], max(-(-epochs // 3), 1)
    while at < epochs:
        found.append(at)
        at *= reduction
    return tuple(found)


@dataclass
class Rungs:
    """The halving rule of ASHA (Li et al. 2020, stopping form), in strata of equal width in log parameters.

    Accuracy alone would stop every small student; a trial is compared with those of its own size.
    """

    milestones: tuple[int, ...]
    sizes: tuple[int, int]
    """The smallest and the largest student's parameters; sizes outside join the end strata."""
    reduction: int = 2
    """A trial goes on among the best 1/reduction of its stratum."""
    strata: int = 3
    recorded: dict[tuple[int, int], list[float]] = field(default_factory=lambda: defaultdict(list))
    """Accuracies by (milestone, stratum)."""
    verdicts: dict[tuple[str, int], bool] = field(default_factory=dict)

    def stratum(self, parameters: int) -> int:
        """0 for the smallest students … strata-1 for the largest."""
        low, high = (math.log(size) for size in self.sizes)
        place = (math.log(parameters) - low) / (high - low) if high > low else 0.0
        return min(max(int(place * self.strata), 0), self.strata - 1)

    def judge(self, trial: str, milestone: int, accuracy: float, parameters: int) -> bool:
        """Does the trial go on? A repeated call returns the first verdict; NaN stops and is not recorded.

        It goes on iff fewer than n/reduction of the n recorded beside it, itself included, are strictly better.
        Raises ValueError for a milestone that is none.
        """
        if milestone not in self.milestones:
            raise ValueError(f"trials are judged at {self.milestones}, but got milestone={milestone}.")
        if (trial, milestone) not in self.verdicts:
            self.verdicts[trial, milestone] = self._goes_on(milestone, accuracy, parameters)
        return self.verdicts[trial, milestone]

    def _goes_on(self, milestone: int, accuracy: float, parameters: int) -> bool:
        if math.isnan(accuracy):
            return False
        peers = self.recorded[milestone, self.stratum(parameters)]
        peers.append(accuracy)
        return sum(peer > accuracy for peer in peers) < len(peers) / self.reduction
