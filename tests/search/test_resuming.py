"""What a search that goes on refuses before anything of it is touched."""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from driver import SPACE, Driver, planned
from ended import searched

from kdsearch.cli import app
from kdsearch.errors import Refusal
from kdsearch.results import folder
from kdsearch.results import tables as results_tables
from kdsearch.results.facts import Facts, read_facts, write_facts
from kdsearch.search import driver as search
from kdsearch.search import look, plan, resume, run, tune, tuner
from kdsearch.search.resume import check_machine
from kdsearch.search.rungs import Rungs
from kdsearch.storage.files import whole

Say = Callable[[str], tuple[int, str]]


@pytest.fixture
def say(tmp_path, monkeypatch, capsys) -> Say:
    """`tune --resume` of a search of four draws, up to the point where Ray would start."""
    monkeypatch.setattr(look, "DRAWS", 30)
    Driver(tmp_path, "random", 4, -1).run()
    facts = read_facts(tmp_path / "s").plain()
    facts["options"] |= {
        "data": None, "image_size": None, "trials": 4, "epochs": 4, "teacher_epochs": 1, "seed": 0, "sampler": "random",
        "rule": "none", "reduction": 3.0, "milestones": None, "max_params": None, "max_macs": None, "precision": "auto",
        "min_compression": None, "overrides": None, "cpus_per_trial": 1.0, "results": ".", "space": "./lost.py",
    }  # fmt: skip
    write_facts(tmp_path / "s", facts)
    monkeypatch.chdir(tmp_path)

    def until_ray(found: plan.Plan, *shown: Any) -> search.Driver:
        own = search.Driver(found)
        run._begin(own)
        return own

    monkeypatch.setattr(tune, "run", until_ray)

    def said(words: str) -> tuple[int, str]:
        line = f"kdsearch tune ./lost.py --name s --resume --storage . {words}".split()
        monkeypatch.setattr(sys, "argv", line)
        code = 0
        try:
            app.main()
        except SystemExit as end:
            code = int(end.code or 0)
        return code, capsys.readouterr().err

    return said


def refused(say: Say, words: str, *said: str) -> None:
    before = {path: path.read_bytes() for path in Path("s").iterdir() if path.is_file() and path.name[0] != "."}
    code, error = say(words)
    assert code == 2 and error.startswith("kdsearch: ") and len(error.splitlines()) == 1, error
    assert all(part in error for part in said), error
    assert before == {path: path.read_bytes() for path in before}


def test_a_search_goes_on_when_nothing_differs_and_grows(say):
    code, error = say("")
    assert code in (0, 1) and error == ""
    say("--trials 9")
    assert read_facts(Path("s")).trials == 9


def test_drafts_that_a_killed_driver_or_worker_left_are_gone_whichever_version_wrote_them(say):
    with whole(Path("s/new.parquet")) as draft:
        ours = draft.name
        draft.touch()
    Path("s/new.parquet").unlink()
    left = [f"s/{ours}", "s/.search.json.4711", "s/.epochs.parquet.4711.139872", "s/students/.0.safetensors.ab12cd3f"]
    Path("s/students").mkdir(exist_ok=True)
    for name in left:
        Path(name).touch()
    assert say("")[0] in (0, 1)
    assert not [name for name in left if Path(name).exists()]


def test_a_search_that_there_is_not_is_refused_and_leaves_no_folder(say):
    refused(say, "--name t", "Only a search that has begun can go on", "'t'", "leave out --resume")
    assert not Path("t").exists()


@pytest.mark.parametrize("name", ["../s", ".", "store", "a/s", ".s"])
def test_a_name_that_is_no_search_s_is_refused(say, name):
    refused(say, f"--name {name}", "A search's name is that of a folder", f"'{name}'")


@pytest.mark.parametrize(
    "words, then, now",
    [
        ("--epochs 5", "--epochs was 4", "is 5 now"),
        ("--seed 3", "--seed was 0", "is 3 now"),
        ("--sampler tpe", "--sampler was random", "is tpe now"),
        ("--rule asha", "--rule was none", "is asha now"),
        ("--reduction 2", "--reduction was 3.0", "is 2.0 now"),
        ("--milestones 1,2", "--milestones was not given", "is 1,2 now"),
        ("--max-params 9", "--max-params was not given", "is 9 now"),
        ("--precision float32", "--precision was auto", "is float32 now"),
        ("--set student.fit.batch_size=64", "--set was not given", "is student.fit.batch_size=64 now"),
        ("--cpus-per-trial 2", "--cpus-per-trial was 1.0", "is 2.0 now"),
    ],
)
def test_an_option_that_would_change_trials_is_refused_with_what_it_was(say, words, then, now):
    refused(say, words, "A search goes on as it began", then, now, "leave it out")


