"""Networks of each kind: of the built-in ones the sections that give and take hints, then the classifier."""

from collections.abc import Iterator
from typing import Any, TypeVar, overload

import torch
from torch import Tensor, nn

from kdsearch.config.datasets import Shape
from kdsearch.config.net import AnyNet, Net, Own, ResNet
from kdsearch.errors import Refusal
from kdsearch.nets import factory

Module = TypeVar("Module", bound=nn.Module)

LARGE = 32
"""Side of an image above which a plain network averages its last map: its first linear layer would grow with the area,
and up to which it does not, so that the papers' networks have the papers' counts."""

MAP = 4
"""Side of what is left then, at most."""


SMALLEST = 1e-12
"""Of a probability whose logarithm is taken."""


def placed(net: Module, device: torch.device) -> Module:
    """There, channels last: on both kinds of device the faster order."""
    return net.to(device=device, memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]


def scaled(width: int, multiplier: float) -> int:
    """Channels or units after the multiplier, at least one."""
    return max(round(width * multiplier), 1)


def plain(net: Net, image: Shape, classes: int) -> Iterator[nn.Sequential]:
    """A section a convolution, with the pool that follows it; then the linear layers. Raises Refusal."""
    channels, *side = image
    blocks = len(net.widths)
    dropouts = net.block_dropout if isinstance(net.block_dropout, tuple) else (net.block_dropout,) * blocks
    for block, width in enumerate((scaled(width, net.width) for width in net.widths), start=1):
        for number in range(net.depth // blocks):
            if net.padding == 0:
                side = _unpadded(side, image)
            layers = [*_convolution(channels, width, net)]
            channels = width
            if number == net.depth // blocks - 1:
                if pool := _pool(side, net.pools[block - 1] if net.pools else None, last=block == blocks):
                    layers.append(nn.MaxPool2d(*pool))
                    side = [(size - kernel) // stride + 1 for size, kernel, stride in zip(side, *pool, strict=True)]
                if dropouts[block - 1]:
                    layers.append(nn.Dropout(dropouts[block - 1]))
            yield nn.Sequential(*layers)
    layers = []
    if max(image[1:]) > LARGE:
        kernel = [-(-size // MAP) for size in side]
        side = [-(-size // own) for size, own in zip(side, kernel, strict=True)]
        layers.append(nn.AvgPool2d((kernel[0], kernel[1]), ceil_mode=True))
    yield nn.Sequential(*layers, nn.Flatten(), *_linear(channels * side[0] * side[1], classes, net))


def _unpadded(side: list[int], image: Shape) -> list[int]:
    if min(side) < 3:
        raise Refusal(
            f"Without padding a convolution needs a map of 3×3 at least, but images of {image[1]}×{image[2]} leave it "
            f"{side[0]}×{side[1]}; enlarge them with --image-size."
        )
    return [size - 2 for size in side]


def _convolution(channels: int, width: int, net: Net) -> Iterator[nn.Module]:
    yield nn.Conv2d(channels, width, 3, padding=net.padding)
    if net.batch_norm is True:
        yield nn.BatchNorm2d(width)
    yield nn.ReLU()
    if net.batch_norm == "after":
        yield nn.BatchNorm2d(width)


def _pool(side: list[int], size: int | None, last: bool) -> tuple[tuple[int, ...], tuple[int, ...]] | None:
    """Kernel and stride of the pool at a block's end, both shrunk to the map's side; None for a 1×1 map."""
    if max(side) == 1 or size == 1:
        return None
    kernel, stride = (size, size) if size else (4 if last else 2, 2)
    return tuple(min(kernel, own) for own in side), tuple(min(stride, own) for own in side)


def _linear(inputs: int, classes: int, net: Net) -> Iterator[nn.Module]:
    for units in net.hidden if isinstance(net.hidden, tuple) else (net.hidden,):
        inputs, before = scaled(units, net.width), inputs
        yield nn.Linear(before, inputs)
        yield nn.ReLU()
        if net.hidden_norm:
            yield nn.BatchNorm1d(inputs)
        yield nn.Dropout(net.dropout)
    if net.hidden == ():
        yield nn.Dropout(net.dropout)
    yield nn.Linear(inputs, classes)


def residual(net: ResNet, image: Shape, classes: int) -> Iterator[nn.Sequential]:
    """The stem, a section a basic block (torchvision's), then pool and linear layer."""
    from torchvision.models.resnet import BasicBlock

    widths = [scaled(width, net.width) for width in net.widths]
    channels = widths[0]
    yield nn.Sequential(
        nn.Conv2d(image[0], channels, 3, padding=1, bias=False), nn.BatchNorm2d(channels), nn.ReLU(inplace=True)
    )
    for stage, width in enumerate(widths):
        for number in range(net.blocks):
            stride = 2 if stage and not number else 1
            shortcut = None
            if stride > 1 or channels != width:
                shortcut = nn.Sequential(nn.Conv2d(channels, width, 1, stride, bias=False), nn.BatchNorm2d(width))
            yield nn.Sequential(BasicBlock(channels, width, stride, shortcut))
            channels = width
    yield nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, classes))


def built(net: Own, classes: int) -> nn.Module:
    """A user's module, whose answer is a logit for each of the data's classes. Raises Refusal."""
    module = factory.raw(net, classes)
    columns, eye = list(net.columns), net.eye
    if columns or eye.outputs == "probabilities":

        def answer(module: nn.Module, given: Any, gave: Tensor) -> Tensor:
            gave = gave.clamp(min=SMALLEST).log() if eye.outputs == "probabilities" else gave
            return gave[:, columns] if columns else gave

        module.register_forward_hook(answer)
    return module


@overload
def build(net: Net | ResNet, image: Shape, classes: int) -> nn.Sequential: ...


@overload
def build(net: AnyNet, image: Shape, classes: int) -> nn.Module: ...


def build(net: AnyNet, image: Shape, classes: int) -> nn.Module:
    """A network, weights as PyTorch, or a user's factory, draws them: of the built-in ones a sequence of all sections.
    Raises Refusal."""
    if isinstance(net, Own):
        return built(net, classes)
    found = residual(net, image, classes) if isinstance(net, ResNet) else plain(net, image, classes)
    return nn.Sequential(*found)
