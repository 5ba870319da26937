"""A whole search, once, as a user runs it; and everything that is then asked of it."""

import json
import os
import subprocess
import sys
from pathlib import Path

import optuna
import pandas as pd
import pytest
import yaml
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend

from kdsearch.cli import app
from kdsearch.config.net import Net
from kdsearch.distill.recorded import Recorded
from kdsearch.nets import survey
from kdsearch.results import front, tables
from kdsearch.results.facts import read_facts
from kdsearch.search.export import FILES

SPACE = """
'''Does a tiny search do what a large one must?'''
from kdsearch.config import *

BUDGET = Budget(trials=10, epochs=6, teacher_epochs=3)
TEACHER = Net(widths=(8, 8, 8), depth=3, hidden=16)
REFERENCE = Net(widths=(4, 4, 4), depth=3, hidden=8)
FIT = Fit(batch_size=128, learning_rate=5e-3)
# Each step multiplies the weights by -99: this student's loss is soon infinite.
BROKEN = Fit(batch_size=128, optimizer="sgd", learning_rate=100, weight_decay=1)


def space(trial):
    net = Net(widths=(4, 4, 4), depth=3, hidden=8, width=trial.suggest_float("width", 0.5, 2.0, step=0.5))
    pairs = (Pair(hint=2, guided=2),) if trial.suggest_categorical("hint", ["none", "2"]) == "2" else ()
    helped = trial.suggest_categorical("assistant", [False, True])
    broken = trial.suggest_categorical("broken", [False, False, True])
    assistant = [Link(net=REFERENCE, kd=KD(), fit=FIT)] if helped else []
    student = Link(net=net, hints=Hints(pairs=pairs) if pairs else None, kd=KD(), fit=BROKEN if broken else FIT)
    return Pipeline(links=(Link(net=TEACHER, fit=FIT), *assistant, student))
""".replace("[False, False, True]", '["no", "not", "yes"]').replace("if broken", 'if broken == "yes"')


def kdsearch(*words: object, cwd: Path) -> subprocess.CompletedProcess:
    call = [sys.executable, "-c", "from kdsearch.cli import main; main()", *map(str, words)]
    return subprocess.run(call, cwd=cwd, capture_output=True, text=True, env={**os.environ, "COLUMNS": "100"})


@pytest.fixture(scope="module")
def ran(tmp_path_factory) -> tuple[Path, subprocess.CompletedProcess]:
    where = tmp_path_factory.mktemp("search")
    (where / "tiny.py").write_text(SPACE)
    return where, kdsearch("tune", "./tiny.py", "--name", "s", "--seed", 1, "--rule", "asha", cwd=where)


@pytest.fixture(scope="module")
def trials(ran) -> pd.DataFrame:
    return pd.read_parquet(ran[0] / "results" / "s" / "trials.parquet").set_index("trial")


@pytest.fixture(scope="module")
def epochs(ran) -> pd.DataFrame:
    return pd.read_parquet(ran[0] / "results" / "s" / "epochs.parquet")


def say(words: str, where: Path, monkeypatch, capsys) -> tuple[int, str, str]:
    """Run a command in this process: exit code, what it printed, what it complained."""
    monkeypatch.chdir(where)
    monkeypatch.setattr(sys, "argv", ["kdsearch", *words.split()])
    with pytest.raises(SystemExit) as end:
        app.main()
    said = capsys.readouterr()
    return int(end.value.code or 0), said.out, said.err


def test_it_ends_well_and_tells_its_progress_without_noise(ran):
    _, done = ran
    assert done.returncode == 0, done.stderr
    assert "teacher: epoch 3/3" in done.stdout and "assistant-" in done.stdout
    assert "Front: fully trained trials" in done.stdout and "References" in done.stdout
    assert done.stderr == "" and "ray" not in done.stdout.lower()


def test_every_trial_has_an_outcome(trials):
    drawn = trials[trials["reference"].isna()]
    assert sorted(drawn.index) == [str(number) for number in range(10)]
    assert set(trials["state"]) <= {"complete", "stopped", "failed"}
    assert trials["cause"].notna().equals(trials["state"] != "complete")


def test_references_are_all_there_complete_and_of_one_size_and_budget(trials):
    references = trials[trials["reference"].notna()]
    assert list(references["reference"]) == list(references.index) == ["labels", "kd", "hint+kd"]
    assert set(references["state"]) == {"complete"} and not references["front"].any()
    assert len(set(references["parameters"])) == len(set(references["epochs"])) == 1


