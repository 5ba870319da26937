"""Whatever is wrong with a file that kdsearch reads: a sentence and exit code 2, or a correct run."""

import json
import re
import shutil
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml
from damage import (
    ODD,
    bytes_cut,
    bytes_flipped,
    changed,
    changed_json,
    changed_lines,
    column_changed,
    column_changes,
    examples,
    few_draws,
    share,
)  # fmt: skip
from driver import Driver, sampler_of
from helpers import MADE, pipeline
from hypothesis import given
from hypothesis import strategies as st

from kdsearch.cli import app
from kdsearch.config.pipeline import Pipeline
from kdsearch.config.provenance import Made
from kdsearch.distill.store import save_net
from kdsearch.errors import Refusal
from kdsearch.interrupts import at_most
from kdsearch.nets import build
from kdsearch.results import files
from kdsearch.results import tables as results_tables
from kdsearch.results.tables import Pending
from kdsearch.search import driver as search
from kdsearch.search import look, plan, recipe, run, tune, tuner
from kdsearch.search.rungs import Rungs
from kdsearch.search.searcher import Sampler

# Searches


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
        rungs = Rungs((1,), 3, "none", self.search.plan.sizes)
        if config["judged"]:
            rungs.restore(rungs.state() | {"verdicts": tables.verdicts})
            rungs.judge(name, 1, accuracy, tables.trials[name]["parameters"])
            tables.judged(rungs.state()["verdicts"][-1])
        tables.mark(name, "complete")
        net = Pipeline.model_validate(config["pipeline"]).student.net
        save_net(self.search.plan.folder / "students" / f"{name}.safetensors", build.build(net, (1, 8, 8), 2), MADE)
        sampler.on_trial_complete(ray_name, {"complete": True, "accuracy": accuracy, "balanced_accuracy": accuracy})


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> Path:
    """A folder with a search `s` of five draws; its driver was killed before it wrote what came last."""
    where = tmp_path_factory.mktemp("finished")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(look, "DRAWS", 6)
        driver = Careful(where, "random", 5, -1)
        driver.run()
    tables, folder = driver.search.tables, where / "s"
    rows = [
        dict.fromkeys(files.CONFIRMED.names) | {"trial": name, "seed": 7, "selected": False, "accuracy": 0.4}
        for name in tables.trials
    ]
    files.write_table(folder / "confirmed.parquet", rows, files.CONFIRMED)
    tables.pending = Pending(folder / results_tables.PENDING)
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
def say(finished, tmp_path_factory, monkeypatch, capsys) -> Callable[[str], tuple[int, str, str]]:
    """A command, in this process, on a copy of the search; a search goes on until Ray would start."""

    def until_ray(found: plan.Plan, *shown: Any) -> search.Driver:
        own = search.Driver(found)
        run._begin(own)
        tuner.restored(own)
        sampler = sampler_of(own, startup=3)
        for number in range(3):
            sampler.suggest(str(number))
        return own

    few_draws(monkeypatch)
    monkeypatch.setattr(tune, "run", until_ray)
    monkeypatch.chdir(finished)

    def said(words: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["kdsearch", *words.split()])
        code = 0
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                with at_most(60):
                    app.main()
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
    error = re.sub(r"exporting: .*\n", "", error)  # of what takes more than a moment
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
FILES = (*TABLES, "search.json", results_tables.PENDING, results_tables.JOURNAL)


def test_a_search_whose_files_are_whole_is_opened_by_every_command(finished, say):
    for command in (*COMMANDS, "report s --storage ."):
        with restored(finished / "s"):
            told = say(command)
            assert told[0] == 0 and right(told), told


@examples(50)
@given(name=st.sampled_from(FILES), change=st.one_of(bytes_flipped, bytes_cut), command=st.sampled_from(COMMANDS))
def test_a_search_with_a_file_that_was_cut_off_or_changed_somewhere_is_read_or_refused(
    finished, say, name, change, command
):
    damaged(finished, name, change, say, command)


@examples(50)
@given(change=changed_json, command=st.sampled_from(COMMANDS))
def test_a_search_whose_facts_are_of_other_kinds_is_read_or_refused(finished, say, change, command):
    damaged(finished, "search.json", change, say, command)


