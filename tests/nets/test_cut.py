"""Any module, cut at its named submodules."""

import copy

import pytest
import timm
import torch
import torchvision
from torch import nn

from kdsearch.errors import Refusal
from kdsearch.nets import cut

NETS = {
    "torchvision:resnet18": (lambda: torchvision.models.resnet18(num_classes=10), "layer2"),
    "torchvision:mobilenet_v3_small": (lambda: torchvision.models.mobilenet_v3_small(num_classes=10), "features.4"),
    "torchvision:densenet121": (lambda: torchvision.models.densenet121(num_classes=10), "features.transition1"),
    "torchvision:shufflenet_v2_x0_5": (lambda: torchvision.models.shufflenet_v2_x0_5(num_classes=10), "stage2"),
    "torchvision:efficientnet_b0": (lambda: torchvision.models.efficientnet_b0(num_classes=10), "features.3"),
    "torchvision:vgg11_bn": (lambda: torchvision.models.vgg11_bn(num_classes=10), "features.3"),
    "timm:resnet18": (lambda: timm.create_model("resnet18", num_classes=10), "layer2"),
    "timm:mobilenetv3_small_050": (lambda: timm.create_model("mobilenetv3_small_050", num_classes=10), "blocks.2"),
    "timm:mobilevit_xxs": (lambda: timm.create_model("mobilevit_xxs", num_classes=10), "stages.2"),
    "timm:convnext_atto": (lambda: timm.create_model("convnext_atto", num_classes=10), "stages.1"),
    "timm:regnetx_002": (lambda: timm.create_model("regnetx_002", num_classes=10), "s2"),
    "timm:vit_tiny_patch16_224": (
        lambda: timm.create_model("vit_tiny_patch16_224", num_classes=10, img_size=64), "blocks.5",
    ),
}  # fmt: skip

LIGHT = ("timm:mobilenetv3_small_050", "timm:mobilevit_xxs", "timm:vit_tiny_patch16_224")
"""Checked each time; the others where all is."""


