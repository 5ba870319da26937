"""What shows at a network's layers, and the regressors that bring a guided map to its hint."""

from collections.abc import Iterable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from kdsearch.config.datasets import Shape

HIGHEST = 65504.0
"""Of half precision; larger values of a hint are cut there."""


def answered(teacher: nn.Sequential, pixels: Tensor, layers: Iterable[int]) -> dict[int, Tensor]:
    """One forward pass: hints by the number of their layer in half precision, logits by len(teacher) in float32.

    Runs no further than the last layer asked for. pixels: (N, C, H, W), normalised.
    """
    with torch.no_grad():
        found = maps(teacher, pixels, set(layers))
    logits = len(teacher)
    return {n: a.float() if n == logits else a.half().clamp_(-HIGHEST, HIGHEST) for n, a in found.items()}


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
