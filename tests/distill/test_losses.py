"""The equations against closed forms in float64."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from kdsearch.distill import losses

numbers = st.lists(st.floats(-20, 20), min_size=6, max_size=6)


def softmax(row: list[float], temperature: float) -> list[float]:
    parts = [math.exp(value / temperature) for value in row]
    return [part / sum(parts) for part in parts]


@settings(deadline=None)
@given(student=numbers, teacher=numbers, temperature=st.floats(0.5, 20))
def test_distillation_is_tau_squared_times_kl_from_teacher_to_student_a_batch_s_mean(student, teacher, temperature):
    expected = 0.0
    for row in (slice(0, 3), slice(3, 6)):
        p, q = softmax(teacher[row], temperature), softmax(student[row], temperature)
        expected += sum(a * math.log(a / b) for a, b in zip(p, q, strict=True) if a > 0) / 2
    ours, theirs = (torch.tensor(values, dtype=torch.float64).view(2, 3) for values in (student, teacher))
    assert float(losses.distillation(ours, theirs, temperature)) == pytest.approx(temperature**2 * expected, abs=1e-9)


def test_a_student_equal_to_its_teacher_has_no_distillation_loss():
    logits = torch.randn(4, 10, dtype=torch.float64)
    assert float(losses.distillation(logits, logits, 3.0)) == pytest.approx(0.0, abs=1e-12)


def test_the_gradient_keeps_its_size_when_tau_grows():
    teacher = torch.randn(8, 10, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    sizes = []
    for temperature in (20.0, 200.0):
        logits = torch.zeros(8, 10, dtype=torch.float64, requires_grad=True)
        losses.distillation(logits, teacher, temperature).backward()
        assert logits.grad is not None
        sizes.append(float(logits.grad.norm()))
    assert sizes[1] == pytest.approx(sizes[0], rel=0.05)


def test_a_hint_s_loss_is_the_mean_over_all_elements():
    assert float(losses.hint(torch.zeros(2, 3, 4, 4), torch.full((2, 3, 4, 4), 2.0))) == 4.0


def test_a_hint_of_another_shape_is_refused_rather_than_broadcast():
    with pytest.raises(ValueError, match="shape"):
        losses.hint(torch.zeros(2, 3, 4, 4), torch.zeros(2, 1, 4, 4))
