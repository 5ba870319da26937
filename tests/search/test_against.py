"""A search against parameters, MACs, bytes or latency, and a limit of latency; nothing here is really measured."""

import math
from collections.abc import Callable
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import optuna
import pytest
from driver import planned, sampler_of
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import TrialState
from ray.tune.search import Searcher

from kdsearch.errors import Refusal
from kdsearch.nets import latency
from kdsearch.results.facts import Facts, read_facts
from kdsearch.results.objectives import OBJECTIVES
from kdsearch.search import look, within
from kdsearch.search.driver import Driver
from kdsearch.search.plan import Plan
from kdsearch.search.tune import _first
from kdsearch.search.tuner import Stopper, restored

SPACE = """
'''How fast?'''
from kdsearch.config import *

BUDGET = Budget(trials=30, epochs=4, teacher_epochs=1)
TEACHER = REFERENCE = Net(widths=(8, 8, 8), depth=3, hidden=8)


def space(trial):
    net = Net(widths=(trial.suggest_int("width", 1, 9),) * 3, depth=trial.suggest_int("depth", 3, 6, step=3), hidden=8)
    return Pipeline(links=(Link(net=TEACHER), Link(net=net, kd=KD())))
"""
CELLS = 18


def microseconds(net: Any) -> float:
    """Of depth 3 and width 8, the teacher: 80."""
    return 10.0 * net.widths[0] * net.depth / 3


class Clock:
    """Measures by counting, and remembers what it was asked for."""

    def __init__(self) -> None:
        self.asked: list[Any] = []
        self.pace = 1.0
        """Of this machine."""

    def beside(self, net: Any, teacher: Any, image: Any, classes: int) -> latency.Latency:
        assert (image, classes) == ((1, 8, 8), 10)
        self.asked.append(net)
        own, its = self.pace * microseconds(net), self.pace * microseconds(teacher)
        return latency.Latency(own, its / own, its, own, its / own)


@pytest.fixture
def clock(monkeypatch) -> Clock:
    found = Clock()
    monkeypatch.setattr(latency, "beside", found.beside)
    monkeypatch.setattr(latency, "runtime", lambda: "onnxruntime 1.32.0")
    monkeypatch.setattr(look, "DRAWS", 40)
    return found


@pytest.fixture
def plan(tmp_path, clock) -> Callable[..., Plan]:
    path = tmp_path / "fast.py"
    path.write_text(SPACE)
    return lambda **more: planned(path, results=str(tmp_path / "results"), **more)


def begun(own: Plan) -> Driver:
    found = Driver(own)
    found.plan.folder.mkdir(parents=True, exist_ok=True)
    if own.place.before:
        found.tables.take_over()
    found.write_facts()
    return found


def drawn(driver: Driver, count: int = 100) -> list[dict[str, Any]]:
    """The rows of the tables after so many trials, each of which ends at once with an accuracy by its size."""
    sampler = sampler_of(driver, startup=3)
    for number in range(count):
        config = sampler.suggest(f"r{number}")
        if config == Searcher.FINISHED:
            break
        row = driver.tables.trials[config["trial"]]
        accuracy = 1 - 1 / math.log(10 + row["parameters"])
        driver.tables.mark(row["trial"], "complete", None, accuracy, accuracy)
        sampler.on_trial_complete(f"r{number}", {"complete": True, "accuracy": accuracy, "balanced_accuracy": accuracy})
    sampler.close()
    driver.tables.write(at_once=True)
    return list(driver.tables.trials.values())


def study(own: Plan) -> optuna.Study:
    storage = JournalStorage(JournalFileBackend(str(own.folder / "optuna.journal")))
    return optuna.load_study(study_name=own.study, storage=storage)


def test_without_against_a_search_draws_and_records_what_it_does_against_parameters(plan, clock):
    free, told = plan(name="a"), plan(name="b", against="parameters")
    one, other = drawn(begun(free), 9), drawn(begun(told), 9)
    assert one == other and free.sizes == told.sizes and clock.asked == []
    assert study(free).metric_names == ["accuracy", "log10 compression"]
    assert all(row["against"] == "parameters" and row["latency_us"] is row["latency_ratio"] is None for row in one)


@pytest.mark.parametrize("against", OBJECTIVES)
def test_optuna_s_second_objective_is_the_ratio_of_the_axis(plan, against):
    own = plan(against=against)
    rows = {row["trial"]: row for row in drawn(begun(own), 9)}
    found, axis = study(own), OBJECTIVES[against]
    assert found.metric_names == ["accuracy", f"log10 {axis.gain}"]
    ended = [trial for trial in found.trials if trial.state == TrialState.COMPLETE]
    assert ended
    for trial in ended:
        row = rows[trial.user_attrs.get("trial") or trial.user_attrs["equal_to"]]
        assert trial.values == pytest.approx([row["accuracy"], math.log10(row[axis.ratio])])
    assert read_facts(own.folder).against == against


