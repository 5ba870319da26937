"""What a source of images gives before they are decoded."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from kdsearch.data.look import Look


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