def test_a_broken_trial_is_recorded_with_its_cause_and_the_search_goes_on(trials, ran):
    broken = trials[trials["knob.broken"] == "yes"]
    assert len(broken) and set(broken["state"]) == {"failed"}
    assert broken["cause"].str.contains("Diverged: the loss is not finite in stage").all()
    assert f"Failed: trial {broken.index[0]}" in ran[1].stdout


def test_the_front_is_of_fully_trained_draws(trials):
    rows = trials.reset_index().to_dict("records")
    words = ("reference", "replicate_of")
    rows = [row | {name: row[name] if isinstance(row[name], str) else None for name in words} for row in rows]
    assert set(front.members(rows)) == set(trials.index[trials["front"]]) != set()
    assert set(trials["state"][trials["front"]]) == {"complete"}


def test_trials_are_judged_in_their_last_stage_at_milestones_only(trials, epochs):
    stopped = trials.index[trials["state"] == "stopped"]
    for name in stopped:
        own = epochs[(epochs["trial"] == name) & epochs["kd_epoch"].notna()]
        assert own["kd_epoch"].max() in (1, 3)
    hints = epochs[epochs["stage"] == "hint"]
    assert len(hints) and hints["kd_epoch"].isna().all() and hints["accuracy"].isna().all()


def test_every_stopped_trial_has_its_verdict(trials, ran):
    verdicts = pd.read_parquet(ran[0] / "results" / "s" / "verdicts.parquet")
    against = verdicts[~verdicts["goes_on"]]
    assert set(against["trial"]) == set(trials.index[trials["state"] == "stopped"]) != set()
    assert set(verdicts["milestone"]) <= {1, 3} and not set(verdicts["trial"]) & {"labels", "kd", "hint+kd"}


def test_the_journal_holds_every_draw_with_its_outcome(trials, ran):
    facts = json.loads((ran[0] / "results" / "s" / "search.json").read_text())
    storage = JournalStorage(JournalFileBackend(str(ran[0] / "results" / "s" / "optuna.journal")))
    found = optuna.load_study(study_name=facts["study"], storage=storage).get_trials()
    named = {trial.user_attrs["trial"]: trial.state.name for trial in found if "trial" in trial.user_attrs}
    states = {"complete": "COMPLETE", "stopped": "PRUNED", "failed": "FAIL"}
    assert named == {name: states[row["state"]] for name, row in trials[trials["reference"].isna()].iterrows()}
    assert not any(trial.state.name == "RUNNING" for trial in found)


def test_no_trial_trains_a_network_that_was_trained_before(trials, epochs):
    student = {name: len(json.loads(text)["links"]) - 1 for name, text in trials["pipeline"].items()}
    trained = epochs[epochs["stage"] != "record"]
    own = trained[trained["trial"].isin(trials.index)]
    assert len(own) and (own["link"] == own["trial"].map(student)).all()
    before = trained[~trained["trial"].isin(trials.index)]
    assert before["trial"].value_counts().to_dict() == {name: 3 for name in before["trial"].unique()}
    assert "teacher" in set(before["trial"]) and before["trial"].nunique() == 2 and before["kd_epoch"].isna().all()


def test_what_a_teacher_answers_is_recorded_once_for_all_trials(trials, epochs, ran):
    records = epochs[epochs["stage"] == "record"]
    # Of the teacher and of the assistant: logits, and the hint if it was asked for later. Not once for each trial.
    assert 2 <= len(records) <= 4 < len(trials) and set(records["link"]) == {0, 1} and set(records["epoch"]) == {0}
    kept = read_facts(ran[0] / "results" / "s").networks
    assert [net.targets for net in kept.values()] == [{}, {"kd": "recorded"}]


def test_epochs_and_accuracies_of_the_two_tables_agree(trials, epochs):
    for name, row in trials[trials["state"] == "complete"].iterrows():
        own = epochs[(epochs["trial"] == name) & (epochs["stage"] != "record")]
        assert len(own) == row["epochs"] == 6 and own["accuracy"].iloc[-1] == row["accuracy"]
        assert own["kd_epoch"].max() == row["kd_epochs"]


