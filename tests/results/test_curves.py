import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from helpers import FACTS

from kdsearch.errors import Refusal
from kdsearch.results import curves
from kdsearch.results import tables as results_tables
from kdsearch.results.facts import write_facts
from kdsearch.storage.bucket import at


def rows(trial: str = "0", parameters: int = 1_000, ends: int = 3, before: int = 0, **more) -> list[dict]:
    return [
        {"trial": trial, "parameters": parameters, "kd_epoch": number, "accuracy": number / 10,
         "epochs_before": before, "seconds": 2.0, **more}
        for number in range(1, ends + 1)
    ]  # fmt: skip


def searched(folder: Path, **states: str) -> Path:
    """A search with a trial a keyword, by its state."""
    write_facts(folder, FACTS | {"classes": 4, "teacher_parameters": 50_000})
    tables = results_tables.Tables(folder)
    for name, state in states.items():
        more = {"parameters": 1_000, "compression": 50.0, "training_parameters": 1_000, "macs": 10}
        tables.add(name, {"links": [{"seed": 0}, {"seed": 0}]}, more, {})
        stages = [("hint", 1, None, None), ("kd", 2, 1, 0.3), ("kd", 3, 2, 0.5)][: 2 if state == "stopped" else 3]
        for stage, epoch, kd_epoch, accuracy in stages:
            row = {
                "link": 1,
                "stage": stage,
                "epoch": epoch,
                "kd_epoch": kd_epoch,
                "accuracy": accuracy,
                "seconds": 2.0,
            }
            tables.extend(name, [row], student=1)
        tables.mark(name, state)
    tables.write(at_once=True)
    return folder


def test_a_search_s_fully_trained_draws_are_read_whole(tmp_path):
    found = curves.from_search(searched(tmp_path / "s", a="complete", b="complete", c="failed"))
    assert [curve.trial for curve in found.trials] == ["a", "b"]
    assert found.trials[0] == curves.Curve("a", 1_000, (0.3, 0.5), 1, (2.0, 2.0)) and found.trials[0].epochs == 3
    assert (found.largest, found.chance, found.length) == (50_000, 0.25, 3)


def test_what_was_written_is_read_again(tmp_path):
    found = curves.from_search(searched(tmp_path / "s", a="complete", b="complete"))
    curves.write(tmp_path / "t.parquet", found)
    again = curves.read(str(tmp_path / "t.parquet"), at(tmp_path))
    assert again.trials == found.trials and (again.largest, again.chance) == (found.largest, found.chance)
    assert pq.read_schema(tmp_path / "t.parquet").names == curves.COLUMNS.names


def test_without_facts_hypervolume_counts_from_the_largest_student_and_the_lowest_accuracy():
    found = curves.curves_of("t", [*rows(), *rows("1", 4_000)], {})
    assert (found.largest, found.chance) == (4_000, 0.1)
    assert found.points([0, 1])[1] == (0.0, 0.3)


def test_stopped_trials_cannot_be_replayed(tmp_path):
    with pytest.raises(Refusal, match=r"but 1 of the 2 trials of 's' were stopped early; .* --rule none"):
        curves.from_search(searched(tmp_path / "s", a="complete", b="stopped"))
    with pytest.raises(Refusal, match=r"1 of the 2 trials of 't' have fewer than 3 epochs: they were stopped early"):
        curves.curves_of("t", [*rows(), *rows("1", ends=2)], {})


def test_lengths_may_differ_where_all_or_the_last_stage_agree():
    for other in (rows("1", ends=2, before=1), rows("1", before=4)):
        assert len(curves.curves_of("t", [*rows(), *other], {}).trials) == 2


@pytest.mark.parametrize(
    "table, said",
    [
        ([], "has none"),
        ([*rows(), {**rows()[0], "trial": "1", "kd_epoch": 2}], "has gaps"),
        ([{**rows()[0], "accuracy": float("nan")}], "cannot be replayed"),
        ([{**rows()[0], "seconds": None}], "cannot be replayed"),
        ([{**rows()[0], "parameters": 0}], "cannot be replayed"),
        ([{**rows()[0], "accuracy": 93.1}], "cannot be replayed"),
        ([{**rows()[0], "seconds": -1.0}], "cannot be replayed"),
        ([*rows()[:2], {**rows()[2], "parameters": 5}], "needs one size"),
        ([*rows()[:2], {**rows()[2], "epochs_before": 5}], "needs one size"),
    ],
)
def test_rows_that_are_no_whole_curves_are_refused(table, said):
    with pytest.raises(Refusal, match=said):
        curves.curves_of("t", table, {})


def test_a_file_that_is_no_table_is_refused(tmp_path):
    (tmp_path / "a.parquet").write_text("no")
    pq.write_table(pa.table({"trial": ["0"], "accuracy": [0.5]}), tmp_path / "b.parquet")
    for name, said in (("a", "cannot be read"), ("b", "lacks parameters, kd_epoch, epochs_before, seconds")):
        with pytest.raises(Refusal, match=said):
            curves.read(str(tmp_path / f"{name}.parquet"), at(tmp_path))
    with pytest.raises(Refusal, match="there is no file"):
        curves.read(str(tmp_path / "c.parquet"), at(tmp_path))


def test_a_shipped_table_is_found_by_name_and_a_search_of_that_name_comes_first(tmp_path):
    assert set(curves.shipped()) == {"cifar10", "digits"}
    assert len(curves.read("digits", at(tmp_path)).trials) == 320
    searched(tmp_path / "digits", a="complete", b="complete")
    assert len(curves.read("digits", at(tmp_path)).trials) == 2


def test_a_failed_lookup_lists_searches_and_shipped_tables(tmp_path):
    searched(tmp_path / "s", a="complete")
    said = (
        r"no search in '.*' named 'digts'; there is s\. There is no recorded table .* cifar10, digits\. Did .* 'digits'"
    )
    with pytest.raises(Refusal, match=said):
        curves.read("digts", at(tmp_path))


def test_seconds_since_a_trial_began_are_taken_apart():
    summed = [{**row, "seconds": 3.0 * (row["kd_epoch"] + 2)} for row in rows(before=2)]
    assert curves.curves_of("t", summed, {}).trials[0].seconds == (3.0, 3.0, 3.0)
    assert curves.curves_of("t", rows(before=2), {}).trials[0].seconds == (2.0, 2.0, 2.0)


def test_thirds_are_by_parameters():
    table = [row for number in range(6) for row in rows(str(number), 1_000 * (6 - number))]
    assert curves.curves_of("t", table, {}).thirds == [2, 2, 1, 1, 0, 0]


def test_facts_travel_in_the_parquet_s_metadata(tmp_path):
    curves.write(
        tmp_path / "t.parquet",
        curves.curves_of("t", rows(), {"classes": 10, "data": "/home/me/photos", "command": "c"}),
    )
    assert json.loads(pq.read_schema(tmp_path / "t.parquet").metadata[b"kdsearch"]) == {"classes": 10, "data": "photos"}
