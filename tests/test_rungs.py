"""The halving rule."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kdsearch.rungs import Rungs, milestones

SIZES = (1_000, 1_000_000)


def test_milestones_begin_at_a_third_and_double():
    assert milestones(12) == (4, 8) and milestones(30) == (10, 20) and milestones(8) == (3, 6)
    assert milestones(2) == (1,) and milestones(1) == ()


@given(st.lists(st.floats(0, 1), min_size=1, max_size=40))
def test_a_trial_goes_on_iff_fewer_than_half_of_those_recorded_are_better(accuracies):
    rungs = Rungs((4,), SIZES)
    for number, accuracy in enumerate(accuracies):
        recorded = accuracies[: number + 1]
        better = sum(other > accuracy for other in recorded)
        assert rungs.judge(str(number), 4, accuracy, 5_000) == (better < len(recorded) / 2)


def test_a_trial_is_compared_with_its_own_size_only():
    rungs = Rungs((4,), SIZES)
    for number in range(10):
        assert rungs.judge(f"large {number}", 4, 0.9, 900_000)
    assert rungs.judge("small", 4, 0.2, 1_500)
    assert not rungs.judge("large", 4, 0.2, 900_000)


def test_strata_are_equal_in_log_parameters_and_sizes_outside_join_the_ends():
    rungs = Rungs((4,), SIZES)
    assert [rungs.stratum(size) for size in (1, 1_000, 9_000, 11_000, 99_000, 101_000, 10**6, 10**9)] == [
        0, 0, 0, 1, 1, 2, 2, 2,
    ]  # fmt: skip
    assert Rungs((4,), (500, 500)).stratum(500) == 0


def test_milestones_are_compared_apart():
    rungs = Rungs((4, 8), SIZES)
    assert rungs.judge("a", 8, 0.9, 5_000) and rungs.judge("b", 4, 0.5, 5_000)


def test_nan_stops_and_is_not_recorded():
    rungs = Rungs((4,), SIZES)
    assert not rungs.judge("a", 4, math.nan, 5_000)
    assert not any(rungs.recorded.values()) and rungs.judge("b", 4, 0.0, 5_000)


def test_a_repeated_call_returns_the_first_verdict_and_records_nothing():
    rungs = Rungs((4,), SIZES)
    rungs.judge("a", 4, 0.9, 5_000)
    assert not rungs.judge("b", 4, 0.5, 5_000)
    assert not rungs.judge("b", 4, 1.0, 5_000) and sum(map(len, rungs.recorded.values())) == 2


def test_an_epoch_that_is_no_milestone_is_refused():
    with pytest.raises(ValueError, match="milestone=5"):
        Rungs((4,), SIZES).judge("a", 5, 0.9, 5_000)
