"""Honest by construction: what each stage trains, on what, and what it must not touch."""

import dataclasses

import pytest
import torch
from helpers import FIT, HINTS, STUDENT, TEACHER, first, pipeline

from kdsearch.config.net import Net
from kdsearch.config.pipeline import KD, Hints, Link, Pair, Pipeline
from kdsearch.distill import pipeline as distill_pipeline
from kdsearch.distill.recorded import Recorded
from kdsearch.distill.store import Store
from kdsearch.distill.teacher import Targets
from kdsearch.distill.terms import Lesson, Stage
from kdsearch.distill.train import train, views_of
from kdsearch.distill.weights import Taught, digest
from kdsearch.errors import Refusal
from kdsearch.nets import survey, taps


def ran(asked: Pipeline, means: distill_pipeline.Means) -> tuple[list[distill_pipeline.Row], torch.nn.Module]:
    """The rows of a run, recordings aside, and the trained student."""
    student = distill_pipeline.untrained(asked, len(asked.links) - 1, means.images)
    return [row for row in distill_pipeline.run(asked, means, student) if row.stage != "record"], student


@pytest.fixture
def means(images, tmp_path) -> distill_pipeline.Means:
    return distill_pipeline.Means(images, Store(tmp_path / "store"), Targets(tmp_path / "targets", 10**9))


def teaching(net: torch.nn.Module) -> Taught:
    return Taught({"key": "random", "digest": digest(net)}, lambda: net)


@pytest.fixture
def taught(images):
    """A pipeline, an untrained student and a teacher of random weights."""
    asked = pipeline()
    return asked, distill_pipeline.untrained(asked, 1, images), teaching(distill_pipeline.untrained(asked, 0, images))


def hint_lesson(taught, means, **told) -> Lesson:
    """Stage 1, its teacher asked live unless told otherwise."""
    asked, student, teacher = taught
    live = dataclasses.replace(means, targets=Targets(means.targets.folder, 10**9, told or {"hint": "live"}))
    return next(distill_pipeline.lessons(asked, 1, student, {0: teacher}, live))


def test_the_hint_s_gradient_reaches_the_layers_up_to_the_guided_one_and_none_beyond(taught, means):
    _, student, _ = taught
    lesson = hint_lesson(taught, means)
    terms = lesson.losses(first(means.images, 16))
    torch.stack(list(terms.values())).sum().backward()
    for number, section in enumerate(student, start=1):
        norms = [weight.grad is not None and float(weight.grad.norm()) > 0 for weight in section.parameters()]
        assert norms == [number <= 4] * len(norms)


def test_stage_1_leaves_the_layers_beyond_the_guided_one_as_they_were(taught, means):
    _, student, _ = taught
    before = {name: weight.clone() for name, weight in student.state_dict().items()}
    list(train(hint_lesson(taught, means), means.images, FIT, (0, 1)))
    for name, weight in student.state_dict().items():
        assert torch.equal(weight, before[name]) == (int(name.split(".")[0]) >= 4)


def test_labels_do_not_influence_stage_1(means):
    ends = []
    images = means.images
    for labels in (images.labels, images.labels.flip(0)):
        asked = pipeline()
        student, teacher = (
            distill_pipeline.untrained(asked, 1, images),
            teaching(distill_pipeline.untrained(asked, 0, images)),
        )
        lesson = hint_lesson((asked, student, teacher), means)
        list(train(lesson, dataclasses.replace(images, labels=labels), FIT, (0, 1)))
        ends.append(digest(student))
    assert ends[0] == ends[1]


def test_stage_1_learns_the_hint(taught, means):
    lesson = hint_lesson(taught, means)
    longer = dataclasses.replace(lesson, stage=dataclasses.replace(lesson.stage, epochs=12))
    epochs = list(train(longer, means.images, FIT, (0, 1)))
    assert epochs[-1].losses["2→4"] < 0.8 * epochs[0].losses["2→4"]


def test_the_regressor_trains_and_is_not_part_of_the_student(taught, means):
    _, student, _ = taught
    lesson = hint_lesson(taught, means)
    bridge = next(module for module in lesson.trained.modules() if isinstance(module, taps.Regressor))
    before = digest(bridge)
    list(train(lesson, means.images, FIT, (0, 1)))
    assert digest(bridge) != before
    assert survey.parameters(student) == survey.survey(STUDENT, means.images.shape, 10).parameters


