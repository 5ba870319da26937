"""A tabular benchmark of stopping rules: recorded curves through the very rungs that judge a live search."""

import heapq
import math
import random
import statistics
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

from kdsearch.errors import Refusal, listed
from kdsearch.results import front
from kdsearch.results.curves import Curve, Curves
from kdsearch.search.rungs import RULES, Rungs, milestones


@dataclass(frozen=True)
class Line:
    """A rule at a budget, over all seeds."""

    rule: str
    budget: int
    regret: tuple[float, float, float]
    """Quartiles."""
    against_none: float
    """Its median regret as a multiple of that of no stopping."""
    against_asha: float
    epochs: float
    """Median, as all that follow."""
    started: float
    complete: tuple[float, ...]
    killed: float
    """Share of the front's members that were stopped, of those that a replay met; all seeds together."""


@dataclass(frozen=True)
class Outcome:
    """What one order of the trials came to under one rule when a budget was spent."""

    rule: str
    seed: int
    budget: int
    regret: float
    """The share of the hypervolume of all curves together that the fully trained trials lack."""
    epochs: int
    """Of students, spent."""
    started: int
    complete: tuple[int, ...]
    """Fully trained trials among the smallest, middle and largest third by parameters."""
    met: int
    """Members of the table's front that were judged or completed."""
    killed: int
    """Of these, stopped."""


def lines(outcomes: Sequence[Outcome]) -> Iterator[Line]:
    """One for each budget and rule."""
    grouped: dict[tuple[int, str], list[Outcome]] = {}
    for outcome in outcomes:
        grouped.setdefault((outcome.budget, outcome.rule), []).append(outcome)
    medians = {key: statistics.median(one.regret for one in own) for key, own in grouped.items()}
    for budget, rule in sorted(grouped, key=lambda key: (key[0], RULES.index(key[1]))):
        own, median = grouped[budget, rule], medians[budget, rule]
        yield Line(
            rule, budget, quartiles([one.regret for one in own]),
            against_none=ratio(median, medians[budget, "none"]),
            against_asha=ratio(median, medians[budget, "asha"]),
            epochs=statistics.median(one.epochs for one in own),
            started=statistics.median(one.started for one in own),
            complete=tuple(statistics.median(one.complete[third] for one in own) for third in range(3)),
            killed=ratio(sum(one.killed for one in own), sum(one.met for one in own)),
        )  # fmt: skip


def quartiles(values: Sequence[float]) -> tuple[float, float, float]:
    """The lower quartile, the median and the upper one."""
    if len(values) == 1:
        return values[0], values[0], values[0]
    low, middle, high = statistics.quantiles(values, n=4, method="inclusive")
    return low, middle, high


def ratio(one: float, other: float) -> float:
    """`one / other`; 1 where both are 0."""
    return one / other if other else math.inf if one else 1.0


@dataclass(frozen=True)
class Setting:
    """How a replay runs."""

    workers: int = 4
    """Trials side by side."""
    reduction: float = 3
    milestones: tuple[int, ...] = ()
    """Empty: rungs.milestones of the longest curve, see `checked`."""
    budgets: tuple[int, ...] = (18, 55)
    """In epochs of a full-length trial."""
    seeds: int = 20
    """Orders in which the trials are drawn."""


def checked(curves: Curves, setting: Setting) -> Setting:
    """With its milestones; raises Refusal for what cannot be replayed on this table."""
    longest = max(len(curve.accuracies) for curve in curves.trials)
    if not 1 < setting.reduction < math.inf:
        raise Refusal(f"A rule sends on the best 1/N, so --reduction must be above 1, but got {setting.reduction:g}.")
    for name in ("seeds", "workers", "milestones", "budgets"):
        told = getattr(setting, name)
        if min(told if isinstance(told, tuple) else (told,), default=1) < 1:
            raise Refusal(f"A replay counts from 1, but its {name} are {told}.")
    at = setting.milestones or milestones(longest, setting.reduction)
    if not at or at[-1] >= longest:
        raise Refusal(
            f"Milestones must lie before the last of {longest} KD epochs of '{curves.name}', but got "
            f"{listed(at)}; name others with --milestones."
        )
    if not curves.hypervolume > 0:
        raise Refusal(
            f"Rules are compared by hypervolume, but '{curves.name}' has none: no trial is smaller than "
            f"{curves.largest:,g} parameters and better than {100 * curves.chance:.1f} %."
        )
    if not setting.budgets:
        raise Refusal("A replay needs a budget, such as --budget 18,55.")
    return replace(setting, milestones=at)


