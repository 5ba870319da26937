"""Tables and what is read out of them."""

import itertools

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kdsearch.errors import Refusal
from kdsearch.results import files, front
from kdsearch.results import folder as results_folder
from kdsearch.results import tables as results_tables
from kdsearch.results.tables import Pending

PIPELINE = {"links": [{"seed": 3}]}
SIZES = {"parameters": 10, "compression": 2.0, "training_parameters": 12, "macs": 5}
KD = {"link": 0, "stage": "kd", "epoch": 1, "kd_epoch": 1, "accuracy": 0.5, "seconds": 2.0}


def trial(
    name: str, accuracy: float, compression: float, state: str = "complete", reference: str | None = None
) -> dict:
    return {"trial": name, "accuracy": accuracy, "compression": compression, "state": state, "reference": reference}


def tables(folder, *rows: dict) -> results_tables.Tables:
    return results_tables.Tables(folder, {row["trial"]: row for row in rows})


values = st.tuples(st.integers(0, 6), st.integers(1, 6))


@given(st.lists(values, min_size=1, max_size=25))
def test_the_front_holds_those_that_no_other_dominates(points):
    rows = [trial(str(place), a / 6, float(c)) for place, (a, c) in enumerate(points)]
    members = {points[int(name)] for name in front.members(rows)}
    undominated = {
        (a, c) for a, c in points if not any((x >= a and y >= c) and (x, y) != (a, c) for x, y in points)
    }  # fmt: skip
    assert members == undominated


def test_stopped_and_failed_trials_and_references_are_never_on_the_front():
    rows = [
        trial("0", 0.5, 2.0), trial("1", 0.9, 9.0, "stopped"), trial("2", 0.9, 9.0, "failed"),
        trial("3", 0.9, 9.0, "running"), trial("kd", 0.9, 9.0, reference="kd"),
    ]  # fmt: skip
    assert front.members(rows) == ["0"]


def test_the_best_is_the_most_accurate_or_the_knee_of_the_front():
    rows = {"0": trial("0", 0.99, 2.0), "1": trial("1", 0.97, 60.0), "2": trial("2", 0.5, 100.0)}
    assert front.best(rows, "accuracy") == "0" and front.best(rows, "knee") == "1"
    with pytest.raises(Refusal, match="Did you mean 'knee'"):
        front.best(rows, "kne")
    with pytest.raises(Refusal, match="none yet"):
        front.best({}, "accuracy")


def test_a_term_that_stays_faint_for_a_whole_stage_is_named():
    rows = [
        {"trial": "0", "stage": "kd", "gradient.ce": 0.9999, "gradient.kd": 0.0001},
        {"trial": "0", "stage": "kd", "gradient.ce": 0.9995, "gradient.kd": 0.0005},
        {"trial": "1", "stage": "kd", "gradient.ce": 0.9, "gradient.kd": 0.1},
        {"trial": "1", "stage": "kd", "gradient.ce": 0.9999, "gradient.kd": 0.0001},
        {"trial": "2", "stage": "labels", "gradient.ce": 1.0, "gradient.kd": None},
    ]
    assert results_tables.faint(rows) == [("0", "kd", "kd")]


