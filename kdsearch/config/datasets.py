"""The data sets known by name: what their images are, and how they are usually changed. A new one is a line here, and
where its files come from in data/sources.py."""

from dataclasses import dataclass
from typing import Literal

Augment = Literal["none", "flip", "crop", "crop+flip"]

Shape = tuple[int, int, int]
"""Channels, height, width."""


@dataclass(frozen=True)
class Known:
    """A data set that needs no folder."""

    changes: Augment
    """Of its training images, unless told otherwise."""
    shape: Shape
    """Of each image."""
    classes: int


KNOWN = {
    "digits": Known("none", (1, 8, 8), 10),
    "mnist": Known("none", (1, 28, 28), 10),
    "fashion_mnist": Known("flip", (1, 28, 28), 10),
    "svhn": Known("crop", (3, 32, 32), 10),
    "cifar10": Known("crop+flip", (3, 32, 32), 10),
    "cifar100": Known("crop+flip", (3, 32, 32), 100),
}
"""By name."""
