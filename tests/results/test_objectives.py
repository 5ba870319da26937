"""What accuracy is set against: front, knee and hypervolume by each objective, and tables that do not know one."""

import math
from typing import Any

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kdsearch.errors import Refusal
from kdsearch.results import answer, cells, confirmed, files, format, front, objectives, seeds
from kdsearch.results import tables as results_tables
from kdsearch.results.objectives import OBJECTIVES

PIPELINE = {"links": [{"seed": 0}]}
RATIOS = {own.name: own.ratio for own in OBJECTIVES.values()}
LINE = {"compression": (2.0, 20.0, 200.0), "macs_ratio": (9.0, 3.0, 1.0), "bytes_ratio": (2.0, 2.05, 4.0),
        "latency_ratio": (1.0, 10.0, 5.0)}  # fmt: skip
"""Of three students, whose accuracies are 0.9, 0.8 and 0.5."""
FRONTS = {"parameters": ["0", "1", "2"], "macs": ["0"], "bytes": ["0", "1", "2"], "latency": ["0", "1"]}
KNEES = {"parameters": "1", "macs": "0", "bytes": "0", "latency": "0"}


def sized(place: int, against: str | None) -> dict[str, Any]:
    """A student's columns: of each objective one part of its teacher's 12,000,000."""
    found: dict[str, Any] = {"training_parameters": 9, "against": against, "metric": None}
    for own in OBJECTIVES.values():
        ratio = LINE[own.ratio][place]
        found |= {own.ratio: ratio, own.column: 600.0 / ratio if own.measured else round(12_000_000 / ratio)}
    return found


def searched(folder: Any, against: str | None, **more: Any) -> results_tables.Tables:
    """The three, fully trained."""
    there = results_tables.Tables(folder)
    for place, accuracy in enumerate((0.9, 0.8, 0.5)):
        there.add(str(place), PIPELINE, sized(place, against) | more, {"width": place})
        there.mark(str(place), "complete", None, accuracy, accuracy)
    return there


@pytest.mark.parametrize("against", OBJECTIVES)
def test_front_knee_and_hypervolume_are_those_of_the_axis_that_the_search_looks_at(against, tmp_path):
    rows = searched(tmp_path, against).trials
    assert front.members(rows.values()) == FRONTS[against]
    assert [name for name, row in rows.items() if row["front"]] == FRONTS[against]
    assert front.best(rows, "accuracy") == "0" and front.best(rows, "knee") == KNEES[against]
    points = [(math.log10(LINE[RATIOS[against]][place]), row["accuracy"]) for place, row in enumerate(rows.values())]
    assert front.reached(rows.values(), 0.1) == front.hypervolume(points, 0.1)


@pytest.mark.parametrize("against", OBJECTIVES)
def test_a_search_can_be_looked_at_against_what_it_was_not_told(against, tmp_path):
    assert front.members(searched(tmp_path, "parameters").trials.values(), against) == FRONTS[against]


def test_a_search_that_names_no_objective_looks_at_parameters(tmp_path):
    assert front.members(searched(tmp_path, None).trials.values()) == FRONTS["parameters"]


ratios = st.lists(st.tuples(*[st.integers(1, 9)] * len(OBJECTIVES), st.integers(0, 9)), min_size=1, max_size=9)


@given(ratios, st.sampled_from(sorted(OBJECTIVES)))
def test_nobody_on_a_front_is_dominated_on_its_axis_whatever_the_others_are(points, against):
    names = [*OBJECTIVES]
    rows = [
        {"trial": str(at), "state": "complete", "reference": None, "accuracy": accuracy / 9, "against": against}
        | {RATIOS[name]: float(value) for name, value in zip(names, values, strict=True)}
        for at, (*values, accuracy) in enumerate(points)
    ]
    own = [(point[names.index(against)], point[-1]) for point in points]
    kept = {own[int(name)] for name in front.members(rows)}
    assert kept == {(x, y) for x, y in own if not any(a >= x and b >= y and (a, b) != (x, y) for a, b in own)}


@pytest.mark.parametrize("against", OBJECTIVES)
def test_the_sizes_by_which_rules_sort_fall_as_the_ratio_rises(against, tmp_path):
    rows = searched(tmp_path, against).trials.values()
    by_ratio = sorted(rows, key=front.ratio)
    assert sorted(rows, key=objectives.size, reverse=True) == by_ratio
    assert all(isinstance(objectives.size(row), int) and objectives.size(row) > 0 for row in rows)


