"""Honest by construction: what each stage trains, on what, and what it must not touch."""

import dataclasses

import pytest
import torch
from helpers import FIT, HINTS, STUDENT, TEACHER, pipeline

from kdsearch import nets
from kdsearch import pipeline as pl
from kdsearch.config import KD, Hints, Link, Net, Pair, Pipeline
from kdsearch.errors import Refusal
from kdsearch.store import Store, digest
from kdsearch.train import train


def ran(asked: Pipeline, images, store: Store) -> tuple[list[pl.Row], torch.nn.Sequential]:
    student = pl.untrained(asked, len(asked.links) - 1, images)
    return list(pl.run(asked, images, store, student)), student


@pytest.fixture
def store(tmp_path) -> Store:
    return Store(tmp_path)


@pytest.fixture
def taught(images):
    """A pipeline, an untrained student and a teacher of random weights."""
    asked = pipeline()
    return asked, pl.untrained(asked, 1, images), pl.untrained(asked, 0, images)


def hint_stage(taught, images):
    asked, student, teacher = taught
    return next(iter(pl.stages(asked, 1, student, teacher, images)))


def test_the_hint_s_gradient_reaches_the_layers_up_to_the_guided_one_and_none_beyond(taught, images):
    _, student, _ = taught
    stage = hint_stage(taught, images)
    terms = stage.terms(images.prepare(images.train[:16]), images.labels[:16])
    torch.stack(list(terms.values())).sum().backward()
    for number, section in enumerate(student, start=1):
        norms = [weight.grad is not None and float(weight.grad.norm()) > 0 for weight in section.parameters()]
        assert norms == [number <= 4] * len(norms)


def test_stage_1_leaves_the_layers_beyond_the_guided_one_as_they_were(taught, images):
    _, student, _ = taught
    before = {name: weight.clone() for name, weight in student.state_dict().items()}
    list(train(hint_stage(taught, images), images, FIT, (0, 1)))
    for name, weight in student.state_dict().items():
        assert torch.equal(weight, before[name]) == (int(name.split(".")[0]) >= 4)


def test_labels_do_not_influence_stage_1(images):
    ends = []
    for labels in (images.labels, images.labels.flip(0)):
        asked = pipeline()
        student, teacher = pl.untrained(asked, 1, images), pl.untrained(asked, 0, images)
        stage = next(iter(pl.stages(asked, 1, student, teacher, images)))
        list(train(stage, dataclasses.replace(images, labels=labels), FIT, (0, 1)))
        ends.append(digest(student))
    assert ends[0] == ends[1]


def test_stage_1_learns_the_hint(taught, images):
    epochs = list(train(dataclasses.replace(hint_stage(taught, images), epochs=12), images, FIT, (0, 1)))
    assert epochs[-1].losses["2→4"] < 0.8 * epochs[0].losses["2→4"]


def test_the_regressor_trains_and_is_not_part_of_the_student(taught, images):
    _, student, _ = taught
    stage = hint_stage(taught, images)
    bridge = next(module for module in stage.trained.modules() if isinstance(module, nets.Regressor))
    before = digest(bridge)
    list(train(stage, images, FIT, (0, 1)))
    assert digest(bridge) != before
    assert nets.parameters(student) == nets.survey(STUDENT, images.shape, 10).parameters


@pytest.mark.parametrize("batch_norm", [False, True])
def test_the_teacher_stays_as_it_was_in_eval_mode_and_without_gradients(images, batch_norm):
    teaching = Link(net=TEACHER.model_copy(update={"batch_norm": batch_norm}), fit=FIT)
    asked = Pipeline(links=(teaching, pipeline().student))
    teacher, student = pl.untrained(asked, 0, images).train(), pl.untrained(asked, 1, images)
    before, modes = digest(teacher), []
    teacher[0].register_forward_hook(lambda module, *_: modes.append((module.training, torch.is_grad_enabled())))
    for row in pl.learn(asked, 1, student, teacher, images):
        assert row.link == 1
    assert digest(teacher) == before and set(modes) == {(False, False)}
    assert all(weight.grad is None for weight in teacher.parameters())


def test_kd_of_weight_0_is_cross_entropy(images, store):
    ends = [ran(pipeline(hints=None, kd=kd), images, store) for kd in (KD(weight=0), None)]
    accuracies = [[row.accuracy for row in rows if row.link == 1] for rows, _ in ends]
    assert accuracies[0] == accuracies[1]
    assert digest(ends[0][1]) == digest(ends[1][1])


def test_stage_2_s_loss_is_the_convention_s(images):
    asked = pipeline(hints=None, kd=KD(weight=0.3, temperature=5.0))
    student, teacher = pl.untrained(asked, 1, images).eval(), pl.untrained(asked, 0, images).eval()
    (stage,) = pl.stages(asked, 1, student, teacher, images)
    x, y = images.prepare(images.train[:16]), images.labels[:16]
    loss = sum(stage.weights[name] * float(term.detach()) for name, term in stage.terms(x, y).items())
    with torch.no_grad():
        p, q = (torch.softmax(net(x).double() / 5, 1) for net in (teacher, student))
        ce = -torch.log_softmax(student(x).double(), 1)[torch.arange(16), y].mean()
    assert loss == pytest.approx(float(0.7 * ce + 0.3 * 25 * (p * (p / q).log()).sum(1).mean()), rel=1e-5)


