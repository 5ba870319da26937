"""The axes of a front on the report's page, and what each of its rows offers to copy."""

import importlib
import json
import re
from pathlib import Path
from typing import Any

import pytest
from helpers import FACTS, pipeline

from kdsearch.results import front
from kdsearch.results import tables as results_tables
from kdsearch.results.facts import read_facts, write_facts
from kdsearch.results.objectives import OBJECTIVES

RATIOS = {"compression": (2.0, 20.0, 200.0), "macs_ratio": (9.0, 3.0, 1.0), "bytes_ratio": (2.0, 3.0, 4.0)}
FAST = {"latency_ratio": (1.0, 10.0, 5.0)}


@pytest.fixture(autouse=True)
def _without_libraries(monkeypatch):
    monkeypatch.setattr(analysis("report"), "_libraries", lambda: "")  # which take seconds to bundle


def analysis(name: str) -> Any:
    return importlib.import_module(f"kdsearch.analysis.{name}")


def searched(folder: Path, against: str = "parameters", timed: bool = False) -> Path:
    """Three students, the most accurate first, and one reference; their latency is known where it was measured."""
    folder.mkdir(parents=True, exist_ok=True)
    there = results_tables.Tables(folder)
    for place, accuracy in enumerate((0.9, 0.8, 0.5)):
        sizes: dict[str, Any] = {"training_parameters": 9, "metric": None, "against": against}
        for own in OBJECTIVES.values():
            if own.ratio in RATIOS | (FAST if timed else {}):
                ratio = (RATIOS | FAST)[own.ratio][place]
                sizes |= {own.ratio: ratio, own.column: round(12_000_000 / ratio)}
        for name, reference in ((str(place), None), *([("kd", "kd")] if place == 1 else [])):
            there.add(name, pipeline().model_dump(mode="json"), sizes | {"reference": reference}, {})
            there.mark(name, "complete", None, accuracy, accuracy)
    there.write(at_once=True)
    write_facts(folder, FACTS | {"against": against, "teacher_accuracy": 0.95, "teacher_parameters": 12_000_000})
    return folder


def page(folder: Path) -> str:
    analysis("report").write(folder, folder / "report.html")
    return (folder / "report.html").read_text()


def spec(folder: Path, *against: str) -> dict[str, Any]:
    return analysis("pareto").chart(results_tables.read(folder), read_facts(folder), *against).to_dict()


def titles(spec: dict[str, Any]) -> set[str]:
    return {layer["encoding"]["x"]["title"] for layer in spec["layer"] if "x" in layer.get("encoding", {})}


@pytest.mark.parametrize("against", OBJECTIVES)
def test_the_front_s_chart_has_the_axis_that_the_search_looks_at(against, tmp_path):
    own, found = OBJECTIVES[against], spec(searched(tmp_path, against, timed=True))
    assert found["title"]["text"] == f"Accuracy against {own.gain}" and titles(found) == {own.axis}
    fields = {layer["encoding"]["x"]["field"] for layer in found["layer"] if "x" in layer.get("encoding", {})}
    assert fields == {own.ratio}


@pytest.mark.parametrize("against", OBJECTIVES)
def test_against_another_axis_the_line_is_that_axis_front(against, tmp_path):
    folder = searched(tmp_path, timed=True)
    found = spec(folder, against)
    line = next(layer for layer in found["layer"] if layer["mark"]["type"] == "line")
    drawn = {row["trial"] for row in found["datasets"][line["data"]["name"]]}
    assert drawn == set(front.members(results_tables.read(folder).trials.values(), against))


def test_the_page_offers_every_axis_that_is_known_and_shows_the_search_s_own(tmp_path):
    text = page(searched(tmp_path, "macs", timed=True))
    options = re.findall("<option value='([^']*)'>([^<]*)</option>", text)
    assert options == [
        ("pareto", "MACs ratio"), ("pareto-parameters", "compression"), ("pareto-latency", "latency ratio"),
        ("pareto-bytes", "bytes ratio"),
    ]  # fmt: skip
    places = dict(re.findall(r"<div id='chart-(pareto[^']*)'( hidden|)></div>", text))
    assert places == {"pareto": ""} | {name: " hidden" for name, _ in options[1:]}
    charts = json.loads(text.split("const charts = ")[1].split(", options = {")[0])
    assert {name for name, _ in options} <= set(charts)
    assert "decades of MACs ratio ×" in text and "<th>MACs</th>" in text


def test_an_axis_that_is_not_known_is_not_offered_and_one_alone_is_no_choice(tmp_path):
    assert "pareto-latency" not in page(searched(tmp_path))
    there = results_tables.read(tmp_path)
    for row in there.trials.values():
        row |= {"macs_ratio": None, "bytes_ratio": None, "bytes": None, "against": None}  # of an older version
    there.write(at_once=True)
    assert "<select" not in page(tmp_path)


def test_each_row_of_the_front_has_the_command_that_exports_it(tmp_path, monkeypatch):
    folder = searched(tmp_path / "results" / "s")
    command, text = "<code>kdsearch export {} --trial {}</code>", page(folder)
    assert all(command.format(folder, name) in text for name in "012") and "--trial kd" not in text
    monkeypatch.chdir(tmp_path)
    text = page(Path("results/s"))
    assert all(command.format("s", name) in text for name in "012")