@examples(50)
@given(
    name=st.sampled_from([results_tables.PENDING, results_tables.JOURNAL]),
    change=changed_lines,
    command=st.sampled_from(COMMANDS),
)
def test_a_search_whose_events_contradict_each_other_is_read_or_refused(finished, say, name, change, command):
    damaged(finished, name, change, say, command)


@examples(50)
@given(name=st.sampled_from(TABLES), change=column_changes, command=st.sampled_from(COMMANDS))
def test_a_search_whose_tables_have_other_columns_or_values_is_read_or_refused(finished, say, name, change, command):
    def changed(whole: bytes) -> bytes:
        path = finished / "changed.parquet"
        path.write_bytes(whole)
        column_changed(path, *change)
        return path.read_bytes()

    damaged(finished, name, changed, say, command)


@examples(4)
@given(name=st.sampled_from(TABLES), change=column_changes)
def test_a_report_of_damaged_tables_is_written_or_refused(finished, say, name, change):
    with restored(finished / "s"):
        column_changed(finished / "s" / name, *change)
        told = say("report s --storage .")
        assert right(told), told


@examples(40)
@given(change=st.one_of(bytes_flipped, bytes_cut), among=st.booleans())
def test_a_student_s_file_that_is_damaged_is_exported_or_refused(finished, say, change, among):
    """Flipped weights are weights; its header is what can be known to be wrong."""
    path = finished / "s" / "students" / "4.safetensors"
    with restored(finished / "s"):
        whole = path.read_bytes()
        header = whole[: 8 + int.from_bytes(whole[:8], "little")]
        path.write_bytes(change(header) + whole[len(header) :] if among else change(whole))
        told = say("export s --trial 4 --storage .")
        assert right(told) and (finished / "exports" / "s" / "4").exists() == (told[0] == 0), told


# Configs


@pytest.fixture(scope="module")
def config() -> str:
    return recipe.config_text(pipeline().model_dump(mode="json"), Made(**MADE).model_dump(mode="json"), "A trial.")


@examples(400)
@given(
    change=st.one_of(
        bytes_flipped, bytes_cut,
        st.tuples(share, st.sampled_from(ODD)).map(
            lambda told: lambda whole: yaml.safe_dump(changed(yaml.safe_load(whole), *told)).encode()
        ),
        st.tuples(share, st.sampled_from([b"{", b"[", b"*a", b"!!python/object:os.system", b": ", b"\t", b"- "])).map(
            lambda told: lambda whole: whole[: int(told[0] * len(whole))] + told[1] + whole[int(told[0] * len(whole)) :]
        ),
    )
)  # fmt: skip
def test_a_config_that_is_damaged_is_read_or_refused(config, tmp_path_factory, change):
    path = tmp_path_factory.getbasetemp() / "config.yaml"
    path.write_bytes(change(config.encode()))
    try:
        with at_most(20):
            found = recipe.read_config(path)
        assert len(found.pipeline.links) >= 1
    except Refusal as refused:
        assert "config" in str(refused) and len(str(refused)) < 3000


# Places


@pytest.mark.parametrize(
    "words, said",
    [
        ("--storage a_file/below", "Searches are kept where files can be written, but 'a_file/below' cannot be"),
        ("--storage a_file", "Searches are kept where files can be written, but 'a_file' cannot be"),
        ("--storage ftp://x/y", "There is no storage with the scheme 'ftp'"),
        ("--storage s3://", "s3://"),
        ("--address 127.0.0.1:1", "127.0.0.1:1"),
        ("--address nowhere.invalid:6379", "nowhere.invalid"),
        ("--address head", "HOST:PORT with a port from 1 to 65535"),
        ("--address ray://head:10001", "run kdsearch on the head"),
    ],
)
def test_a_place_that_cannot_be_is_refused_soon_and_leaves_no_search(tmp_path, monkeypatch, capsys, words, said):
    few_draws(monkeypatch)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    Path("a_file").write_text("")
    monkeypatch.setattr(sys, "argv", ["kdsearch", "tune", "depth_vs_hint", "--name", "s", *words.split()])
    with at_most(15), pytest.raises(SystemExit) as end:
        app.main()
    error = capsys.readouterr().err
    assert end.value.code == 2 and error.startswith("kdsearch: ") and said in error and len(error.splitlines()) == 1
    assert not list(tmp_path.rglob("search.json"))
