"""Who goes on and who stops: successive halving for a whole front. Pure Python and NumPy."""

import math
from bisect import bisect_left, bisect_right, insort
from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal, get_args

import numpy as np

from kdsearch.errors import unknown

Point = tuple[float, float, float]
"""Parameters (or another size: results.objectives), accuracy, and the place of the parameters among the sizes."""


class Rung:
    """All that was recorded at one milestone."""

    def __init__(self, strata: int) -> None:
        self.accuracies: list[float] = []
        self.strata: list[list[float]] = [[] for _ in range(strata)]
        """Accuracies, ascending."""
        self.fronts: list[list[Point]] = []
        """Ascending in parameters and accuracy; equal points side by side."""

    def add(self, point: Point, stratum: int) -> int:
        """Record a trial; returns its front."""
        insort(self.accuracies, point[1])
        insort(self.strata[stratum], point[1])
        own = bisect_left(self.fronts, True, key=lambda front: not dominated(point, front))
        moved = [point]
        for front in self.fronts[own:]:
            if moved == [point] and point in front:
                front.insert(front.index(point), point)
                return own
            # Whoever is dominated by those that moved in is a run of neighbours, and moves to the next front.
            begin = bisect_left(front, moved[0][0], key=lambda item: item[0])
            end = max(bisect_right(front, moved[-1][1], key=lambda item: item[1]), begin)
            front[begin:end], moved = moved, front[begin:end]
            if not moved:
                return own
        self.fronts.append(moved)
        return own


def dominated(point: Point, front: list[Point]) -> bool:
    """Is a member of the front no larger, no less accurate, and not the same?"""
    place = bisect_right(front, point[0], key=lambda item: item[0])
    return place > 0 and front[place - 1][1] >= point[1] and front[place - 1] != point


def roomier(rung: Rung, point: Point, front: int) -> int:
    """How many members of its front have a larger crowding distance (Deb et al. 2002): the ends' is infinite."""
    members = list(dict.fromkeys(rung.fronts[front]))
    own = members.index(point)
    if own in (0, len(members) - 1):
        return 0
    spread = (rung.accuracies[-1] - rung.accuracies[0]) or 1.0
    places = np.array(members)[:, 1:] / (spread, 1.0)
    gaps = np.round((places[2:] - places[:-2]).sum(axis=1), 9)
    return 2 + int((gaps > gaps[own - 1]).sum())


def above(accuracy: float, ascending: list[float]) -> int:
    """How many are strictly more accurate."""
    return len(ascending) - bisect_right(ascending, accuracy)


Rule = Literal["union", "moasha", "strata", "asha", "none"]

RULES: tuple[Rule, ...] = get_args(Rule)


def milestones(epochs: int, reduction: float = 3) -> tuple[int, ...]:
    """KD epochs at which trials of at most `epochs` are judged: 1, then each time `reduction` times later, while at
    least half of the epochs lie ahead (ASHA, Li et al. 2020, with a minimum resource of 1).

    The same for all trials, however many of its epochs a trial gives to hints: equal curves get equal verdicts.
    """
    found, at = [], 1.0
    while 2 * round(at) <= epochs:
        found.append(round(at))
        at *= reduction
    return tuple(dict.fromkeys(found))


@dataclass(frozen=True)
class Verdict:
    """A trial at a milestone: does it go on, and against whom was it judged?"""

    trial: str
    milestone: int
    accuracy: float | None
    """None: not a finite number, so not recorded."""
    parameters: float
    goes_on: bool
    recorded: int = 0
    """Trials recorded at this milestone by then, itself included."""
    better: int = 0
    """Of these, strictly more accurate."""
    front: int = 0
    """Its front by non-dominated sorting: 0 is the best."""
    rank: int = 0
    """Trials on better fronts, and on its own those with more room around them."""
    stratum: int = 0
    """0 for the smallest sizes."""
    stratum_recorded: int = 0
    stratum_better: int = 0
    cutoff: float | None = None
    """Accuracy from which on it would have gone on within its stratum."""

    def cause(self, rungs: "Rungs") -> str:
        """Why a trial was stopped."""
        if self.accuracy is None:
            return f"its accuracy at KD epoch {self.milestone} was not a number"
        sized = f"{self.stratum_better} of the {self.stratum_recorded} of its size were better"
        sized += f" ({100 * (self.cutoff or 0):.1f} % would have done)"
        ahead = f"{self.rank} of {self.recorded} stood ahead of it by front"
        said = {"union": f"{sized}, {ahead}", "strata": sized, "moasha": ahead}
        plain = f"{self.better} of {self.recorded} were better"
        return f"not among the best 1/{rungs.reduction:g} at KD epoch {self.milestone}: {said.get(rungs.rule, plain)}"


