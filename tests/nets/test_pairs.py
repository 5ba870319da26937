"""Which layers a term compares, and what is refused before anything trains."""

import pytest

from kdsearch.config.methods import AT, BSS, FSP, PKT, RKD, SP, Pair
from kdsearch.config.net import Eye, Net, ResNet
from kdsearch.config.pipeline import KD, Fit, Hints, Link, Pipeline
from kdsearch.errors import Refusal
from kdsearch.nets import pairs
from kdsearch.nets.ends import compared
from kdsearch.nets.survey import survey

RES26, RES8 = (ResNet(kind="resnet", widths=(16, 32, 64), blocks=blocks) for blocks in (4, 1))
PLAIN9, PLAIN3 = Net(widths=(16, 32, 48), depth=9), Net(widths=(16, 32, 48), depth=3)


def told(*words: str) -> tuple[Pair, ...]:
    return tuple(Pair.model_validate(word) for word in words)


def written(term, teacher, student) -> list[str]:
    return [str(pair) for pair in compared(term, teacher, student)]


def test_at_compares_the_ends_of_stages_and_blocks_paired_by_depth():
    assert written(AT(), RES26, RES8) == ["5→2", "9→3", "13→4"]
    assert written(AT(), PLAIN9, PLAIN3) == ["3→1", "6→2", "9→3"]
    assert written(AT(), RES26, Net(widths=(4, 8), depth=4)) == ["9→2", "13→4"]
    assert written(AT(), Net(widths=(4,), depth=2), PLAIN3) == ["2→3"]


def test_fsp_begins_at_the_first_layer_and_sp_has_the_last():
    assert written(FSP(), RES26, RES8) == ["1→1", "5→2", "9→3", "13→4"]
    assert written(FSP(), PLAIN3, PLAIN3) == ["1→1", "2→2", "3→3"]
    assert written(SP(), RES26, PLAIN9) == ["13→9"]


def test_what_is_told_is_compared_in_the_order_of_depth():
    assert written(FSP(pairs=("9>3", "1>1")), RES26, RES8) == ["1→1", "9→3"]  # pyright: ignore[reportArgumentType]


def taught(teacher, student, **link) -> Pipeline:
    fit = Fit(epochs=4)
    return Pipeline(links=(Link(net=teacher, fit=fit), Link.model_validate({"net": student, "fit": fit, **link})))


@pytest.mark.parametrize("term", [AT(), FSP(), SP(), RKD(), PKT(), BSS()])
def test_networks_that_fit_are_not_refused(term):
    pairs.check(taught(RES26, RES8, terms=(term,)), (3, 32, 32), 10)
    pairs.check(taught(PLAIN9, PLAIN3, terms=(term,), kd=KD()), (1, 8, 8), 10)


@pytest.mark.parametrize(
    "teacher, student, link, said",
    [
        (RES26, PLAIN3, {"terms": (FSP(),)}, "the hint has 64, the guided layer 48; layers of equal channels"),
        (RES26, RES8, {"terms": (FSP(pairs=told("1>1", "9>2")),)}, r"pair 9→2: .* 32, the guided layer 16"),
        (RES26, Net(widths=(64,), depth=1), {"terms": (FSP(),)}, "share only 13→1; pairs with others would fit"),
        (RES26, RES8, {"terms": (AT(pairs=told("14>2")),)}, "the teacher has 13 layers, but the pair names number 14"),
        (RES26, RES8, {"hints": Hints(pairs=told("1>1", "9>2"), match="flow")}, r"pair 9→2: flows"),
    ],
)  # fmt: skip
def test_what_cannot_be_compared_is_refused_with_what_would_fit(teacher, student, link, said):
    with pytest.raises(Refusal, match=said):
        pairs.check(taught(teacher, student, **link), (3, 32, 32), 10)


NETS = '''
import torch
from torch import nn

def flat(classes):
    """No map that anybody could compare, but an embedding."""
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 12), nn.ReLU(), nn.Dropout(0.5, inplace=True), nn.Linear(12, classes))

def convolved(classes):
    """Its classes are given by a convolution: no embedding."""
    return nn.Sequential(nn.Conv2d(1, 6, 3, 2, 1), nn.ReLU(), nn.Conv2d(6, classes, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten())
'''  # noqa: E501


@pytest.fixture
def own(tmp_path):
    from kdsearch.config.net import Own
    from kdsearch.nets.settle import certain

    (tmp_path / "my_nets.py").write_text(NETS)

    def made(name: str, **eye: int) -> Own:
        net = Own(kind="own", factory=f"{tmp_path}/my_nets.py:{name}", eye=Eye.model_validate(eye))
        return certain(net, (1, 8, 8), tuple("0123456789"))

    return made


def test_users_networks_are_refused_what_they_cannot_show(own):
    flat, convolved = own("flat"), own("convolved")
    assert survey(flat, (1, 8, 8), 10).embedding == 12 and survey(convolved, (1, 8, 8), 10).embedding is None
    for term, said in ((AT(), "at compares maps, but the student 'my_nets.py:flat' shows none"), (SP(), "rkd and pkt")):
        with pytest.raises(Refusal, match=said):
            pairs.check(taught(PLAIN3, flat, terms=(term,)), (1, 8, 8), 10)
    for term in (RKD(), PKT()):
        pairs.check(taught(PLAIN3, flat, terms=(term,)), (1, 8, 8), 10)
        with pytest.raises(Refusal, match=r"the teacher 'my_nets\.py:convolved' has no such layer"):
            pairs.check(taught(convolved, flat, terms=(term,)), (1, 8, 8), 10)


def test_bss_needs_two_networks_that_see_alike(own):
    pairs.check(taught(PLAIN3, own("flat"), terms=(BSS(),)), (1, 8, 8), 10)
    with pytest.raises(Refusal, match="has an eye of its own"):
        pairs.check(taught(own("convolved", size=16), PLAIN3, terms=(BSS(),)), (1, 8, 8), 10)


def test_an_embedding_is_what_the_last_linear_layer_reads_before_its_dropout(own):
    import torch

    from kdsearch.nets import build, taps

    images = torch.randn(5, 1, 8, 8)
    for net, names in ((PLAIN3.model_copy(update={"dropout": 0.5}), None), (own("flat"), own("flat").taps)):
        module = build.build(net, (1, 8, 8), 10).train()
        torch.manual_seed(0)
        plain = module(images)
        torch.manual_seed(0)
        found = taps.maps(module, images, {0, net.layers + 1}, names)
        assert torch.equal(found[net.layers + 1], plain)
        assert torch.equal(found[0], taps.maps(module.eval(), images, {0}, names)[0]) and bool((found[0] > 0).any())
        last = [part for part in module.modules() if isinstance(part, torch.nn.Linear)][-1]
        assert torch.allclose(last(found[0]), module(images), atol=1e-6)