def test_both_tables_are_written_and_read_with_their_columns(tmp_path):
    there = results_tables.Tables(tmp_path)
    there.add("0", PIPELINE, {"parameters": 10, "compression": 2.0, "training_parameters": 12, "macs": 5}, {"tau": 2.5})
    there.add(
        "1", PIPELINE, {"parameters": 10, "compression": 2.0, "training_parameters": 12, "macs": 5}, {"hint": "none"}
    )
    hint = {"link": 1, "stage": "hint", "epoch": 1, "kd_epoch": None, "accuracy": None, "seconds": 1.5, "loss.1→2": 0.3}
    kd = {"link": 1, "stage": "kd", "epoch": 2, "kd_epoch": 1, "accuracy": 0.75, "seconds": 2.0, "loss.kd": 0.2}
    there.extend("0", [{**hint, "link": 0}, hint, kd], student=1)
    there.mark("0", "complete")
    there.write(at_once=True)
    found = pd.read_parquet(tmp_path / "trials.parquet").set_index("trial")
    assert list(found.columns[: len(files.TRIALS.names) - 1]) == files.TRIALS.names[1:]
    told = found.loc["0", ["accuracy", "epochs", "kd_epochs", "seconds", "seed", "front", "knob.tau"]]
    assert told.tolist() == [0.75, 2, 1, 3.5, 3, True, 2.5]
    assert found.loc["1", "state"] == "waiting" and not found.loc["1", "front"]
    epochs = pd.read_parquet(tmp_path / "epochs.parquet")
    assert list(epochs.columns) == [*files.EPOCHS.names, "loss.1→2", "loss.kd"]
    assert epochs["kd_epoch"].isna().tolist() == [True, True, False]
    again = results_tables.read(tmp_path)
    assert again.trials["0"]["front"] and again.epochs[2]["loss.kd"] == 0.2


def test_a_knob_that_is_now_a_number_and_now_a_word_is_written_as_words(tmp_path):
    rows = [{"trial": "0", "knob.k": 1}, {"trial": "1", "knob.k": "one"}, {"trial": "2", "knob.k": None}]
    files.write_table(tmp_path / "t.parquet", rows, files.TRIALS)
    found = pd.read_parquet(tmp_path / "t.parquet")["knob.k"].tolist()
    assert found[:2] == ["1", "one"] and pd.isna(found[2])


@pytest.mark.parametrize("name", ["trials.parquet", "epochs.parquet"])
def test_a_damaged_table_is_refused_by_name(tmp_path, name):
    results_tables.Tables(tmp_path).write(at_once=True)
    (tmp_path / name).write_bytes(b"PAR1 and no more")
    with pytest.raises(Refusal, match=name):
        results_tables.read(tmp_path)


def test_a_table_without_a_column_or_with_one_of_another_kind_is_refused_by_its_name(tmp_path):
    there = results_tables.Tables(tmp_path)
    there.add("0", PIPELINE, SIZES, {})
    there.write(at_once=True)
    whole = pd.read_parquet(tmp_path / "trials.parquet")
    for wrong in (
        whole.drop(columns="accuracy"), whole.assign(accuracy="high"), whole.assign(state="ended"),
        whole.assign(parameters=0), whole.assign(macs=None), whole.assign(seconds=None), whole.assign(macs=0.5),
        whole.assign(compression=0.0), whole.assign(compression=float("inf")),
        whole.assign(pipeline="{}"), whole.assign(pipeline="{"), whole.assign(pipeline='{"links": []}'),
        whole.assign(pipeline="[" * 100_000), whole.assign(macs=[[5]]),
        whole.assign(state="complete"), whole.assign(state="complete", accuracy=float("nan")),
        whole.assign(state="complete", accuracy=1.1),
    ):  # fmt: skip
        wrong.to_parquet(tmp_path / "trials.parquet")
        with pytest.raises(Refusal, match=r"trials\.parquet' is damaged"):
            results_tables.read(tmp_path)
    whole.assign(state="complete", accuracy=0.5).to_parquet(tmp_path / "trials.parquet")
    assert results_tables.read(tmp_path).trials["0"]["accuracy"] == 0.5


