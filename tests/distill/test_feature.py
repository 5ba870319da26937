"""Losses of maps: against loops in numpy, by what they must not see, and where numbers end."""

import numpy as np
import pytest
import torch
from torch import Tensor

from kdsearch.distill import feature

MAPS = [
    ((3, 4, 6, 6), (3, 7, 6, 6)),
    ((2, 5, 8, 8), (2, 3, 4, 4)),
    ((2, 5, 3, 3), (2, 3, 6, 6)),
    ((1, 1, 2, 4), (1, 6, 4, 2)),
    ((4, 2, 5, 7), (4, 2, 3, 7)),
]


def drawn(seed: int, *shapes: tuple[int, ...]) -> list[Tensor]:
    numbers = np.random.default_rng(seed)
    return [torch.from_numpy(numbers.standard_normal(shape)) for shape in shapes]


def pooled(image: np.ndarray, side: tuple[int, int], how=np.mean) -> np.ndarray:
    """Each pixel of (C, H, W) from the window that adaptive pooling gives it."""
    channels, height, width = image.shape
    found = np.empty((channels, *side))
    for row in range(side[0]):
        for column in range(side[1]):
            rows = slice(row * height // side[0], -(-(row + 1) * height // side[0]))
            columns = slice(column * width // side[1], -(-(column + 1) * width // side[1]))
            for channel in range(channels):
                found[channel, row, column] = how(image[channel, rows, columns])
    return found


def slow_attention(image: np.ndarray, side: tuple[int, int]) -> np.ndarray:
    squares = (pooled(image, side) ** 2).mean(0)
    length = np.sqrt((squares**2).sum())
    return squares / length if length else squares


def slow_transfer(ours: Tensor, theirs: Tensor) -> float:
    side = tuple(np.minimum(ours.shape[2:], theirs.shape[2:]))
    parts = [
        (slow_attention(a, side) - slow_attention(b, side)) ** 2
        for a, b in zip(ours.numpy(), theirs.numpy(), strict=True)
    ]
    return float(np.mean(parts))


def slow_flow(first: np.ndarray, last: np.ndarray, how) -> np.ndarray:
    side = tuple(np.minimum(first.shape[1:], last.shape[1:]))
    first, last = pooled(first, side, how), pooled(last, side, how)
    found = np.zeros((len(first), len(last)))
    for a, one in enumerate(first):
        for b, other in enumerate(last):
            found[a, b] = (one * other).mean()
    return found


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("ours, theirs", MAPS)
def test_at_is_its_formula_and_brings_the_larger_map_to_the_smaller(seed, ours, theirs):
    one, other = drawn(seed, ours, theirs)
    assert float(feature.attention_transfer(one, other)) == pytest.approx(slow_transfer(one, other), rel=1e-10)


@pytest.mark.parametrize("ours, theirs", MAPS)
def test_at_of_an_attention_map_is_at_of_its_map(ours, theirs):
    one, other = drawn(9, ours, theirs)
    known = feature.attention(other, feature.smaller(one, other))
    assert torch.equal(feature.attention_transfer(one, known), feature.attention_transfer(one, other))


@pytest.mark.parametrize("pooling, how", [("average", np.mean), ("max", np.max)])
@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("first, last", MAPS)
def test_fsp_is_its_formula_however_the_maps_are_brought_together(first, last, seed, pooling, how):
    ours, theirs = drawn(seed, first, last), drawn(seed + 50, first, last)
    flows = [
        [slow_flow(a, b, how) for a, b in zip(one.numpy(), other.numpy(), strict=True)] for one, other in (ours, theirs)
    ]
    expected = float(np.mean((np.array(flows[0]) - np.array(flows[1])) ** 2))
    found = feature.flow_transfer((ours[0], ours[1]), (theirs[0], theirs[1]), pooling)
    assert float(found) == pytest.approx(expected, rel=1e-10)
    known = feature.flow(theirs[0], theirs[1], pooling)
    assert torch.equal(feature.flow_transfer((ours[0], ours[1]), known, pooling), found)


def test_flows_of_other_channels_are_refused_rather_than_broadcast():
    one, other, narrow = drawn(0, (2, 3, 4, 4), (2, 5, 4, 4), (2, 1, 4, 4))
    with pytest.raises(ValueError, match="channels"):
        feature.flow_transfer((one, other), (one, narrow))


ALIKE = {
    "the size of an image": lambda m: m * torch.linspace(0.1, 9, len(m), dtype=m.dtype)[:, None, None, None],
    "sign": lambda m: -m,
    "the order of channels": lambda m: m.flip(1),
    "a rotation of channels": lambda m: torch.einsum("ab,nbhw->nahw", rotation(m.shape[1]), m),
}


def rotation(size: int) -> Tensor:
    return torch.linalg.qr(torch.from_numpy(np.random.default_rng(1).standard_normal((size, size))))[0]


@pytest.mark.parametrize("name", ALIKE)
def test_at_does_not_see(name):
    one, other = drawn(3, (4, 5, 6, 6), (4, 3, 6, 6))
    found = feature.attention_transfer(ALIKE[name](one), other)
    assert float(found) == pytest.approx(float(feature.attention_transfer(one, other)), rel=1e-12)


def test_at_does_not_see_channels_that_are_off_but_sees_their_sizes_and_the_order_of_pixels():
    one, other = drawn(4, (4, 5, 6, 6), (4, 3, 6, 6))
    plain = float(feature.attention_transfer(one, other))
    assert float(feature.attention_transfer(torch.cat((one, 0 * one), 1), other)) == pytest.approx(plain, rel=1e-12)
    louder = one * torch.arange(1, 6)[:, None, None]
    assert abs(float(feature.attention_transfer(louder, other)) - plain) > 1e-4
    assert abs(float(feature.attention_transfer(one.flip(3), other)) - plain) > 1e-4


def test_fsp_does_not_see_the_order_of_pixels_nor_what_one_map_gains_and_the_other_loses():
    one, last, *theirs = drawn(5, (3, 4, 5, 5), (3, 6, 5, 5), (3, 4, 5, 5), (3, 6, 5, 5))
    plain = float(feature.flow_transfer((one, last), (theirs[0], theirs[1])))
    order = torch.randperm(25, generator=torch.Generator().manual_seed(0))
    mixed = [m.flatten(2)[:, :, order].view_as(m) for m in (one, last)]
    assert float(feature.flow_transfer((mixed[0], mixed[1]), (theirs[0], theirs[1]))) == pytest.approx(plain, rel=1e-12)
    assert float(feature.flow_transfer((7 * one, last / 7), (theirs[0], theirs[1]))) == pytest.approx(plain, rel=1e-12)


def test_fsp_is_of_degree_4_in_all_maps():
    one, last, *theirs = drawn(6, (3, 4, 5, 5), (3, 6, 5, 5), (3, 4, 5, 5), (3, 6, 5, 5))
    plain = float(feature.flow_transfer((one, last), (theirs[0], theirs[1])))
    twice = float(feature.flow_transfer((2 * one, 2 * last), (2 * theirs[0], 2 * theirs[1])))
    assert twice == pytest.approx(16 * plain, rel=1e-12)


def test_a_student_equal_to_its_teacher_has_no_loss_and_the_teacher_no_gradient():
    one, last = (m.requires_grad_() for m in drawn(7, (3, 4, 6, 6), (3, 6, 3, 3)))
    theirs = [m.detach().clone().requires_grad_() for m in (one, last)]
    for loss in (
        feature.attention_transfer(one, theirs[0]),
        feature.flow_transfer((one, last), (theirs[0], theirs[1])),
    ):
        assert float(loss.detach()) == 0.0
        assert torch.autograd.grad(loss, theirs, allow_unused=True) == (None, None)


HARD = {
    "zero": lambda m: 0 * m,
    "one image off": lambda m: m * (torch.arange(len(m)) > 0)[:, None, None, None],
    "equal images": lambda m: m[:1].expand_as(m).clone(),
    "large": lambda m: 1e3 * m,
    "tiny": lambda m: 1e-8 * m,
}


@pytest.mark.parametrize("images", [1, 2, 5])
@pytest.mark.parametrize("name", HARD)
def test_losses_and_gradients_stay_finite_where_numbers_end(name, images):
    one, last, *theirs = (m.float() for m in drawn(8, *[(images, 4, 6, 6), (images, 4, 3, 3)] * 2))
    one, last = (HARD[name](m).requires_grad_() for m in (one, last))
    for loss in (
        feature.attention_transfer(one, theirs[0]),
        feature.flow_transfer((one, last), (theirs[0], theirs[1])),
    ):
        found = torch.autograd.grad(loss, (one, last), allow_unused=True)
        assert bool(loss.isfinite())
        assert all(own is None or bool(own.isfinite().all()) for own in found)


def test_networks_in_bfloat16_get_the_same_losses():
    one, last, *theirs = (m.float() for m in drawn(8, *[(5, 4, 6, 6), (5, 4, 3, 3)] * 2))

    def both() -> list[Tensor]:
        flows = feature.flow_transfer((one, last), (theirs[0], theirs[1]))
        return [feature.attention_transfer(one, theirs[0]), flows]

    plain = both()
    with torch.autocast("cpu", torch.bfloat16):
        assert both() == plain


def test_maps_whose_channels_stand_last_in_memory_give_the_same():
    one, last, *theirs = drawn(8, *[(5, 4, 6, 6), (5, 4, 3, 3)] * 2)
    other = [m.contiguous(memory_format=torch.channels_last) for m in (one, last)]
    found = feature.flow_transfer((other[0], other[1]), (theirs[0], theirs[1]))
    assert float(found) == pytest.approx(float(feature.flow_transfer((one, last), (theirs[0], theirs[1]))))