def test_a_table_of_an_older_version_is_read_and_knows_parameters_alone(tmp_path):
    searched(tmp_path, None).write(at_once=True)
    path = tmp_path / "trials.parquet"
    old = [name for name in files.NEW if name not in ("metric", "balanced_accuracy")]
    pd.read_parquet(path).drop(columns=old).to_parquet(path)
    rows = results_tables.read(tmp_path).trials
    assert front.members(rows.values()) == FRONTS["parameters"] and objectives.known(rows.values()) == ["parameters"]
    assert rows["0"]["macs_ratio"] is None
    with pytest.raises(Refusal, match=r"against macs needs the macs_ratio of every trial, but trial \d has none: .*"):
        front.members(rows.values(), "macs")
    with pytest.raises(Refusal, match=r"latency is measured only where .* search again with --against latency"):
        front.members(rows.values(), "latency")


@pytest.mark.parametrize("wrong", [{"macs_ratio": 0.0}, {"latency_ratio": -1.0}, {"bytes_ratio": math.inf}])
def test_a_ratio_that_cannot_be_is_damage(wrong, tmp_path):
    searched(tmp_path, "parameters", **wrong).write(at_once=True)
    with pytest.raises(Refusal, match=r"trials\.parquet' is damaged"):
        results_tables.read(tmp_path)


def test_an_objective_that_there_is_not_is_damage(tmp_path):
    searched(tmp_path, "parameters").write(at_once=True)
    path = tmp_path / "trials.parquet"
    pd.read_parquet(path).assign(against="watts").to_parquet(path)
    with pytest.raises(Refusal, match=r"trials\.parquet' is damaged"):
        results_tables.read(tmp_path)


SAID = {
    "parameters": ("6,000,000 parameters (2×)", ["parameters", "compression"], ["6,000,000", "2×"]),
    "macs": ("1,333,333 MACs (9×)", ["MACs", "MACs ratio"], ["1,333,333", "9×"]),
    "bytes": ("6.0 MB (2×)", ["bytes", "bytes ratio"], ["6.0 MB", "2×"]),
    "latency": ("600.0 µs (1×)", ["latency", "latency ratio"], ["600.0 µs", "1×"]),
}


@pytest.mark.parametrize("against", OBJECTIVES)
def test_tables_and_lines_say_what_the_search_looks_at(against, tmp_path):
    there = searched(tmp_path, against)
    line, names, values = SAID[against]
    assert format.outcome(there.trials["0"]).endswith(line)
    heads, rows = format.listing(list(there.trials.values()), there, 100)
    assert heads[2:4] == names and rows[0][2:4] == values
    found = cells.cells(there, 100)
    assert list(cells.heading(found)[3:5]) == names and cells.columns(found[0])[3:5] == values
    plain = cells.plain(there, 100)[0]
    assert plain[RATIOS[against]] == LINE[RATIOS[against]][0] and OBJECTIVES[against].column in plain


def test_the_answer_compares_with_labels_alone_by_what_the_search_looks_at(tmp_path):
    for against, said in (("macs", "At ≤ 4,000,000 MACs: 90.0 % against 70.0 %"), ("latency", "At ≤ 60.0 µs: 80.0 %")):
        there = searched(tmp_path, against)
        own = there.trials["1"] | {"trial": "labels", "reference": "labels", "accuracy": 0.7, "balanced_accuracy": 0.7}
        rows = [there.trials[name] for name in front.members(there.trials.values())]
        assert answer._helped(rows, own, {}).startswith(said)
    assert "the reference" not in answer._dominated(rows, [own])  # less accurate than its like
    (found,) = answer._dominated(rows, [own | {"reference": "kd", "accuracy": 0.95}])
    assert found.startswith("The reference kd is as fast and as accurate as 2 of the 2 students")


def test_a_confirmed_front_is_told_by_its_axis():
    one, other = (
        seeds.Member(name, 21.4, 14.0, 0.9, (0.9, 0.91), seeds.estimate((0.9, 0.91), 100), None, (), None, "latency")
        for name in "ab"
    )
    assert confirmed.columns([one])[:3] == ("trial", "latency", "latency ratio")
    assert confirmed.cells(one, ("latency", "latency ratio")) == ["21.4 µs", "14×"]
    assert "the faster (21.4 µs) may be as good" in confirmed.sentences([one, other], 100)[0]
