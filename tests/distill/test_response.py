"""Losses of answers: against loops in numpy, by what they must not see, and where numbers end."""

import numpy as np
import pytest
import torch
from torch import Tensor

from kdsearch.distill import losses, response

SHAPES = [(seed, images, classes) for seed, (images, classes) in enumerate([(2, 2), (7, 3), (16, 10), (5, 40), (1, 6)])]


def drawn(seed: int, *shape: int, scale: float = 3.0) -> tuple[Tensor, Tensor]:
    numbers = np.random.default_rng(seed)
    return tuple(torch.from_numpy(scale * numbers.standard_normal(shape)) for _ in range(2))  # pyright: ignore[reportReturnType]


def labels_of(seed: int, images: int, classes: int) -> Tensor:
    return torch.from_numpy(np.random.default_rng(seed + 100).integers(classes, size=images))


def softmax(row: np.ndarray) -> np.ndarray:
    parts = np.exp(row - row.max())
    return parts / parts.sum()


def kl(p: np.ndarray, q: np.ndarray) -> float:
    return sum(float(a * np.log(a / b)) for a, b in zip(p, q, strict=True) if a > 0)


def slow_decoupled(ours, theirs, labels, temperature, alpha, beta) -> float:
    total = 0.0
    for ours_row, theirs_row, label in zip(ours.numpy(), theirs.numpy(), labels.tolist(), strict=True):
        q, p = softmax(ours_row / temperature), softmax(theirs_row / temperature)
        total += alpha * kl(np.array([p[label], 1 - p[label]]), np.array([q[label], 1 - q[label]]))
        p, q = np.delete(p, label), np.delete(q, label)
        total += beta * kl(p / p.sum(), q / q.sum())
    return temperature**2 * total / len(labels)


def slow_correlated(ours, theirs, temperature, between, within) -> float:
    q, p = (np.stack([softmax(row / temperature) for row in scores.numpy()]) for scores in (ours, theirs))

    def correlation(a: np.ndarray, b: np.ndarray) -> float:
        a, b = a - a.mean(), b - b.mean()
        return float((a * b).sum() / (np.sqrt((a**2).sum()) * np.sqrt((b**2).sum()) + 1e-8))

    rows = np.mean([correlation(a, b) for a, b in zip(q, p, strict=True)])
    columns = np.mean([correlation(a, b) for a, b in zip(q.T, p.T, strict=True)])
    return float(temperature**2 * (between * (1 - rows) + within * (1 - columns)))


@pytest.mark.parametrize("seed, images, classes", SHAPES)
@pytest.mark.parametrize("alpha, beta, temperature", [(1.0, 8.0, 4.0), (0.5, 2.0, 1.0), (0.0, 1.0, 2.0)])
def test_dkd_is_its_formula_image_by_image(seed, images, classes, alpha, beta, temperature):
    (ours, theirs), labels = drawn(seed, images, classes), labels_of(seed, images, classes)
    expected = slow_decoupled(ours, theirs, labels, temperature, alpha, beta)
    assert float(response.decoupled(ours, theirs, labels, temperature, alpha, beta)) == pytest.approx(
        expected, rel=1e-9
    )


@pytest.mark.parametrize("seed, images, classes", SHAPES[:-1])
def test_dkd_with_the_teacher_s_rest_as_beta_is_distillation(seed, images, classes):
    (ours, theirs), labels = drawn(seed, images, classes), labels_of(seed, images, classes)
    for row in range(images):
        one = slice(row, row + 1)
        rest = 1 - (theirs[one] / 4).softmax(1)[0, labels[row]]
        found = response.decoupled(ours[one], theirs[one], labels[one], 4.0, 1.0, float(rest))
        assert float(found) == pytest.approx(float(losses.distillation(ours[one], theirs[one], 4.0)), rel=1e-9)


@pytest.mark.parametrize("seed, images, classes", SHAPES)
@pytest.mark.parametrize("between, within, temperature", [(1.0, 1.0, 4.0), (2.0, 0.0, 1.0), (0.0, 2.0, 2.0)])
def test_dist_is_its_formula_row_by_row_and_column_by_column(seed, images, classes, between, within, temperature):
    ours, theirs = drawn(seed, images, classes)
    expected = slow_correlated(ours, theirs, temperature, between, within)
    found = response.correlated(ours, theirs, temperature, between, within)
    assert float(found) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("seed, images, classes", SHAPES)
