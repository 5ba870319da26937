"""The Python face: what a notebook imports has what the command line has, by the same names."""

import importlib
import inspect
import subprocess
import sys
import threading
from pathlib import Path
from types import ModuleType
from typing import Any, get_type_hints

import pandas as pd
import pytest

import kdsearch
from kdsearch.cli.tune import tune
from kdsearch.search.asked import Asked
from kdsearch.search.tune import asked_for, file_of

SPACE = """
'''Is Python as good as the shell?'''
from kdsearch import KD, Budget, Link, Net, Pipeline

BUDGET = Budget(trials=2, epochs=2, teacher_epochs=1)
TEACHER = REFERENCE = Net(widths=(4, 4, 4), depth=3, hidden=8)


def space(trial):
    net = Net(widths=(trial.suggest_int("width", 1, 3),) * 3, depth=3, hidden=8)
    return Pipeline(links=(Link(net=TEACHER), Link(net=net, kd=KD())))
"""


def options() -> dict[str, tuple[Any, Any]]:
    """Of the command: default, and what typer is told; where trials run is no option of a search."""
    hints = get_type_hints(tune, include_extras=True)
    own = {name: one for name, one in inspect.signature(tune).parameters.items() if name not in ("context", "cluster")}
    return {name: (one.default, hints[name].__metadata__[0]) for name, one in own.items()}


def test_every_option_of_the_command_is_one_of_the_function_with_the_same_default():
    fields = {name: field for name, field in Asked.model_fields.items() if name != "storage_named"}
    assert set(fields) == set(options())
    for name, (default, _) in options().items():
        if name != "space":
            assert fields[name].default == (str(default) if isinstance(default, Path) else default), name


LEAST = {name: told.min for name, (_, told) in options().items() if getattr(told, "min", None) is not None}


@pytest.mark.parametrize("name", LEAST)
def test_a_number_below_the_command_s_least_is_refused(name):
    least = LEAST[name]
    with pytest.raises(kdsearch.Refusal, match=f"tune: {name}: .*but got"):
        asked_for("depth_vs_hint", {name: least - 1})
    assert getattr(asked_for("depth_vs_hint", {name: least}), name) == least


def test_an_option_that_there_is_not_is_told_with_the_nearest():
    with pytest.raises(kdsearch.Refusal, match="Did you mean 'trials'"):
        asked_for("depth_vs_hint", {"trails": 3})


def test_set_takes_words_or_a_mapping():
    for told in (["student.fit.batch_size=64"], {"student.fit.batch_size": 64}):
        assert asked_for("depth_vs_hint", {"set": told}).overrides == ("student.fit.batch_size=64",)


def test_a_space_is_a_name_a_path_a_module_or_a_function_of_one(tmp_path):
    depth_vs_hint = importlib.import_module("kdsearch.search_spaces.depth_vs_hint")
    assert file_of("depth_vs_hint") == "depth_vs_hint" and file_of(tmp_path) == str(tmp_path)
    assert file_of(depth_vs_hint) == file_of(depth_vs_hint.space) == depth_vs_hint.__file__
    for cell in (ModuleType("__main__"), lambda trial: None):
        if not isinstance(cell, ModuleType):
            cell.__module__ = "a_cell"
        with pytest.raises(kdsearch.Refusal, match="%%writefile my_space"):
            file_of(cell)


