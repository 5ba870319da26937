"""Attacked images: which, at what, how far; and what is learned there."""

import numpy as np
import pytest
import torch
from torch import Tensor

from kdsearch.distill import boundary, losses
from kdsearch.nets.derived import Views

BOUNDS = torch.tensor(-2.5), torch.tensor(2.5)


def drawn(seed: int, images: int = 12, classes: int = 5) -> tuple[torch.nn.Sequential, Tensor, Tensor, Tensor]:
    """A network, images, what it takes them for, and another class."""
    torch.manual_seed(seed)
    net = torch.nn.Sequential(
        torch.nn.Flatten(), torch.nn.Linear(48, 16), torch.nn.Tanh(), torch.nn.Linear(16, classes)
    )
    pictures = torch.randn(images, 3, 4, 4)
    first = net(pictures).argmax(1)
    return net, pictures, first, (first + 1 + torch.arange(images) % (classes - 1)) % classes


def slow_attack(net, images, first, aim, steps) -> Tensor:
    """One image, one step after the other."""
    found = []
    for image, one, other in zip(images, first.tolist(), aim.tolist(), strict=True):
        for _ in range(steps):
            some = image[None].clone().requires_grad_()
            logits = net(some)[0]
            if int(logits.argmax()) != one:
                break
            (slope,) = torch.autograd.grad(logits[other] - logits[one], some)
            far = 0.3 * (float((logits[one] - logits[other]).detach()) + 1e-4)
            image = (image + far * slope[0] / slope.norm()).clamp(-2.5, 2.5)
        found.append(image)
    return torch.stack(found)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("steps", [1, 3, 10])
def test_an_attack_is_its_steps_image_by_image(seed, steps):
    net, images, first, aim = drawn(seed)
    found = boundary.attacked(net, images, first, aim, steps, BOUNDS)
    assert torch.allclose(found, slow_attack(net, images, first, aim, steps), atol=1e-5)
    assert not found.requires_grad


def test_without_steps_nothing_moves_and_what_has_crossed_stays():
    net, images, first, aim = drawn(3)
    assert torch.equal(boundary.attacked(net, images, first, aim, 0, BOUNDS), images)
    crossed = boundary.attacked(net, images, aim, first, 5, BOUNDS)  # none of them is taken for `aim`
    assert torch.equal(crossed, images)


def test_images_that_are_moved_once_are_the_same_whoever_asks_together_with_whom():
    """As if they were attacked here, towards a class that their number draws; then what the net says of them."""
    net, images, first, _ = drawn(5)
    views = Views(images, torch.arange(100, 112), BOUNDS)
    found = boundary.moved_once(net, views, 3)
    uniform = (views.samples.double() * (5**0.5 - 1) / 2 % 1).float()
    expected = slow_attack(net, images, first, boundary.aimed(net(images).detach(), uniform), 3)
    assert torch.allclose(found[:, :48].view(12, 3, 4, 4), expected, rtol=2**-10, atol=1e-4)
    assert torch.equal(found[:, :48], found[:, :48].half().float())  # what is kept is what the net spoke of
    assert torch.allclose(found[:, 48:], net(found[:, :48].view(12, 3, 4, 4)), atol=1e-6)
    some = torch.tensor([7, 2])
    again = boundary.moved_once(net, Views(images[some], views.samples[some], BOUNDS), 3)
    assert torch.allclose(again, found[some], atol=1e-6)


def test_images_cross_the_boundary():
    net, images, first, aim = drawn(4)
    found = boundary.attacked(net, images, first, aim, 60, BOUNDS)
    assert (net(found).argmax(1) != first).float().mean() > 0.8


def test_no_pixel_leaves_what_it_can_be():
    net, images, first, aim = drawn(4)
    low, high = torch.full((3, 1, 1), -0.5), torch.full((3, 1, 1), 0.5)
    images = images.clamp(-0.5, 0.5)
    first = net(images).argmax(1)
    aim = torch.where(aim == first, (first + 1) % 5, aim)
    found = boundary.attacked(net, images, first, aim, 10, (low, high))
    assert float(found.min()) >= -0.5 and float(found.max()) <= 0.5


def test_a_network_that_says_the_same_of_all_images_moves_none():
    net, images, first, aim = drawn(5)
    torch.nn.init.zeros_(net[1].weight)  # pyright: ignore[reportArgumentType]
    images = images.clamp(*BOUNDS)
    assert torch.equal(boundary.attacked(net, images, first, aim, 3, BOUNDS), images)


@pytest.mark.parametrize("seed, most", [(0, 4), (1, 1), (2, 40), (3, 40), (4, 40)])
def test_attacks_begin_where_both_are_right_and_differ_most(seed, most):
    numbers = np.random.default_rng(seed)
    ours, theirs = (torch.from_numpy(2 * numbers.standard_normal((40, 4))) for _ in range(2))
    labels = torch.from_numpy(numbers.integers(4, size=40))
    scores = {}
    for place in range(40):
        p, q = (row[place].softmax(0).numpy() for row in (theirs, ours))
        if p.argmax() == q.argmax() == int(labels[place]):
            scores[place] = sum((p[c] - q[c]) ** 2 for c in range(4) if c != int(labels[place]))
    expected = sorted(scores, key=lambda place: -scores[place])[:most]
    assert boundary.based(ours, theirs, labels, most).tolist() == expected


def test_none_is_attacked_where_nobody_is_right():
    logits = torch.eye(4)
    assert boundary.based(logits, logits, torch.tensor([1, 2, 3, 0]), 8).tolist() == []


def test_a_class_is_aimed_at_with_the_teacher_s_probability_and_never_its_first():
    logits = torch.log(torch.tensor([[0.7, 0.2, 0.1, 1e-9]])).expand(3000, -1)
    aims = boundary.aimed(logits, torch.rand(3000, generator=torch.Generator().manual_seed(0)))
    shares = torch.bincount(aims, minlength=4) / 3000
    assert shares.tolist() == pytest.approx([0, 2 / 3, 1 / 3, 0], abs=0.03)
    ends = boundary.aimed(logits[:2], torch.tensor([0.0, 1.0]))
    assert ends[0] == 1 and ends[1] != 0


def test_a_student_at_the_boundary_learns_the_kl_without_its_square():
    ours, theirs = torch.randn(6, 5, requires_grad=True), torch.randn(6, 5)
    loss = boundary.supported(ours, theirs, 3.0)
    assert float(9 * loss.detach()) == pytest.approx(float(losses.distillation(ours.detach(), theirs, 3.0)), rel=1e-5)
    crossed = -(theirs / 3).softmax(1).mul((ours / 3).log_softmax(1)).sum(1).mean()
    one, other = (torch.autograd.grad(value, ours)[0] for value in (loss, crossed))
    assert torch.allclose(one, other, atol=1e-7)
