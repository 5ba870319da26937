"""Training images in their views, drawn anew or replayable: a sample is `view * images + image`."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor


@dataclass(frozen=True)
class Batch:
    """One step's training images."""

    pixels: Tensor
    """Changed, normalised float32 (N, C, H, W), channels last."""
    labels: Tensor
    """int64 (N,), on the device of the pixels."""
    samples: Tensor
    """Which images in which view: view * images + image, int64 (N,), in main memory."""


@dataclass(frozen=True)
class Changes:
    """A window of the padded image and perhaps its mirror, for each of M samples."""

    top: Tensor
    """First row of the window: int64 (M,), 0 to twice the padding."""
    left: Tensor
    turned: Tensor
    """Mirrored afterwards: bool (M,)."""

    def to(self, device: torch.device) -> "Changes":
        """The same ones there."""
        return Changes(self.top.to(device), self.left.to(device), self.turned.to(device))


def padding(kind: str, side: int) -> int:
    """Pixels added at each border before a crop: an eighth of the shorter side."""
    return max(side // 8, 1) if "crop" in kind else 0


def drawn(kind: str, samples: int, side: int, generator: torch.Generator) -> Changes:
    """New draws for so many samples."""
    pad = padding(kind, side)
    top, left = (torch.randint(2 * pad + 1, (samples,), generator=generator) for _ in range(2))
    turned = torch.rand(samples, generator=generator) < (0.5 if "flip" in kind else 0)
    return Changes(top, left, turned)


def fixed(kind: str, images: int, side: int, views: int) -> Changes:
    """The views 0 to views-1 of so many images, one after the other: a function of image and view, whatever `views` is.

    An image is mirrored in every second of its views (the alternating flip of Jordan 2024, airbench).
    """
    generator = torch.Generator().manual_seed(0)
    first = torch.rand(images, generator=generator) < 0.5
    each = [drawn(kind, images, side, generator) for _ in range(views)]
    turned = [first ^ bool(view % 2) if "flip" in kind else torch.zeros_like(first) for view in range(views)]
    return Changes(torch.cat([one.top for one in each]), torch.cat([one.left for one in each]), torch.cat(turned))


def changed(pixels: Tensor, changes: Changes, samples: Tensor, kind: str) -> Tensor:
    """(N, H, W, C) of any type, changed as the N samples say, in one gather of whole pixels; zeros at the borders."""
    if kind == "none":
        return pixels
    count, height, width, channels = pixels.shape
    pad = padding(kind, min(height, width))
    device = pixels.device
    across = torch.arange(width, device=device)
    rows = changes.top[samples, None] + torch.arange(height, device=device)
    rows = rows + (height + 2 * pad) * torch.arange(count, device=device)[:, None]
    columns = changes.left[samples, None] + torch.where(changes.turned[samples, None], width - 1 - across, across)
    places = rows[:, :, None] * (width + 2 * pad) + columns[:, None, :]
    padded = F.pad(pixels, (0, 0, pad, pad, pad, pad)).view(-1, channels)
    return padded.index_select(0, places.flatten()).view(pixels.shape)
