"""What trains beside a network and is dropped then: its twins, branches behind its trunk, exits of its layers."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import ceil

import torch
from torch import Tensor, nn

from kdsearch.config.datasets import Shape

Maps = Mapping[int, Tensor]
"""The network's own, by layer."""


@dataclass(frozen=True)
class Beside:
    """What companions say of a batch."""

    logits: tuple[Tensor, ...]
    """Of each, (N, C) in float32."""
    gate: Tensor | None = None
    """(N, K): what each branch weighs in the ensemble, the network's own first."""


class Companions(nn.Module):
    """A kind of them: of the batch's pixels and the network's maps, Beside."""

    def forward(self, pixels: Tensor, ours: Maps) -> Beside:
        raise NotImplementedError


class Peers(Companions):
    """Whole networks of the same kind."""

    def __init__(self, twins: Sequence[nn.Module]) -> None:
        super().__init__()
        self.twins = nn.ModuleList(twins)

    def forward(self, pixels: Tensor, ours: Maps) -> Beside:
        return Beside(tuple(twin(pixels).float() for twin in self.twins))


class Gate(nn.Module):
    """softmax(ReLU(batch norm(linear(mean of the map)))): (N, C, H, W) -> (N, branches) (Lan et al. 2018, section 3,
    as in their code)."""

    def __init__(self, channels: int, branches: int) -> None:
        super().__init__()
        self.linear, self.norm = nn.Linear(channels, branches), nn.BatchNorm1d(branches)

    def forward(self, trunk: Tensor) -> Tensor:
        scores = self.norm(self.linear(trunk.mean((2, 3)))).relu()
        return (scores if scores.dtype == torch.float64 else scores.float()).softmax(1)


class Branches(Companions):
    """The sections behind the trunk, several times; and the gate."""

    def __init__(self, tails: Sequence[nn.Module], gate: Gate, split: int) -> None:
        super().__init__()
        self.tails, self.gate, self.split = nn.ModuleList(tails), gate, split

    def forward(self, pixels: Tensor, ours: Maps) -> Beside:
        trunk = ours[self.split]
        return Beside(tuple(tail(trunk).float() for tail in self.tails), self.gate(trunk))


class Exits(Companions):
    """A head behind each of some layers."""

    def __init__(self, heads: Sequence[nn.Module], layers: Sequence[int]) -> None:
        super().__init__()
        self.heads, self.layers = nn.ModuleList(heads), tuple(layers)

    def forward(self, pixels: Tensor, ours: Maps) -> Beside:
        found = zip(self.heads, self.layers, strict=True)
        return Beside(tuple(head(ours[layer]).float() for head, layer in found))


def head(shape: Shape, last: Shape, classes: int) -> nn.Sequential:
    """A bottleneck that brings a map to the size and the channels of the last one, their mean, a linear layer: the exit
    of Zhang et al. 2019, figure 2."""
    between, stride = max(last[0] // 4, 1), (ceil(shape[1] / last[1]), ceil(shape[2] / last[2]))
    return nn.Sequential(
        *_convolution(shape[0], between, (1, 1)),
        *_convolution(between, between, stride),
        *_convolution(between, last[0], (1, 1)),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(last[0], classes),
    )


def _convolution(channels: int, width: int, size: tuple[int, int]) -> tuple[nn.Module, ...]:
    """Its kernel is as large as its stride."""
    return nn.Conv2d(channels, width, size, size, bias=False), nn.BatchNorm2d(width), nn.ReLU()
