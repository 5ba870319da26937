"""The networks, cut by slicing: `net[:k]` is the part up to layer k; the last section is the classifier."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property, lru_cache

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from kdsearch.config import Link, Net, Pair, Pipeline, ResNet
from kdsearch.errors import Refusal
from kdsearch.sections import Shape, build


def maps(net: nn.Sequential, images: Tensor, layers: set[int]) -> dict[int, Tensor]:
    """What the section after each of the `layers` (from 1) reads: {layer: (N, C, H, W)}; runs no further."""
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


def regressors(link: Link, teacher: Net | ResNet, image: Shape, classes: int) -> list[Regressor]:
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
    """What a network without memory tells, on the meta device: no arithmetic. Each is found out when it is asked for,
    since counting multiplications takes several times as long as a forward pass, and that longer than building."""

    net: Net | ResNet
    image: Shape
    classes: int

    @cached_property
    def parameters(self) -> int:
        with torch.device("meta"):
            return parameters(build(self.net, self.image, self.classes))

    @cached_property
    def statistics(self) -> int:
        """Running means and variances of batch normalisation: buffers, which Keras counts as parameters."""
        with torch.device("meta"):
            found = build(self.net, self.image, self.classes).buffers()
        return sum(buffer.numel() for buffer in found if buffer.is_floating_point())

    @cached_property
    def maps(self) -> tuple[Shape, ...]:
        """Shapes after each layer (and its pool)."""
        return tuple(tuple(found.shape[1:]) for found in self._sections())[:-1]  # pyright: ignore[reportReturnType]

    @cached_property
    def reach(self) -> tuple[int, ...]:
        """Multiply-accumulates of convolutions and linear layers for one image, up to each section, the classifier
        last."""
        with FlopCounterMode(display=False) as counter:
            return tuple(counter.get_total_flops() // 2 for _ in self._sections())

    @property
    def macs(self) -> int:
        """Of the whole network."""
        return self.reach[-1]

    def _sections(self) -> Iterator[Tensor]:
        with torch.device("meta"), torch.no_grad():
            module, found = build(self.net, self.image, self.classes).eval(), torch.empty(1, *self.image)
        for section in module:
            with torch.no_grad():
                found = section(found)
            yield found


@lru_cache(maxsize=4096)
def survey(net: Net | ResNet, image: Shape, classes: int) -> Survey:
    """A network's shapes and costs; asked twice, found out once."""
    return Survey(net, image, classes)


def training_parameters(link: Link, teacher: Net | ResNet | None, image: Shape, classes: int) -> int:
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
                f"pair {pair}: the {role} has {len(there)} layers, but the pair names number {number}; "
                f"1 to {len(there)} would fit."
            )
    ours, theirs = guided[pair.guided - 1][0], hints[pair.hint - 1][0]
    if regressor == "none" and ours != theirs:
        raise Refusal(
            f"pair {pair}: without a regressor the channels must agree, but the hint has {theirs} and the guided "
            f"layer {ours}; a regressor conv1x1 or conv3x3 would fit, or a guided layer of {theirs} channels."
        )