def test_standardised_logits_have_mean_0_and_deviation_1(seed, images, classes):
    ours, _ = drawn(seed, images, classes)
    rows = ours.numpy()
    expected = (rows - rows.mean(1, keepdims=True)) / (rows.std(1, ddof=1, keepdims=True) + 1e-7)
    assert np.allclose(response.standardised(ours).numpy(), expected, rtol=1e-10)


def test_standardised_logits_forget_offset_and_size_of_each_image():
    ours, _ = drawn(3, 6, 10)
    moved = ours * torch.linspace(0.1, 9, 6, dtype=ours.dtype)[:, None] + torch.arange(6)[:, None]
    assert torch.allclose(response.standardised(ours), response.standardised(moved), atol=1e-5)


def test_dist_forgets_an_offset_of_each_image_s_logits():
    ours, theirs = drawn(4, 6, 10)
    moved = ours + torch.arange(6)[:, None]
    assert float(response.correlated(moved, theirs, 2.0)) == pytest.approx(
        float(response.correlated(ours, theirs, 2.0)), abs=1e-12
    )


def all_of(ours: Tensor, theirs: Tensor, labels: Tensor) -> dict[str, Tensor]:
    plain, other = response.standardised(ours), response.standardised(theirs)
    return {
        "dkd": response.decoupled(ours, theirs, labels, 4.0),
        "dist": response.correlated(ours, theirs, 1.0),
        "standardised": losses.distillation(plain, other.detach(), 2.0),
        "no square": losses.distillation(ours, theirs.detach(), 3.0, squared=False),
    }


def test_a_student_equal_to_its_teacher_has_no_loss():
    ours, _ = drawn(5, 12, 10, scale=1.0)
    found = all_of(ours, ours.clone(), labels_of(5, 12, 10))
    assert {name: float(loss) for name, loss in found.items()} == pytest.approx(dict.fromkeys(found, 0.0), abs=1e-6)


def test_the_teacher_has_no_gradient():
    (ours, theirs), labels = drawn(6, 4, 5), labels_of(6, 4, 5)
    theirs.requires_grad_()
    for name, loss in all_of(ours.requires_grad_(), theirs, labels).items():
        (found,) = torch.autograd.grad(loss, theirs, allow_unused=True)
        assert found is None, name


HARD = {
    "large": lambda n, c: torch.where(torch.rand(n, c) < 0.5, 1000.0, -1000.0),
    "constant": lambda n, c: torch.full((n, c), 3.7),
    "zero": lambda n, c: torch.zeros(n, c),
    "equal rows": lambda n, c: torch.randn(1, c).repeat(n, 1),
}


@pytest.mark.parametrize("images, classes", [(16, 10), (2, 2), (1, 3)])
@pytest.mark.parametrize("ours", HARD)
@pytest.mark.parametrize("theirs", HARD)
def test_losses_and_gradients_stay_finite_and_small_where_numbers_end(ours, theirs, images, classes):
    torch.manual_seed(0)
    student, teacher = HARD[ours](images, classes).requires_grad_(), HARD[theirs](images, classes)
    for name, loss in all_of(student, teacher, torch.arange(images) % classes).items():
        (found,) = torch.autograd.grad(loss, student, allow_unused=True)
        assert bool(loss.isfinite()), name
        assert found is not None and bool(found.isfinite().all()) and float(found.norm()) < 1e4, name


def test_networks_in_bfloat16_get_the_same_losses():
    (ours, theirs), labels = drawn(7, 16, 10), labels_of(7, 16, 10)
    ours, theirs = ours.float(), theirs.float()
    plain = response.decoupled(ours, theirs, labels, 4.0), response.correlated(ours, theirs, 4.0)
    with torch.autocast("cpu", torch.bfloat16):
        inside = response.decoupled(ours, theirs, labels, 4.0), response.correlated(ours, theirs, 4.0)
    assert plain == inside


def test_without_its_square_distillation_is_the_kl_alone():
    ours, theirs = drawn(8, 6, 10)
    assert float(9 * losses.distillation(ours, theirs, 3.0, squared=False)) == pytest.approx(
        float(losses.distillation(ours, theirs, 3.0))
    )