def test_search_json_says_what_was_run(ran):
    facts = json.loads((ran[0] / "results" / "s" / "search.json").read_text())
    assert facts["command"].endswith("tune ./tiny.py --name s --seed 1 --rule asha") and facts["seed"] == 1
    assert {"kdsearch", "ray", "optuna", "torch"} <= set(facts["versions"])
    assert len(facts["fingerprint"]) == 16 and 0 < facts["teacher_accuracy"] <= 1 and facts["teacher"]


def test_status_tells_people_and_programs(ran, monkeypatch, capsys):
    code, said, _ = say("status s", ran[0], monkeypatch, capsys)
    assert code == 0 and "finished, 13 of 13 trials ended" in said
    code, said, _ = say("status s --json", ran[0], monkeypatch, capsys)
    told = json.loads(said)
    assert told["state"] == "finished" and told["front"] and sum(told["states"].values()) == 13


def test_status_tells_programs_what_was_spent(ran, trials, epochs, monkeypatch, capsys):
    spent = json.loads(say("status s --json", ran[0], monkeypatch, capsys)[1])["spent"]
    draws = trials[trials["reference"].isna()]
    assert spent["students"]["count"] == (draws["epochs"] > 0).sum()  # one failed before it had any
    assert spent["students"]["epochs"] == draws["epochs"].sum()
    assert spent["students"]["weighted_epochs"] == (draws["epochs"] * draws["macs"]).sum()
    assert spent["students"]["seconds"] == pytest.approx(draws["seconds"].sum())
    assert spent["references"]["count"] == 3
    # The teacher and the assistant, three epochs each; each counts with its own multiply-accumulates.
    own = [network.macs or 0 for network in read_facts(ran[0] / "results" / "s").networks.values()]
    teacher = survey.survey(Net(widths=(8, 8, 8), depth=3, hidden=16), (1, 8, 8), 10)
    assert own == [teacher.macs, trials["macs"]["labels"]]
    assert (spent["teachers"]["epochs"], spent["teachers"]["weighted_epochs"]) == (6, 3 * sum(own))
    assert spent["recording"]["count"] == (epochs["stage"] == "record").sum()


def test_an_exported_config_trained_again_gives_the_trial_s_accuracy_exactly(ran, trials, monkeypatch, capsys):
    code, said, _ = say("export s --front", ran[0], monkeypatch, capsys)
    members = list(trials.index[trials["front"]])
    assert code == 0 and sorted(said.split()) == sorted(f"exports/s/{name}" for name in members)
    for name in members:
        folder = ran[0] / "exports" / "s" / name
        assert {path.name for path in folder.iterdir()} == {name for name in FILES if not name.endswith(".onnx")}
        assert json.loads((folder / "metrics.json").read_text())["accuracy"] == trials["accuracy"][name]
        code, said, _ = say(f"train {folder}/config.yaml", ran[0], monkeypatch, capsys)
        assert code == 0 and f"({trials['accuracy'][name]:.6f}), as recorded" in said and "Warning" not in said


def test_it_gives_the_same_number_where_the_store_lacks_the_teacher(ran, trials, tmp_path, monkeypatch, capsys):
    say("export s --best accuracy", ran[0], monkeypatch, capsys)
    name = front.best(tables.read(ran[0] / "results" / "s").trials, "accuracy")
    code, said, _ = say(f"train exports/s/{name}/config.yaml --results {tmp_path}", ran[0], monkeypatch, capsys)
    assert code == 0 and f"({trials['accuracy'][name]:.6f})" in said


def test_seeds_are_replicates_and_the_test_images_are_read_when_asked(ran, tmp_path, monkeypatch, capsys):
    say("export s --trial kd", ran[0], monkeypatch, capsys)
    asked = f"train exports/s/kd/config.yaml --seeds 2 --test --output {tmp_path}/again"
    code, said, _ = say(asked, ran[0], monkeypatch, capsys)
    assert code == 0 and "±" in said and "test accuracy" in said and "over 2 seed(s)" in said
    config = yaml.safe_load((tmp_path / "again" / "seed-2" / "config.yaml").read_text())
    assert config["links"][-1]["seed"] == 2 and (tmp_path / "again" / "seed-1" / "student.safetensors").exists()


def test_an_exported_student_holds_its_own_weights_alone(ran, trials, monkeypatch, capsys):
    from safetensors.torch import load_file

    say("export s --trial hint+kd", ran[0], monkeypatch, capsys)
    weights = load_file(ran[0] / "exports" / "s" / "hint+kd" / "student.safetensors")
    assert sum(tensor.numel() for tensor in weights.values()) == trials["parameters"]["hint+kd"]
    assert trials["training_parameters"]["hint+kd"] > trials["parameters"]["hint+kd"]


