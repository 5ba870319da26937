"""What a source of images gives before they are decoded."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import psutil
from torch import Tensor

from kdsearch.data.look import Look, Size
from kdsearch.errors import Refusal

SMALLEST = 8
"""Pixels of the shorter side."""

PEAK = 2.5
"""Bytes of memory that a byte of pixels takes at most, while images are decoded and split."""


@dataclass(frozen=True)
class Reading:
    """A part of a data set that can be decoded."""

    labels: Tensor
    """int64 (N,): places in `classes`."""
    classes: tuple[str, ...]
    look: Look
    """Its size and style are told."""
    span: str
    """Sizes before: `32–200 px`."""
    fill: Callable[[np.ndarray], None]
    """Writes the pixels: uint8 (N, H, W, C). Raises Refusal for images that cannot be read."""

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """Of all pixels."""
        assert self.look.size and self.look.style
        width, height = self.look.size
        return len(self.labels), height, width, 1 if self.look.style.grey else 3


def check_size(size: Size, count: int, channels: int, span: str) -> None:
    """Raises Refusal for images that are too small, or too large for this machine's memory."""
    width, height = size
    if min(size) < SMALLEST:
        raise Refusal(
            f"Images must be at least {SMALLEST}×{SMALLEST}, but these ({span}) would be {width}×{height}; enlarge "
            f"them with --image-size."
        )
    free, needed = psutil.virtual_memory().available, PEAK * count * channels * width * height
    if needed > free:
        fits = int((free / (PEAK * count * channels)) ** 0.5)
        way_out = f"--image-size {fits} would fit" if fits >= SMALLEST else "take fewer images"
        raise Refusal(
            f"All images are held in memory, but {count:,} of {width}×{height} would take {needed / 1e9:.1f} GB and "
            f"{free / 1e9:.1f} GB are free; {way_out}."
        )
