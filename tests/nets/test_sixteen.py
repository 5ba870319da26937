"""Sixteen architectures of timm and torchvision, as teachers and as students."""

from pathlib import Path
from typing import Any

import pytest
import torch
from mine import own, written
from torch import nn

from kdsearch.config.net import Net, Own
from kdsearch.config.pipeline import KD, Data, Fit, Hints, Link, Pair, Pipeline
from kdsearch.data import images as data_images
from kdsearch.data.memory import Images
from kdsearch.distill import pipeline as running
from kdsearch.distill.pipeline import Means
from kdsearch.distill.store import Store, key_of, load_net, save_net
from kdsearch.distill.teacher import Targets
from kdsearch.distill.weights import digest
from kdsearch.errors import Refusal
from kdsearch.nets import build, cut
from kdsearch.nets.settle import certain, settled
from kdsearch.nets.survey import survey

pytestmark = pytest.mark.whole

CNNS = [
    "timm:resnet18", "timm:mobilenetv3_small_050", "timm:efficientnet_lite0", "timm:regnetx_002", "timm:convnext_atto",
    "timm:lcnet_050", "timm:densenet121", "torchvision:resnet18", "torchvision:mobilenet_v3_small",
    "torchvision:mobilenet_v2", "torchvision:shufflenet_v2_x0_5", "torchvision:squeezenet1_1", "torchvision:mnasnet0_5",
    "torchvision:efficientnet_b0",
]  # fmt: skip
TRANSFORMERS: list[tuple[str, dict[str, Any]]] = [
    ("timm:vit_tiny_patch16_224", {"img_size": 32}), ("torchvision:swin_t", {}),
]  # fmt: skip
FIT = Fit(epochs=4, batch_size=20, learning_rate=1e-3)
HALF = Hints(pairs=(Pair(hint="1/2", guided="1/2"),))
SMALL = Net(widths=(4, 6), depth=2, hidden=8)


@pytest.fixture(scope="module")
def images() -> Images:
    """60 images train."""
    return data_images.load(Data(images=75, image_size=32, channels=3), Path("nowhere"))


@pytest.fixture(scope="module")
def mine(tmp_path_factory) -> Path:
    return written(tmp_path_factory.mktemp("mine"))


@pytest.fixture
def means(images, tmp_path) -> Means:
    return Means(images, Store(tmp_path / "store"), Targets(tmp_path / "targets", 10**9))


def chain(images: Images, teacher: object, student: object, hints: Hints | None = HALF) -> Pipeline:
    link = Link.model_validate({"net": student, "fit": FIT, "hints": hints, "kd": KD()})
    first = Link.model_validate({"net": teacher, "fit": Fit(epochs=0)})
    return settled(Pipeline(links=(first, link), data=images.origin.data), images.shape, images.classes)


def net_of(link: Link) -> Own:
    assert isinstance(link.net, Own)
    return link.net


def behind(net: nn.Module, images: torch.Tensor, tap: str) -> set[str]:
    """Names of the buffers of all that ends after a tap, and holds none of what ran before."""
    order = [one.name for one in cut.heard(net, images)]
    later = {name for name in order[order.index(tap) + 1 :] if not tap.startswith(f"{name}.")}
    return {name for name, _ in net.named_buffers() if name.rpartition(".")[0] in later}


@pytest.mark.parametrize("name", CNNS)
def test_a_network_s_taps_are_one_a_resolution_and_survey_tells_what_a_pass_shows(images, name):
    net = certain(Own(kind="own", factory=name), images.shape, images.classes)
    maps = survey(net, images.shape, 10).maps
    sides = [shape[1] for shape in maps]
    assert len(sides) >= 2 and sides == sorted(set(sides), reverse=True) and min(sides) > 1
    module = build.built(net, 10).eval()
    with torch.no_grad():
        found = cut.maps(module, images.prepare(images.train[:2]), net.taps)
    assert tuple(tuple(found[tap].shape[1:]) for tap in net.taps) == maps
    assert survey(net, images.shape, 10).parameters == sum(weight.numel() for weight in module.parameters())
    assert list(module.get_submodule(net.head).parameters())[-1].shape[0] == 10
    assert survey(net, images.shape, 10).reach == tuple(sorted(survey(net, images.shape, 10).reach))