@pytest.mark.parametrize("words", ["--max-concurrent 2", "--gpus-per-trial 0", "--trials 6", "--seed 0", "--epochs 4"])
def test_an_option_that_changes_no_trial_is_taken(say, words):
    assert say(words)[0] in (0, 1)


def test_a_space_that_does_something_else_is_refused_and_one_that_reads_otherwise_is_not(say):
    path = Path("lost.py")
    told = SPACE.replace("Is anything lost?", "What else?").replace("width, hidden", "width,  hidden")
    path.write_text(f"# A comment.\n{told}")
    assert say("")[0] in (0, 1)
    for wrong in (SPACE.replace('"hidden", 1, 12', '"hidden", 1, 13'), SPACE[:-30], "\0", ""):
        path.write_text(wrong)
        refused(say, "", "goes on with the space that it began with", "lost.py' has changed since")


def test_another_space_is_refused(say):
    facts = read_facts(Path("s")).plain()
    write_facts(Path("s"), facts | {"space": "other"})
    refused(say, "", "goes on with its own space, 'other'", "got 'lost'")


def test_fewer_trials_than_were_drawn_are_refused(say):
    refused(say, "--trials 3", "it has drawn 4 trials", "--trials must be at least that")


def test_images_that_changed_are_refused_with_both_fingerprints(say):
    facts = read_facts(Path("s")).plain()
    write_facts(Path("s"), facts | {"fingerprint": "f" * 16})
    refused(say, "", "f" * 16 + " then", facts["fingerprint"] + " now", "bring them back")


def test_a_search_that_runs_is_refused(say):
    with folder.driver_lock(Path("s")):
        refused(say, "", "A search has one driver", "'s' is running already")


def test_a_search_of_a_version_that_kept_no_options_is_refused(say):
    facts = read_facts(Path("s")).plain()
    del facts["options"]
    write_facts(Path("s"), facts)
    refused(say, "", "could not go on; start a new search")


@pytest.mark.parametrize(
    "name, value",
    [("epochs", "many"), ("seed", -1), ("cpus_per_trial", []), ("overrides", 3), ("rule", 7), ("trials", 2.5)],
)
def test_options_of_other_kinds_are_refused_with_the_option_and_its_value(say, name, value):
    facts = read_facts(Path("s")).plain()
    facts["options"][name] = value
    write_facts(Path("s"), facts)
    refused(say, "", f"{name} is {value!r} in its options")


def test_a_journal_of_whole_lines_that_cannot_be_is_refused_and_can_be_deleted(say, monkeypatch, tmp_path):
    path = Path("s") / results_tables.JOURNAL
    path.write_text(path.read_text() + '{"x": 1}\n')
    before = results_tables.read(Path("s")).trials
    with pytest.raises(Refusal, match=r"The journal '.*optuna\.journal' is damaged .*; delete that file"):
        Driver(tmp_path, "random", 6, -1).run()
    path.unlink()
    Driver(tmp_path, "random", 6, -1).run()
    after = results_tables.read(Path("s")).trials
    assert len(after) == 9 and {name: after[name] for name in before} == before | {
        name: {**before[name], "front": after[name]["front"]} for name in before
    }


def test_verdicts_that_do_not_fit_the_rungs_are_refused(say, tmp_path):
    driver = Driver(tmp_path, "random", 4, -1)
    rungs = Rungs(driver.search.plan.milestones, 3, "none", driver.search.plan.sizes)
    rungs.judge("0", 1, 0.5, 100)
    verdict = rungs.state()["verdicts"][0]
    for odd in ({"milestone": 2}, {"parameters": -3}, {"stratum": 9}, {"colour": "red"}):
        driver.search.tables.verdicts = [verdict | odd]
        with pytest.raises(Refusal, match=r"verdicts\.parquet' is damaged .*; delete it"):
            tuner.restored(driver.search)
    driver.search.tables.verdicts = [verdict]
    assert list(tuner.restored(driver.search).verdicts) == [("0", 1)]


def test_a_search_grows_by_trials_and_seeds_and_shrinks_by_neither(tmp_path):
    tables = results_tables.Tables(tmp_path)
    known = {"parameters": 1, "compression": 1.0, "training_parameters": 1, "macs": 1}
    for name, cell in (("kd", None), ("0", None), ("1", None), ("0-1", "0"), ("0-2", "0")):
        more = {"replicate_of": cell, "reference": "kd" if name == "kd" else None}
        tables.add(name, {"links": [{"seed": 0}]}, known | more, {})
    resume.check_more(tables, trials=2, seeds=3)
    with pytest.raises(Refusal, match="it has drawn 2 trials"):
        resume.check_more(tables, trials=1, seeds=3)
    with pytest.raises(Refusal, match="it has trained 3 seeds"):
        resume.check_more(tables, trials=2, seeds=2)


