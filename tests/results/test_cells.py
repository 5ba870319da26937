"""The cells of a grid: seeds are replicates, and what they cannot tell apart is said to be so."""

import json

import pytest
from helpers import FACTS

from kdsearch.results import cells, front
from kdsearch.results import tables as results_tables
from kdsearch.results.cells import Cell
from kdsearch.results.seeds import estimate

PIPELINE = {"links": [{"seed": 0}, {"seed": 0}]}
KNOWN = {"parameters": 10, "compression": 2.0, "training_parameters": 12, "macs": 5}


def tables(folder, accuracies: dict[str, dict[int, float | None]]) -> results_tables.Tables:
    """A cell each, its seeds' accuracies; None: that seed failed."""
    there = results_tables.Tables(folder)
    for number, (hint, seeds) in enumerate(accuracies.items()):
        for seed, accuracy in seeds.items():
            name = f"{number}-{seed}" if seed else str(number)
            plain = {"links": [{"seed": 0}, {"seed": seed}]}
            there.add(name, plain, KNOWN | ({"replicate_of": str(number)} if seed else {}), {"hint": hint})
            there.trials[name]["accuracy"] = accuracy
            there.mark(name, "failed" if accuracy is None else "complete", "Diverged" if accuracy is None else None)
    return there


def cell(name: str, *accuracies: float) -> Cell:
    return Cell(name, {"hint": name}, accuracies, estimate(accuracies, 1000) if accuracies else None, 10, 2.0, ())


def test_the_seeds_of_a_pipeline_are_one_cell_with_their_mean_and_interval(tmp_path):
    found = cells.cells(tables(tmp_path, {"1→3": {0: 0.9, 1: 0.92, 2: 0.94}, "none": {0: 0.8}}), 1000)
    assert [(one.trial, one.name, one.accuracies) for one in found] == [
        ("0", "1→3", (0.9, 0.92, 0.94)), ("1", "none", (0.8,)),
    ]  # fmt: skip
    assert found[0].mean == estimate((0.9, 0.92, 0.94), 1000) and found[1].mean and found[1].mean.half is None


def test_a_seed_that_failed_is_told_with_its_cause_and_counts_in_no_mean(tmp_path):
    (found,) = cells.cells(tables(tmp_path, {"1→3": {0: 0.9, 1: None}}), 1000)
    assert found.accuracies == (0.9,) and found.failed == ("Diverged",)
    assert cells.columns(found)[-1] == "1, 1 failed"


def test_the_front_counts_a_cell_by_its_mean_so_that_no_lucky_seed_is_on_it(tmp_path):
    there = tables(tmp_path, {"lucky": {0: 0.5, 1: 0.99}, "steady": {0: 0.8, 1: 0.81}})
    assert front.members(there.trials.values()) == ["1"]
    assert [name for name, row in there.trials.items() if row["front"]] == ["1"]


def test_a_difference_inside_the_noise_is_said_to_be_so():
    found = [cell("1→3", 0.74, 0.75, 0.76), cell("3→9", 0.735, 0.745, 0.757), cell("labels", 0.5, 0.51, 0.5)]
    near, far = cells.sentences(found, 1000)
    assert near.startswith("1→3 and 3→9 cannot be told apart: 0.4 ± ") and near.endswith("points.")
    assert far.startswith("1→3 is better than labels: 24.7 ± ")


def test_one_seed_tells_nothing_from_noise():
    (said,) = cells.sentences([cell("a", 0.9), cell("b", 0.1)], 1000)
    assert "may be noise" in said and "--seeds" in said


def test_of_many_cells_those_near_the_best_are_counted():
    found = [cell(f"{number}", 0.8 - number / 1000, 0.802 - number / 1000) for number in range(20)]
    (said,) = cells.sentences(found, 1000)
    assert said.startswith("hint 0 has the highest mean, but ") and "of the 19 others cannot be told apart" in said


def test_fewer_than_two_cells_cannot_be_compared():
    assert cells.sentences([cell("a", 0.9, 0.8)], 1000) == [] == cells.sentences([cell("a"), cell("b")], 1000)


@pytest.mark.parametrize(
    "knobs, name",
    [
        ({"hint": "1→3"}, "1→3"),
        ({"depth": 3}, "depth 3"),
        ({"hints": "1+2"}, "hints 1+2"),
        ({"alpha": 0.2, "tau": 4}, "alpha 0.2 tau 4"),
    ],
)
def test_a_cell_is_called_by_its_knobs(knobs, name):
    assert Cell("0", knobs, (), None, 1, 1.0, ()).name == name


def test_cells_that_learned_nothing_are_said_to_be_so():
    found = [cell("a", 0.1, 0.11), cell("b", 0.9, 0.91)]
    (said,) = cells.at_chance(found, 0.1)
    assert said.startswith("Hardly better than guessing (10 %)") and said.endswith("a. Give them more epochs.")
    assert cells.at_chance(found[1:], 0.1) == []


def test_a_cell_that_was_stopped_says_so_and_programs_are_told_all(tmp_path):
    there = tables(tmp_path, {"1→3": {0: 0.9, 1: 0.8}, "none": {0: 0.5}})
    there.mark("1", "stopped", "behind")
    assert cells.columns(cells.cells(there, 100)[1])[2:3] == ["stopped"]
    best, other = cells.plain(there, 100)
    assert best["mean"] == pytest.approx(0.85) and best["half"] > 0 and other == {
        "trial": "1", "knobs": {"hint": "none"}, "accuracies": (), "mean": None, "half": None, "parameters": 10,
        "compression": 2.0, "failed": (), "stopped": 1,
    }  # fmt: skip


def test_the_typical_seed_is_the_nearest_to_the_mean_and_names_the_others(tmp_path):
    there = tables(tmp_path, {"1→3": {0: 0.9, 1: 0.99, 2: 0.93, 3: None}, "even": {0: 0.5, 1: 0.7}, "one": {0: 0.8}})
    (tmp_path / "search.json").write_text(json.dumps(FACTS | {"validation_images": 1000}))
    found = cells.typical(there, "0-1")
    assert found and (found.trial, found.others, found.seeds) == ("0-2", ("0", "0-1"), 3)
    own = estimate((0.9, 0.99, 0.93), 1000)
    assert (found.mean, found.half) == (own.value, own.half) and found == cells.typical(there, "0")
    tied = cells.typical(there, "1-1")
    assert tied and tied.trial == "1"  # of ties the first
    assert cells.typical(there, "2") is None is cells.typical(there, "0-3")