@pytest.mark.parametrize("name", CNNS)
def test_a_network_teaches_a_small_one_and_stays_as_it_was(images, means, name):
    asked = chain(images, Own(kind="own", factory=name), SMALL)
    before = digest(running.untrained(asked, 0, images))
    student = running.untrained(asked, 1, images)
    rows = [row for row in running.run(asked, means, student) if row.stage != "record"]
    assert [(row.link, row.stage) for row in rows] == [(1, "hint")] * 2 + [(1, "kd")] * 2
    stored = running.untrained(asked, 0, images)
    facts = load_net(means.store.path(key_of(asked, 0, images.fingerprint)), stored)
    assert facts["digest"] == digest(stored) == before and facts["accuracy"] is not None


@pytest.mark.parametrize("name", CNNS)
def test_a_network_learns_and_comes_back_from_its_file(images, means, mine, tmp_path, name):
    asked = chain(images, own(mine, "teacher"), Own(kind="own", factory=name))
    student = running.untrained(asked, 1, images)
    guided = net_of(asked.student).taps[asked.student.paired[0].layers[1] - 1]
    after = behind(student, images.prepare(images.train[:2]), guided)
    before = {buffer: value.clone() for buffer, value in student.named_buffers()}
    rows = []
    for row in running.run(asked, means, student):
        rows.append(row)
        if row.stage == "hint":
            moved = {buffer for buffer, value in student.named_buffers() if not torch.equal(value, before[buffer])}
            assert not moved & after
    assert rows[-1].stage == "kd" and rows[-1].epoch == 4 and rows[-1].accuracy is not None
    save_net(tmp_path / "w.safetensors", student, {})
    twin = running.loaded(asked.student, tmp_path / "w.safetensors", images)
    with torch.inference_mode():
        pixels = images.prepare(images.validation[:])
        assert torch.equal(twin.eval()(pixels), student.eval()(pixels))


@pytest.mark.parametrize("name, arguments", TRANSFORMERS, ids=[name for name, _ in TRANSFORMERS])
def test_a_transformer_teaches_by_answers_alone(images, means, name, arguments):
    net = Own(kind="own", factory=name, arguments=tuple(arguments.items()))
    asked = chain(images, net, SMALL, None)
    rows = [row for row in running.run(asked, means, running.untrained(asked, 1, images)) if row.stage != "record"]
    assert [row.stage for row in rows] == ["kd"] * 4


@pytest.mark.parametrize(
    "name, tap, said",
    [
        ("timm:vit_tiny_patch16_224", "blocks.5", "gives 5×192, not a map"),
        ("torchvision:swin_t", "features.1", "gives 8×8×96 of a square image: its channels may stand last"),
        ("timm:resnet18", "layer4", "gives a map of 1×1; conv1, layer1, layer2, layer3 would fit"),
        ("torchvision:resnet18", "layer1.0.relu", "runs 2 times in a pass"),
        ("torchvision:resnet18", "layer1.0.bn1", "is overwritten in place by a later layer"),
    ],
)
def test_a_tap_that_shows_no_map_is_refused_with_the_reason(images, name, tap, said):
    net = Own(kind="own", factory=name, arguments=tuple(dict(TRANSFORMERS).get(name, {}).items()))
    with pytest.raises(Refusal, match=said):
        certain(net, images.shape, images.classes, [tap])


def test_a_network_that_cannot_take_such_small_images_is_refused(images):
    with pytest.raises(Refusal, match="inception_v3' is to see images of 3×32×32, but raised RuntimeError"):
        told = Own(kind="own", factory="torchvision:inception_v3", arguments=(("init_weights", False),))
        certain(told, images.shape, images.classes)
