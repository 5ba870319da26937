"""How images are looked at when they are decoded."""

from dataclasses import dataclass, replace
from typing import Literal

Size = tuple[int, int]
"""Width, height."""

Filter = Literal["bilinear", "bicubic", "nearest", "lanczos"]
"""By which an image is brought to a size."""


@dataclass(frozen=True)
class Style:
    """How the pictures of a data set become bytes."""

    grey: bool
    """One channel, or three."""
    scale: tuple[float, float] | None = None
    """Of those with more than 8 bits: the values that become 0 and 255, the least and the highest of all that train."""


@dataclass(frozen=True)
class Look:
    """How images are to be looked at; None: as is usual."""

    size: Size | None = None
    style: Style | None = None
    """As another part has it."""
    resize: Filter | None = None
    crop: float = 1.0
    """Share of the sides that is seen, at the centre."""
    channels: Literal[1, 3] | None = None
    """Instead of the style's."""

    def told(self, size: Size, style: Style) -> "Look":
        """With what is usual for some images where nothing is asked of them."""
        grey = style.grey if self.channels is None else self.channels == 1
        return replace(self, size=self.size or size, style=replace(style, grey=grey), channels=None)


def pair(side: int | Size | None) -> Size | None:
    """Width and height of what may be a square's side."""
    return (side, side) if isinstance(side, int) else side
