"""How long will it take?"""

from dataclasses import replace

import pytest
import torch
from driver import planned

from kdsearch.errors import Refusal
from kdsearch.search import estimate as search_estimate
from kdsearch.search.estimate import Estimate, estimate

SPACE = """
'''How long?'''
from kdsearch.config import *

BUDGET = Budget(trials=7, epochs=4, teacher_epochs=3)
REFERENCE = None


def space(trial):
    net = Net(widths=(4, 4), depth=2, hidden=trial.suggest_int("hidden", 2, 8))
    return Pipeline(links=(Link(net=Net(widths=(8, 8), depth=2, hidden=8)), Link(net=net, kd=KD())))
"""


@pytest.fixture
def plan(tmp_path, monkeypatch):
    monkeypatch.setattr(search_estimate, "step", lambda link, images: 0.5)
    (tmp_path / "s.py").write_text(SPACE)
    return planned(tmp_path / "s.py", results=str(tmp_path / "r"), max_concurrent=1)


def test_it_is_steps_times_epochs_times_trials(plan):
    steps = -(-len(plan.images.train) // 128)
    found = estimate(plan)
    assert found and found.teachers == pytest.approx(1.2 * 0.5 * steps * 3)
    assert found.students == pytest.approx(1.2 * 0.5 * steps * 4 * 7)


@pytest.mark.parametrize(
    "more, times",
    [("companions=DML(peers=3)", 3.0), ("terms=(BSS(size=128, steps=4),)", 2 + 9 / 3), ("terms=(AT(),)", 1)],
)
def test_what_trains_beside_a_student_and_who_is_asked_again_take_their_time(tmp_path, monkeypatch, more, times):
    """Of an attack of 4 steps, 9 passes of a teacher as large as its student, and one more step of the student."""
    monkeypatch.setattr(search_estimate, "step", lambda link, images: 0.5)
    text = SPACE.replace("net=net, kd=KD()", f"net=Net(widths=(8, 8), depth=2, hidden=8), {more}")
    (tmp_path / "s.py").write_text(text)
    found = estimate(planned(tmp_path / "s.py", results=str(tmp_path / "r"), max_concurrent=1))
    assert found and found.students / found.teachers == pytest.approx(times * 7 * 4 / 3)


def test_a_teacher_that_the_store_has_costs_nothing(plan):
    from kdsearch.distill.store import key_of
    from kdsearch.search.teachers import distinct_chains

    (chain,) = distinct_chains([draw.pipeline for draw in plan.draws])
    path = plan.store.path(key_of(chain, 0, plan.images.fingerprint))
    path.parent.mkdir(parents=True)
    path.touch()
    found = estimate(plan)
    assert found and found.teachers == 0 and "teachers" not in str(found)


def test_on_a_cluster_nobody_knows_yet(plan):
    assert estimate(replace(plan, asked=plan.asked.model_copy(update={"address": "auto"}))) is None


def test_it_is_said_in_a_line():
    said = str(Estimate(40, 700, "63 students of up to 30 epochs, 2 side by side"))
    assert (
        said
        == "about 12 min 20 s if none is stopped early: teachers 40 s, 63 students of up to 30 epochs, 2 side by side"
    )


def test_a_step_is_timed_and_uses_up_no_randomness(plan, monkeypatch):
    monkeypatch.undo()
    torch.manual_seed(5)
    before = torch.get_rng_state()
    assert 0 < search_estimate.step(plan.teacher, plan.images) < 60
    assert torch.equal(torch.get_rng_state(), before)


def test_a_part_of_the_images_costs_as_much_where_it_fills_the_steps(plan):
    part = plan.teacher.model_copy(update={"fit": plan.teacher.fit.model_copy(update={"fraction": 0.1})})
    few = part.model_copy(update={"fit": part.fit.model_copy(update={"steps": "fraction"})})
    full = search_estimate._seconds(plan.teacher, plan.images)
    assert search_estimate._seconds(part, plan.images) == full > 5 * search_estimate._seconds(few, plan.images)


def test_a_teacher_that_is_asked_anew_costs_its_passes(plan):
    recorded, live = estimate(plan), estimate(replace(plan, cache_limit=0))
    assert recorded and live and live.students > 1.1 * recorded.students


def test_trials_that_have_ended_cost_nothing_more(plan, monkeypatch):
    monkeypatch.setattr(search_estimate, "_ended", lambda plan: 3)
    found = estimate(plan)
    assert found and "4 students" in str(found)


def test_where_a_step_does_not_fit_nothing_is_said(plan, monkeypatch):
    def full(*_):
        raise torch.OutOfMemoryError

    monkeypatch.setattr(search_estimate, "step", full)
    assert estimate(plan) is None


def test_a_step_that_no_memory_holds_is_refused_before_anything_is_trained(plan, monkeypatch):
    def full(*_):
        raise RuntimeError("[enforce fail at alloc_cpu.cpp:121] DefaultCPUAllocator: can't allocate memory: you tried")

    monkeypatch.setattr(search_estimate, "step", full)
    with pytest.raises(Refusal, match=r"128 images of 8×8 through the teacher do not; lower --image-size, or --set"):
        estimate(plan)

    def broken(*_):
        raise RuntimeError("another")

    monkeypatch.setattr(search_estimate, "step", broken)
    with pytest.raises(RuntimeError, match="another"):
        estimate(plan)
