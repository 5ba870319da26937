"""The Pareto front of accuracy and compression (or what its search looks at), and what to pick from it. Pure Python."""

import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from kdsearch.errors import Refusal, unknown
from kdsearch.results.metric import score
from kdsearch.results.objectives import objective

Point = tuple[float, float]
"""log10 of a student's compression, or other ratio to its teacher, and its accuracy: what its search looks at."""

UNMEASURED = "latency is measured only where a search is told to look at it, or to keep a limit of it"
UNCOUNTED = "the version of kdsearch that made it did not count that"


def members(trials: Iterable[Mapping[str, Any]], against: str | None = None) -> list[str]:
    """Fully trained trials (references aside) than which none is better in one and at least as good in the other of
    accuracy and compression, of equal ones the first; from the most accurate to the smallest.

    `against`: the objective that accuracy is set against; None: the search's own. Replicates count by their mean, so
    that no lucky seed is on the front, and stand there as the first of them.
    """
    done = _means(trials, against)
    return [done[place][0] for place in undominated([(smaller, mean) for _, smaller, mean in done])]


def ratio(row: Mapping[str, Any], against: str | None = None) -> float:
    """Of a trial: the teacher's / the student's, by what its search looks at, or is asked for. Raises Refusal where the
    tables do not know it."""
    own = objective(against or row.get("against"))
    found = row.get(own.ratio)
    if found is None:
        raise Refusal(
            f"A front against {own.name} needs the {own.ratio} of every trial, but trial {row['trial']} has none: "
            f"{UNMEASURED if own.measured else UNCOUNTED}; search again with --against {own.name}."
        )
    return found


def by_cell(trials: Iterable[Mapping[str, Any]]) -> dict[str, list[Mapping[str, Any]]]:
    """All seeds of each pipeline that was drawn, references aside, by the trial that stands for them."""
    found: dict[str, list[Mapping[str, Any]]] = {}
    for row in trials:
        if row["reference"] is None:
            found.setdefault(row.get("replicate_of") or row["trial"], []).append(row)
    return found


def _means(trials: Iterable[Mapping[str, Any]], against: str | None = None) -> list[tuple[str, float, float]]:
    """First trial, compression (or another ratio) and mean accuracy of each fully trained pipeline, references
    aside."""
    return [
        (rows[0]["trial"], ratio(rows[0], against), statistics.fmean(map(_scored, rows)))
        for rows in by_cell(row for row in trials if row["state"] == "complete").values()
    ]


def _scored(row: Mapping[str, Any]) -> float:
    found = score(row)
    if found is None:
        raise ValueError(f"trial {row['trial']} is fully trained, but its accuracy is not known")
    return found


def undominated(points: Sequence[Point]) -> list[int]:
    """Places of those than which none is better in one and at least as good in the other, of equal ones the first;
    from the highest accuracy (second) to the highest compression (first, in any rising scale)."""
    found, best = [], -math.inf
    for place in sorted(range(len(points)), key=lambda place: (-points[place][0], -points[place][1])):
        if points[place][1] > best:
            found.append(place)
            best = points[place][1]
    return found[::-1]


def hypervolume(points: Iterable[Point], chance: float) -> float:
    """The area that the points dominate in (log10 compression, accuracy), above compression 1 and chance accuracy:
    decades of compression × share of the images."""
    area, reached = 0.0, chance
    for decades, accuracy in sorted(points, reverse=True):
        if decades > 0 and accuracy > reached:
            area += decades * (accuracy - reached)
            reached = accuracy
    return area


def reached(trials: Iterable[Mapping[str, Any]], chance: float) -> float:
    """The hypervolume of the fully trained trials (references aside) above chance."""
    points = [(math.log10(smaller), mean) for _, smaller, mean in _means(trials)]
    return hypervolume(points, chance)


def best(trials: Mapping[str, Mapping[str, Any]], by: str) -> str:
    """The most accurate trial of the front, or its knee: farthest above the line from its one end to the other."""
    rows = [trials[name] for name in members(trials.values())]
    if not rows:
        raise Refusal("Only fully trained trials can be the best, but this search has none yet.")
    if by == "accuracy":
        return rows[0]["trial"]
    if by != "knee":
        raise unknown("choice of the best,", by, ["accuracy", "knee"])
    points = [(math.log(ratio(row)), _scored(row)) for row in rows]
    (left, high), (right, low) = points[0], points[-1]

    def height(point: tuple[float, float]) -> float:
        across = (point[0] - left) / (right - left) if right > left else 0.0
        up = (point[1] - low) / (high - low) if high > low else 0.0
        return up + across

    return rows[max(range(len(points)), key=lambda place: height(points[place]))]["trial"]