def test_a_trial_s_columns_are_the_student_s_and_the_teacher_s_over_them(plan):
    own = plan(against="latency")
    for row in drawn(begun(own), 6):
        net = own.pipelines[0].model_validate_json(row["pipeline"]).student.net
        student, teacher = own.survey(net), own.survey(own.teacher.net)
        assert row["bytes"] == 4 * (student.parameters + student.statistics)
        for name in ("parameters", "macs", "bytes"):
            ratio = OBJECTIVES[name].ratio
            assert (row[name], row[ratio]) == (getattr(student, name), getattr(teacher, name) / getattr(student, name))
        assert (row["latency_us"], row["latency_ratio"]) == (microseconds(net), 80 / microseconds(net))
    assert any(row["reference"] for row in drawn(begun(own), 6))  # which are measured, too


def test_batch_norm_s_statistics_are_bytes_and_no_parameters(plan):
    own = plan()
    bare = own.survey(own.teacher.net)
    normed = own.survey(own.teacher.net.model_copy(update={"batch_norm": True}))
    assert normed.bytes == 4 * (bare.parameters + 4 * 24) and normed.parameters == bare.parameters + 2 * 24


@pytest.mark.parametrize("against", OBJECTIVES)
def test_rules_judge_by_the_size_of_the_axis(plan, against):
    own = plan(against=against)
    driver = begun(own)
    rows, rungs = drawn(driver, 8), restored(driver)
    stopper = Stopper(driver.tables, rungs, "accuracy")
    low, high = own.sizes
    for row in rows:
        if row["reference"] is None:
            trial: Any = SimpleNamespace(config={"trial": row["trial"], "judged": True})
            stopper.on_trial_result(None, trial, {"complete": False, "rows": [{"kd_epoch": 1, "accuracy": 0.5}]})
            size = rungs.verdicts[row["trial"], 1].parameters
            axis = OBJECTIVES[against]
            assert size == (round(1e6 / row["latency_ratio"]) if axis.measured else row[axis.column])
            assert low <= size <= high
    driver.tables.write(at_once=True)
    assert restored(begun(replace(own, place=replace(own.place, before=read_facts(own.folder))))).verdicts


def test_nothing_is_measured_unless_latency_is_asked_for(plan, clock):
    drawn(begun(plan(against="bytes", max_bytes="2kB", max_macs=10**6)), 5)
    assert clock.asked == []


def test_of_random_draws_a_sample_is_measured_before_the_search_and_the_others_at_their_turn(plan, clock):
    own = plan(max_latency="50us")
    assert len({*clock.asked}) <= within.MEASURED + 1  # and the references' one
    assert {net.depth for net in clock.asked[: within.MEASURED]} == {3, 6}
    drawn(begun(own), 8)
    assert len(own.draws) == 40 and len({*clock.asked}) > within.MEASURED


@pytest.mark.parametrize("sampler", ["tpe", "random", "grid"])
def test_nothing_beyond_a_limit_of_latency_reaches_a_worker_and_the_sampler_learns_it(plan, sampler):
    own = plan(max_latency="40us", sampler=sampler)
    rows = [row for row in drawn(begun(own)) if row["reference"] is None]
    assert {row["latency_us"] for row in rows} == {10.0, 20.0, 30.0, 40.0} and len(rows) == 6
    beyond = [trial for trial in study(own).trials if trial.constraints.get("min_speed", 0) > 0]
    assert {trial.state for trial in beyond} == {TrialState.PRUNED}
    assert sampler != "grid" or own.trials == len(own.draws) == 6


def test_what_exceeds_a_counted_limit_is_not_measured(plan, clock):
    own = plan(max_latency="1ms", max_params=1_000, sampler="random")
    drawn(begun(own))
    assert all(own.survey(net).parameters <= 1_000 for net in clock.asked if net != own.teacher.net)


def test_a_limit_is_told_as_a_ratio_to_the_teacher_s_time(plan):
    own = plan(max_latency="0.02ms")
    said = "Limit: 20 µs, 4 × the speed of the teacher, which takes 80.0 µs here (onnxruntime 1.32.0, one thread)"
    assert said in list(_first(own)) and own.limits.set() == {"min_speed": 4.0}
    begun(own)
    facts = read_facts(own.folder)
    assert (facts.limits, facts.runtime) == ({"min_speed": 4.0}, "onnxruntime 1.32.0") and facts.machine


