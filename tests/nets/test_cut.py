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


@pytest.mark.parametrize("name", NETS)
def test_a_pass_up_to_a_tap_is_the_whole_pass_bit_for_bit_and_moves_nothing_behind_it(name):
    make, tap = NETS[name]
    torch.manual_seed(0)
    net = make().train()
    whole, images = copy.deepcopy(net), torch.randn(4, 3, 64, 64)
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
    ran = {id(weight) for module in cut.running(net, images[:1], [tap]) for weight in module.parameters(recurse=False)}
    for (place, ours), theirs in zip(net.named_parameters(), whole.parameters(), strict=True):
        assert (ours.grad is None) == (theirs.grad is None), place
        assert ours.grad is None or (torch.equal(ours.grad, theirs.grad) and id(ours) in ran), place
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
        assert ours.grad is None if theirs.grad is None else torch.equal(ours.grad, theirs.grad)


def test_nothing_is_left_on_a_network_that_was_cut():
    net = Odd()
    cut.maps(net, torch.randn(2, 3, 16, 16), ["down"])
    cut.taps(net, torch.randn(1, 3, 16, 16))
    cut.running(net, torch.randn(1, 3, 16, 16), ["down"])
    assert net.training and not any(module._forward_hooks or module._forward_pre_hooks for module in net.modules())


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
        cut.named(Odd(), torch.zeros(1, 3, 16, 16), [name])


def test_tokens_are_no_map_and_a_misspelt_name_has_its_nearest():
    vit = NETS["timm:vit_tiny_patch16_224"][0]()
    with pytest.raises(Refusal, match="gives 17×192, not a map"):
        cut.named(vit, torch.zeros(1, 3, 64, 64), ["blocks.5"])
    with pytest.raises(Refusal, match=r"no submodule 'donw'.*Did you mean 'down'"):
        cut.named(Odd(), torch.zeros(1, 3, 16, 16), ["donw"])
    with pytest.raises(Refusal, match="runs in every pass, but idle did not"):
        cut.maps(Odd(), torch.zeros(1, 3, 16, 16), ["idle"])
