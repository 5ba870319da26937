"""What networks that train side by side learn from each other: against loops, and by what must be nothing."""

import numpy as np
import pytest
import torch
from torch import Tensor

from kdsearch.distill import losses, online, response
from kdsearch.nets.beside import Gate

TEMPERATURES = (1.0, 3.0)


def drawn(seed: int, networks: int, images: int = 6, classes: int = 5) -> list[Tensor]:
    numbers = np.random.default_rng(seed)
    return [torch.from_numpy(3 * numbers.standard_normal((images, classes))).requires_grad_() for _ in range(networks)]


def slow_kl(theirs: Tensor, ours: Tensor, temperature: float) -> float:
    total = 0.0
    for p, q in zip(theirs.detach() / temperature, ours.detach() / temperature, strict=True):
        p, q = np.exp(p.numpy()), np.exp(q.numpy())
        p, q = p / p.sum(), q / q.sum()
        total += float((p * np.log(p / q)).sum())
    return temperature**2 * total / len(ours)


@pytest.mark.parametrize("networks", [2, 3, 5])
@pytest.mark.parametrize("temperature", TEMPERATURES)
def test_dml_is_the_mean_over_peers_summed_over_networks(networks, temperature):
    some = drawn(networks, networks)
    expected = sum(slow_kl(peer, own, temperature) / (networks - 1) for own in some for peer in some if peer is not own)
    assert float(online.mutual(some, temperature).detach()) == pytest.approx(expected, rel=1e-10)


def test_no_network_of_a_cohort_is_taught_by_what_it_teaches():
    """Each one's gradient is that of its own loss alone, its peers taken as they are."""
    some = drawn(0, 3)
    found = torch.autograd.grad(online.mutual(some, 2.0), some)
    for place, own in enumerate(some):
        peers = [peer.detach() for peer in some if peer is not own]
        alone = torch.stack([losses.distillation(own, peer, 2.0) for peer in peers]).mean()
        assert torch.allclose(found[place], torch.autograd.grad(alone, own)[0], rtol=1e-12, atol=0)


def test_equal_networks_have_nothing_to_teach_each_other_and_one_alone_nobody():
    (own,) = drawn(1, 1)
    twin = own.detach().clone().requires_grad_()
    assert float(online.mutual((own, twin), 1.0).detach()) == 0
    assert all(
        float(one.abs().max()) < 1e-16 for one in torch.autograd.grad(online.mutual((own, twin), 1.0), (own, twin))
    )
    assert float(online.mutual((own,), 1.0).detach()) == 0


def test_equal_branches_are_their_own_ensemble_whatever_the_gate_says():
    (own,) = drawn(2, 1)
    gate = torch.from_numpy(np.random.default_rng(0).random((6, 3))).softmax(1)
    ensemble = online.ensemble((own, own, own), gate)
    assert torch.allclose(ensemble, own, rtol=1e-14)
    assert float(online.downwards((own, own), ensemble, 3.0).detach()) == pytest.approx(0, abs=1e-14)


def test_an_ensemble_is_weighed_image_by_image():
    one, other = drawn(3, 2)
    gate = torch.tensor([[1.0, 0.0]] * 3 + [[0.25, 0.75]] * 3, dtype=torch.float64)
    found = online.ensemble((one, other), gate)
    assert torch.equal(found[:3], one[:3]) and torch.allclose(found[3:], 0.25 * one[3:] + 0.75 * other[3:])


@pytest.mark.parametrize("temperature", TEMPERATURES)
def test_branches_and_exits_learn_from_above_and_teach_nobody(temperature):
    own, one, other = drawn(4, 3)
    loss = online.downwards((one, other), own, temperature)
    expected = slow_kl(own, one, temperature) + slow_kl(own, other, temperature)
    assert float(loss.detach()) == pytest.approx(expected, rel=1e-10)
    assert torch.autograd.grad(loss, own, allow_unused=True) == (None,)


def test_a_gate_is_a_softmax_of_what_is_left_above_zero():
    torch.manual_seed(0)
    gate, trunk = Gate(4, 3).eval(), torch.randn(5, 4, 2, 2)
    scores = (trunk.mean((2, 3)) @ gate.linear.weight.T + gate.linear.bias) / (1 + gate.norm.eps) ** 0.5
    assert torch.allclose(gate(trunk), scores.clamp(min=0).softmax(1), atol=1e-6)


@pytest.mark.parametrize("teachers", [2, 3])
@pytest.mark.parametrize("temperature", TEMPERATURES)
def test_a_blend_of_teachers_gives_the_mean_of_their_gradients(teachers, temperature):
    own, *told = drawn(5, teachers + 1)
    blend = losses.distillation(own, response.blended(told, temperature), temperature)
    each = torch.stack([losses.distillation(own, one, temperature) for one in told]).mean()
    ours, theirs = (torch.autograd.grad(loss, own, retain_graph=True)[0] for loss in (blend, each))
    assert torch.allclose(ours, theirs, rtol=1e-10, atol=1e-14)


def test_of_teachers_by_entropy_the_surer_one_counts_and_equal_ones_count_alike():
    (own,) = drawn(6, 1)
    own, sure, unsure = own.detach(), 50 * torch.eye(5, dtype=torch.float64)[:4], torch.zeros(4, 5, dtype=torch.float64)
    found = response.blended((sure, unsure), 1.0, response.surer((sure, unsure))).softmax(1)
    assert torch.allclose(found, sure.softmax(1), atol=1e-9)
    blend = response.blended((own, own), 2.0, response.surer((own, own)))
    assert torch.allclose(blend, 2 * (own / 2).log_softmax(1), atol=1e-12)
    certain = 1e4 * torch.eye(5, dtype=torch.float64)
    assert torch.allclose(response.surer((certain, certain)), torch.full((2, 5), 0.5, dtype=torch.float64))


def test_the_weights_by_entropy_are_those_of_their_formula_and_sum_to_1():
    told = [one.detach() for one in drawn(7, 3)]
    entropies = [-(one.softmax(1) * one.log_softmax(1)).sum(1) for one in told]
    expected = torch.stack([(1 - own / torch.stack(entropies).sum(0)) / 2 for own in entropies])
    weights = response.surer(told)
    assert torch.allclose(weights, expected, rtol=1e-10) and torch.allclose(weights.sum(0), torch.ones(6).double())
    blend = sum(weight[:, None] * (one / 2).softmax(1) for weight, one in zip(weights, told, strict=True))
    found = (response.blended(told, 2.0, weights) / 2).softmax(1)
    assert torch.allclose(found, torch.as_tensor(blend), rtol=1e-10)
