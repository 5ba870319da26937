"""What a killed search noted since its tables were last written."""

import copy
from pathlib import Path
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from kdsearch.results import files
from kdsearch.results import tables as results_tables
from kdsearch.results.tables import Pending

PIPELINE = {"links": [{"seed": 0}, {"seed": 0}]}
FACTS = {"parameters": 10, "compression": 2.0, "training_parameters": 12, "macs": 5, "reference": None}
VERDICT = {
    "milestone": 1, "accuracy": 0.5, "parameters": 10, "goes_on": True, "recorded": 1, "better": 0, "front": 0,
    "rank": 0, "stratum": 0, "stratum_recorded": 1, "stratum_better": 0, "cutoff": 0.5,
}  # fmt: skip


def happen(tables: results_tables.Tables, event: tuple[str, str, int]) -> None:
    """One thing that happens in a search."""
    kind, trial, number = event
    if kind == "write":
        tables.write(at_once=True)
    elif trial not in tables.trials:
        tables.add(trial, PIPELINE, FACTS, {"tau": 2.5})
    elif kind == "epochs":
        rows = [
            {
                "link": 1,
                "stage": "kd",
                "epoch": at,
                "kd_epoch": at,
                "accuracy": at / 10,
                "balanced_accuracy": at / 20,
                "seconds": 0.5,
            }
            for at in range(1, number + 1)
        ]
        tables.extend(trial, rows, student=1)
    elif kind == "judged":
        tables.judged({"trial": trial, **VERDICT})
    elif kind != "complete" or tables.trials[trial]["epochs"]:
        tables.mark(trial, kind, "because" if kind == "failed" else None)


events = st.lists(
    st.tuples(
        st.sampled_from(["write", "epochs", "judged", "running", "complete", "failed"]),
        st.sampled_from("012"),
        st.integers(1, 5),
    ),
    max_size=25,
)


@settings(max_examples=60, deadline=None)
@given(events)
def test_tables_that_were_killed_at_any_moment_are_as_they_were(tmp_path_factory, happened):
    folder = tmp_path_factory.mktemp("s")
    tables = results_tables.Tables(folder, pending=Pending(folder / results_tables.PENDING))
    for event in happened:
        happen(tables, event)
    found = results_tables.read(folder)
    assert found.trials == {name: as_read(row) for name, row in tables.trials.items()}
    assert [as_read(row) for row in found.epochs] == [as_read(row) for row in tables.epochs]
    assert found.verdicts == tables.verdicts


def as_read(row: dict) -> dict:
    return {name: value for name, value in row.items() if value is not None or not name.startswith("loss")}


@settings(max_examples=40, deadline=None)
@given(events, st.floats(0, 1))
def test_half_a_line_is_no_event(tmp_path_factory, happened, share):
    folder = tmp_path_factory.mktemp("s")
    tables, seen = results_tables.Tables(folder, pending=Pending(folder / results_tables.PENDING)), []
    for event in [event for event in happened if event[0] != "write"]:
        happen(tables, event)
        seen.append(copy.deepcopy((tables.trials, tables.epochs, tables.verdicts)))
    path = folder / results_tables.PENDING
    whole = path.read_bytes() if path.exists() else b""
    cut = whole[: int(share * len(whole))]
    path.write_bytes(cut)
    found = results_tables.read(folder)
    noted = cut.count(b"\n")
    assert len(list(Pending(path).events())) == noted
    assert (found.trials, found.epochs, found.verdicts) in [({}, [], []), *seen]


def test_tables_that_are_written_leave_nothing_pending(tmp_path):
    tables = results_tables.Tables(tmp_path, pending=Pending(tmp_path / results_tables.PENDING))
    happen(tables, ("running", "0", 1))
    assert (tmp_path / results_tables.PENDING).exists()
    tables.write(at_once=True)
    assert not (tmp_path / results_tables.PENDING).exists()


def test_what_a_trial_tells_again_after_a_break_counts_once(tmp_path):
    tables = results_tables.Tables(tmp_path)
    for event in (("add", "0", 1), ("epochs", "0", 3), ("epochs", "0", 4), ("judged", "0", 1), ("judged", "0", 1)):
        happen(tables, event)
    assert [row["epoch"] for row in tables.epochs] == [1, 2, 3, 4] and tables.trials["0"]["seconds"] == 2.0
    assert len(tables.verdicts) == 1
    record = {
        "link": 0,
        "stage": "record",
        "epoch": 0,
        "kd_epoch": None,
        "accuracy": None,
        "balanced_accuracy": None,
        "seconds": 1.5,
    }
    for seconds in (1.5, 1.5, 2.5):  # a view that the disk had lost is recorded again, and that counts
        tables.extend("0", [record | {"seconds": seconds}], student=1)
    assert [row["seconds"] for row in tables.epochs if row["stage"] == "record"] == [1.5, 2.5]


def test_a_look_at_tables_that_are_written_meanwhile_is_of_one_time(tmp_path, monkeypatch):
    tables, real = results_tables.Tables(tmp_path, pending=Pending(tmp_path / results_tables.PENDING)), files.read_table
    for event in (("add", "0", 1), ("running", "0", 1), ("write", "0", 1)):
        happen(tables, event)
    to_come = [("epochs", "0", 3), ("write", "0", 1), ("complete", "0", 1)]

    def read(path: Path, *told: Any) -> list[dict]:
        found = real(path, *told)
        while to_come:
            happen(tables, to_come.pop(0))
        return found

    monkeypatch.setattr(results_tables, "read_table", read)
    found = results_tables.read(tmp_path)
    assert found.trials["0"]["state"] == "complete" and found.trials["0"]["accuracy"] == 0.3
    assert [row["epoch"] for row in found.epochs] == [1, 2, 3]