class Odd(nn.Module):
    """A net with a shared layer, one that never runs, tokens, channels last, and a map that is overwritten."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.bn, self.relu = nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(inplace=True)
        self.shared, self.idle = nn.Conv2d(8, 8, 3, padding=1), nn.Conv2d(8, 8, 1)
        self.down, self.head = nn.Conv2d(8, 16, 3, 2, padding=1), nn.Linear(16, 5)
        self.point = nn.Conv2d(16, 16, 1)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        found = self.relu(self.bn(self.conv(images)))
        found = self.down(self.shared(self.shared(found)))
        try:
            found = self.point(found.mean((2, 3), keepdim=True))
        except Exception:  # as careless code does
            found = found.mean((2, 3), keepdim=True)
        return self.head(found.flatten(1))


def buffers(net: nn.Module) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in net.named_buffers()}


def alike(one: torch.Tensor | None, other: torch.Tensor | None) -> bool:
    return one is other if one is None or other is None else torch.equal(one, other)


@pytest.mark.parametrize(
    "name", [name if name in LIGHT else pytest.param(name, marks=pytest.mark.whole) for name in NETS]
)
def test_a_pass_up_to_a_tap_is_the_whole_pass_bit_for_bit_and_moves_nothing_behind_it(name):
    make, tap = NETS[name]
    torch.manual_seed(0)
    net = make().train()
    whole, images = copy.deepcopy(net), torch.randn(2, 3, 64, 64)
    kept: list[torch.Tensor] = []
    handle = dict(whole.named_modules())[tap].register_forward_hook(lambda module, given, gave: kept.append(gave))
    torch.manual_seed(1)  # of dropout
    whole(images)
    handle.remove()
    torch.manual_seed(1)
    before = buffers(net)
    found = cut.maps(net, images, [tap])[tap]
    assert torch.equal(found, kept[0])
    for one in (found, kept[0]):
        one.square().mean().backward()
    reached = {id(weight) for weight in cut.reached(net, images[:1], [tap])}
    for (place, ours), theirs in zip(net.named_parameters(), whole.parameters(), strict=True):
        assert (theirs.grad is None) == (id(ours) not in reached), place
        assert alike(ours.grad, theirs.grad), place
    last = max(place for place, (own, _) in enumerate(net.named_modules()) if own == tap)
    behind = {own for own, _ in list(net.named_modules())[last + 1 :] if not own.startswith(f"{tap}.")}
    moved = {place for place, value in buffers(net).items() if not torch.equal(value, before[place])}
    assert not {place for place in moved if place.rpartition(".")[0] in behind}


def test_of_two_taps_the_first_is_what_it_gave_though_a_later_layer_overwrites_it():
    net = Odd().train()
    whole, images = copy.deepcopy(net), torch.randn(4, 3, 16, 16)
    first = whole.bn(whole.conv(images))
    second = whole.down(whole.shared(whole.shared(torch.relu(first))))
    found = cut.maps(net, images, ["bn", "down"])
    assert torch.equal(found["bn"], first) and torch.equal(found["down"], second)
    (found["bn"].mean() + found["down"].square().mean()).backward()
    (first.mean() + second.square().mean()).backward()
    for ours, theirs in zip(net.parameters(), whole.parameters(), strict=True):
        assert alike(ours.grad, theirs.grad)


def test_nothing_is_left_on_a_network_that_was_cut():
    net = Odd()
    cut.maps(net, torch.randn(2, 3, 16, 16), ["down"])
    cut.taps(net, torch.randn(1, 3, 16, 16))
    cut.reached(net, torch.randn(1, 3, 16, 16), ["down"])
    with pytest.raises(Refusal):
        cut.maps(net, torch.randn(2, 3, 16, 16), ["idle"])
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in net.modules())


def test_looking_at_a_network_leaves_the_mode_of_each_of_its_parts():
    net = Odd().train()
    net.bn.eval()
    before = buffers(net)
    cut.taps(net, torch.randn(1, 3, 16, 16))
    cut.reached(net, torch.randn(1, 3, 16, 16), ["down"])
    assert {name for name, module in net.named_modules() if not module.training} == {"bn"}
    assert all(torch.equal(value, before[name]) for name, value in buffers(net).items())
    assert all(weight.grad is None for weight in net.parameters())


def test_what_a_map_depends_on_is_what_trains_up_to_it():
    net = Odd()
    net.conv.weight.requires_grad_(False)
    found = {id(weight) for weight in cut.reached(net, torch.randn(1, 3, 16, 16), ["bn", "down"])}
    names = [name for name, weight in net.named_parameters() if id(weight) in found]
    assert names == ["conv.bias", "bn.weight", "bn.bias", "shared.weight", "shared.bias", "down.weight", "down.bias"]


def test_a_network_that_catches_exceptions_does_not_catch_the_end_of_a_pass():
    net, ran = Odd(), list[str]()
    net.head.register_forward_hook(lambda module, given, gave: ran.append("head"))
    cut.maps(net, torch.randn(2, 3, 16, 16), ["point"])
    assert not ran


def test_who_listens_hears_of_each_tap_as_it_gives():
    told: list[str] = []
    cut.maps(Odd(), torch.randn(2, 3, 16, 16), ["", "down", "conv"], told.append)
    assert told == ["conv", "down", ""]


@pytest.mark.parametrize(
    "name, taps",
    [
        ("torchvision:resnet18", ["conv1", "layer1", "layer2", "layer3", "layer4"]),
        ("timm:resnet18", ["conv1", "layer1", "layer2", "layer3", "layer4"]),
        ("timm:mobilenetv3_small_050", ["bn1", "blocks.0", "blocks.1", "blocks.3", "blocks"]),
    ],
)
def test_automatic_taps_are_one_a_resolution(name, taps):
    found = cut.taps(NETS[name][0](), torch.zeros(1, 3, 96, 96))
    assert [tap.name for tap in found] == taps
    sides = [tap.shape[1] for tap in found]
    assert sides == sorted(set(sides), reverse=True)


@pytest.mark.parametrize(
    "name, said",
    [
        ("shared", "runs 2 times in a pass"),
        ("idle", "does not run"),
        ("head", "gives 5, not a map"),
        ("point", "gives a map of 1×1"),
        ("bn", "is overwritten in place by a later layer"),
    ],
)
def test_what_can_be_no_tap_is_refused_with_the_reason_and_what_would_fit(name, said):
    with pytest.raises(Refusal, match=f"shows one map in every pass, but '{name}' {said}; conv, down would fit"):
        cut.taps(Odd(), torch.zeros(1, 3, 16, 16), [name])


def test_named_taps_join_the_automatic_ones_in_the_order_in_which_they_run():
    net = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(4, 5, 3, padding=1), nn.Conv2d(5, 6, 3, 2, padding=1))
    images = torch.zeros(1, 3, 16, 16)
    assert [tap.name for tap in cut.taps(net, images)] == ["1", "2"]
    found = cut.taps(net, images, ["2", "0"])
    assert [(tap.name, tap.shape) for tap in found] == [("0", (4, 16, 16)), ("1", (5, 16, 16)), ("2", (6, 8, 8))]


def test_channels_that_stand_last_are_no_map():
    class Last(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.norm = nn.Conv2d(3, 6, 3, padding=1), nn.LayerNorm(6)

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            return self.norm(self.conv(images).permute(0, 2, 3, 1)).mean((1, 2))

    assert [tap.name for tap in cut.taps(Last(), torch.zeros(1, 3, 8, 8))] == ["conv"]
    with pytest.raises(Refusal, match="gives 8×8×6 of a square image: its channels may stand last; conv would fit"):
        cut.taps(Last(), torch.zeros(1, 3, 8, 8), ["norm"])


def test_the_map_of_an_embedding_alone_is_a_tap_only_where_it_is_named():
    vit, images = NETS["timm:vit_tiny_patch16_224"][0](), torch.zeros(1, 3, 64, 64)
    assert cut.taps(vit, images) == []
    assert cut.taps(vit, images, ["patch_embed.proj"]) == [cut.Tap("patch_embed.proj", (192, 4, 4))]
    small = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 36, 10))
    assert [tap.name for tap in cut.taps(small, torch.zeros(1, 3, 8, 8))] == ["0"]


def test_tokens_are_no_map_and_a_misspelt_name_has_its_nearest():
    vit = NETS["timm:vit_tiny_patch16_224"][0]()
    with pytest.raises(Refusal, match="gives 17×192, not a map; no other would fit, so it teaches by answers"):
        cut.taps(vit, torch.zeros(1, 3, 64, 64), ["blocks.5"])
    with pytest.raises(Refusal, match=r"no submodule 'donw'.*Did you mean 'down'"):
        cut.taps(Odd(), torch.zeros(1, 3, 16, 16), ["donw"])
    with pytest.raises(Refusal, match="runs in every pass, but idle did not"):
        cut.maps(Odd(), torch.zeros(1, 3, 16, 16), ["idle"])
