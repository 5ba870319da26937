"""All searches of a storage in one list."""

import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from helpers import pipeline

from kdsearch.cli import app
from kdsearch.results import folder as results_folder
from kdsearch.results import tables as results_tables
from kdsearch.results.facts import write_facts

Say = Callable[[str], str]
FACTS = {
    "space": "s", "command": "tune", "trials": 2, "total": 2, "seed": 3, "data": "digits", "images": 10,
    "validation_images": 10, "classes": 10, "knobs": {}, "teacher_accuracy": None, "fingerprint": "f",
}  # fmt: skip


@pytest.fixture
def say(tmp_path, monkeypatch, capsys) -> Say:
    def said(words: str) -> str:
        monkeypatch.chdir(tmp_path)
        monkeypatch.delenv("KDSEARCH_STORAGE", raising=False)
        monkeypatch.setenv("COLUMNS", "100")
        monkeypatch.setattr(sys, "argv", ["kdsearch", "status", *words.split()])
        with pytest.raises(SystemExit) as end:
            app.main()
        out, err = capsys.readouterr()
        assert not end.value.code and not err
        return out

    return said


def searched(folder: Path, *accuracies: float) -> Path:
    """A search of as many complete trials, each smaller than the one before."""
    tables = results_tables.Tables(folder)
    for number, accuracy in enumerate(accuracies):
        size = 100 - number
        facts = {"parameters": size, "compression": 1000 / size, "training_parameters": size, "macs": size}
        tables.add(str(number), pipeline().model_dump(mode="json"), facts | {"reference": None}, {})
        tables.trials[str(number)]["accuracy"] = accuracy
        tables.mark(str(number), "complete")
    folder.mkdir(parents=True)
    tables.write(at_once=True)
    write_facts(folder, FACTS)
    return folder


def test_all_searches_are_listed_with_their_state(say, tmp_path):
    searched(tmp_path / "results" / "ended", 0.9, 0.8)
    searched(tmp_path / "results" / "killed", 0.7)
    with results_folder.driver_lock(searched(tmp_path / "results" / "works")):
        lines = [line.split() for line in say("").splitlines()]
    assert ["ended", "finished", "2", "of", "2", "90.0", "%", "2"] in [line[:8] for line in lines]
    assert ["killed", "interrupted", "1", "of", "2", "70.0", "%", "1"] in [line[:8] for line in lines]
    assert ["works", "running", "0", "of", "2", "–", "0"] in [line[:7] for line in lines]


def test_programs_get_the_same_list(say, tmp_path):
    searched(tmp_path / "results" / "ended", 0.9, 0.8)
    told = json.loads(say("--json"))
    (one,) = told["searches"]
    assert told["storage"] == "results" and one.pop("written")[:2] == "20"
    assert one == {
        "name": "ended", "state": "finished", "ended": 2, "total": 2, "states": {"complete": 2}, "accuracy": 0.9,
        "front": 2,
    }  # fmt: skip


@pytest.mark.parametrize("name", ["search.json", "trials.parquet"])
def test_a_damaged_search_is_listed_as_such_and_ends_no_list(say, tmp_path, name):
    (searched(tmp_path / "results" / "bad", 0.9) / name).write_text("{")
    searched(tmp_path / "results" / "good", 0.9)
    said = say("")
    assert [line.split()[:2] for line in said.splitlines() if line.split()[:1] in (["bad"], ["good"])] == [
        ["bad", "damaged"], ["good", "interrupted"],
    ]  # fmt: skip
    assert "Damaged: bad: " in said and name in said
    assert [one["state"] for one in json.loads(say("--json"))["searches"]] == ["damaged", "interrupted"]


def test_a_search_without_its_facts_is_damaged_whatever_lies_beside_the_storage(say, tmp_path):
    (searched(tmp_path / "results" / "bad", 0.9) / "search.json").unlink()
    searched(tmp_path / "bad", 0.9)
    assert "Damaged: bad: " in say("")


def test_what_is_no_search_is_not_listed(say, tmp_path):
    searched(tmp_path / "results" / "ended", 0.9, 0.8)
    (tmp_path / "results" / "store").mkdir()
    (tmp_path / "results" / "reproduce" / "table").mkdir(parents=True)
    (tmp_path / "results" / "notes.txt").write_text("mine")
    assert [one["name"] for one in json.loads(say("--json"))["searches"]] == ["ended"]


def test_an_empty_storage_says_how_to_begin(say, tmp_path):
    assert "There is no search in 'results' yet. Start one: kdsearch tune SPACE" in say("")
    assert json.loads(say("--json"))["searches"] == []
    assert not (tmp_path / "results").exists()
