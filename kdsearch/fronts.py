"""Trials recorded at one milestone: sorted by accuracy, by size and into fronts, kept so as each arrives. Pure Python
and NumPy."""

from bisect import bisect_left, bisect_right, insort

import numpy as np

Point = tuple[float, float, float]
"""Parameters, accuracy, and the place of the parameters among the sizes."""


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