def replays(curves: Curves, setting: Setting, told: Callable[[int, int], None]) -> list[Outcome]:
    """Every rule with every seed; `told` hears of progress."""
    found, total = [], len(RULES) * setting.seeds
    for seed in range(setting.seeds):
        for rule in RULES:
            found += replay(curves, rule, seed, setting)
            told(len(found) // len(setting.budgets), total)
    return found


def replay(curves: Curves, rule: str, seed: int, setting: Setting) -> list[Outcome]:
    """One order of the trials under one rule, looked at whenever a budget is spent (or nothing is left to do)."""
    sizes = [curve.parameters for curve in curves.trials]
    rungs = Rungs(setting.milestones, setting.reduction, rule, (min(sizes), max(sizes)), seed)
    run, found = Run(curves, rungs, random.Random(seed)), []
    for budget in setting.budgets:
        run.spend(budget * curves.length, setting.workers)
        found.append(run.outcome(rule, seed, budget))
    return found


class Run:
    """An event queue: each event is a worker that ends an epoch."""

    def __init__(self, curves: Curves, rungs: Rungs, chance: random.Random) -> None:
        self.curves, self.rungs = curves, rungs
        self.waiting = list(range(len(curves.trials)))
        chance.shuffle(self.waiting)
        self.queue: list[tuple[float, int, int, int]] = []
        """(time, tie-break, place of the curve, epochs done by then)."""
        self.now, self.epochs, self.started = 0.0, 0, 0
        self.complete: list[int] = []
        self.stopped: set[int] = set()

    def spend(self, epochs: float, workers: int) -> None:
        """Go on until so many epochs are spent in all."""
        while self.epochs < epochs:
            while len(self.queue) < workers and self.waiting:
                self._next(self.waiting.pop(), 0)
                self.started += 1
            if not self.queue:
                return
            self.now, _, place, done = heapq.heappop(self.queue)
            self.epochs += 1
            if self._goes_on(self.curves.trials[place], place, done):
                self._next(place, done)

    def _next(self, place: int, done: int) -> None:
        curve = self.curves.trials[place]
        ends = self.now + (curve.seconds[done - curve.before] if done >= curve.before else curve.pace)
        heapq.heappush(self.queue, (ends, self.epochs * len(self.curves.trials) + place, place, done + 1))

    def _goes_on(self, curve: Curve, place: int, done: int) -> bool:
        kd_epoch = done - curve.before
        if done == curve.epochs:
            self.complete.append(place)
            return False
        if kd_epoch not in self.rungs.milestones:
            return True
        if self.rungs.judge(curve.trial, kd_epoch, curve.accuracies[kd_epoch - 1], curve.parameters):
            return True
        self.stopped.add(place)
        return False

    def outcome(self, rule: str, seed: int, budget: int) -> Outcome:
        """What there is by now."""
        curves = self.curves
        met = [place for place in curves.members if place in self.stopped or place in self.complete]
        reached = front.hypervolume(curves.points(self.complete), curves.chance)
        return Outcome(
            rule, seed, budget,
            regret=1 - reached / curves.hypervolume if curves.hypervolume else 0.0,
            epochs=self.epochs,
            started=self.started,
            complete=tuple(sum(curves.thirds[place] == third for place in self.complete) for third in range(3)),
            met=len(met),
            killed=sum(place in self.stopped for place in met),
        )  # fmt: skip
