"""The scheduler around the rungs; without Ray's processes."""

import os
from types import SimpleNamespace
from typing import Any

import pytest
from ray.tune.schedulers import TrialScheduler

from kdsearch import results, tuner
from kdsearch.rungs import RULES, Rungs
from kdsearch.tuner import Stopper

CURVES = {"0": (0.5, 0.6), "1": (0.6, 0.65), "2": (0.2, 0.3), "3": (0.55, 0.9), "4": (0.1, 0.95)}


@pytest.fixture
def tables(tmp_path) -> results.Tables:
    found = results.Tables(tmp_path)
    for name in (*CURVES, "kd"):
        facts = {"parameters": 5_000, "compression": 10.0, "reference": "kd" if name == "kd" else None}
        found.add(name, {"links": [{"seed": 0}, {"seed": 0}]}, facts, {})
    return found


def stopper(tables: results.Tables, rule: str = "union") -> Stopper:
    return Stopper(tables, Rungs((1, 2), 2, rule, (1_000, 1_000_000)))


def reported(scheduler: Stopper, name: str, *rows: tuple[str, int | None, float | None], complete: bool = False) -> str:
    trial = SimpleNamespace(config={"trial": name, "judged": name != "kd"})
    plain = [{"stage": stage, "kd_epoch": epoch, "accuracy": accuracy} for stage, epoch, accuracy in rows]
    return scheduler.on_trial_result(None, trial, {"rows": plain, "complete": complete})


def told(tables: results.Tables, hints: int, rule: str) -> list[str]:
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
    assert tables.verdicts[1].keys() == set(results.VERDICTS.names)
    assert tables.trials["1"]["cause"].startswith("not among the best 1/2 at KD epoch 1: 1 of the 2 of its size")


def test_references_and_trials_that_have_ended_are_not_judged(tables):
    scheduler = stopper(tables)
    reported(scheduler, "0", ("kd", 1, 0.9))
    assert reported(scheduler, "kd", ("kd", 1, 0.0)) == TrialScheduler.CONTINUE
    assert reported(scheduler, "1", ("kd", 2, 0.0), complete=True) == TrialScheduler.CONTINUE
    assert len(scheduler.rungs.verdicts) == 1


@pytest.mark.parametrize(
    ("cpus", "most", "waiting"), [(2, None, "1"), (16, None, "4"), (200, 40, "10"), (0, None, "1")]
)
def test_a_quarter_of_those_side_by_side_wait_so_that_free_processes_are_kept(monkeypatch, cpus, most, waiting):
    monkeypatch.setattr(tuner.ray, "cluster_resources", lambda: {"CPU": cpus})
    monkeypatch.setattr(tuner.tune, "with_resources", lambda *_: 1 / 0)
    monkeypatch.setenv("TUNE_MAX_PENDING_TRIALS_PG", "auto")
    search: Any = SimpleNamespace(resources={"cpu": 1, "gpu": 0}, max_concurrent=most, trials=5_000)
    unused: Any = None
    with pytest.raises(ZeroDivisionError):
        tuner._tune(search, unused, unused, 1, print)
    assert os.environ["TUNE_MAX_PENDING_TRIALS_PG"] == waiting
