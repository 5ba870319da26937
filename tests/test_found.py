"""Searches kept as evidence: nothing of the machine that ran them stays, and the pages say what they hold."""

import importlib
import json
from pathlib import Path
from typing import Any

import pytest
from test_analysis import written

from kdsearch.config.provenance import RECIPE
from kdsearch.results import tables as results_tables
from kdsearch.results.facts import read_facts, write_facts

found: Any = importlib.import_module("kdsearch.analysis.found")
KEPT = sorted(path.parent.name for path in found.FOUND.glob("*/search.json"))
PAGES = list((Path(__file__).parents[1] / "docs").glob("*.md"))


def test_a_kept_search_has_no_folder_of_the_machine_and_the_numbers_that_it_had(tmp_path):
    folder = written(tmp_path / "there")
    told = read_facts(folder).model_dump(mode="json", exclude_unset=True)
    place = str(tmp_path / "pictures")
    write_facts(folder, told | {"data": place, "options": {"data": place}, "account": "pictures: 9 images"})
    before = results_tables.read(folder)
    before.trials["0"]["pipeline"] = results_tables.placed(before.trials["0"]["pipeline"], place)
    before.write(at_once=True)
    kept = found.keep(folder, "cifar10", "abc1234", tmp_path / "kept")
    after = results_tables.read(kept)
    text = (kept / "search.json").read_text() + "".join(row["pipeline"] for row in after.trials.values())
    assert str(tmp_path) not in text and '"cifar10: 9 images"' in text and '"commit": "abc1234"' in text
    assert [row["accuracy"] for row in after.trials.values()] == [row["accuracy"] for row in before.trials.values()]
    assert len(after.epochs) == len(before.epochs)


@pytest.mark.parametrize("name", KEPT)
def test_a_kept_search_names_its_command_its_commit_and_a_recipe_that_still_holds(name):
    facts = read_facts(found.FOUND / name)
    told = json.loads((found.FOUND / name / "search.json").read_text())
    assert facts.command.startswith("kdsearch tune ") and len(told["commit"]) >= 7
    assert facts.recipe == RECIPE
    assert not Path(facts.data).is_absolute()


@pytest.mark.parametrize("name", KEPT)
def test_a_page_says_of_a_kept_search_what_its_tables_say(name):
    assert any(found.said(name) in page.read_text() for page in PAGES)