@pytest.mark.parametrize("batch_norm", [False, True])
def test_the_teacher_stays_as_it_was_in_eval_mode_and_without_gradients(means, batch_norm):
    first_link = Link(net=TEACHER.model_copy(update={"batch_norm": batch_norm}), fit=FIT)
    asked = Pipeline(links=(first_link, pipeline().student))
    teacher, student = (distill_pipeline.untrained(asked, number, means.images).train() for number in (0, 1))
    before, modes = digest(teacher), []
    taps.sections(teacher)[0].register_forward_hook(
        lambda module, *_: modes.append((module.training, torch.is_grad_enabled()))
    )
    live = dataclasses.replace(means, targets=Targets(means.targets.folder, 10**9, {"hint": "live", "kd": "live"}))
    for row in distill_pipeline.learn(asked, 1, student, {0: teaching(teacher)}, live):
        assert row.link == 1
    assert digest(teacher) == before and set(modes) == {(False, False)}
    assert all(weight.grad is None for weight in teacher.parameters())


def test_kd_of_weight_0_is_cross_entropy(means):
    ends = [ran(pipeline(hints=None, kd=kd), means) for kd in (KD(weight=0), None)]
    accuracies = [[row.accuracy for row in rows if row.link == 1] for rows, _ in ends]
    assert accuracies[0] == accuracies[1]
    assert digest(ends[0][1]) == digest(ends[1][1])


def test_stage_2_s_loss_is_the_convention_s(means):
    asked = pipeline(hints=None, kd=KD(weight=0.3, temperature=5.0))
    student, teacher = (distill_pipeline.untrained(asked, number, means.images).eval() for number in (1, 0))
    live = dataclasses.replace(means, targets=Targets(means.targets.folder, 10**9, {"kd": "live"}))
    (lesson,) = distill_pipeline.lessons(asked, 1, student, {0: teaching(teacher)}, live)
    batch = first(means.images, 16)
    x, y = batch.pixels, batch.labels
    weights = {name: weight for name, weight in lesson.stage.weights.items() if isinstance(weight, float)}
    loss = sum(weights[name] * float(term.detach()) for name, term in lesson.losses(batch).items())
    with torch.no_grad():
        p, q = (torch.softmax(net(x).double() / 5, 1) for net in (teacher, student))
        ce = -torch.log_softmax(student(x).double(), 1)[torch.arange(16), y].mean()
    assert loss == pytest.approx(float(0.7 * ce + 0.3 * 25 * (p * (p / q).log()).sum(1).mean()), rel=1e-5)


def test_stage_1_s_loss_is_the_mean_squared_error_from_the_teacher_s_map_in_half_precision(taught, means):
    _, student, teacher = taught
    lesson = hint_lesson(taught, means)
    bridge = next(module for module in lesson.trained.modules() if isinstance(module, taps.Regressor))
    batch = first(means.images, 16)
    with torch.no_grad():
        regressed, hint = bridge.conv(student[:4](batch.pixels)), teacher.net[:2](batch.pixels).half()
        assert regressed.shape == hint.shape
        expected = float((regressed.double() - hint.double()).square().mean())
    assert float(lesson.losses(batch)["2→4"].detach()) == pytest.approx(expected, rel=1e-5)


def test_parts_left_out_leave_labels_only_and_kd_only(means):
    assert [row.stage for row in ran(pipeline(hints=None, kd=None), means)[0] if row.link] == ["labels"] * 4
    assert [row.stage for row in ran(pipeline(hints=None), means)[0] if row.link] == ["kd"] * 4
    assert [row.stage for row in ran(pipeline(kd=None), means)[0] if row.link] == ["hint"] * 2 + ["labels"] * 2


def test_rows_tell_the_link_s_epochs_and_kd_epochs_count_in_the_last_stage_only(means):
    rows, _ = ran(pipeline(), means)
    told = [(row.link, row.stage, row.epoch, row.kd_epoch, row.accuracy is None) for row in rows]
    assert told == [
        *[(0, "labels", epoch, None, False) for epoch in (1, 2, 3, 4)],
        *[(1, "hint", epoch, None, True) for epoch in (1, 2)],
        *[(1, "kd", epoch, epoch - 2, False) for epoch in (3, 4)],
    ]


