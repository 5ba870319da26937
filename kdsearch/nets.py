"""The networks, cut by slicing: `net[:k]` is the part up to convolution k; the last section is the classifier."""

from dataclasses import dataclass
from functools import cached_property, lru_cache
from itertools import accumulate

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from kdsearch.config import Link, Net, Pair, Pipeline
from kdsearch.errors import Refusal

Shape = tuple[int, int, int]
"""Channels, height, width."""
KEEPING = (nn.BatchNorm2d, nn.ReLU, nn.Dropout)
"""Layers that change no shape, and whose multiplications do not count."""


def build(net: Net, image: Shape, classes: int) -> nn.Sequential:
    """Convolutions as sections 0…depth-1, the classifier as the last; weights as PyTorch draws them.

    A block ends in a max pool: 2/2, the last one 4/2 (kernel/stride), both shrunk to the map's side; a 1×1 map is
    not pooled. Seed 1's teacher and students, section 1.1.
    """
    channels, *side = image
    sections: list[nn.Module] = []
    for block, width in enumerate(_scaled(net), start=1):
        for number in range(net.depth // len(net.widths)):
            last = number == net.depth // len(net.widths) - 1
            pool = _pool(side, kernel=4 if block == len(net.widths) else 2) if last else None
            sections.append(_section(channels, width, net.batch_norm, pool))
            channels = width
            if pool:
                side = [(size - kernel) // stride + 1 for size, kernel, stride in zip(side, *pool, strict=True)]
    hidden = max(round(net.hidden * net.width), 1)
    head = nn.Sequential(
        nn.Flatten(),
        nn.Linear(channels * side[0] * side[1], hidden),
        nn.ReLU(),
        nn.Dropout(net.dropout),
        nn.Linear(hidden, classes),
    )
    return nn.Sequential(*sections, head)


def _scaled(net: Net) -> list[int]:
    return [max(round(width * net.width), 1) for width in net.widths]


def _pool(side: list[int], kernel: int) -> tuple[tuple[int, ...], tuple[int, ...]] | None:
    if max(side) == 1:
        return None
    return tuple(min(kernel, size) for size in side), tuple(min(2, size) for size in side)


def _section(channels: int, width: int, batch_norm: bool, pool: tuple | None) -> nn.Sequential:
    layers: list[nn.Module] = [nn.Conv2d(channels, width, 3, padding=1)]
    if batch_norm:
        layers.append(nn.BatchNorm2d(width))
    layers.append(nn.ReLU())
    if pool:
        layers.append(nn.MaxPool2d(*pool))
    return nn.Sequential(*layers)


def maps(net: nn.Sequential, images: Tensor, layers: set[int]) -> dict[int, Tensor]:
    """What the layer after each of the convolutions `layers` (from 1) reads: {layer: (N, C, H, W)}; runs no further."""
    found: dict[int, Tensor] = {}
    for number, section in enumerate(net[: max(layers)], start=1):
        images = section(images)
        if number in layers:
            found[number] = images
    return found


class Regressor(nn.Module):
    """From a guided map to its hint: a linear convolution to the hint's channels, without activation (seed 1).

    Maps of different spatial size are matched by averaging: in each dimension the larger of the two is brought to the
    smaller's size by adaptive average pooling, the guided map here, after the convolution, the hint in `match`.
    """

    def __init__(self, guided: Shape, hint: Shape, kind: str) -> None:
        super().__init__()
        kernel = {"none": 0, "conv1x1": 1, "conv3x3": 3}[kind]
        self.conv = nn.Conv2d(guided[0], hint[0], kernel, padding=kernel // 2) if kernel else nn.Identity()
        self.side = (min(guided[1], hint[1]), min(guided[2], hint[2]))

    def forward(self, guided: Tensor) -> Tensor:
        """(N, C_guided, H, W) -> (N, C_hint, *side)."""
        return self.match(self.conv(guided))

    def match(self, image: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, C, *side)."""
        return image if image.shape[-2:] == self.side else F.adaptive_avg_pool2d(image, self.side)


def regressors(link: Link, teacher: Net, image: Shape, classes: int) -> list[Regressor]:
    """One for each of the link's pairs, in their order."""
    if link.hints is None:
        return []
    hints, guided = survey(teacher, image, classes).maps, survey(link.net, image, classes).maps
    kind = link.hints.regressor
    return [Regressor(guided[pair.guided - 1], hints[pair.hint - 1], kind) for pair in link.hints.pairs]


def parameters(module: nn.Module) -> int:
    """Learned numbers; buffers never count."""
    return sum(weight.numel() for weight in module.parameters())


@dataclass(frozen=True)
class Survey:
    """What a network without memory tells, on the meta device, each when it is asked for."""

    net: Net
    image: Shape
    classes: int

    @cached_property
    def parameters(self) -> int:
        with torch.device("meta"):
            return parameters(build(self.net, self.image, self.classes))

    @cached_property
    def maps(self) -> tuple[Shape, ...]:
        """Shapes after each convolution (and its pool)."""
        return tuple(shape for shape, _ in self._sections)[:-1]

    @cached_property
    def reach(self) -> tuple[int, ...]:
        """Multiply-accumulates of convolutions and linear layers for one image, up to each section, the classifier
        last."""
        return tuple(accumulate(macs for _, macs in self._sections))

    @property
    def macs(self) -> int:
        """Of the whole network."""
        return self.reach[-1]

    @cached_property
    def _sections(self) -> list[tuple[Shape, int]]:
        """Each one's map, and its multiply-accumulates: every output is a sum of as many as a filter has weights."""
        with torch.device("meta"):
            module, image, found = build(self.net, self.image, self.classes), torch.empty(1, *self.image), []
        for section in module.children():
            macs = 0
            for layer in section.children():
                if not isinstance(layer, KEEPING):
                    image = _shaped(layer, image)
                    macs += image.numel() * layer.weight[0].numel() if isinstance(layer, nn.Conv2d | nn.Linear) else 0
            found.append((tuple(image.shape[1:]), macs))
        return found


def _shaped(layer: nn.Module, image: Tensor) -> Tensor:
    """An image of the layer's output's shape; adding a bias on the meta device would import torch's compiler: 1 s."""
    with torch.no_grad():
        return F.linear(image, layer.weight) if isinstance(layer, nn.Linear) else layer(image)


@lru_cache(maxsize=4096)
def survey(net: Net, image: Shape, classes: int) -> Survey:
    """A network's shapes and costs; asked twice, found out once."""
    return Survey(net, image, classes)


def training_parameters(link: Link, teacher: Net | None, image: Shape, classes: int) -> int:
    """The student's and its regressors'."""
    extra = 0
    if teacher is not None and link.hints is not None:
        with torch.device("meta"):
            extra = sum(parameters(bridge) for bridge in regressors(link, teacher, image, classes))
    return survey(link.net, image, classes).parameters + extra


def check(pipeline: Pipeline, image: Shape, classes: int) -> None:
    """Do all pairs of a pipeline fit? Raises Refusal that says which dimension differs and what would fit."""
    for teacher, link in zip(pipeline.links, pipeline.links[1:], strict=False):
        if link.hints is None:
            continue
        hints, guided = survey(teacher.net, image, classes).maps, survey(link.net, image, classes).maps
        for pair in link.hints.pairs:
            _check_pair(pair, hints, guided, link.hints.regressor)


def _check_pair(pair: Pair, hints: tuple[Shape, ...], guided: tuple[Shape, ...], regressor: str) -> None:
    for role, number, there in (("teacher", pair.hint, hints), ("student", pair.guided, guided)):
        if number > len(there):
            raise Refusal(
                f"pair {pair}: the {role} has {len(there)} convolutions, but the pair names number {number}; "
                f"1 to {len(there)} would fit."
            )
    ours, theirs = guided[pair.guided - 1][0], hints[pair.hint - 1][0]
    if regressor == "none" and ours != theirs:
        raise Refusal(
            f"pair {pair}: without a regressor the channels must agree, but the hint has {theirs} and the guided "
            f"layer {ours}; a regressor conv1x1 or conv3x3 would fit, or a guided layer of {theirs} channels."
        )
