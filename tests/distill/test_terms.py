"""A stage is a tuple of terms, each of which says what it asks of the teacher and reads of the student."""

import dataclasses
from pathlib import Path

import pytest
import torch
from helpers import FIT, STUDENT, TEACHER, first, pipeline

from kdsearch.config.net import Net
from kdsearch.config.pipeline import KD, Hints, Link, Pair, Pipeline
from kdsearch.distill import pipeline as distill_pipeline
from kdsearch.distill.store import Store
from kdsearch.distill.teacher import Targets
from kdsearch.distill.terms import Lesson, Shown, Stage, Term, stages
from kdsearch.distill.train import train
from kdsearch.distill.weights import Taught, digest
from kdsearch.nets import taps

TWO = Hints(pairs=(Pair(hint=3, guided=2), Pair(hint=1, guided=5, weight=0.5)))
QUIRKY = Hints(pairs=TWO.pairs, scope="all_conv", ce_weight=0.75)
LOGITS, THEIRS = STUDENT.depth + 1, TEACHER.depth + 1
ONE = Hints(pairs=(Pair(hint=2, guided=4),))


def declared(**link) -> tuple[Stage, ...]:
    return tuple(stages(Link(net=STUDENT, fit=FIT, **link), TEACHER))


def lessons(images, teaching: Net = TEACHER, **link) -> list[Lesson]:
    """Of an untrained student and a teacher of random weights, asked live."""
    asked = Pipeline(links=(Link(net=teaching, fit=FIT), pipeline(**link).student))
    student, teacher = (distill_pipeline.untrained(asked, number, images) for number in (1, 0))
    taught = Taught({"key": "random", "digest": "0"}, lambda: teacher)
    targets = Targets(Path("nowhere"), 10**9, {"hint": "live", "kd": "live"})
    means = distill_pipeline.Means(images, Store(Path("nowhere")), targets)
    return list(distill_pipeline.lessons(asked, 1, student, {0: taught}, means))


@pytest.mark.parametrize(
    "link, told",
    [
        ({}, [("labels", (), {LOGITS}, {"ce": 1.0}, LOGITS)]),
        ({"kd": KD(weight=0.3)}, [("kd", (THEIRS,), {LOGITS}, {"ce": 0.7, "kd": 0.3}, LOGITS)]),
        ({"kd": KD(weight=0.3, virtual=0.9)}, [("kd", (), {LOGITS}, {"ce": 0.7, "kd": 0.3}, LOGITS)]),
        (
            {"hints": TWO},
            [
                ("hint", (1, 3), {2, 5}, {"3→2": 1.0, "1→5": 0.5}, 5),
                ("labels", (), {LOGITS}, {"ce": 1.0}, LOGITS),
            ],
        ),
        (
            {"hints": QUIRKY, "kd": KD()},
            [
                ("hint", (1, 3), {2, 5, LOGITS}, {"3→2": 1.0, "1→5": 0.5, "ce": 0.75}, LOGITS - 1),
                ("kd", (THEIRS,), {LOGITS}, {"ce": 0.5, "kd": 0.5}, LOGITS),
            ],
        ),
    ],
)
def test_a_stage_asks_and_reads_what_its_terms_do_and_weighs_them_in_their_order(link, told):
    found = declared(**link)
    assert [(stage.name, stage.asks, stage.reads, stage.weights, stage.depth) for stage in found] == told
    assert [list(stage.weights) for stage in found] == [list(weights) for *_, weights, _ in told]
    assert sum(stage.epochs for stage in found) == FIT.epochs


def test_only_a_link_that_has_a_teacher_sees_fixed_views():
    assert all(stage.replayed for stage in declared(hints=TWO))
    assert not any(stage.replayed for stage in stages(Link(net=STUDENT, fit=FIT), None))


def test_one_forward_pass_shows_all_that_the_terms_read_and_runs_no_further(images):
    lesson, passed = lessons(images, hints=TWO)[0], []
    for section in taps.sections(lesson.net):
        section.register_forward_hook(lambda *_: passed.append(1))
    lesson.losses(first(images, 8))
    assert len(passed) == 5


def test_logits_are_made_float_once_for_all_terms(images):
    half = dataclasses.replace(images, precision="bfloat16")
    lesson, made = lessons(half, hints=None)[0], []
    plain = torch.Tensor.float

    def counted(own):
        made.append(own.requires_grad)  # the student's, not the teacher's
        return plain(own)

    with pytest.MonkeyPatch.context() as patch, half.autocast():
        patch.setattr(torch.Tensor, "float", counted)
        found = lesson.losses(first(half, 16))
    assert made.count(True) == 1 and len(found) == 2


def idle(shown: Shown) -> torch.Tensor:
    """Something that reads logits, a map and the teacher."""
    return shown.ours[LOGITS].square().mean() + shown.ours[3].float().abs().mean() + shown.theirs[THEIRS].mean()


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_a_term_of_weight_0_changes_nothing_of_the_weights(images, precision):
    ends, own = [], dataclasses.replace(images, precision=precision)
    for more in ((), (Term("idle", 0.0, idle, (LOGITS, 3), (THEIRS,)),)):
        (lesson,) = lessons(own, hints=None, net=STUDENT.model_copy(update={"dropout": 0.3}))
        stage = dataclasses.replace(lesson.stage, terms=(*lesson.stage.terms, *more))
        epochs = list(train(dataclasses.replace(lesson, stage=stage), own, FIT, (0, 1)))
        ends.append((digest(lesson.net), [{name: e.losses[name] for name in ("ce", "kd")} for e in epochs]))
    assert ends[0] == ends[1]


def test_a_bridge_leads_from_the_first_map_that_its_term_reads_to_the_first_that_it_asks_for(images):
    teaching = TEACHER.model_copy(update={"widths": (3, 5, 7)})
    hinted, softened = lessons(images, teaching, hints=TWO)
    assert list(hinted.bridges) == ["3→2", "1→5"] and not softened.bridges
    batch = first(images, 4)
    ours = taps.maps(hinted.net, batch.pixels, {2, 5})
    for (_, bridge), pair in zip(hinted.bridges.items(), TWO.pairs, strict=True):
        hint, guided = pair.layers
        assert bridge(ours[guided]).shape[1] == teaching.widths[hint - 1]


def test_a_stage_trains_its_sections_and_bridges_and_is_judged_where_the_classifier_trains(images):
    hinted, softened = lessons(images, hints=ONE)
    own = {id(weight) for section in taps.sections(hinted.net)[:4] for weight in section.parameters()}
    own |= {id(weight) for weight in hinted.bridges["2→4"].parameters()}
    assert {id(weight) for weight in hinted.trained.parameters()} == own and not hinted.judged
    assert [id(weight) for weight in softened.trained.parameters()] == [id(w) for w in softened.net.parameters()]
    assert softened.judged
