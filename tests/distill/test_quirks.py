"""What papers did that nobody should repeat is there to repeat their tables, and does what it says."""

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from helpers import FIT, STUDENT, TEACHER, first, pipeline
from pydantic import ValidationError

from kdsearch.config.net import Net
from kdsearch.config.pipeline import KD, Data, Fit, Hints, Link, Pair, Pipeline
from kdsearch.data import images as data_images
from kdsearch.distill import losses
from kdsearch.distill import pipeline as distill_pipeline
from kdsearch.distill.store import Store, key_of
from kdsearch.distill.teacher import Targets
from kdsearch.distill.terms import Lesson
from kdsearch.distill.train import rate, train
from kdsearch.distill.weights import Taught, digest
from kdsearch.errors import Refusal
from kdsearch.nets.taps import sections
from kdsearch.search.recipe import Recipe
from kdsearch.search.replicate import replicates
from kdsearch.search.settings import Settings, resolve

PAIRS = (Pair(hint=2, guided=4),)


def lessons(images, folder: Path, **student) -> tuple[torch.nn.Module, list[Lesson]]:
    """An untrained student and what it would go through, its teacher of random weights asked live."""
    asked = Pipeline(links=(Link(net=TEACHER, fit=FIT), Link(net=STUDENT, fit=FIT, **student)))
    net, teacher = (distill_pipeline.untrained(asked, number, images) for number in (1, 0))
    means = distill_pipeline.Means(images, Store(folder), Targets(folder, 10**9, {"hint": "live", "kd": "live"}))
    taught = Taught({"key": "random", "digest": digest(teacher)}, lambda: teacher)
    return net, list(distill_pipeline.lessons(asked, 1, net, {0: taught}, means))


def test_labels_in_stage_1_train_all_convolutions_through_the_classifier_as_it_was_drawn(images, tmp_path):
    net, (lesson, _) = lessons(images, tmp_path, hints=Hints(pairs=PAIRS, scope="all_conv", ce_weight=0.75))
    before = [digest(section) for section in sections(net)]
    assert lesson.stage.weights == {"2→4": 1.0, "ce": 0.75}
    list(train(lesson, images, FIT, (0, 1)))
    changed = [was != digest(section) for was, section in zip(before, sections(net), strict=True)]
    assert changed == [True] * STUDENT.layers + [False]


def test_stage_1_s_cross_entropy_is_that_of_the_whole_network(images, tmp_path):
    net, (lesson, _) = lessons(images, tmp_path, hints=Hints(pairs=PAIRS, scope="all_conv", ce_weight=0.75))
    batch = first(images, 16)
    net.eval()
    assert torch.equal(lesson.losses(batch)["ce"], losses.cross_entropy(net(batch.pixels), batch.labels))


def test_a_hint_of_weight_0_is_computed_and_teaches_nothing(images, tmp_path):
    pairs = (Pair(hint=2, guided=4, weight=0),)
    _, (lesson, _) = lessons(images, tmp_path, hints=Hints(pairs=pairs, scope="all_conv", ce_weight=1))
    bridge = digest(lesson.trained.get_submodule("1"))
    (epoch, *_) = train(lesson, images, FIT, (0, 1))
    assert epoch.losses["2→4"] > 0 and epoch.shares == {"ce": 1.0}
    assert digest(lesson.trained.get_submodule("1")) == bridge


@pytest.mark.parametrize(
    "wrong, said",
    [
        ({"ce_weight": 0.75}, "needs scope all_conv"),
        ({"pairs": (Pair(hint=1, guided=1, weight=0),)}, "all weights are 0"),
    ],
)
def test_a_stage_1_that_contradicts_itself_is_refused(wrong, said):
    with pytest.raises(ValidationError, match=said):
        Hints(**{"pairs": PAIRS, **wrong})


def test_a_teacher_made_by_hand_is_label_smoothing_at_temperature_1(images):
    smoothing, classes = 0.1, 10
    logits = torch.randn(8, classes, requires_grad=True)
    labels = torch.randint(classes, (8,))
    answer = losses.virtual(labels, classes, 1 - smoothing + smoothing / classes)
    assert torch.allclose(answer.exp().sum(1), torch.ones(8))
    (ours,) = torch.autograd.grad(losses.distillation(logits, answer, 1.0), logits)
    (theirs,) = torch.autograd.grad(F.cross_entropy(logits, labels, label_smoothing=smoothing), logits)
    assert torch.allclose(ours, theirs, atol=1e-7)