@pytest.mark.parametrize(
    "words, said",
    [
        ("tune depth_vs_hnt", "Did you mean 'depth_vs_hint'"),
        ("tune depth_vs_hint --data nodata", "There is no data set or folder 'nodata'"),
        ("tune depth_vs_hint --set student.fit.batchsize=3", "Did you mean 'batch_size'"),
        ("tune depth_vs_hint --epochs 1", "epochs must be at least 2"),
        ("tune ./tiny.py --name s", "exists"),
        ("tune depth_vs_hint --rule unoin", "Did you mean 'union'"),
        ("tune depth_vs_hint --sampler tpee", "Did you mean 'tpe'"),
        ("tune depth_vs_hint --sampler grid", "draws width, lambda, tau from a continuous range"),
        ("tune depth_vs_hint --seeds 3", "kdsearch confirm"),
        ("tune depth --sampler tpe", "needs --trials"),
        ("tune depth_vs_hint --reduction 1", "--reduction must be above 1"),
        ("tune depth_vs_hint --milestones 3,1", "rising whole numbers from 1 on"),
        ("replay s", "stopped early; run it again with --rule none"),
        ("replay t", "There is no search"),
        ("replay tiny.py", "cannot be read"),
        ("status t", "There is no search"),
        ("status .", "search.json"),
        ("report t", "There is no search"),
        ("export s", "exactly one"),
        ("export s --trial 99", "There is no trial '99'"),
        ("export s --best knees", "Did you mean 'knee'"),
        ("train nothing.yaml", "cannot be read"),
        ("train tiny.py", "config 'tiny.py'"),
    ],
)
def test_bad_input_is_told_in_a_sentence_with_exit_code_2(ran, words, said, monkeypatch, capsys):
    before = sorted(ran[0].rglob("*"))
    code, out, err = say(words, ran[0], monkeypatch, capsys)
    assert code == 2 and out == "" and said in err
    assert err.startswith("kdsearch: ") and len(err.splitlines()) == 1 and "Traceback" not in err
    assert sorted(ran[0].rglob("*")) == before


def test_export_writes_nothing_where_one_student_is_damaged(ran, trials, tmp_path, monkeypatch, capsys):
    name = trials.index[trials["front"]][-1]
    path = ran[0] / "results" / "s" / "students" / f"{name}.safetensors"
    whole = path.read_bytes()
    path.write_bytes(whole[:-10])
    code, out, err = say(f"export s --front --output {tmp_path}/e", ran[0], monkeypatch, capsys)
    path.write_bytes(whole)
    assert code == 2 and out == "" and "damaged" in err and not (tmp_path / "e").exists()


def test_a_failure_s_traceback_is_kept(ran, trials):
    name = trials.index[trials["state"] == "failed"][0]
    assert "Diverged" in (ran[0] / "results" / "s" / "failures" / f"{name}.txt").read_text()


def test_debug_shows_the_traceback(ran, monkeypatch, capsys):
    code, _, err = say("status t --debug", ran[0], monkeypatch, capsys)
    assert code == 2 and "Traceback" in err and "There is no search" in err


def test_a_trial_that_was_not_finished_is_not_exported(ran, trials, monkeypatch, capsys):
    name = trials.index[trials["state"] == "failed"][0]
    code, _, err = say(f"export s --trial {name}", ran[0], monkeypatch, capsys)
    assert code == 2 and f"trial {name} is failed" in err


def test_a_config_of_another_fingerprint_warns(ran, monkeypatch, capsys):
    say("export s --trial kd", ran[0], monkeypatch, capsys)
    path = ran[0] / "exports" / "s" / "kd" / "config.yaml"
    text = path.read_text()
    path.write_text(text.replace(yaml.safe_load(text)["made"]["fingerprint"], "f" * 16))
    code, said, _ = say(f"train {path}", ran[0], monkeypatch, capsys)
    assert code == 0 and "fingerprint was ffffffffffffffff" in said


def test_a_dry_run_shows_three_pipelines_and_trains_nothing(ran, monkeypatch, capsys):
    before = sorted(ran[0].rglob("*"))
    code, said, _ = say("tune ./tiny.py --dry-run --set student.net.dropout=0.3", ran[0], monkeypatch, capsys)
    assert code == 0 and said.count("Parameters, from teacher to student") == 3 and "dropout: 0.3" in said
    assert sorted(ran[0].rglob("*")) == before