def test_each_loss_term_and_its_gradient_s_share_are_columns(means):
    two = Hints(pairs=(Pair(hint=1, guided=2), Pair(hint=3, guided=6, weight=0.5)))
    rows = [row.flat() for row in ran(pipeline(hints=two), means)[0] if row.link]
    hinted, softened = rows[0], rows[-1]
    assert {"loss.1→2", "loss.3→6", "gradient.1→2", "gradient.3→6"} <= set(hinted)
    assert {"loss.ce", "loss.kd", "gradient.ce", "gradient.kd"} <= set(softened)
    assert hinted["gradient.1→2"] + hinted["gradient.3→6"] == pytest.approx(1)
    assert softened["gradient.ce"] + softened["gradient.kd"] == pytest.approx(1)


def test_a_network_in_the_store_is_not_made_again(means):
    first, one = ran(pipeline(), means)
    second, two = ran(pipeline(), means)
    assert {row.link for row in first} == {0, 1} and {row.link for row in second} == {1}
    assert [row.accuracy for row in second] == [row.accuracy for row in first if row.link == 1]
    assert digest(one) == digest(two)


def test_weights_are_drawn_by_the_link_s_seed(images):
    one, two, other = (digest(distill_pipeline.untrained(pipeline(seed=seed), 1, images)) for seed in (0, 0, 1))
    assert one == two != other


def test_a_student_s_seed_changes_the_student_and_not_the_teacher(means):
    _, one = ran(pipeline(), means)
    rows, two = ran(pipeline(seed=1), means)
    assert {row.link for row in rows} == {1} and digest(one) != digest(two)


def test_an_assistant_learns_from_the_teacher_and_teaches_the_student(means):
    teacher, student = pipeline().links
    assistant = Link(
        net=Net(widths=(6, 6, 6), depth=3, hidden=8), kd=KD(), hints=Hints(pairs=(Pair(hint=1, guided=1),)), fit=FIT
    )
    student = student.model_copy(update={"hints": Hints(pairs=(Pair(hint=3, guided=6),))})
    chain = Pipeline(links=(teacher, assistant, student))
    rows, _ = ran(chain, means)
    assert [row.link for row in rows] == [0] * 4 + [1] * 4 + [2] * 4
    assert [row.stage for row in rows if row.link] == ["hint", "hint", "kd", "kd"] * 2
    assert [row.kd_epoch for row in rows if row.link == 1] == [None] * 4
    assert {row.link for row in ran(chain, means)[0]} == {2}


def test_a_pair_that_cannot_fit_is_refused_before_anything_trains(means):
    wrong = pipeline(hints=Hints(pairs=(Pair(hint=4, guided=1),)))
    with pytest.raises(Refusal, match="teacher has 3 layers"):
        ran(wrong, means)
    assert not means.store.folder.exists() or not list(means.store.folder.glob("*.safetensors"))


def test_a_damaged_teacher_is_refused_and_not_replaced_in_silence(means):
    ran(pipeline(), means)
    (path,) = means.store.folder.glob("*.safetensors")
    path.write_bytes(path.read_bytes()[:-5])
    with pytest.raises(Refusal, match="damaged"):
        ran(pipeline(), means)


def test_a_link_without_epochs_is_refused(means):
    with pytest.raises(Refusal, match=r"fit\.epochs"):
        ran(pipeline(fit=FIT.model_copy(update={"epochs": None}), hints=None), means)


def test_an_abandoned_run_lets_go_of_the_store(means):
    work = distill_pipeline.run(pipeline(), means, distill_pipeline.untrained(pipeline(), 1, means.images))
    next(work)
    work.close()  # pyright: ignore[reportAttributeAccessIssue]
    assert {row.link for row in ran(pipeline(hints=HINTS), means)[0]} == {0, 1}


# Recorded and live answers ------------------------------------------------------------------------------------------


def learned(
    means: distill_pipeline.Means, told: dict, precision="float32", views: int = 3
) -> tuple[list[distill_pipeline.Row], dict]:
    """Two hint epochs, two KD epochs, cropped and flipped; the rows and the student's weights."""
    images = dataclasses.replace(means.images, augment="crop+flip", views=views, precision=precision)
    own = dataclasses.replace(means, images=images, targets=dataclasses.replace(means.targets, told=told))
    asked = pipeline()
    student, teacher = (distill_pipeline.untrained(asked, number, images) for number in (1, 0))
    rows = list(distill_pipeline.learn(asked, 1, student, {0: teaching(teacher)}, own))
    return rows, student.state_dict()