def test_a_teacher_made_by_hand_is_not_asked(images, tmp_path):
    kd = KD(weight=0.4, temperature=20, virtual=0.99)
    _, (lesson,) = lessons(images, tmp_path, kd=kd)
    asked = Pipeline(links=(Link(net=TEACHER, fit=FIT), Link(net=STUDENT, fit=FIT, kd=kd)))
    assert Targets(tmp_path, 10**9).choices(asked, 1, images) == {}
    batch = first(images, 16)
    far = losses.virtual((batch.labels + 1) % 10, 10, 0.99)
    assert torch.isfinite(lesson.losses(batch)["kd"]) and lesson.stage.weights == {"ce": 0.6, "kd": 0.4}
    assert losses.distillation(losses.virtual(batch.labels, 10, 0.99), far, 20) > 0


def test_the_test_images_judge_only_where_a_table_is_repeated(images):
    found = data_images.load(Data(validation="test"), Path("nowhere"))
    pixels, labels = data_images.load_test(Data(), Path("nowhere"), images)
    assert torch.equal(found.validation[:], pixels[:]) and torch.equal(found.validation_labels, labels)
    assert len(found.train) == len(images.train) + len(images.validation)


def test_a_search_and_train_refuse_to_choose_by_the_test_images(tmp_path):
    asked = pipeline().model_copy(update={"data": Data(validation="test")})
    with pytest.raises(Refusal, match=r"Nothing is chosen by the test images.*kdsearch reproduce"):
        resolve(asked, Settings(2, 2))
    with pytest.raises(Refusal, match="Nothing is chosen by the test images"):
        next(replicates(Recipe(asked, None), 1, tmp_path, tmp_path, False, data_images.silent))


def test_first_images_are_those_of_the_file_and_a_stratified_part_is_not(images):
    found = data_images.load(Data(validation="test"), Path("nowhere"))
    whole = found.train[found.order]  # in the order of the file
    fit = Fit(batch_size=16, fraction=0.1, subset="first", steps="fraction")
    (view,) = [torch.cat(found.batches(fit, torch.Generator().manual_seed(0), [0])).sort().values]
    count = round(0.1 * len(found.train))
    assert len(view) == count and torch.equal(view, found.order[:count].sort().values)
    assert torch.equal(whole[:count].flatten(1).sum(1).sort().values, found.train[view].flatten(1).sum(1).sort().values)
    plain = fit.model_copy(update={"subset": "stratified"})
    assert not torch.equal(torch.cat(found.batches(plain, torch.Generator(), [0])).sort().values, view)


def test_told_statistics_replace_the_images_own_and_grey_images_take_their_average(images):
    told = data_images.load(Data(mean=(0.5,), std=(0.25,)), Path("nowhere"))
    pixels = torch.full((1, 1, 8, 8), 255, dtype=torch.uint8)
    assert torch.allclose(told.prepare(pixels), torch.tensor(2.0))
    average = data_images.load(Data(mean=(0.1, 0.2, 0.6), std=(0.1, 0.2, 0.3)), Path("nowhere"))
    assert average.mean.flatten().tolist() == pytest.approx([0.3]) and average.std.item() == pytest.approx(0.2)
    assert torch.equal(images.prepare(pixels), data_images.load(Data(), Path("nowhere")).prepare(pixels))


def test_the_rate_drops_where_the_recipe_says():
    fit = Fit(learning_rate=1.0, schedule="step", drops=(1 / 3, 2 / 3))
    assert [round(rate(fit, epoch, 90), 4) for epoch in (0, 29, 30, 59, 60, 89)] == [1, 1, 0.1, 0.1, 0.01, 0.01]
    assert rate(Fit(learning_rate=1.0, schedule="step"), 45, 90) == pytest.approx(0.1)


def test_another_seed_is_another_student_of_the_same_teacher():
    one, other = pipeline().with_seed(1), pipeline().with_seed(2)
    assert key_of(one, 0, "f") == key_of(other, 0, "f") and key_of(one, 1, "f") != key_of(other, 1, "f")
    assert one.student.seed == 1 and one.with_seed(2) == other


def test_a_network_of_an_unknown_kind_is_refused_with_the_nearest_one():
    from kdsearch.config.parse import parse

    with pytest.raises(Refusal, match="Did you mean 'resnet'"):
        parse(Pipeline, {"links": [{"net": {"kind": "resnets"}}]}, "it")
    with pytest.raises(Refusal, match=r"links\.0\.net\.blocks: "):
        parse(Pipeline, {"links": [{"net": {"kind": "resnet", "blocks": 0}}]}, "it")
    with pytest.raises(Refusal, match="one number a block"):
        parse(Pipeline, {"links": [{"net": {"pools": [2]}}]}, "it")


def test_without_padding_an_image_that_is_too_small_is_refused():
    from kdsearch.nets import build

    with pytest.raises(Refusal, match=r"3×3 at least.*--image-size"):
        build.build(Net(widths=(2,), depth=4, padding=0, hidden=4), (1, 8, 8), 2)
