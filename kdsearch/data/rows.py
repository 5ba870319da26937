"""Some images of a decoded set, in an order of their own: read when they are asked for."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import zip_longest

import torch
from torch import Tensor

from kdsearch.config.datasets import Shape

PART = 1000
"""Images that are read at once, where all are."""


@dataclass(frozen=True)
class Rows:
    """Images by their places in a set."""

    pixels: Tensor
    """Of the whole set: uint8 (N, H, W, C); of these images alone where they are `held`."""
    places: Tensor
    """Of these images in the set: int64 (M,), in main memory."""
    held: bool = False
    """Whether they lie together, in this order."""
    fetch: Callable[[Tensor], None] | None = None
    """Has the disk read images by their places in the set; None: they are in memory anyway."""

    def __len__(self) -> int:
        return len(self.places)

    def __getitem__(self, which: Tensor | slice) -> Tensor:
        """Those of them: uint8 (n, C, H, W), channels last in memory."""
        if self.held:
            found = self.pixels[which] if isinstance(which, slice) else self.pixels.index_select(0, which)
        else:
            found = self.pixels.index_select(0, self.places[which])
        return found.permute(0, 3, 1, 2)

    @property
    def shape(self) -> Shape:
        """Of each image."""
        _, height, width, channels = self.pixels.shape
        return channels, height, width

    @property
    def nbytes(self) -> int:
        """Of the pixels of these images."""
        return len(self) * self.pixels[0].nbytes

    @property
    def device(self) -> torch.device:
        return self.pixels.device

    def split(self, count: int) -> Iterator[Tensor]:
        """All of them, so many at a time."""
        for which in self.ahead(torch.arange(len(self)).split(count)):
            yield self[int(which[0]) : int(which[-1]) + 1]

    def ahead(self, steps: Sequence[Tensor]) -> Iterator[Tensor]:
        """The same steps, each of which names some of these images in whatever view; the disk is one step ahead."""
        for step, following in zip_longest(steps, steps[1:]):
            if self.fetch and following is not None:
                self.fetch(self.places[following % len(self)])
            yield step

    def to(self, device: torch.device) -> "Rows":
        """The same ones there."""
        if device.type == self.device.type:
            return self
        found = torch.empty((len(self), *self.pixels.shape[1:]), dtype=torch.uint8, device=device)
        for some, into in zip(self.split(PART), found.split(PART), strict=True):
            into.copy_(some.permute(0, 2, 3, 1))
        return Rows(found, self.places, held=True)
