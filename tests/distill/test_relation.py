"""Losses of how images lie to each other: against loops in numpy, by what they must not see, where numbers end."""

import numpy as np
import pytest
import torch
from torch import Tensor

from kdsearch.distill import relation

LOSSES = {
    "sp": relation.similarity, "rkd-d": relation.distances, "rkd-a": relation.angles, "pkt": relation.probabilities,
}  # fmt: skip
SHAPES = [(0, 5, 3, 8), (1, 9, 6, 6), (2, 3, 10, 1), (3, 12, 2, 20), (4, 2, 4, 4)]


def drawn(seed: int, images: int, ours: int, theirs: int) -> tuple[Tensor, Tensor]:
    numbers = np.random.default_rng(seed)
    return tuple(torch.from_numpy(numbers.standard_normal((images, width))) for width in (ours, theirs))  # pyright: ignore[reportReturnType]


def slow_similarity(rows: np.ndarray) -> np.ndarray:
    found = np.array([[one @ other for other in rows] for one in rows])
    return found / np.sqrt((found**2).sum(1, keepdims=True))


def slow_distances(rows: np.ndarray) -> np.ndarray:
    found = np.array([[np.sqrt(((one - other) ** 2).sum()) for other in rows] for one in rows])
    return found / found[found > 0].mean()


def slow_angles(rows: np.ndarray) -> np.ndarray:
    count, found = len(rows), np.zeros((len(rows),) * 3)
    for seen in range(count):
        for one in range(count):
            for other in range(count):
                if seen not in (one, other):
                    a, b = rows[one] - rows[seen], rows[other] - rows[seen]
                    found[seen, one, other] = a @ b / np.sqrt((a @ a) * (b @ b))
    return found


def slow_neighbours(rows: np.ndarray) -> np.ndarray:
    rows = rows / (np.sqrt((rows**2).sum(1, keepdims=True)) + 1e-7)
    found = np.array([[(1 + one @ other) / 2 for other in rows] for one in rows])
    return found / found.sum(1, keepdims=True)


def smooth(difference: np.ndarray) -> float:
    size = np.abs(difference)
    return float(np.where(size < 1, size**2 / 2, size - 0.5).mean())


def slow(name: str, ours: np.ndarray, theirs: np.ndarray) -> float:
    if name == "sp":
        return float(((slow_similarity(ours) - slow_similarity(theirs)) ** 2).sum() / len(ours) ** 2)
    if name == "pkt":
        p, q = slow_neighbours(theirs), slow_neighbours(ours)
        return float(np.mean(p * np.log((p + 1e-7) / (q + 1e-7))))
    kind = slow_distances if name == "rkd-d" else slow_angles
    return smooth(kind(ours) - kind(theirs))


@pytest.mark.parametrize("seed, images, ours, theirs", SHAPES)
@pytest.mark.parametrize("name", LOSSES)
def test_a_loss_is_its_formula_pair_by_pair(name, seed, images, ours, theirs):
    one, other = drawn(seed, images, ours, theirs)
    assert float(LOSSES[name](one, other)) == pytest.approx(slow(name, one.numpy(), other.numpy()), rel=1e-9, abs=1e-12)


@pytest.mark.parametrize("name", LOSSES)
def test_a_gradient_is_the_slope_of_the_loss(name):
    one, other = drawn(6, 5, 4, 7)
    assert torch.autograd.gradcheck(lambda rows: LOSSES[name](rows, other), one.requires_grad_())


@pytest.mark.parametrize("name", LOSSES)
def test_the_order_of_images_is_not_seen_where_both_have_it_and_is_where_one_has(name):
    one, other = drawn(7, 8, 5, 6)
    order = torch.randperm(8, generator=torch.Generator().manual_seed(1))
    plain = float(LOSSES[name](one, other))
    assert float(LOSSES[name](one[order], other[order])) == pytest.approx(plain, rel=1e-12)
    assert abs(float(LOSSES[name](one[order], other)) - plain) > 1e-6


def rotated(rows: Tensor) -> Tensor:
    size = rows.shape[1]
    return rows @ torch.linalg.qr(torch.from_numpy(np.random.default_rng(1).standard_normal((size, size))))[0]


def padded(rows: Tensor) -> Tensor:
    return torch.cat((rows, torch.zeros(len(rows), 3, dtype=rows.dtype)), 1)


