"""Which members of a front differ by more than their seeds do, and what selection cost. Imports neither torch nor ray.

Intervals hold 95 %, and are about seeds alone: every seed is judged on the same validation images, and each pair of
neighbours on its own."""

import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

from kdsearch.results import files, front
from kdsearch.results import tables as results_tables
from kdsearch.results.metric import column, score
from kdsearch.results.objectives import objective

LEVEL = 0.975
"""Quantile at the upper end of a 95 % interval."""


@dataclass(frozen=True)
class Estimate:
    """A mean, or a difference of two, and half of its interval's width; None where a side has fewer than two seeds."""

    value: float
    half: float | None

    @property
    def points(self) -> str:
        """`2.1 ± 0.6`, in percentage points; two decimals where the interval is narrow."""
        return self.percent(1 if self.half is None or self.half >= 0.001 else 2)

    def percent(self, places: int) -> str:
        """`2.1 ± 0.6`, times a hundred, with so many decimals."""
        value = f"{100 * self.value:.{places}f}"
        return value if self.half is None else f"{value} ± {100 * self.half:.{places}f}"

    @property
    def beyond_noise(self) -> bool:
        """A difference that its interval tells from none."""
        return self.half is not None and abs(self.value) > self.half


@dataclass(frozen=True)
class Member:
    """A member of the front with its confirmed seeds; accuracies are 0–1."""

    trial: str
    amount: float
    """Parameters, or what it has of what its search looks at."""
    ratio: float
    """The teacher's / its own: compression."""
    selected: float
    """Validation accuracy of the search's own run, which counts in no mean: it was chosen for being high."""
    accuracies: tuple[float, ...]
    """Validation, one a confirmed seed."""
    confirmed: Estimate
    selected_test: float | None
    tests: tuple[float, ...]
    """Test, one a confirmed seed that was judged on the test images."""
    test: Estimate | None
    against: str = "parameters"
    """The objective that the search looks at."""

    @property
    def cost(self) -> float:
        """Of selection: accuracy when selected minus the mean when confirmed."""
        return self.selected - self.confirmed.value


def difference(one: Sequence[float], other: Sequence[float], images: int) -> Estimate:
    """The first mean minus the second, by Welch's t: the two may spread differently."""
    value = statistics.fmean(one) - statistics.fmean(other)
    if min(len(one), len(other)) < 2:
        return Estimate(value, None)
    errors = [_squared_error(values, images) for values in (one, other)]
    parts = sum(error**2 / (len(values) - 1) for error, values in zip(errors, (one, other), strict=True))
    return Estimate(value, _quantile(sum(errors) ** 2 / parts) * sum(errors) ** 0.5)


@dataclass(frozen=True)
class Neighbours:
    """Two members next to each other on the front."""

    larger: Member
    smaller: Member
    difference: Estimate
    """The larger's mean minus the smaller's."""

    @property
    def differ(self) -> bool:
        """Beyond noise."""
        return self.difference.beyond_noise


def estimate(values: Sequence[float], images: int) -> Estimate:
    """The mean of some seeds' accuracies on so many images, by Student's t over the seeds."""
    mean = statistics.fmean(values)
    if len(values) < 2:
        return Estimate(mean, None)
    return Estimate(mean, _quantile(len(values) - 1) * _squared_error(values, images) ** 0.5)


def _squared_error(values: Sequence[float], images: int) -> float:
    """Of the mean. Accuracies are rounded to 1/images, so that seeds may agree by accident: rounding's variance is
    added, and no interval has width 0."""
    return (statistics.variance(values) + 1 / (12 * images**2)) / len(values)


def _quantile(freedom: float) -> float:
    from scipy.special import stdtrit

    return float(stdtrit(freedom, LEVEL))


def members(tables: results_tables.Tables, images: int) -> list[Member]:
    """The front's members that have confirmed seeds, from the largest to the smallest; `images` judged them."""
    rows = files.confirmed(tables.folder)
    found = []
    for name in front.members(tables.trials.values()):
        looked_at = column(tables.trials[name].get("metric"))
        known = (row for row in rows if row["trial"] == name and row[looked_at] is not None)
        own = [{**row, "accuracy": row[looked_at]} for row in known]
        if any(not row["selected"] for row in own):
            found.append(_member(tables.trials[name], own, images))
    return found


def _member(trial: dict, own: list[dict], images: int) -> Member:
    seeds, looked_at = [row for row in own if not row["selected"]], objective(trial.get("against"))
    accuracies = tuple(row["accuracy"] for row in seeds)
    judged = [row for row in seeds if row["test"] is not None]
    tests = tuple(row["test"] for row in judged)
    return Member(
        trial=trial["trial"], amount=trial[looked_at.column], ratio=front.ratio(trial), against=looked_at.name,
        selected=score(trial) or 0.0, accuracies=accuracies, confirmed=estimate(accuracies, images),
        selected_test=next((row["test"] for row in own if row["selected"]), None),
        tests=tests, test=estimate(tests, judged[0]["test_images"]) if tests else None,
    )  # fmt: skip


def neighbours(found: Sequence[Member], images: int) -> list[Neighbours]:
    """Each member beside the next smaller one."""
    return [
        Neighbours(larger, smaller, difference(larger.accuracies, smaller.accuracies, images))
        for larger, smaller in pairwise(found)
    ]


def cost(found: Iterable[Member]) -> float:
    """What selection cost, the mean over the members."""
    return statistics.fmean(member.cost for member in found)
