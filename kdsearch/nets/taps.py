"""What shows at a network's layers, and the regressors that bring a guided map to its hint."""

from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from kdsearch.config.datasets import Shape
from kdsearch.nets import cut
from kdsearch.nets.derived import EMBEDDING, Asked, Derived, Moved, Views, layers_of

HIGHEST = 65504.0
"""Of half precision; larger values of a hint are cut there."""


def answered(
    teacher: nn.Module,
    views: Views,
    answers: Iterable[Asked],
    names: Sequence[str] | None = None,
    sides: Mapping[int, tuple[int, int]] = MappingProxyType({}),
) -> dict[Asked, Tensor]:
    """One forward pass: hints, embeddings and what is made of maps in half precision, logits (by the number after the
    last layer) in float32.

    Runs no further than the last layer asked for, but for images that it moves. `names`: as for `maps`; `sides`: of
    maps that are averaged to them.
    """
    answers, logits = list(answers), count(teacher, names) + 1
    with torch.no_grad():
        layers = layers_of(answers)
        found = maps(teacher, views.pixels, layers, names) if layers else {}
        return {
            one: _half(one.make(teacher, views))
            if isinstance(one, Moved)
            else _answer(one, found, one == logits, sides)
            for one in answers
        }


def _half(told: Tensor) -> Tensor:
    return told.half().clamp_(-HIGHEST, HIGHEST)


def _answer(
    answer: int | Derived, found: Mapping[int, Tensor], logits: bool, sides: Mapping[int, tuple[int, int]]
) -> Tensor:
    if isinstance(answer, Derived):
        with torch.autocast(found[answer.layers[0]].device.type, enabled=False):
            told = answer.make(*(found[layer].float() for layer in answer.layers))
    else:
        told = found[answer].float() if logits else smaller(found[answer], sides.get(answer))
    return told if logits else _half(told)


def count(net: nn.Module, names: Sequence[str] | None = None) -> int:
    """How many layers give and take hints."""
    return len(sections(net)) - 1 if names is None else len(names)


def maps(net: nn.Module, images: Tensor, layers: set[int], names: Sequence[str] | None = None) -> dict[int, Tensor]:
    """What the next layer reads of each of the `layers` (from 1; the logits have the number after the last one, the
    embedding 0): {layer: (N, C, H, W)}; runs no further.

    `names`: of a user's own network, its taps; None: a built-in one, which is a sequence of sections.
    """
    if names is None:
        parts, found = sections(net), dict[int, Tensor]()
        for number, section in enumerate(parts[: len(parts) if EMBEDDING in layers else max(layers)], start=1):
            if number == len(parts) and EMBEDDING in layers:
                front, section = embedded(section)
                images = found[EMBEDDING] = front(images)
            images = section(images)
            if number in layers:
                found[number] = images
        return found
    numbers = {name: number for number, name in enumerate((*names, ""), start=1)}
    wanted = [name for name, number in numbers.items() if number in layers]
    if EMBEDDING not in layers:
        return {numbers[name]: one for name, one in cut.maps(net, images, wanted).items()}
    with cut.read_last(net) as read:
        named = cut.maps(net, images, [*wanted, ""] if "" not in wanted else wanted)
    return {EMBEDDING: read[-1]} | {numbers[name]: one for name, one in named.items() if name in wanted}


def embedded(classifier: nn.Module) -> tuple[nn.Sequential, nn.Sequential]:
    """A built-in network's last section, cut where the embedding is: before the last linear layer and its dropout."""
    assert isinstance(classifier, nn.Sequential)
    end = len(classifier) - 1
    end -= isinstance(classifier[end - 1], nn.Dropout)
    return classifier[:end], classifier[end:]


def sections(net: nn.Module) -> nn.Sequential:
    """Of a built-in network."""
    assert isinstance(net, nn.Sequential)
    return net


def smaller(image: Tensor, side: tuple[int, int] | None) -> Tensor:
    """(N, C, H, W) -> (N, C, *side), by adaptive average pooling."""
    return image if side in (None, tuple(image.shape[-2:])) else F.adaptive_avg_pool2d(image, side)


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
        return smaller(image, self.side)
