"""Whatever is wrong with a file that kdsearch reads: a sentence and exit code 2, or a correct run."""

import json
import os
import shutil
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from damage import bytes_cut, bytes_flipped, changed_json, changed_lines, column_changed, column_changes, share
from helpers import STUDENT
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from test_resume import Driver

from kdsearch import cli, nets, results, scout, search, spaces, tuner
from kdsearch.errors import Refusal
from kdsearch.patience import at_most
from kdsearch.pending import Pending
from kdsearch.plan import Search
from kdsearch.rungs import Rungs
from kdsearch.sampler import Sampler
from kdsearch.settings import Settings
from kdsearch.store import save_net

MORE = int(os.environ.get("KDSEARCH_EXAMPLES", "1"))
"""Times the usual examples, then drawn anew each time."""


def examples(count: int) -> Any:
    return settings(
        max_examples=count * MORE, deadline=None, derandomize=MORE == 1, phases=[Phase.generate], database=None,
        suppress_health_check=list(HealthCheck),
    )  # fmt: skip


# Spaces

SMALL = '''"""What?"""
from kdsearch.config import *

BUDGET = Budget(trials=8, epochs=4, teacher_epochs=1)
REFERENCE = Net(widths=(4, 4), depth=2, hidden=8)


def space(trial):
    width = trial.suggest_float("width", 0.5, 2.0, step=0.5)
    hint = trial.suggest_categorical("hint", ["none", "1"])
    net = Net(widths=(4, 4), depth=2, hidden=trial.suggest_int("hidden", 2, 8), width=width)
    hints = Hints(pairs=(Pair(hint=1, guided=1),), share=0.5) if hint == "1" else None
    kd = KD(weight=0.5, temperature=trial.suggest_float("tau", 1, 8, log=True))
    return Pipeline(links=(Link(net=REFERENCE), Link(net=net, hints=hints, kd=kd, fit=Fit(fraction=0.5))))
'''
WORDS = ("None", '"x"', "[]", "{}", "-1", "0", "2.5", "10**30", "-10**30", "1e400", "float('nan')", "()", "(1,)", "KD")
WORDS += (
    "lambda: 1",
    "trial",
    "space",
    "undefined",
    "...",
    "",
    ")",
    "'",
    "\n",
    "\0",
    "\udcff",
    "    ",
    "#",
    "return 3",
)
BODIES = (
    "return None", "raise KeyError", "raise ValueError('a\\nb')", "import sys; sys.exit(0)", "return [trial]",
    "return {'links': []}", "raise SystemExit", "return Pipeline(links=(Link(net=REFERENCE),))", "1 / 0",
    "return space(trial)", "raise MemoryError", "raise RecursionError", "raise Exception(Exception())",
    "trial.suggest_int('a', 5, 1)", "trial.suggest_int('a', 1, 5); trial.suggest_float('a', 0, 1)",
    "[trial.suggest_float(f'x{n}', 0, 1) for n in range(300)]; return None", "trial.suggest_categorical('a', [])",
    "trial.suggest_float('a', 0, float('nan'))", "trial.suggest_int('a', 0, 10**30)", "trial.suggest_int(3, 1, 2)",
    "trial.suggest_categorical('a', [[1], KD()])", "trial.suggest_int('a', 1, 5, log=True, step=2)",
    "trial.report(1, 1)",
    "trial.suggest_int('a', 1, 5); trial.suggest_int('a', 1, 6)", "trial.study.stop()", "assert False", "yield 3",
    "import optuna; raise optuna.TrialPruned", "del trial",
    "while True: pass", "for n in range(10**30): trial.suggest_int(f'x{n}', 0, 1)", "import time; time.sleep(99)",
)  # fmt: skip


def tokens(text: str) -> list[tuple[int, int]]:
    """Where numbers, words and strings begin and end."""
    import re

    return [found.span() for found in re.finditer(r"[A-Za-z_]+|[0-9.]+|\"[^\"]*\"|[()\[\]=,]", text)]


