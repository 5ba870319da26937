import itertools
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kdsearch.results import front

cells = st.lists(st.tuples(st.integers(-2, 12), st.integers(0, 12)), max_size=12)


def dominated(points: list[tuple[int, int]], chance: int) -> int:
    """Unit squares above compression 1 (its logarithm 0) and chance below some point, counted one by one."""
    squares = [(x, y) for x in range(12) for y in range(chance, 12)]
    return sum(any(x < one and y < two for one, two in points) for x, y in squares)


@given(cells, st.integers(0, 5))
def test_the_hypervolume_is_the_area_counted_square_by_square(points, chance):
    assert front.hypervolume(points, chance) == dominated(points, chance)


@given(cells)
def test_only_the_undominated_matter_to_it(points):
    kept = [points[place] for place in front.undominated(points)]
    assert front.hypervolume(kept, 0) == front.hypervolume(points, 0)
    assert all(one[0] < two[0] and one[1] > two[1] for one, two in itertools.pairwise(kept))


def row(compression: float, accuracy: float, state: str = "complete", reference: str | None = None) -> dict:
    name = f"{compression}-{accuracy}"
    return {"trial": name, "compression": compression, "accuracy": accuracy, "state": state, "reference": reference}


def test_only_fully_trained_draws_have_reached_it():
    rows = [row(10, 0.6), row(1000, 0.9, "stopped"), row(1000, 0.9, reference="kd"), row(100, 0.35)]
    assert front.reached(rows, chance=0.1) == pytest.approx(1 * (0.6 - 0.35) + 2 * (0.35 - 0.1))
    assert front.reached([], chance=0.1) == 0 and front.reached([row(0.5, 0.9)], 0.1) == 0
    assert front.reached([row(10**1.5, 0.6)], 0.5) == pytest.approx(math.log10(10**1.5) * 0.1)
