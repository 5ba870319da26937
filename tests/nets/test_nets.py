"""Seed 1's networks, exactly; maps; regressors; what fits."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from kdsearch.config.net import Net
from kdsearch.config.pipeline import Hints, Link, Pair, Pipeline
from kdsearch.errors import Refusal
from kdsearch.nets import build, survey, taps
from kdsearch.nets import pairs as nets_pairs

CIFAR = (3, 32, 32)
TEACHER = Net(widths=(128, 356, 356), depth=3, hidden=512)
STUDENTS = {3: 75_674, 6: 108_026, 9: 140_378, 12: 172_730}
STUDENTS_100 = {3: 87_284, 6: 119_636, 9: 151_988, 12: 184_340}
HINT_1 = {3: 94_234, 6: 126_586, 9: 158_938, 12: 191_290}
NINE = {(2,): 243_262, (3,): 294_526, (1, 2): 261_822, (2, 3): 397_410, (1, 3): 313_086, (1, 2, 3): 415_970}
NINE_100 = {(2,): 254_872, (3,): 306_136, (1, 2): 273_432, (2, 3): 409_020, (1, 3): 324_696, (1, 2, 3): 427_580}


def hinted(depth: int, blocks: tuple[int, ...], **hints: object) -> Link:
    net = Net(depth=depth)
    pairs = tuple(Pair(hint=block, guided=net.block_end(block)) for block in blocks)
    return Link(net=net, hints=Hints.model_validate({"pairs": pairs, **hints}))


@pytest.mark.parametrize("classes, count", [(10, 3_201_122), (100, 3_247_292)])
def test_the_teacher_has_the_paper_s_parameters(classes, count):
    assert survey.survey(TEACHER, CIFAR, classes).parameters == count


@pytest.mark.parametrize("depth", STUDENTS)
def test_students_have_the_paper_s_parameters(depth):
    assert survey.survey(Net(depth=depth), CIFAR, 10).parameters == STUDENTS[depth]
    assert survey.survey(Net(depth=depth), CIFAR, 100).parameters == STUDENTS_100[depth]


@pytest.mark.parametrize("depth", HINT_1)
def test_the_first_hint_s_regressor_has_the_paper_s_parameters(depth):
    assert survey.training_parameters(hinted(depth, (1,)), TEACHER, CIFAR, 10) == HINT_1[depth]


@pytest.mark.parametrize("blocks", NINE)
def test_several_hints_have_the_paper_s_training_parameters(blocks):
    assert survey.training_parameters(hinted(9, blocks), TEACHER, CIFAR, 10) == NINE[blocks]
    assert survey.training_parameters(hinted(9, blocks), TEACHER, CIFAR, 100) == NINE_100[blocks]


def test_multiply_accumulates_are_the_paper_s():
    assert survey.survey(TEACHER, CIFAR, 10).macs == pytest.approx(183.17e6, rel=1e-4)
    found = [survey.survey(Net(depth=depth), CIFAR, 10).macs / 1e6 for depth in STUDENTS]
    assert found == pytest.approx([2.56, 8.61, 14.65, 20.70], abs=0.005)


def test_the_teacher_s_maps_at_32_are_the_paper_s():
    assert survey.survey(TEACHER, CIFAR, 10).maps == ((128, 16, 16), (356, 8, 8), (356, 3, 3))


def test_batch_norm_adds_two_numbers_a_channel_and_its_buffers_do_not_count():
    plain, normed = (survey.survey(Net(depth=3, batch_norm=on), CIFAR, 10).parameters for on in (False, True))
    assert normed - plain == 2 * (16 + 32 + 48)


def test_width_multiplies_channels_and_hidden_units():
    assert [shape[0] for shape in survey.survey(Net(depth=3, width=0.5), CIFAR, 10).maps] == [8, 16, 24]
    assert build.build(Net(depth=3, width=0.5), CIFAR, 10)[-1].get_submodule("1").out_features == 64


@settings(max_examples=25, deadline=None)
@given(side=st.tuples(st.integers(8, 40), st.integers(8, 40)), channels=st.sampled_from([1, 3]))
def test_any_image_from_8_by_8_on_is_classified(side, channels):
    net = build.build(Net(widths=(2, 3, 4), depth=6, hidden=5), (channels, *side), 7)
    assert net(torch.zeros(2, channels, *side)).shape == (2, 7)


def test_a_one_by_one_map_is_not_pooled():
    net = build.build(Net(widths=(2, 2, 2, 2, 2), depth=5, hidden=5), (1, 8, 8), 2)
    pooled = [any(isinstance(layer, torch.nn.MaxPool2d) for layer in section.modules()) for section in list(net)[:-1]]
    assert pooled == [True, True, True, False, False]


def test_a_slice_shares_its_weights_with_the_whole():
    net = build.build(Net(depth=6), CIFAR, 10)
    assert next(net[:4].parameters()) is next(net.parameters())


def test_maps_are_what_the_next_layer_reads():
    net = build.build(Net(depth=6), CIFAR, 10).eval()
    x = torch.rand(2, *CIFAR)
    found = taps.maps(net, x, {2, 5})
    assert torch.equal(found[5], net[:5](x)) and torch.equal(found[2], net[:2](x))
    assert found[2].shape[1:] == survey.survey(Net(depth=6), CIFAR, 10).maps[1]


@pytest.mark.parametrize("guided, hint", [((4, 8, 8), (6, 3, 5)), ((4, 3, 5), (6, 8, 8)), ((4, 8, 3), (6, 3, 8))])
def test_maps_of_different_size_are_matched_in_each_dimension_to_the_smaller(guided, hint):
    bridge = taps.Regressor(guided, hint, "conv3x3")
    ours, theirs = bridge(torch.rand(2, *guided)), bridge.match(torch.rand(2, *hint))
    assert ours.shape == theirs.shape == (2, 6, min(guided[1], hint[1]), min(guided[2], hint[2]))


def test_matching_is_averaging():
    bridge = taps.Regressor((1, 2, 2), (1, 4, 4), "none")
    x = torch.arange(16.0).view(1, 1, 4, 4)
    assert bridge.match(x).flatten().tolist() == [2.5, 4.5, 10.5, 12.5]


def test_a_pair_beyond_the_student_is_refused_with_what_would_fit():
    pipeline = Pipeline(links=(Link(net=TEACHER), Link(net=Net(depth=3), hints=Hints(pairs=(Pair(hint=1, guided=5),)))))
    with pytest.raises(Refusal, match=r"1→5.*student has 3 layers.*1 to 3 would fit"):
        nets_pairs.check(pipeline, CIFAR, 10)


def test_without_a_regressor_channels_must_agree_and_the_refusal_says_which_differ():
    pipeline = Pipeline(links=(Link(net=TEACHER), hinted(3, (2,), regressor="none")))
    with pytest.raises(Refusal, match=r"hint has 356 and the guided layer 32.*conv1x1"):
        nets_pairs.check(pipeline, CIFAR, 10)


def test_without_a_regressor_equal_channels_fit():
    net = Net(widths=(8, 8, 8), depth=3)
    link = Link(net=net, hints=Hints(pairs=(Pair(hint=2, guided=2),), regressor="none"))
    nets_pairs.check(Pipeline(links=(Link(net=net), link)), CIFAR, 10)
    assert survey.training_parameters(link, net, CIFAR, 10) == survey.survey(net, CIFAR, 10).parameters