class Rungs:
    """The rules that decide at milestones, one verdict a trial and milestone, each kept with its reasons.

    A rule sends on the best 1/`reduction` of the trials recorded at a milestone, and whoever ties with them:

    - `asha`: by accuracy (asynchronous successive halving, Li et al. 2020, its stopping form). It stops the small ones.
    - `strata`: by accuracy inside one of `strata` classes of equal width in log parameters between `sizes`.
    - `moasha`: by non-dominated rank in accuracy and parameters, inside a front by crowding distance on normalised
      accuracy and log parameters (Schmucker et al. 2021; Deb et al. 2002). It stops large ones that start slowly.
    - `union`: whom `strata` or `moasha` sends on.
    - `none`: everybody.

    With all sizes equal, each but `none` decides as `asha`.
    """

    def __init__(
        self,
        milestones: Iterable[int] = (1, 3, 9),
        reduction: float = 3,
        rule: str = "union",
        sizes: tuple[int, int] = (1, 1),
        seed: int = 0,
        *,
        strata: int = 5,
    ) -> None:
        """`sizes`: the smallest and the largest student's parameters; sizes outside join the end strata. `seed` is for
        rules that draw lots: none of these does.

        Raises Refusal for an unknown rule, ValueError for what cannot be.
        """
        if rule not in RULES:
            raise unknown("rule", rule, RULES)
        self.milestones = tuple(int(at) for at in milestones)
        if list(self.milestones) != sorted({at for at in self.milestones if at >= 1}):
            raise ValueError(f"milestones must be rising KD epochs from 1 on, but got {self.milestones}.")
        if not 1 < reduction < math.inf:
            raise ValueError(f"reduction must be above 1, but got reduction={reduction}.")
        if strata < 1 or len(sizes) != 2 or not 0 < sizes[0] <= sizes[1]:
            raise ValueError(f"0 < smallest <= largest and strata >= 1, but got sizes={sizes}, strata={strata}.")
        self.sizes = tuple(plain_number(size) for size in sizes)
        self.reduction, self.rule, self.seed, self.strata = plain_number(reduction), rule, int(seed), int(strata)
        self._rungs = {at: Rung(strata) for at in self.milestones}
        self.verdicts: dict[tuple[str, int], Verdict] = {}
        """By trial and milestone, in the order in which they fell."""

    def judge(self, trial: str, milestone: int, accuracy: float, parameters: int) -> bool:
        """Does the trial go on? A repeated call returns the first verdict; NaN and infinity stop, unrecorded.

        Raises ValueError for a milestone that is none, and for no parameters.
        """
        if milestone not in self._rungs:
            raise ValueError(f"trials are judged at KD epochs {self.milestones}, but got milestone={milestone}.")
        if not parameters > 0:
            raise ValueError(f"parameters must be above 0, but got parameters={parameters}.")
        if (trial, milestone) not in self.verdicts:
            size = plain_number(parameters)
            self.verdicts[trial, milestone] = self._verdict(trial, int(milestone), float(accuracy), size)
        return self.verdicts[trial, milestone].goes_on

    def place(self, parameters: float) -> float:
        """Where a size lies between the smallest (0) and the largest (1) in log parameters."""
        # Ratios of whole numbers are exact, so that a common factor in all sizes changes nothing.
        low, high = self.sizes
        return math.log(parameters / low) / math.log(high / low) if high > low else 0.0

    def stratum(self, parameters: float) -> int:
        """0 for the smallest students … strata - 1 for the largest."""
        return min(max(math.floor(round(self.place(parameters) * self.strata, 9)), 0), self.strata - 1)

    def _verdict(self, trial: str, milestone: int, accuracy: float, parameters: float) -> Verdict:
        if not math.isfinite(accuracy):
            return Verdict(trial, milestone, None, parameters, goes_on=False)
        rung, stratum = self._rungs[milestone], self.stratum(parameters)
        point = (parameters, accuracy, self.place(parameters))
        front = rung.add(point, stratum)
        peers = rung.strata[stratum]
        told = Verdict(
            trial, milestone, accuracy, parameters, goes_on=True,
            recorded=len(rung.accuracies), better=above(accuracy, rung.accuracies),
            front=front, rank=sum(map(len, rung.fronts[:front])) + roomier(rung, point, front),
            stratum=stratum, stratum_recorded=len(peers), stratum_better=above(accuracy, peers),
            cutoff=peers[-math.ceil(len(peers) / self.reduction)],
        )  # fmt: skip
        return replace(told, goes_on=self._goes_on(told))

    def _goes_on(self, told: Verdict) -> bool:
        by_front = told.rank * self.reduction < told.recorded
        by_size = told.stratum_better * self.reduction < told.stratum_recorded
        by_accuracy = told.better * self.reduction < told.recorded
        rules = {"union": by_front or by_size, "moasha": by_front, "strata": by_size, "asha": by_accuracy, "none": True}
        return rules[self.rule]

    def state(self) -> dict[str, Any]:
        """All that a later process needs to go on judging, as plain data for JSON."""
        settings = {name: getattr(self, name) for name in SETTINGS}
        return settings | {"verdicts": [asdict(verdict) for verdict in self.verdicts.values()]}

    def restore(self, state: dict[str, Any]) -> None:
        """Take over what another one recorded; raises ValueError where its settings were others."""
        for name in SETTINGS:
            then, now = state[name], getattr(self, name)
            if (tuple(then) if isinstance(then, list) else then) != now:
                raise ValueError(f"the recorded verdicts were made with {name}={then}, but here {name}={now}.")
        self._rungs = {at: Rung(self.strata) for at in self.milestones}
        self.verdicts = {}
        for told in (Verdict(**plain) for plain in state["verdicts"]):
            self.verdicts[told.trial, told.milestone] = told
            if told.accuracy is not None:
                point = (told.parameters, told.accuracy, self.place(told.parameters))
                self._rungs[told.milestone].add(point, told.stratum)


def plain_number(value: float) -> float:
    """As Python's own int or float, so that NumPy's go to JSON as well."""
    return int(value) if value == int(value) else float(value)


SETTINGS = ("milestones", "reduction", "rule", "sizes", "seed", "strata")
"""What a Rungs was told."""
