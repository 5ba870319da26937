"""A network as it is deployed: bytes in, the normalisation inside, logits out."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from kdsearch.config.datasets import Shape
from kdsearch.config.net import AnyNet, Own, sees
from kdsearch.nets.build import build

PIXELS, LOGITS = "pixels", "logits"
"""Names of what goes in and what comes out, wherever it is deployed."""


class Whole(nn.Module):
    """uint8 (N, C, H, W), 0–255, red first -> float32 logits (N, classes)."""

    def __init__(self, net: nn.Module, mean: Sequence[float], std: Sequence[float], backwards: bool = False) -> None:
        """`mean`, `std`: of each channel that the network reads, on the scale 0–1; `backwards`: it reads blue first."""
        super().__init__()
        self.net, self.backwards = net, backwards
        mean_, std_ = (torch.tensor(told, dtype=torch.float32).view(1, -1, 1, 1) for told in (mean, std))
        self.scale: Tensor
        self.shift: Tensor
        self.register_buffer("scale", 1 / (255 * std_), persistent=False)
        self.register_buffer("shift", -mean_ / std_, persistent=False)

    def normalised(self, pixels: Tensor) -> Tensor:
        """(pixel / 255 - mean) / std, in the order in which the network reads."""
        pixels = pixels.flip(1) if self.backwards else pixels
        return torch.addcmul(self.shift, pixels.to(self.scale.dtype), self.scale)

    def forward(self, pixels: Tensor) -> Tensor:
        return self.net(self.normalised(pixels))


def backwards(net: AnyNet) -> bool:
    """Whether it reads the last channel first."""
    return isinstance(net, Own) and net.eye.order == "bgr"


def untaught(net: AnyNet, image: Shape, classes: int) -> tuple[Whole, Shape]:
    """A network as it is drawn, to be deployed, and the image as it sees it; the caller's random numbers stay. Raises
    Refusal."""
    channels, height, width = sees(net, image)
    with torch.random.fork_rng([]):
        torch.manual_seed(0)
        found = build(net, (channels, height, width), classes).eval()
    return Whole(found, [0.5] * channels, [0.5] * channels, backwards(net)).eval(), (channels, height, width)