def each(rows: Tensor) -> Tensor:
    return rows * torch.linspace(0.3, 5, len(rows), dtype=rows.dtype)[:, None]


CHANGES = {
    "scale": lambda rows: 7 * rows, "sign": lambda rows: -rows, "rotation": rotated, "width": padded,
    "translation": lambda rows: rows + 3, "each row's scale": each,
}  # fmt: skip
BLIND = {
    "sp": {"scale", "sign", "rotation", "width"},
    "rkd-d": {"scale", "sign", "rotation", "width", "translation"},
    "rkd-a": {"scale", "sign", "rotation", "width", "translation"},
    "pkt": {"scale", "sign", "rotation", "width", "each row's scale"},
}


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("name", LOSSES)
def test_a_loss_sees_what_its_paper_says(name, change):
    one, other = drawn(8, 8, 5, 6)
    plain, found = float(LOSSES[name](one, other)), float(LOSSES[name](CHANGES[change](one), other))
    # PKT adds 1e-7 to each length.
    assert (abs(found - plain) < 1e-7 * plain + (1e-8 if name == "pkt" else 0)) is (change in BLIND[name])


def test_sp_does_not_see_the_order_of_pixels():
    numbers = np.random.default_rng(2)
    one, other = (torch.from_numpy(numbers.standard_normal((6, *shape))) for shape in ((3, 4, 4), (5, 2, 2)))
    assert float(relation.similarity(one.flip(2, 3), other.flip(3))) == pytest.approx(
        float(relation.similarity(one, other)), rel=1e-12
    )
    last = one.contiguous(memory_format=torch.channels_last)
    assert float(relation.similarity(last, other)) == pytest.approx(float(relation.similarity(one, other)), rel=1e-12)


@pytest.mark.parametrize("name", LOSSES)
def test_a_student_equal_to_its_teacher_has_no_loss_and_the_teacher_no_gradient(name):
    one, _ = drawn(9, 7, 5, 5)
    theirs = one.clone().requires_grad_()
    loss = LOSSES[name](one.requires_grad_(), theirs)
    assert float(loss.detach()) == pytest.approx(0.0, abs=1e-15)
    assert torch.autograd.grad(loss, theirs, allow_unused=True) == (None,)


HARD = {
    "equal rows": lambda rows: rows[:1].expand_as(rows).clone(),
    "two equal rows": lambda rows: torch.cat((rows[:1], rows[:-1])),
    "two nearly equal rows": lambda rows: torch.cat((rows[:1] * (1 + 1e-7), rows[:-1])),
    "zero": lambda rows: 0 * rows,
    "one row zero": lambda rows: rows * (torch.arange(len(rows)) > 0)[:, None],
    "large": lambda rows: 1e3 * rows,
    "far off": lambda rows: rows + 100,
}


@pytest.mark.parametrize("images", [1, 2, 12])
@pytest.mark.parametrize("theirs", HARD)
@pytest.mark.parametrize("ours", HARD)
@pytest.mark.parametrize("name", LOSSES)
def test_losses_and_gradients_stay_finite_and_small_where_numbers_end(name, ours, theirs, images):
    one, other = (rows.float() for rows in drawn(10, images, 6, 9))
    one, other = HARD[ours](one).requires_grad_(), HARD[theirs](other)
    loss = LOSSES[name](one, other)
    (found,) = torch.autograd.grad(loss, one)
    assert bool(loss.isfinite()) and bool(found.isfinite().all()) and float(found.norm()) < 100


@pytest.mark.parametrize("name", ["rkd-d", "rkd-a"])
def test_embeddings_far_from_0_lose_nothing(name):
    one, other = drawn(11, 12, 16, 24)
    exact = float(LOSSES[name](one, other))
    far = float(LOSSES[name]((one + 100).float(), (other + 100).float()))
    assert far == pytest.approx(exact, rel=1e-4)


@pytest.mark.parametrize("name", ["rkd-d", "rkd-a"])
def test_two_images_say_nothing_of_distances_and_angles(name):
    one, other = drawn(12, 2, 4, 4)
    assert float(LOSSES[name](one, other)) == pytest.approx(0.0, abs=1e-12)


@pytest.mark.parametrize("name", LOSSES)
def test_networks_in_bfloat16_get_the_same_losses(name):
    one, other = (rows.float() for rows in drawn(13, 16, 32, 64))
    plain = LOSSES[name](one, other)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(LOSSES[name](one, other), plain) and float(plain) > 0
