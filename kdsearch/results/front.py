"""The Pareto front of accuracy and compression, and what to pick from it. Pure Python."""

import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from kdsearch.errors import Refusal, unknown
from kdsearch.results.metric import score

Point = tuple[float, float]
"""log10 of a student's compression, and its accuracy: what its search looks at."""


def members(trials: Iterable[Mapping[str, Any]]) -> list[str]:
    """Fully trained trials (references aside) than which none is better in one and at least as good in the other of
    accuracy and compression, of equal ones the first; from the most accurate to the smallest.

    Replicates count by their mean, so that no lucky seed is on the front, and stand there as the first of them.
    """
    done = _means(trials)
    return [done[place][0] for place in undominated([(compression, mean) for _, compression, mean in done])]


def by_cell(trials: Iterable[Mapping[str, Any]]) -> dict[str, list[Mapping[str, Any]]]:
    """All seeds of each pipeline that was drawn, references aside, by the trial that stands for them."""
    found: dict[str, list[Mapping[str, Any]]] = {}
    for row in trials:
        if row["reference"] is None:
            found.setdefault(row.get("replicate_of") or row["trial"], []).append(row)
    return found


def _means(trials: Iterable[Mapping[str, Any]]) -> list[tuple[str, float, float]]:
    """First trial, compression and mean accuracy of each fully trained pipeline, references aside."""
    return [
        (rows[0]["trial"], rows[0]["compression"], statistics.fmean(map(_scored, rows)))
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
    for compression, accuracy in sorted(points, reverse=True):
        if compression > 0 and accuracy > reached:
            area += compression * (accuracy - reached)
            reached = accuracy
    return area


def reached(trials: Iterable[Mapping[str, Any]], chance: float) -> float:
    """The hypervolume of the fully trained trials (references aside) above chance."""
    points = [(math.log10(compression), mean) for _, compression, mean in _means(trials)]
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
    points = [(math.log(row["compression"]), _scored(row)) for row in rows]
    (left, high), (right, low) = points[0], points[-1]

    def height(point: tuple[float, float]) -> float:
        across = (point[0] - left) / (right - left) if right > left else 0.0
        up = (point[1] - low) / (high - low) if high > low else 0.0
        return up + across

    return rows[max(range(len(points)), key=lambda place: height(points[place]))]["trial"]