def test_a_search_that_goes_on_keeps_its_ratio_on_whatever_machine(plan, clock):
    first = plan(max_latency="20us", name="s", against="latency")
    drawn(begun(first), 5)
    clock.pace = 3.0  # all takes longer, in proportion
    own = plan(name="s", resume=True)
    assert own.limits == first.limits and own.sizes == first.sizes
    assert next(text for text in _first(own) if "Limit" in text).startswith("Limit: 4 × the speed of the teacher, as")
    assert [row["latency_ratio"] >= 4 for row in drawn(begun(own), 5) if not row["reference"]].count(False) == 0


def test_a_search_whose_latencies_were_measured_otherwise_does_not_go_on(plan, monkeypatch):
    drawn(begun(plan(max_latency="20us", name="s")), 4)
    monkeypatch.setattr(latency, "runtime", lambda: "torch 2.13.0 eager")
    with pytest.raises(Refusal, match=r"began in onnxruntime 1\.32\.0 and here is torch 2\.13\.0 eager; .*deploy"):
        plan(name="s", resume=True)


def test_another_version_of_the_runtime_is_said(plan):
    from kdsearch.search.resume import check_machine

    own = plan(against="latency")
    before = Facts.model_validate(own.facts() | {"runtime": "onnxruntime 1.30.0"})
    (said,) = check_machine(before, Facts.model_validate(own.facts()))
    assert "runtime was onnxruntime 1.30.0 and is onnxruntime 1.32.0" in said


def test_pytorch_in_onnxruntime_s_place_is_said_once_with_the_way_out(plan, monkeypatch):
    monkeypatch.setattr(latency, "runtime", lambda: "torch 2.13.0 eager")
    said = [text for text in _first(plan(against="latency")) if "pip install 'kdsearch[deploy]'" in text]
    assert len(said) == 1
    monkeypatch.setattr(latency, "runtime", lambda: "onnxruntime 1.32.0")
    assert not [text for text in _first(plan(against="latency")) if "pip install" in text]


@pytest.mark.parametrize("sampler", ["random", "grid"])
def test_an_impossible_limit_refuses_before_anything_is_written(plan, tmp_path, sampler):
    draws = 40 if sampler == "random" else CELLS
    with pytest.raises(Refusal) as refused:
        plan(max_latency="5us", sampler=sampler)
    assert str(refused.value) == (
        f"No pipeline of 'fast' is known to take 5 µs or less: the fastest of {draws} draws takes 10.0 µs (measured on "
        f"a sample of 6, the smallest of each depth), the teacher 80.0 µs (onnxruntime 1.32.0, one thread). Give "
        f"--max-latency 12us or more, or a space with faster students."
    )
    assert not (tmp_path / "results").exists()


def test_the_way_out_of_an_impossible_limit_leads_out(plan):
    assert plan(max_latency="12us").limits.min_speed == pytest.approx(80 / 12)


def test_a_draw_that_cannot_be_measured_is_no_trial(plan, clock):
    own = plan(against="latency", sampler="random")

    def picky(net: Any, *told: Any, **more: Any) -> latency.Latency:
        if net.widths[0] % 2:
            raise Refusal("it cannot be measured")
        return clock.beside(net, *told, **more)

    own = replace(own, measure=lambda net: picky(net, own.teacher.net, own.images.shape, 10))
    rows = drawn(begun(own), 12)
    assert {own.pipelines[0].model_validate_json(row["pipeline"]).student.net.widths[0] % 2 for row in rows} == {0}
    assert any(trial.state == TrialState.FAIL for trial in study(own).trials)


def test_against_is_kept_by_a_search_that_goes_on(plan):
    drawn(begun(plan(name="s", against="macs")), 4)
    assert plan(name="s", resume=True).asked.against == "macs"
    with pytest.raises(Refusal, match="--against was macs and is bytes now"):
        plan(name="s", resume=True, against="bytes")


def test_a_dry_run_says_what_its_draws_cost_and_whether_they_are_beyond_a_limit(plan):
    from kdsearch.cli.tune import _costs

    own = plan(max_latency="40us", max_bytes="1MB", against="macs")
    fast = next(draw for draw in own.draws if microseconds(draw.pipeline.student.net) <= 40)
    slow = next(draw for draw in own.draws if microseconds(draw.pipeline.student.net) > 40)
    macs, time, size = list(_costs(own, fast))
    assert macs.startswith("MACs of the student: ") and size.startswith("Bytes of the student: ")
    assert time.startswith("Latency of the student: ") and "beyond" not in time
    assert "beyond a limit" in list(_costs(own, slow))[1]
    assert list(_costs(plan(), fast)) == []
