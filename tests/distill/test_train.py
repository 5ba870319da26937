"""One stage of training."""

import dataclasses

import pytest
import torch
from helpers import STUDENT, first
from torch import nn

from kdsearch.config.pipeline import Fit
from kdsearch.distill import losses
from kdsearch.distill.terms import Lesson, Stage, Term
from kdsearch.distill.train import Diverged, Judged, backward_by_term, judge, rate, seed_of, train
from kdsearch.nets import build


def lesson(net: nn.Sequential, ce: float = 1.0, norm: float = 0.1, epochs: int = 2) -> Lesson:
    logits = len(net)
    terms = (
        Term("ce", ce, lambda shown: losses.cross_entropy(shown.ours[logits], shown.labels), (logits,)),
        Term("norm", norm, lambda shown: shown.ours[logits].square().mean(), (logits,)),
    )
    return Lesson(Stage("labels", terms, epochs, logits), net)


def small(images) -> nn.Sequential:
    torch.manual_seed(0)
    return build.build(STUDENT, images.shape, 10)


@pytest.mark.parametrize("fit", [Fit(), Fit(optimizer="sgd", momentum=0.9, learning_rate=0.05)])
def test_the_same_seed_gives_the_same_numbers_and_another_one_others(images, fit):
    def numbers(seed: int) -> list[float]:
        return [epoch.losses["ce"] for epoch in train(lesson(small(images)), images, fit, (seed, 1))]

    assert numbers(0) == numbers(0) != numbers(1)


def test_training_lowers_the_loss(images):
    epochs = list(train(lesson(small(images), norm=0.0, epochs=8), images, Fit(learning_rate=5e-3), (0, 0)))
    assert epochs[-1].losses["ce"] < 0.8 * epochs[0].losses["ce"]
    assert [epoch.number for epoch in epochs] == list(range(1, 9))


def test_gradient_shares_are_those_of_the_weighted_terms_computed_apart(images):
    net = small(images).eval()
    asked = lesson(net, 0.7, 0.3)
    batch = first(images, 32)
    norms = {}
    for name, weight in asked.stage.weights.items():
        net.zero_grad()
        assert isinstance(weight, float)
        (weight * asked.losses(batch)[name]).backward()
        norms[name] = float(torch.cat([p.grad.flatten() for p in net.parameters() if p.grad is not None]).norm())
    expected = {name: norm / sum(norms.values()) for name, norm in norms.items()}
    assert backward_by_term(asked, asked.losses(batch)) == pytest.approx(expected, rel=1e-4)


def test_going_backward_term_by_term_adds_up_to_the_whole_loss_s_gradient(images):
    net = small(images).eval()
    asked, batch = lesson(net, 0.7, 0.3), first(images, 32)
    terms = asked.losses(batch)
    (0.7 * terms["ce"] + 0.3 * terms["norm"]).backward()
    whole = [weight.grad for weight in net.parameters()]
    net.zero_grad()
    backward_by_term(asked, asked.losses(batch))
    for weight, other in zip(net.parameters(), whole, strict=True):
        assert weight.grad is not None and other is not None and torch.allclose(weight.grad, other, atol=1e-6)


def test_a_term_of_weight_0_has_a_value_but_no_share(images):
    (epoch,) = train(lesson(small(images), norm=0.0, epochs=1), images, Fit(), (0, 0))
    assert set(epoch.losses) == {"ce", "norm"} and epoch.shares == {"ce": pytest.approx(1.0)}


def test_a_loss_that_is_not_finite_ends_the_training(images):
    # With the norm of weight 10, each step multiplies the last bias by about -2,000.
    fit = Fit(optimizer="sgd", learning_rate=100)
    with pytest.raises(Diverged, match="stage labels, epoch"):
        list(train(lesson(small(images), norm=10.0, epochs=20), images, fit, (0, 0)))


def test_schedules_fall_as_their_names_say():
    step = [rate(Fit(learning_rate=1.0, schedule="step"), epoch, 8) for epoch in range(8)]
    assert step == pytest.approx([1, 1, 1, 1, 0.1, 0.1, 0.01, 0.01])
    cosine = [rate(Fit(learning_rate=1.0, schedule="cosine"), epoch, 4) for epoch in range(5)]
    assert cosine == pytest.approx([1, 0.853553, 0.5, 0.146447, 0], abs=1e-6)
    assert {rate(Fit(learning_rate=0.3), epoch, 9) for epoch in range(9)} == {0.3}


def test_the_schedule_reaches_the_optimiser(images, monkeypatch):
    seen = []
    real = torch.optim.SGD.step
    monkeypatch.setattr(torch.optim.SGD, "step", lambda self: seen.append(self.param_groups[0]["lr"]) or real(self))
    fit = Fit(optimizer="sgd", learning_rate=0.01, schedule="step", batch_size=600)
    list(train(lesson(small(images), epochs=4), images, fit, (0, 0)))
    assert seen == pytest.approx([0.01] * 4 + [0.001] * 2 + [0.0001] * 2)


def test_accuracy_counts_in_eval_mode(images):
    net = build.build(STUDENT.model_copy(update={"dropout": 0.9}), images.shape, 10).train()
    found = {judge(net, images, images.validation, images.validation_labels).accuracy for _ in range(3)}
    assert len(found) == 1 and not net.training
    right = dataclasses.replace(images, validation_labels=net(images.prepare(images.validation[:])).argmax(1))
    assert judge(net, right, right.validation, right.validation_labels).accuracy == 1.0


def test_seeds_of_different_words_differ():
    assert seed_of(0, 1, "hint", 2) != seed_of(0, 1, "hint", 3) and seed_of(0, 1) == seed_of(0, 1)


def test_each_class_counts_alike_in_balanced_accuracy_and_one_without_images_not_at_all():
    found = Judged(torch.tensor([[90, 0, 0], [6, 4, 0], [0, 0, 0]]))
    assert found.accuracy == 0.94 and found.balanced == pytest.approx((1 + 0.4) / 2)
    assert found.counts == ((0, 0, 90), (1, 0, 6), (1, 1, 4))


@pytest.mark.parametrize("seed", range(5))
def test_balanced_accuracy_is_scikit_learn_s(seed):
    """balanced_accuracy_score's definition: the mean recall of the classes that occur."""
    torch.manual_seed(seed)
    truth, told = torch.randint(0, 5, (200,)) ** 2 % 5, torch.randint(0, 5, (200,))
    confusion = torch.bincount(truth * 5 + told, minlength=25).view(5, 5)
    recalls = [float((told[truth == one] == one).double().mean()) for one in truth.unique()]
    assert Judged(confusion).balanced == pytest.approx(sum(recalls) / len(recalls))


def test_a_network_that_says_one_class_only_is_at_chance(images):
    """Of the validation images' commonest class in accuracy, of any class in its mean."""
    net = build.build(STUDENT, images.shape, len(images.classes))
    with torch.no_grad():
        last = [module for module in net.modules() if isinstance(module, nn.Linear)][-1]
        last.weight.zero_()
        last.bias.copy_(torch.arange(10.0))
    found = judge(net, images, images.validation, images.validation_labels)
    share = float((images.validation_labels == 9).double().mean())
    assert found.accuracy == pytest.approx(share) and found.balanced == pytest.approx(0.1)
    assert {told for _, told, _ in found.counts} == {9}