@st.composite
def bad_spaces(draw: Callable) -> str:
    text = draw(st.sampled_from([SMALL, SMALL, (spaces.own_folder() / "depth_vs_hint.py").read_text()]))
    kind = draw(st.sampled_from(["cut", "word", "word", "word", "words", "body"]))
    if kind == "cut":
        return text[: int(draw(share) * len(text))]
    if kind == "body":
        head = SMALL.partition("    width =")[0]
        return f"{head}    {draw(st.sampled_from(BODIES))}\n" + draw(st.sampled_from(["", SMALL.partition("n):\n")[2]]))
    for _ in range(1 if kind == "word" else 3):
        found = tokens(text)
        start, end = found[int(draw(share) * len(found))]
        text = text[:start] + draw(st.sampled_from(WORDS)) + text[end:]
    return text


@pytest.fixture
def few_draws(monkeypatch):
    plain = scout.load
    monkeypatch.setattr(scout, "DRAWS", 6)
    monkeypatch.setattr(spaces, "PATIENCE", 0.7)
    loaded: dict[str, Any] = {}

    def once(described: Any, *more: Any) -> Any:
        key = described.model_dump_json()
        if key not in loaded:
            loaded[key] = plain(described, *more)
        return loaded[key]

    monkeypatch.setattr(scout, "load", once)


@examples(1000)
@given(text=bad_spaces())
def test_a_space_file_that_is_damaged_is_told_in_a_sentence_or_is_none(few_draws, tmp_path_factory, text):
    path = tmp_path_factory.mktemp("s") / "bad.py"
    path.write_bytes(text.encode(errors="surrogateescape"))
    try:
        with at_most(20), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            spaces.source(path)
            space = spaces.load(path)
            asked = Search(space, Settings(4, 1), 3, path.parent / "s", Path("data"), options={"space": str(path)})
            drawn, references = scout.look(asked)
            assert drawn and len(references) == 3
    except Refusal as refused:
        assert str(refused).strip() and len(str(refused)) < 3000
    finally:
        shutil.rmtree(path.parent)


# Searches

MADE = {
    "kdsearch": "0", "torch": "2", "device": "cpu", "machine": "m", "precision": "float32", "targets": {"kd": "live"},
    "threads": 1, "fingerprint": "f", "classes": ["0", "1"], "image": [1, 8, 8], "mean": [0.5], "std": [0.5],
    "teachers": [], "accuracy": 0.5,
}  # fmt: skip


class Careful(Driver):
    """Whose trials are all complete, after two KD epochs, each with a verdict and a student."""

    def end(self, sampler: Sampler, ray_name: str, config: dict) -> None:
        name, tables = config["trial"], self.search.tables
        accuracy = 0.3 + 0.02 * len(tables.epochs)
        rows = [
            {"link": 1, "stage": "kd", "epoch": epoch, "kd_epoch": epoch, "accuracy": accuracy, "seconds": 1.0}
            for epoch in (1, 2)
        ]
        tables.extend(name, rows, student=1)
        rungs = Rungs((1,), 3, "none", self.search.sizes)
        if config["judged"]:
            rungs.restore(rungs.state() | {"verdicts": tables.verdicts})
            rungs.judge(name, 1, accuracy, tables.trials[name]["parameters"])
            tables.judged(rungs.state()["verdicts"][-1])
        tables.mark(name, "complete")
        save_net(self.search.folder / "students" / f"{name}.safetensors", nets.build(STUDENT, (1, 8, 8), 10), MADE)
        sampler.on_trial_complete(ray_name, {"complete": True, "accuracy": accuracy})


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> Path:
    """A folder with a search `s` of five draws; its driver was killed before it wrote what came last."""
    where = tmp_path_factory.mktemp("finished")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(scout, "DRAWS", 6)
        driver = Careful(where, "random", 5, -1)
        driver.run()
    tables, folder = driver.search.tables, where / "s"
    rows = [
        dict.fromkeys(results.CONFIRMED.names) | {"trial": name, "seed": 7, "selected": False, "accuracy": 0.4}
        for name in tables.trials
    ]
    results.write_table(folder / "confirmed.parquet", rows, results.CONFIRMED)
    tables.pending = Pending(folder / results.PENDING)
    last = json.loads(tables.trials["4"]["pipeline"])
    tables.add("5", last, {name: tables.trials["4"][name] for name in SIZES}, {"width": 1, "hidden": 1})
    tables.mark("5", "running")
    row = {"link": 1, "stage": "kd", "epoch": 1, "kd_epoch": 1, "accuracy": 0.4, "seconds": 1.0}
    tables.extend("5", [row], student=1)
    tables.mark("5", "failed", "Diverged")
    verdict = tables.verdicts[0] | {"trial": "5"}
    tables.judged(verdict)
    return where


