"""The papers' networks have the papers' counts: parameters as PyTorch counts them, and with Keras's buffers."""

import pytest
import torch

from kdsearch.config import papers
from kdsearch.config.net import Net, ResNet
from kdsearch.config.pipeline import Hints, Link, Pair
from kdsearch.nets import build, survey, taps

CIFAR, MNIST = (3, 32, 32), (1, 28, 28)
COUNTS = [
    (papers.HINTING, CIFAR, 10, 3_201_122, 3_201_122),
    (papers.HINTING, CIFAR, 100, 3_247_292, 3_247_292),
    (papers.MNIST_TEACHER, MNIST, 10, 1_422_378, 1_422_378),
    (papers.MNIST_STUDENT, MNIST, 10, 693_962, 693_962),
    (papers.RESNET18, CIFAR, 10, 11_173_962, 11_183_562),
    (papers.SIX_CONV, CIFAR, 10, 815_530, 816_938),
    (papers.CHAIN[2], CIFAR, 10, 13_082, 13_146),
    (papers.CHAIN[4], CIFAR, 10, 37_338, 37_530),
    (papers.CHAIN[6], CIFAR, 10, 82_778, 83_226),
    (papers.CHAIN[8], CIFAR, 10, 327_962, 328_922),
    (papers.CHAIN[10], CIFAR, 10, 657_114, 658_586),
]


@pytest.mark.parametrize("net, image, classes, learned, keras", COUNTS)
def test_networks_have_the_papers_parameters(net, image, classes, learned, keras):
    found = survey.survey(net, image, classes)
    assert (found.parameters, found.parameters + found.statistics) == (learned, keras)


@pytest.mark.parametrize("net", [net for net, *_ in COUNTS], ids=str)
@pytest.mark.parametrize("image", [CIFAR, (1, 8, 8), (1, 9, 9)])
def test_networks_compute_logits_from_images_of_any_size_and_their_parts_are_slices(net: Net | ResNet, image):
    module, pixels = build.build(net, image, 10).eval(), torch.randn(2, *image)
    found = taps.maps(module, pixels, {1, net.layers, net.layers + 1})
    assert len(module) == net.layers + 1 and found[net.layers + 1].shape == (2, 10)
    assert torch.equal(found[net.layers], module[: net.layers](pixels))
    assert tuple(found[net.layers].shape[1:]) == survey.survey(net, image, 10).maps[net.layers - 1]


def test_a_residual_network_s_stages_halve_the_map():
    assert survey.survey(papers.RESNET18, CIFAR, 10).maps == (
        *[(64, 32, 32)] * 3, *[(128, 16, 16)] * 2, *[(256, 8, 8)] * 2, *[(512, 4, 4)] * 2,
    )  # fmt: skip


def test_the_six_convolution_student_ends_in_2048_numbers():
    assert survey.survey(papers.SIX_CONV, CIFAR, 10).maps[-1] == (128, 4, 4)


def test_a_residual_teacher_gives_hints_to_a_plain_student():
    link = Link(net=papers.SIX_CONV, hints=Hints(pairs=(Pair(hint=papers.RESNET18.middle, guided=4),)))
    (bridge,) = survey.regressors(link, papers.RESNET18, CIFAR, 10)
    assert bridge(torch.randn(1, 64, 8, 8)).shape == bridge.match(torch.randn(1, 128, 16, 16)).shape == (1, 128, 8, 8)


def test_regularisation_stands_where_the_papers_have_it():
    kinds = [type(layer).__name__ for layer in build.build(papers.SIX_CONV, CIFAR, 10)[1].children()]
    assert kinds == ["Conv2d", "ReLU", "BatchNorm2d", "MaxPool2d", "Dropout"]
    head = [type(layer).__name__ for layer in build.build(papers.SIX_CONV, CIFAR, 10)[-1].children()]
    assert head == ["Flatten", "Linear", "ReLU", "BatchNorm1d", "Dropout", "Linear"]
    assert [type(layer).__name__ for layer in build.build(papers.CHAIN[4], CIFAR, 10)[-1].children()] == [
        "Flatten", "Dropout", "Linear",
    ]  # fmt: skip