@pytest.mark.parametrize("precision, bound", [("float32", 1e-4), ("bfloat16", 2e-2)])
def test_recorded_and_live_answers_teach_the_same(means, precision, bound):
    """Hints are rounded to half in both; what differs is where sums in another order fall on either side of a rounding.

    Over two epochs of each stage the losses stay within `bound` of each other, and the weights within `bound` of their
    norm: 1e-4 is a tenth of half precision's step of 2⁻¹⁰, since few elements straddle one; bfloat16's step is 2⁻⁸.
    """
    recorded, ours = learned(means, {"hint": "recorded", "kd": "recorded"}, precision)
    live, theirs = learned(means, {"hint": "live", "kd": "live"}, precision)
    assert [row.stage for row in recorded if row.stage != "record"] == [row.stage for row in live]
    assert sum(row.stage == "record" for row in recorded) == 2
    for one, other in zip([row for row in recorded if row.stage != "record"], live, strict=True):
        assert one.losses == pytest.approx(other.losses, rel=bound)
    for name, weight in ours.items():
        assert float((weight - theirs[name]).norm()) <= bound * float(theirs[name].norm()) + 1e-6, name


def test_the_second_student_records_nothing(means):
    first, _ = learned(means, {})
    second, _ = learned(means, {})
    assert [(row.link, row.epoch) for row in first if row.stage == "record"] == [(0, 0), (0, 1)]
    assert not [row for row in second if row.stage == "record"]


def test_an_epoch_sees_its_own_view_and_stage_2_begins_again(means):
    seen = []
    real = Recorded.ready

    def noted(self, views):
        seen.append(list(views))
        return real(self, views)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Recorded, "ready", noted)
        learned(means, {}, views=3)
    assert seen == [[0], [1], [0], [1]]


def test_a_first_link_sees_fresh_views_and_a_taught_one_fixed_ones(means):
    images = dataclasses.replace(means.images, augment="crop+flip", views=2)
    own = dataclasses.replace(means, images=images)
    teacher, student = (distill_pipeline.untrained(pipeline(kd=None, hints=None), number, images) for number in (0, 1))
    (alone,) = distill_pipeline.lessons(pipeline(), 0, teacher, {}, own)
    (taught,) = distill_pipeline.lessons(pipeline(kd=None, hints=None), 1, student, {0: teaching(teacher)}, own)
    assert views_of(alone.stage, images, FIT, 3) is None and views_of(taught.stage, images, FIT, 3) == [1]
    assert views_of(taught.stage, dataclasses.replace(images, views=0), FIT, 3) is None


def test_each_pass_over_a_fraction_is_another_view(means):
    images = dataclasses.replace(means.images, augment="crop+flip", views=8)
    fit = FIT.model_copy(update={"fraction": 0.34})
    stage = Stage("kd", (), 2, 1)
    assert images.passes(fit) == 3
    assert views_of(stage, images, fit, 0) == [0, 1, 2] and views_of(stage, images, fit, 2) == [6, 7, 0]


def test_a_teacher_whose_answers_are_all_recorded_is_not_even_loaded(means):
    learned(means, {})
    images = dataclasses.replace(means.images, augment="crop+flip", views=3)
    own = dataclasses.replace(means, images=images)
    asked = pipeline()
    student, teacher = (distill_pipeline.untrained(asked, number, images) for number in (1, 0))
    unloaded = Taught({"key": "random", "digest": digest(teacher)}, lambda: 1 / 0)  # pyright: ignore
    assert len(list(distill_pipeline.learn(asked, 1, student, {0: unloaded}, own))) == 4


def test_a_stored_teacher_is_not_read_where_its_answers_are(means, monkeypatch):
    ran(pipeline(), means)
    monkeypatch.setattr(distill_pipeline, "restored", None)
    assert {row.link for row in ran(pipeline(), means)[0]} == {1}


def test_a_student_in_bfloat16_has_float32_weights_and_other_numbers(means):
    ours, weights = learned(means, {}, "bfloat16")
    plain, _ = learned(means, {}, "float32")
    assert {weight.dtype for weight in weights.values()} == {torch.float32}
    last, other = ours[-1].losses["ce"], plain[-1].losses["ce"]
    assert last != other and last == pytest.approx(other, rel=0.1)
