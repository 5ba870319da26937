"""What shows at a network's layers, and the regressors that bring a guided map to its hint."""

from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from kdsearch.config.datasets import Shape
from kdsearch.nets import cut

HIGHEST = 65504.0
"""Of half precision; larger values of a hint are cut there."""


def answered(
    teacher: nn.Module,
    pixels: Tensor,
    layers: Iterable[int],
    names: Sequence[str] | None = None,
    sides: Mapping[int, tuple[int, int]] = MappingProxyType({}),
) -> dict[int, Tensor]:
    """One forward pass: hints by the number of their layer in half precision, logits by the number after the last one
    in float32.

    Runs no further than the last layer asked for. pixels: (N, C, H, W), normalised. `names`: as for `maps`; `sides`:
    of maps that are averaged to them.
    """
    with torch.no_grad():
        found = maps(teacher, pixels, set(layers), names)
    logits = count(teacher, names) + 1
    return {
        number: one.float() if number == logits else smaller(one, sides.get(number)).half().clamp_(-HIGHEST, HIGHEST)
        for number, one in found.items()
    }


def count(net: nn.Module, names: Sequence[str] | None = None) -> int:
    """How many layers give and take hints."""
    return len(sections(net)) - 1 if names is None else len(names)


def maps(net: nn.Module, images: Tensor, layers: set[int], names: Sequence[str] | None = None) -> dict[int, Tensor]:
    """What the next layer reads of each of the `layers` (from 1; the logits have the number after the last one):
    {layer: (N, C, H, W)}; runs no further.

    `names`: of a user's own network, its taps; None: a built-in one, which is a sequence of sections.
    """
    if names is None:
        found: dict[int, Tensor] = {}
        for number, section in enumerate(sections(net)[: max(layers)], start=1):
            images = section(images)
            if number in layers:
                found[number] = images
        return found
    numbers = {name: number for number, name in enumerate((*names, ""), start=1)}
    named = cut.maps(net, images, [name for name, number in numbers.items() if number in layers])
    return {numbers[name]: one for name, one in named.items()}


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