SIZES = ("reference", "parameters", "compression", "training_parameters", "macs")


@pytest.fixture
def say(finished, tmp_path_factory, monkeypatch, capsys, few_draws) -> Callable[[str], tuple[int, str, str]]:
    """A command, in this process, on a copy of the search; a search goes on until Ray would start."""

    def until_ray(asked: Search) -> None:
        _, references = scout.look(asked)
        asked.resources = {"cpu": 1, "gpu": 0}
        search._begin(asked)
        tuner.restored(asked)
        sampler = Sampler(asked, references, asked.milestones, startup=3)
        for number in range(3):
            sampler.suggest(str(number))

    monkeypatch.setattr(search, "run", until_ray)
    monkeypatch.chdir(finished)

    def said(words: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["kdsearch", *words.split()])
        code = 0
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                with at_most(20):
                    cli.main()
            except SystemExit as end:
                code = int(end.code or 0)
        return code, *capsys.readouterr()

    return said


GO_ON = "tune ./lost.py --name s --storage . --resume --trials 9"
COMMANDS = (
    "status s --storage .",
    "status s --storage . --json",
    "export s --front --storage .",
    "replay s --storage .",
)
COMMANDS += ("export s --best knee --storage .", GO_ON, GO_ON)


def right(told: tuple[int, str, str]) -> bool:
    """A sentence and exit code 2, or no error at all; after a search there may be no complete trial: 1."""
    code, _, error = told
    sentence = error.startswith("kdsearch: ") and len(error.splitlines()) == 1 and len(error) < 3000
    return "Traceback" not in error and (sentence if code == 2 else code in (0, 1) and error == "")


@contextmanager
def restored(folder: Path) -> Iterator[None]:
    """All files as they were, afterwards."""
    aside = folder.with_name("aside")
    shutil.copytree(folder, aside)
    try:
        yield
    finally:
        shutil.rmtree(folder)
        aside.rename(folder)
        shutil.rmtree(folder.with_name("exports"), ignore_errors=True)


def damaged(finished: Path, name: str, change: Callable[[bytes], bytes], say: Callable, command: str) -> None:
    """A command says what it must of a search with a file that was changed; and so it can again, and once more."""
    with restored(finished / "s"):
        path = finished / "s" / name
        path.write_bytes(change(path.read_bytes()))
        first = say(command)
        assert right(first), first
        if command == GO_ON:  # whatever it wrote can be opened again
            for words in (COMMANDS[0], GO_ON):
                again = say(words)
                assert right(again), again
                assert first[0] == 2 or again[0] != 2, (first, again)


TABLES = ("trials.parquet", "epochs.parquet", "verdicts.parquet", "confirmed.parquet")
FILES = (*TABLES, "search.json", results.PENDING, results.JOURNAL)


def test_a_search_whose_files_are_whole_is_opened_by_every_command(finished, say):
    for command in (*COMMANDS, "report s --storage ."):
        with restored(finished / "s"):
            told = say(command)
            assert told[0] == 0 and right(told), told


@examples(120)
@given(name=st.sampled_from(FILES), change=st.one_of(bytes_flipped, bytes_cut), command=st.sampled_from(COMMANDS))
def test_a_search_with_a_file_that_was_cut_off_or_changed_somewhere_is_read_or_refused(
    finished, say, name, change, command
):
    damaged(finished, name, change, say, command)


@examples(120)
@given(change=changed_json, command=st.sampled_from(COMMANDS))
def test_a_search_whose_facts_are_of_other_kinds_is_read_or_refused(finished, say, change, command):
    damaged(finished, "search.json", change, say, command)


@examples(120)
@given(
    name=st.sampled_from([results.PENDING, results.JOURNAL]), change=changed_lines, command=st.sampled_from(COMMANDS)
)
def test_a_search_whose_events_contradict_each_other_is_read_or_refused(finished, say, name, change, command):
    damaged(finished, name, change, say, command)


@examples(120)
@given(name=st.sampled_from(TABLES), change=column_changes, command=st.sampled_from(COMMANDS))
def test_a_search_whose_tables_have_other_columns_or_values_is_read_or_refused(finished, say, name, change, command):
    def changed(whole: bytes) -> bytes:
        path = finished / "changed.parquet"
        path.write_bytes(whole)
        column_changed(path, *change)
        return path.read_bytes()

    damaged(finished, name, changed, say, command)
