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
    changes: "Changes | None" = None
    """Those of this epoch, by which whoever sees the images otherwise gives the same samples; None: fixed views."""


@dataclass(frozen=True)
class Changes:
    """A window of the padded image and perhaps its mirror, for each of M samples."""

    top: Tensor
    """First row of the window: int64 (M,), 0 to twice the padding."""
    left: Tensor
    turned: Tensor
    """Mirrored afterwards: bool (M,)."""
    pad: int
    """Pixels that were added at each border, at the size for which the changes were drawn."""

    def to(self, device: torch.device) -> "Changes":
        """The same ones there."""
        return Changes(self.top.to(device), self.left.to(device), self.turned.to(device), self.pad)


def padding(kind: str, side: int) -> int:
    """Pixels added at each border before a crop: an eighth of the shorter side."""
    return max(side // 8, 1) if "crop" in kind else 0


def drawn(kind: str, samples: int, side: int, generator: torch.Generator) -> Changes:
    """New draws for so many samples."""
    pad = padding(kind, side)
    top, left = (torch.randint(2 * pad + 1, (samples,), generator=generator) for _ in range(2))
    turned = torch.rand(samples, generator=generator) < (0.5 if "flip" in kind else 0)
    return Changes(top, left, turned, pad)


def fixed(kind: str, images: int, side: int, views: int) -> Changes:
    """The views 0 to views-1 of so many images, one after the other: a function of image and view, whatever `views` is.

    An image is mirrored in every second of its views (the alternating flip of Jordan 2024, airbench).
    """
    generator = torch.Generator().manual_seed(0)
    first = torch.rand(images, generator=generator) < 0.5
    each = [drawn(kind, images, side, generator) for _ in range(views)]
    turned = [first ^ bool(view % 2) if "flip" in kind else torch.zeros_like(first) for view in range(views)]
    top, left = (torch.cat([getattr(one, name) for one in each]) for name in ("top", "left"))
    return Changes(top, left, torch.cat(turned), padding(kind, side))


def changed(
    pixels: Tensor, changes: Changes, samples: Tensor, kind: str, scale: tuple[float, float] = (1.0, 1.0)
) -> Tensor:
    """(N, H, W, C) of any type, changed as the N samples say, in one gather of whole pixels; zeros at the borders.

    `scale`: rows and columns here of one at the size for which the changes were drawn.
    """
    if kind == "none":
        return pixels
    count, height, width, channels = pixels.shape
    device = pixels.device
    above, before = (round(changes.pad * share) for share in scale)
    top, left = (
        _scaled(own[samples], changes.pad, share) for own, share in zip((changes.top, changes.left), scale, strict=True)
    )
    across = torch.arange(width, device=device)
    rows = top[:, None] + torch.arange(height, device=device)
    rows = rows + (height + 2 * above) * torch.arange(count, device=device)[:, None]
    columns = left[:, None] + torch.where(changes.turned[samples, None], width - 1 - across, across)
    places = rows[:, :, None] * (width + 2 * before) + columns[:, None, :]
    padded = F.pad(pixels, (0, 0, before, before, above, above)).view(-1, channels)
    return padded.index_select(0, places.flatten()).view(pixels.shape)


def _scaled(start: Tensor, pad: int, share: float) -> Tensor:
    """Where a window begins when a pixel is so many: one in the middle stays there."""
    return start if share == 1 else ((start - pad) * share).round().long() + round(pad * share)