def test_whichever_tables_a_kill_left_unwritten_a_trial_has_its_epochs_once(tmp_path):
    def begun() -> results_tables.Tables:
        there = results_tables.Tables(tmp_path, pending=Pending(tmp_path / results_tables.PENDING))
        there.add("0", PIPELINE, SIZES, {})
        there.extend("0", [{**KD, "kd_epoch": 1, "epoch": 1}], student=0)
        there.write(at_once=True)
        there.extend("0", [{**KD, "kd_epoch": 2, "epoch": 2, "accuracy": 0.75}], student=0)
        there.add("1", PIPELINE, SIZES, {})
        there.extend("1", [{**KD, "kd_epoch": 1, "epoch": 1}], student=0)
        return there

    names = ["trials.parquet", "epochs.parquet", "verdicts.parquet"]
    begun()
    noted = (tmp_path / results_tables.PENDING).read_bytes()
    for unwritten in itertools.chain.from_iterable(itertools.combinations(names, count) for count in range(4)):
        (tmp_path / results_tables.PENDING).unlink(missing_ok=True)
        there = begun()
        old = {name: (tmp_path / name).read_bytes() for name in unwritten}
        there.write(at_once=True)
        for name, whole in old.items():
            (tmp_path / name).write_bytes(whole)
        (tmp_path / results_tables.PENDING).write_bytes(noted)
        found = results_tables.read(tmp_path)
        told = {name: [row[key] for key in ("epochs", "seconds", "accuracy")] for name, row in found.trials.items()}
        assert told == {"0": [2, 4.0, 0.75], "1": [1, 2.0, 0.5]} and len(found.epochs) == 3


@pytest.mark.parametrize(
    "line",
    ["[]", '["add"]', '["mark", "7", "complete", null]', '["mark", "0", 3, null]', '["judged", {"trial": "0"}]',
     '["extend", "0", [{"link": 0}], 0]', '["extend", "0", [3], 0]', '["extend", "0", 3, 0]',
     '["add", "1", {"links": []}, {}, {}]', '["add", "1", {"links": [{"seed": 0}]}, {}, 3]',
     '["judged", {"trial": "0", "milestone": "1"}]',
     '["judged", {"trial": "0", "milestone": 1}]', f'["judged", {{"trial": "0", "milestone": {10**30}}}]'],
)  # fmt: skip
def test_an_event_that_cannot_be_is_refused_with_the_way_out(tmp_path, line):
    there = results_tables.Tables(tmp_path)
    there.add("0", PIPELINE, SIZES, {})
    there.write(at_once=True)
    (tmp_path / results_tables.PENDING).write_text(line + "\n")
    with pytest.raises(Refusal, match=r"pending\.jsonl' is damaged .*; delete it: what it says is done again"):
        results_tables.read(tmp_path)


def test_a_search_is_found_by_name_or_path_and_a_folder_that_is_none_is_refused(tmp_path, monkeypatch):
    folder = tmp_path / "results" / "mine"
    folder.mkdir(parents=True)
    with pytest.raises(Refusal, match=r"search\.json"):
        results_folder.find("mine", tmp_path / "results")
    (folder / "search.json").write_text("{}")
    assert results_folder.find("mine", tmp_path / "results") == folder == results_folder.find(str(folder), tmp_path)
    monkeypatch.chdir(tmp_path)
    assert results_folder.find("results/mine", tmp_path / "elsewhere").samefile(folder)
    with pytest.raises(Refusal, match="Did you mean 'mine'"):
        results_folder.find("mime", tmp_path / "results")


def test_a_search_runs_while_its_process_holds_the_lock(tmp_path):
    with results_folder.driver_lock(tmp_path):
        assert results_folder.is_running(tmp_path)
    assert not results_folder.is_running(tmp_path)


def test_a_trial_s_end_is_told_by_itself_where_another_search_trained_its_network_on(tmp_path):
    own = results_tables.Tables(tmp_path, pending=Pending(tmp_path / results_tables.PENDING))
    own.add("0", PIPELINE, SIZES | {"reference": None}, {})
    own.extend("0", [KD, KD | {"epoch": 2, "accuracy": 0.3}], student=0)
    own.mark("0", "complete", None, 0.95, 0.9)
    assert own.trials["0"]["accuracy"] == 0.95 == results_tables.read(tmp_path).trials["0"]["accuracy"]
    own.write(at_once=True)
    assert results_tables.read(tmp_path).trials["0"]["accuracy"] == 0.95
