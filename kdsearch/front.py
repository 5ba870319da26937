"""The Pareto front of accuracy and compression, and what to pick from it. Pure Python."""

import math
from collections.abc import Iterable, Mapping
from typing import Any

from kdsearch.errors import Refusal, unknown


def members(trials: Iterable[Mapping[str, Any]]) -> list[str]:
    """Fully trained trials (references aside) than which none is better in one and at least as good in the other of
    accuracy and compression, of equal ones the first; from the most accurate to the smallest."""
    done = [row for row in trials if row["state"] == "complete" and row["reference"] is None]
    found, best = [], -math.inf
    for row in sorted(done, key=lambda row: (-row["compression"], -row["accuracy"])):
        if row["accuracy"] > best:
            found.append(row["trial"])
            best = row["accuracy"]
    return found[::-1]


def best(trials: Mapping[str, Mapping[str, Any]], by: str) -> str:
    """The most accurate trial of the front, or its knee: farthest above the line from its one end to the other."""
    rows = [trials[name] for name in members(trials.values())]
    if not rows:
        raise Refusal("Only fully trained trials can be the best, but this search has none yet.")
    if by == "accuracy":
        return rows[0]["trial"]
    if by != "knee":
        raise unknown("choice of the best,", by, ["accuracy", "knee"])
    points = [(math.log(row["compression"]), row["accuracy"]) for row in rows]
    (left, high), (right, low) = points[0], points[-1]

    def height(point: tuple[float, float]) -> float:
        across = (point[0] - left) / (right - left) if right > left else 0.0
        up = (point[1] - low) / (high - low) if high > low else 0.0
        return up + across

    return rows[max(range(len(points)), key=lambda place: height(points[place]))]["trial"]