def test_parts_left_out_leave_labels_only_and_kd_only(images, store):
    assert [row.stage for row in ran(pipeline(hints=None, kd=None), images, store)[0] if row.link] == ["labels"] * 4
    assert [row.stage for row in ran(pipeline(hints=None), images, store)[0] if row.link] == ["kd"] * 4
    assert [row.stage for row in ran(pipeline(kd=None), images, store)[0] if row.link] == ["hint"] * 2 + ["labels"] * 2


def test_rows_tell_the_link_s_epochs_and_kd_epochs_count_in_the_last_stage_only(images, store):
    rows, _ = ran(pipeline(), images, store)
    told = [(row.link, row.stage, row.epoch, row.kd_epoch, row.accuracy is None) for row in rows]
    assert told == [
        *[(0, "labels", epoch, None, False) for epoch in (1, 2, 3, 4)],
        *[(1, "hint", epoch, None, True) for epoch in (1, 2)],
        *[(1, "kd", epoch, epoch - 2, False) for epoch in (3, 4)],
    ]


def test_each_loss_term_and_its_gradient_s_share_are_columns(images, store):
    two = Hints(pairs=(Pair(hint=1, guided=2), Pair(hint=3, guided=6, weight=0.5)))
    rows = [row.flat() for row in ran(pipeline(hints=two), images, store)[0] if row.link]
    hinted, softened = rows[0], rows[-1]
    assert {"loss.1→2", "loss.3→6", "gradient.1→2", "gradient.3→6"} <= set(hinted)
    assert {"loss.ce", "loss.kd", "gradient.ce", "gradient.kd"} <= set(softened)
    assert hinted["gradient.1→2"] + hinted["gradient.3→6"] == pytest.approx(1)
    assert softened["gradient.ce"] + softened["gradient.kd"] == pytest.approx(1)


def test_a_network_in_the_store_is_not_made_again(images, store):
    first, one = ran(pipeline(), images, store)
    second, two = ran(pipeline(), images, store)
    assert {row.link for row in first} == {0, 1} and {row.link for row in second} == {1}
    assert [row.accuracy for row in second] == [row.accuracy for row in first if row.link == 1]
    assert digest(one) == digest(two)


def test_weights_are_drawn_by_the_link_s_seed(images):
    one, two, other = (digest(pl.untrained(pipeline(seed=seed), 1, images)) for seed in (0, 0, 1))
    assert one == two != other


def test_a_student_s_seed_changes_the_student_and_not_the_teacher(images, store):
    _, one = ran(pipeline(), images, store)
    rows, two = ran(pipeline(seed=1), images, store)
    assert {row.link for row in rows} == {1} and digest(one) != digest(two)


def test_an_assistant_learns_from_the_teacher_and_teaches_the_student(images, store):
    teacher, student = pipeline().links
    assistant = Link(
        net=Net(widths=(6, 6, 6), depth=3, hidden=8), kd=KD(), hints=Hints(pairs=(Pair(hint=1, guided=1),)), fit=FIT
    )
    student = student.model_copy(update={"hints": Hints(pairs=(Pair(hint=3, guided=6),))})
    chain = Pipeline(links=(teacher, assistant, student))
    rows, _ = ran(chain, images, store)
    assert [row.link for row in rows] == [0] * 4 + [1] * 4 + [2] * 4
    assert [row.stage for row in rows if row.link] == ["hint", "hint", "kd", "kd"] * 2
    assert [row.kd_epoch for row in rows if row.link == 1] == [None] * 4
    assert {row.link for row in ran(chain, images, store)[0]} == {2}


def test_a_pair_that_cannot_fit_is_refused_before_anything_trains(images, store):
    wrong = pipeline(hints=Hints(pairs=(Pair(hint=4, guided=1),)))
    with pytest.raises(Refusal, match="teacher has 3 convolutions"):
        ran(wrong, images, store)
    assert not store.folder.exists() or not list(store.folder.glob("*.safetensors"))


def test_a_damaged_teacher_is_refused_and_not_replaced_in_silence(images, store):
    ran(pipeline(), images, store)
    (path,) = store.folder.glob("*.safetensors")
    path.write_bytes(path.read_bytes()[:-5])
    with pytest.raises(Refusal, match="damaged"):
        ran(pipeline(), images, store)


def test_a_link_without_epochs_is_refused(images, store):
    with pytest.raises(Refusal, match=r"fit\.epochs"):
        ran(pipeline(fit=FIT.model_copy(update={"epochs": None}), hints=None), images, store)


def test_an_abandoned_run_lets_go_of_the_store(images, store):
    work = pl.run(pipeline(), images, store, pl.untrained(pipeline(), 1, images))
    next(work)
    work.close()  # pyright: ignore[reportAttributeAccessIssue]
    assert {row.link for row in ran(pipeline(hints=HINTS), images, store)[0]} == {0, 1}