def told(**more: object) -> Facts:
    plain = {
        "space": "s", "command": "c", "trials": 1, "seed": 0, "data": "d", "fingerprint": "f", "images": 9,
        "validation_images": 10, "classes": 4, "knobs": {}, "machine": "one", "precision": "float32",
        "versions": {"torch": "2.9", "ray": "2.60"},
    }  # fmt: skip
    return Facts.model_validate(plain | more)


def test_a_search_goes_on_in_the_precision_that_it_began_with():
    said = r"in one precision, but this one began in bfloat16 \(on one\) and here auto is float32 \(two\); go on where"
    with pytest.raises(Refusal, match=said):
        check_machine(told(precision="bfloat16"), told(machine="two"))
    assert check_machine(told(), told()) == [] and check_machine(told(precision=None), told()) == []


@pytest.mark.parametrize(
    "now, said",
    [
        ({"machine": "two"}, "processor was one and is two"),
        ({"versions": {"torch": "2.10", "ray": "2.60"}}, "torch was 2.9 and is 2.10"),
        ({"versions": {"torch": "2.9", "ray": "3"}}, "ray was 2.60 and is 3"),
    ],
)
def test_what_may_change_numbers_is_told_when_a_search_goes_on(now, said):
    (sentence,) = check_machine(told(), told(**now))
    assert sentence == f"trials from here on may come to other numbers than those before: {said}."


def going_on(tmp_path, monkeypatch, **told: object) -> plan.Plan:
    """Of a search of four draws, up to the point where Ray would start."""
    monkeypatch.setattr(look, "DRAWS", 30)
    Driver(tmp_path, "random", 4, -1).run()
    write_facts(tmp_path / "s", read_facts(tmp_path / "s").plain() | told)
    monkeypatch.setattr(run, "start_ray", lambda address: None)
    monkeypatch.setattr(run, "asked_resources", lambda *_: {"cpu": 1, "gpu": 0})
    return planned(tmp_path / "lost.py", name="s", results=str(tmp_path), resume=True)


def kept(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file() and path.name[0] != "."}


def test_a_search_that_may_not_go_on_here_keeps_its_tables(tmp_path, monkeypatch):
    found = going_on(tmp_path, monkeypatch)
    now = found.precision
    other = "float32" if now == "bfloat16" else "bfloat16"
    write_facts(tmp_path / "s", read_facts(tmp_path / "s").plain() | {"precision": other, "machine": "one"})
    found = planned(tmp_path / "lost.py", name="s", results=str(tmp_path), resume=True)
    before = kept(tmp_path / "s")
    with pytest.raises(Refusal, match=f"began in {other} .on one. and here auto is {now}"):
        run.run(found)
    assert kept(tmp_path / "s") == before and len(results_tables.read(tmp_path / "s").trials) > 4


def test_a_search_whose_table_is_damaged_keeps_the_others(tmp_path, monkeypatch):
    found = going_on(tmp_path, monkeypatch)
    (tmp_path / "s" / "verdicts.parquet").write_bytes(b"no table")
    before = kept(tmp_path / "s")
    with pytest.raises(Refusal, match=r"verdicts\.parquet' is damaged"):
        run.run(found)
    assert kept(tmp_path / "s") == before


def test_a_search_of_an_older_recipe_is_refused_and_can_be_looked_at(tmp_path, monkeypatch):
    going_on(tmp_path, monkeypatch)
    write_facts(tmp_path / "s", read_facts(tmp_path / "s").plain() | {"recipe": 2})
    with pytest.raises(Refusal, match=r"began by recipe 2 .* start a new search, or go on with that version"):
        planned(tmp_path / "lost.py", name="s", results=str(tmp_path), resume=True)
    assert len(results_tables.read(tmp_path / "s").trials) > 4


def test_images_that_moved_are_in_their_new_place_in_every_trial_of_a_search_that_goes_on(tmp_path):
    tables = searched(tmp_path, ("0", None, 50_000, 0.9), ("1", None, 60_000, 0.9))
    for row in tables.trials.values():
        row["pipeline"] = json.dumps(json.loads(row["pipeline"]) | {"data": {"name": "/old/photos", "images": 9}})
    tables.place_data("/new/photos")
    placed = [json.loads(row["pipeline"])["data"] for row in tables.trials.values()]
    assert placed == [{"name": "/new/photos", "images": 9}] * 2


def test_a_search_that_leaves_the_gpu_says_so():
    (sentence,) = check_machine(told(resources={"cpu": 1, "gpu": 1}), told(resources={"cpu": 1, "gpu": 0}))
    assert "device was a GPU and is the processor" in sentence
