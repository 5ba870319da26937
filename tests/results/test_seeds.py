"""What seeds can tell apart, against scipy's own tests."""

import json
import random

import pytest
from helpers import pipeline
from scipy import stats

from kdsearch import errors
from kdsearch.cli import confirm
from kdsearch.results import confirmed as results_confirmed
from kdsearch.results import files, seeds
from kdsearch.results import tables as results_tables

MANY = 10**9
"""So many images that rounding is nothing."""


def drawn(seed: int) -> tuple[list[float], list[float]]:
    """Two samples of unlike sizes and spreads."""
    dice = random.Random(seed)
    return [dice.gauss(0.9, 0.01) for _ in range(3 + seed)], [dice.gauss(0.88, 0.03) for _ in range(7 - seed)]


@pytest.mark.parametrize("seed", range(5))
def test_a_difference_s_interval_is_welch_s(seed):
    one, other = drawn(seed)
    found = seeds.difference(one, other, MANY)
    theirs = stats.ttest_ind(one, other, equal_var=False).confidence_interval(0.95)
    assert found.half is not None
    assert (found.value - found.half, found.value + found.half) == pytest.approx((theirs.low, theirs.high), rel=1e-9)


@pytest.mark.parametrize("seed", range(5))
def test_a_mean_s_interval_is_student_s(seed):
    one, _ = drawn(seed)
    found = seeds.estimate(one, MANY)
    theirs = stats.ttest_1samp(one, 0).confidence_interval(0.95)
    assert found.half is not None
    assert (found.value - found.half, found.value + found.half) == pytest.approx((theirs.low, theirs.high), rel=1e-9)


def test_seeds_that_agree_by_rounding_alone_have_an_interval_of_about_an_image():
    same = [0.9, 0.9, 0.9]
    found = [seeds.estimate(same, 100), seeds.difference(same, [0.8, 0.8, 0.8], 100)]
    assert all(one.half is not None and 0.002 < one.half < 0.02 for one in found)
    assert found[0].value == pytest.approx(0.9) and found[1].value == pytest.approx(0.1)


def test_rounding_widens_an_interval_by_its_variance():
    narrow, wide = seeds.estimate([0.5, 0.7], MANY).half, seeds.estimate([0.5, 0.7], 2).half
    assert narrow is not None and wide is not None
    assert (wide / narrow) ** 2 == pytest.approx((0.02 + 1 / 48) / 0.02)


def test_one_seed_has_no_interval_and_tells_nothing_apart():
    assert seeds.estimate([0.9], 100) == seeds.Estimate(0.9, None)
    found = [member("0", 0.9, 0.9, 0.9), member("1", 0.1)]
    (pair,) = seeds.neighbours(found, 100)
    assert pair.difference.half is None and not pair.differ
    assert results_confirmed.sentences(found, 100)[0] == "0 and 1 cannot be compared: each needs two seeds."


def member(trial: str, *accuracies: float, selected: float = 0.95) -> seeds.Member:
    confirmed = seeds.estimate(accuracies, 1000)
    return seeds.Member(trial, 2006, 869.0, selected, accuracies, confirmed, None, (), None)


def test_neighbours_that_differ_beyond_noise_are_told_from_those_that_do_not():
    found = [member("17", 0.92, 0.921, 0.922), member("11", 0.90, 0.901, 0.902), member("5", 0.90, 0.89, 0.91)]
    first, second, _ = results_confirmed.sentences(found, 1000)
    assert first.startswith("17 and 11 differ: 2.0 ± 0.2 points.")
    assert second.startswith("11 and 5 cannot be told apart: 0.1 ± ") and "the smaller (2,006 parameters) may" in second


def test_a_smaller_one_that_is_better_is_called_so():
    said = results_confirmed.sentences([member("1", 0.8, 0.801), member("0", 0.9, 0.901)], 1000)[0]
    assert said.startswith("1 and 0 differ: -10.0 ± ") and said.endswith("; the smaller (2,006 parameters) is better.")


def test_what_selection_cost_is_the_mean_over_members():
    found = [member("0", 0.9, 0.9, selected=0.93), member("1", 0.8, 0.8, selected=0.79)]
    assert seeds.cost(found) == pytest.approx(0.01)
    assert "Selection cost 1.0 points on average over 2 members" in results_confirmed.sentences(found, 100)[-1]


@pytest.fixture
def tables(tmp_path) -> results_tables.Tables:
    """Two members of a front, one of them confirmed by two seeds; a third seed failed."""
    found = results_tables.Tables(tmp_path)
    for name, compression in (("0", 10.0), ("1", 20.0)):
        facts = {"parameters": 100, "compression": compression, "reference": None}
        found.add(name, pipeline().model_dump(mode="json"), facts, {})
        found.trials[name]["accuracy"] = 0.9 - compression / 100
        found.mark(name, "complete")
    known = {"trial": "0", "selected": False, "seconds": 1.0, "test_images": 50}
    rows = [
        {**known, "seed": 0, "selected": True, "accuracy": 0.8, "test": 0.3},
        {**known, "seed": 1, "accuracy": 0.7, "test": 0.6},
        {**known, "seed": 2, "accuracy": 0.6, "test": None},
        {**known, "seed": 3, "accuracy": None, "test": None, "cause": "Diverged"},
    ]
    files.write_table(tmp_path / "confirmed.parquet", rows, files.CONFIRMED)
    return found


def test_the_selected_run_and_seeds_that_failed_count_in_no_mean(tables):
    (found,) = seeds.members(tables, 100)
    assert found.trial == "0" and found.accuracies == (0.7, 0.6) and found.cost == pytest.approx(0.15)
    assert found.tests == (0.6,) and found.selected_test == 0.3


def test_programs_are_told_the_same(tables):
    told = json.loads(json.dumps(confirm.plain(seeds.members(tables, 100), 100)))
    assert told["members"][0]["accuracies"] == [0.7, 0.6] and told["cost"] == pytest.approx(0.15)
    assert confirm.plain([], 100) == {"members": [], "neighbours": [], "cost": None}


def test_a_narrow_terminal_shows_all_accuracies_uncut(tables):
    from rich.console import Console

    found = seeds.members(tables, 100)
    for width, shown in ((80, False), (100, True)):
        console = Console(width=width)
        with console.capture() as said:
            console.print(confirm.table(found, width))
        assert "…" not in said.get() and ("compression" in said.get()) == shown


def test_a_damaged_table_is_refused_with_the_way_to_mend_it(tables):
    (tables.folder / "confirmed.parquet").write_bytes(b"PAR1 and no more")
    with pytest.raises(errors.Refusal, match="delete it, and confirm the search again"):
        seeds.members(tables, 100)