def test_views_are_fewer_where_all_the_hints_would_not_fit(ran, monkeypatch, capsys):
    words = "tune ./tiny.py --dry-run --set data.augment=crop"
    assert "Views of each image: 8; " in say(words, ran[0], monkeypatch, capsys)[1]
    monkeypatch.setenv("KDSEARCH_CACHE_LIMIT", "0.001")
    said = say(words, ran[0], monkeypatch, capsys)[1]
    assert "Views of each image: 4; " in said and "(at most 1.0 MB: KDSEARCH_CACHE_LIMIT)" in said
    # What a user asks for is not lowered: the teacher runs live then.
    assert "Views of each image: 7; " in say(f"{words} --set data.views=7", ran[0], monkeypatch, capsys)[1]
    assert "Views" not in say(f"{words} --set data.views=fresh", ran[0], monkeypatch, capsys)[1]


def test_the_cache_is_shown_and_cleared(ran, monkeypatch, capsys, tmp_path):
    told = say("cache", ran[0], monkeypatch, capsys)[1]
    assert "decoded images:" in told and "of at most 20.0 GB" in told
    key = read_facts(ran[0] / "results" / "s").teacher
    assert f"{key}-" in told and "ago" in told
    monkeypatch.setenv("KDSEARCH_CACHE", str(tmp_path))
    (tmp_path / "targets").mkdir()
    (tmp_path / "targets" / "x.safetensors").write_bytes(b"0" * 5000)
    assert say("cache --clear", ran[0], monkeypatch, capsys)[1].startswith("Deleted: 5.0 kB")
    assert "0.0 kB in 0 files" in say("cache", ran[0], monkeypatch, capsys)[1]


def test_an_exported_config_says_how_the_teacher_answered(ran, monkeypatch, capsys):
    say("export s --trial hint+kd", ran[0], monkeypatch, capsys)
    plain = yaml.safe_load((ran[0] / "exports" / "s" / "hint+kd" / "config.yaml").read_text())
    assert plain["made"]["targets"] == {"hint": "recorded", "kd": "recorded"} and plain["data"]["views"] == 1
    assert plain["made"]["precision"] in ("float32", "bfloat16") and plain["made"]["teachers"][0]["targets"] == {}


def test_train_obeys_the_config_s_choice_and_precision(ran, monkeypatch, capsys, tmp_path):
    say("export s --trial hint+kd", ran[0], monkeypatch, capsys)
    plain = yaml.safe_load((ran[0] / "exports" / "s" / "hint+kd" / "config.yaml").read_text())
    other = {"float32": "bfloat16", "bfloat16": "float32"}[plain["made"]["precision"]]
    plain["made"] |= {"targets": {"hint": "live", "kd": "live"}, "precision": other}
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(plain))
    monkeypatch.setattr(Recorded, "ready", None)
    code, _, err = say(f"train {tmp_path}/config.yaml --output {tmp_path}/o", ran[0], monkeypatch, capsys)
    assert code == 0, err
    again = yaml.safe_load((tmp_path / "o" / "seed-1" / "config.yaml").read_text())["made"]
    assert again["targets"] == {"hint": "live", "kd": "live"} and again["precision"] == other


def test_a_config_written_by_hand_says_afterwards_how_many_views_it_had(ran, monkeypatch, capsys, tmp_path):
    plain = yaml.safe_load((ran[0] / "exports" / "s" / "hint+kd" / "config.yaml").read_text())
    del plain["made"], plain["data"]["views"]
    plain["data"]["augment"] = "flip"
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(plain))
    code, _, err = say(f"train {tmp_path}/config.yaml --output {tmp_path}/o", ran[0], monkeypatch, capsys)
    assert code == 0, err
    assert yaml.safe_load((tmp_path / "o" / "seed-1" / "config.yaml").read_text())["data"]["views"] == 2


def test_a_report_of_it_is_one_page(ran, monkeypatch, capsys):
    code, said, _ = say("report s --png", ran[0], monkeypatch, capsys)
    names = [Path(path).name for path in said.split()]
    assert code == 0 and names == [
        "report.html",
        *(f"report-{name}.png" for name in ("pareto", "curves", "stops", "hypervolume", "importances", "confusion")),
    ]
    assert all((ran[0] / path).stat().st_size > 5_000 for path in said.split())
