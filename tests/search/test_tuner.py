"""The scheduler around the rungs; without Ray's processes."""

import os
from types import SimpleNamespace
from typing import Any

import pytest
from ray.tune.schedulers import TrialScheduler

from kdsearch.errors import Refusal, is_full
from kdsearch.results import files
from kdsearch.results import tables as results_tables
from kdsearch.search import tuner
from kdsearch.search.rungs import RULES, Rungs
from kdsearch.search.tuner import Stopper, Watcher
from kdsearch.storage.bucket import Storage

CURVES = {"0": (0.5, 0.6), "1": (0.6, 0.65), "2": (0.2, 0.3), "3": (0.55, 0.9), "4": (0.1, 0.95)}


@pytest.fixture
def tables(tmp_path) -> results_tables.Tables:
    found = results_tables.Tables(tmp_path)
    for name in (*CURVES, "kd"):
        facts = {"parameters": 5_000, "compression": 10.0, "reference": "kd" if name == "kd" else None}
        found.add(name, {"links": [{"seed": 0}, {"seed": 0}]}, facts, {})
    return found


def stopper(tables: results_tables.Tables, rule: str = "union") -> Stopper:
    return Stopper(tables, Rungs((1, 2), 2, rule, (1_000, 1_000_000)), "accuracy")


def reported(scheduler: Stopper, name: str, *rows: tuple[str, int | None, float | None], complete: bool = False) -> str:
    trial = SimpleNamespace(config={"trial": name, "judged": name != "kd"})
    plain = [{"stage": stage, "kd_epoch": epoch, "accuracy": accuracy} for stage, epoch, accuracy in rows]
    return scheduler.on_trial_result(None, trial, {"rows": plain, "complete": complete})


def told(tables: results_tables.Tables, hints: int, rule: str) -> list[str]:
    """The scheduler's answers to trials that report so many hint epochs before their curves."""
    scheduler, said = stopper(tables, rule), []
    for name, curve in CURVES.items():
        for _ in range(hints):
            assert reported(scheduler, name, ("hint", None, None)) == TrialScheduler.CONTINUE
        for epoch, accuracy in enumerate(curve, start=1):
            said.append(reported(scheduler, name, ("kd", epoch, accuracy)))
            if said[-1] == TrialScheduler.STOP:
                break
    return said


@pytest.mark.parametrize("rule", RULES)
def test_equal_curves_get_equal_verdicts_with_and_without_a_hint_stage(tables, rule):
    said = told(tables, 0, rule)
    assert told(tables, 5, rule) == said
    assert (TrialScheduler.STOP in said) == (rule != "none")


def test_several_rows_in_one_report_are_judged_at_each_milestone(tables):
    scheduler = stopper(tables)
    reported(scheduler, "0", ("kd", 1, 0.9), ("kd", 2, 0.9))
    assert reported(scheduler, "1", ("hint", None, None), ("kd", 1, 0.5), ("kd", 2, 1.0)) == TrialScheduler.STOP
    assert set(scheduler.rungs.verdicts) == {("0", 1), ("0", 2), ("1", 1)}


def test_a_verdict_goes_to_the_table_and_a_stop_s_cause_to_the_trial(tables):
    scheduler = stopper(tables)
    reported(scheduler, "0", ("kd", 1, 0.9))
    reported(scheduler, "1", ("kd", 1, 0.5))
    assert [(row["trial"], row["goes_on"]) for row in tables.verdicts] == [("0", True), ("1", False)]
    assert tables.verdicts[1].keys() == set(files.VERDICTS.names)
    assert tables.trials["1"]["cause"].startswith("not among the best 1/2 at KD epoch 1: 1 of the 2 of its size")


def test_references_and_trials_that_have_ended_are_not_judged(tables):
    scheduler = stopper(tables)
    reported(scheduler, "0", ("kd", 1, 0.9))
    assert reported(scheduler, "kd", ("kd", 1, 0.0)) == TrialScheduler.CONTINUE
    assert reported(scheduler, "1", ("kd", 2, 0.0), complete=True) == TrialScheduler.CONTINUE
    assert len(scheduler.rungs.verdicts) == 1


@pytest.fixture
def watcher(tables) -> Watcher:
    for number in range(5, 30):
        tables.add(str(number), {"links": [{"seed": 0}, {"seed": 0}]}, dict(tables.trials["0"]), {})
    plan = SimpleNamespace(sampler="random", folder=tables.folder, storage=Storage(tables.folder.parent))
    driver: Any = SimpleNamespace(plan=plan, tables=tables, doing={}, changed=lambda: None)

    def end_with(refusal: Refusal) -> None:
        raise refusal

    driver.end_with = end_with
    return Watcher(driver)


