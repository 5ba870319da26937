"""search.json: what it may hold, whichever version wrote it, and what it cannot."""

import json
import sys
from pathlib import Path
from typing import Any

import pytest
from helpers import FACTS, facts

from kdsearch.cli import app
from kdsearch.errors import Refusal
from kdsearch.results import tables as results_tables
from kdsearch.results.facts import read_facts, write_facts
from kdsearch.results.folder import standing

RECORDED = json.loads(Path(__file__).with_name("search.json").read_text())
"""Of a search by the version before the first rooms."""


def told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture, found: dict) -> dict[str, Any]:
    """What `status --json` says of a search with these facts, of which no trial began."""
    (tmp_path / "s").mkdir()
    write_facts(tmp_path / "s", found)
    results_tables.Tables(tmp_path / "s").write(at_once=True)
    monkeypatch.setattr(sys, "argv", ["kdsearch", "status", "s", "--json", "--storage", str(tmp_path)])
    with pytest.raises(SystemExit) as end:
        app.main()
    assert not end.value.code
    return json.loads(capsys.readouterr().out)


def test_every_key_that_was_written_before_has_a_name_and_its_value(tmp_path):
    write_facts(tmp_path, RECORDED)
    found = read_facts(tmp_path)
    assert not found.model_extra and json.dumps(found.plain()) == json.dumps(RECORDED)
    assert (found.sampler, found.sizes, found.networks["teacher"].macs) == ("random", (624, 277007), 11385408)


def test_status_tells_programs_all_that_it_told_before(tmp_path, monkeypatch, capsys):
    assert RECORDED.items() <= told(tmp_path, monkeypatch, capsys, RECORDED).items()


def test_what_a_newer_version_wrote_beside_it_is_told_and_disturbs_nobody(tmp_path, monkeypatch, capsys):
    newer = {"colour": {"of": ["the", "bike", "shed"]}, "networks": {"teacher": {"key": "k", "colour": "red"}}}
    found = told(tmp_path, monkeypatch, capsys, FACTS | newer)
    assert newer.items() <= found.items() and "sampler" not in found


def test_a_search_of_an_older_version_has_what_it_did_not_say_by_default(tmp_path):
    found = facts()
    assert (found.seeds, found.total, found.networks, found.options) == (1, None, {}, None) and not found.is_grid
    assert standing(results_tables.Tables(tmp_path), found)["total"] == FACTS["trials"] + 3
    assert standing(results_tables.Tables(tmp_path), facts(total=9))["total"] == 9


@pytest.mark.parametrize(
    "name, value",
    [
        ("classes", 1), ("images", 0), ("validation_images", -1), ("views", 0), ("views", "4"), ("options", []),
        ("teacher_parameters", 0), ("sizes", [20, 10]), ("sizes", [10]), ("sizes", ["1", "2"]), ("sizes", [0, 10]),
        ("sizes", "10"), ("milestones", 3), ("milestones", [1.5]), ("networks", {"teacher": 1}),
        ("networks", {"teacher": {"macs": "9"}}), ("knobs", {"width": 1}), ("knobs", None), ("teacher_accuracy", 2.0),
        ("teacher_accuracy", -0.1), ("teacher_accuracy", float("nan")), ("study", 3), ("space", None), ("seed", "0"),
        ("trials", 2.5), ("trials", True), ("image", [1, 8]), ("resources", {"cpu": "1"}), ("reduction", "3"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_refused_by_its_name(tmp_path, name, value):
    write_facts(tmp_path, RECORDED | {name: value})
    with pytest.raises(Refusal, match=rf"search\.json' .* \(without a proper {name}\); the search must be run again"):
        read_facts(tmp_path)


@pytest.mark.parametrize("name", FACTS)
def test_what_every_version_wrote_must_be_there(tmp_path, name):
    write_facts(tmp_path, {key: value for key, value in FACTS.items() if key != name})
    with pytest.raises(Refusal, match=rf"without a proper {name}\)"):
        read_facts(tmp_path)


@pytest.mark.parametrize("text", ["", "{", "[]", "3", "{}", '{"space": "s", "trials": "x"}', "[" * 100_000, "\udc80"])
def test_a_file_that_is_damaged_is_refused_with_the_way_out(tmp_path, text):
    (tmp_path / "search.json").write_text(text, errors="surrogateescape")
    with pytest.raises(Refusal, match=r"'.*search\.json' cannot be read \(.+\); the search must be run again"):
        read_facts(tmp_path)