def test_importing_kdsearch_loads_nothing_heavy_and_knows_its_names():
    code = (
        "import sys, kdsearch\n"
        "assert not {'torch', 'ray', 'optuna', 'pandas', 'pydantic'} & set(sys.modules)\n"
        "assert {'tune', 'open', 'train', 'replay', 'spaces', 'Refusal', 'Net'} <= set(dir(kdsearch))"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_what_there_is_not_is_no_attribute():
    with pytest.raises(AttributeError, match="has no attribute 'trane'"):
        kdsearch.trane  # noqa: B018  # pyright: ignore


def test_the_stub_names_what_the_module_gives():
    text = Path(kdsearch.__file__).with_suffix(".pyi").read_text()
    names = {name for names in kdsearch.HOMES.values() for name in names}
    assert {line.rpartition(" as ")[2] for line in text.splitlines() if " as " in line} == names


@pytest.fixture(scope="module")
def where(tmp_path_factory) -> Path:
    """The same search from the command line and from Python, the latter from a thread."""
    folder = tmp_path_factory.mktemp("face")
    (folder / "same.py").write_text(SPACE)
    words = ["--sampler", "random", "--max-concurrent", "1", "--results", folder / "shell", "--name", "s"]
    call = [sys.executable, "-m", "kdsearch", "tune", folder / "same.py", *words]
    subprocess.run(list(map(str, call)), check=True, capture_output=True)
    told = {"sampler": "random", "max_concurrent": 1, "results": folder / "python", "name": "s", "progress": False}
    found: list[Any] = []
    thread = threading.Thread(target=lambda: found.append(kdsearch.tune(folder / "same.py", **told)))
    thread.start()
    thread.join()
    assert isinstance(found[0], kdsearch.Search)
    return folder


@pytest.mark.whole
def test_python_and_the_shell_give_equal_tables(where):
    shell, python = (kdsearch.open("s", where / name) for name in ("shell", "python"))
    epochs = [found.epochs[found.epochs["stage"] != "record"] for found in (shell, python)]  # the second finds answers
    epochs = [pd.DataFrame(found).reset_index(drop=True) for found in epochs]
    for one, other in ((shell.trials, python.trials), epochs, (shell.verdicts, python.verdicts)):
        first, second = (table.drop(columns="seconds", errors="ignore") for table in (one, other))
        pd.testing.assert_frame_equal(first, second)
    keys = {"command", "options", "resume", "study", "run"}
    assert {name: value for name, value in shell.facts.plain().items() if name not in keys} == {
        name: value for name, value in python.facts.plain().items() if name not in keys
    }


@pytest.mark.whole
def test_a_ray_that_was_started_for_it_is_gone(where):
    import ray

    assert not ray.is_initialized()


@pytest.mark.whole
def test_a_search_shows_its_parts(where, tmp_path):
    search = kdsearch.open("s", where / "python")
    assert search.name == "s" and search.state == "finished" and repr(search).startswith("<Search s: finished, ")
    assert list(search.references["trial"]) == ["labels", "kd", "hint+kd"]
    assert set(search.front["trial"]) == set(search.trials["trial"][search.trials["front"]])
    assert "<table" in search._repr_html_() and "finished" in search._repr_html_()
    with pytest.raises(kdsearch.Refusal, match="Did you mean 'curves'"):
        search.chart("curve")
    assert search.chart("curves").to_dict()["$schema"]
    assert search.report(tmp_path / "r.html") == [tmp_path / "r.html"]
    (folder,) = search.export(best="accuracy", output=tmp_path / "exports")
    (student,) = kdsearch.train(folder / "config.yaml", results=where / "python", progress=False)
    assert student.accuracy == search.front["accuracy"].iloc[0]


def test_a_search_that_there_is_not_is_refused_and_never_an_exit(tmp_path):
    with pytest.raises(kdsearch.Refusal, match="There is no search"):
        kdsearch.open("nowhere", tmp_path)
    with pytest.raises(kdsearch.Refusal, match="leave out --resume"):
        kdsearch.tune("depth_vs_hint", resume=True, results=tmp_path)


def test_a_dry_run_is_a_plan(tmp_path):
    plan = kdsearch.tune("depth", dry_run=True, results=tmp_path, progress=False, epochs=2, teacher_epochs=1)
    assert not isinstance(plan, kdsearch.Search) and plan.trials == 4 and not list(tmp_path.iterdir())


def test_rules_are_compared_on_a_recorded_table():
    found = kdsearch.replay("digits", seeds=1, budget=(18,), progress=False)
    assert set(found.frame["rule"]) == {"union", "moasha", "strata", "asha", "none"} and "<table" in found._repr_html_()


def test_none_is_an_option_that_is_not_given():
    assert asked_for("depth_vs_hint", {"epochs": None, "seed": None}).model_fields_set == {
        "space",
        "storage_named",
    }


def test_an_option_has_the_command_s_names_too_but_one_at_a_time():
    assert asked_for("depth_vs_hint", {"storage": "there", "set": "a=1"}).results == "there"
    with pytest.raises(kdsearch.Refusal, match="two names of the same: set and overrides; leave one out"):
        asked_for("depth_vs_hint", {"set": ["a=1"], "overrides": ["b=1"]})


def test_python_keeps_searches_where_the_command_does(monkeypatch, tmp_path):
    monkeypatch.setenv("KDSEARCH_STORAGE", str(tmp_path))
    told = asked_for("depth_vs_hint", {})
    assert told.results == str(tmp_path) and told.storage_named
    with pytest.raises(kdsearch.Refusal, match=f"no search in '{tmp_path}'"):
        kdsearch.open("nothing")


def test_a_space_of_the_script_that_runs_is_refused_and_not_run_again(monkeypatch):
    running = ModuleType("__main__")
    running.__file__ = __file__
    with pytest.raises(kdsearch.Refusal, match="which is running; move it to another"):
        file_of(running)


@pytest.mark.parametrize("told", [{"seeds": 0}, {"workers": 0}, {"milestones": (0,)}, {"budget": (0,)}])
def test_a_replay_of_nothing_is_refused(told):
    with pytest.raises(kdsearch.Refusal, match="A replay counts from 1"):
        kdsearch.replay("digits", progress=False, **told)


def test_a_plan_is_a_line_in_a_notebook(tmp_path):
    assert len(repr(kdsearch.tune("depth", dry_run=True, results=tmp_path, progress=False))) < 120