def ended(watcher: Watcher, number: int, cause: str | None) -> None:
    config = {"trial": str(number), "pipeline": {"links": [0, 0]}}
    trial = SimpleNamespace(config=config, num_failures=0)
    row = {"link": 1, "stage": "kd", "epoch": 1, "kd_epoch": 1, "accuracy": 0.5, "seconds": 1.0}
    told = {
        "rows": [row],
        "complete": cause is None,
        "cause": cause,
        "trace": "Traceback",
        "accuracy": 0.5,
        "balanced_accuracy": 0.5,
    }
    watcher.on_trial_result(0, [], trial, told)


def test_five_of_the_first_twelve_that_fail_alike_end_the_search(watcher):
    for number in range(4):
        ended(watcher, number, f"Diverged: the loss is not finite in epoch {number}.")
    ended(watcher, 4, "OutOfMemoryError: no room")
    for number in range(5, 11):
        ended(watcher, number, None)
    with pytest.raises(Refusal, match=r"^5 of the first 12 trials failed alike, .* 11: Diverged: in epoch 9\. Me"):
        ended(watcher, 11, "Diverged: in epoch 9.")


def test_failures_of_several_kinds_or_later_ones_do_not_end_the_search(watcher):
    for number in range(4):
        ended(watcher, number, "Diverged: x")
        ended(watcher, 4 + number, "OutOfMemoryError: y")
    for number in range(8, 12):
        ended(watcher, number, None)
    for number in range(12, 30):
        ended(watcher, number, "Diverged: x")


def test_cells_of_a_grid_that_fail_are_an_answer_unless_the_first_twelve_all_do(watcher):
    watcher.driver.plan.sampler = "grid"
    for number in range(11):
        ended(watcher, number, "Diverged: x")
    with pytest.raises(Refusal, match=r"^12 of the first 12 trials failed alike"):
        ended(watcher, 11, "Diverged: x")
    watcher.ends.clear()
    ended(watcher, 12, None)
    for number in range(13, 24):
        ended(watcher, number, "Diverged: x")


def test_a_trial_that_is_kept_waits_and_one_that_ended_has_no_checkpoint(watcher):
    checkpoint = watcher.driver.plan.folder / "checkpoints" / "0.safetensors"
    checkpoint.parent.mkdir()
    checkpoint.write_text("kept")
    trial = SimpleNamespace(config={"trial": "0", "pipeline": {"links": [0, 0]}}, num_failures=0)
    watcher.on_trial_start(0, [], trial)
    watcher.on_trial_result(0, [], trial, {"rows": [], "complete": False, "paused": True})
    watcher.on_trial_complete(0, [], trial)
    assert watcher.driver.tables.trials["0"]["state"] == "waiting" and checkpoint.exists()
    ended(watcher, 0, None)
    assert watcher.driver.tables.trials["0"]["state"] == "complete" and not checkpoint.exists()


def test_a_full_disk_is_no_trial_s_fault(watcher):
    watcher.driver.full_disk = lambda said: Refusal(f"full: {said}")
    trial = SimpleNamespace(config={"trial": "0", "pipeline": {"links": [0, 0]}})
    with pytest.raises(Refusal, match="full: No space left"):
        watcher.on_trial_result(0, [], trial, {"rows": [], "complete": False, "full": "No space left"})
    assert watcher.driver.tables.trials["0"]["state"] == "waiting"


@pytest.mark.parametrize(
    "error, full",
    [
        (OSError(28, "No space left on device", "x"), True),
        (OSError("'x' could not be written: Error while serializing: I/O error: No space left (os error 28)"), True),
        (OSError(122, "Disk quota exceeded"), True),
        (OSError(13, "Permission denied"), False),
        (ValueError("28"), False),
    ],
)
def test_a_full_disk_is_known_by_its_words(error, full):
    assert is_full(error) is full


@pytest.mark.parametrize(
    ("cpus", "most", "sampler", "address", "waiting"),
    [
        (2, None, "tpe", None, "1"), (16, None, "tpe", None, "4"), (200, 40, "tpe", None, "10"),
        (0, None, "tpe", None, "1"), (16, None, "grid", None, "16"), (200, 40, "random", None, "40"),
        (0, None, "grid", None, "1"), (16, None, "grid", "auto", "4"),
    ],
)  # fmt: skip
def test_a_quarter_of_those_side_by_side_wait_so_that_free_processes_are_kept_and_all_where_nobody_learns(
    monkeypatch, cpus, most, sampler, address, waiting
):
    monkeypatch.setattr(tuner.ray, "cluster_resources", lambda: {"CPU": cpus})
    monkeypatch.setattr(tuner.tune, "with_resources", lambda *_: 1 / 0)
    monkeypatch.setenv("TUNE_MAX_PENDING_TRIALS_PG", "auto")
    asked = SimpleNamespace(max_concurrent=most)
    plan = SimpleNamespace(resources={"cpu": 1, "gpu": 0}, asked=asked, trials=5_000, sampler=sampler, address=address)
    driver: Any = SimpleNamespace(plan=plan)
    unused: Any = None
    with pytest.raises(ZeroDivisionError):
        tuner._tune(driver, unused, unused, 1, print)
    assert os.environ["TUNE_MAX_PENDING_TRIALS_PG"] == waiting
