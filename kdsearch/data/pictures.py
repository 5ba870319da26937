"""Picture files, by Pillow: which it opens, how large and how deep they are, their pixels as bytes."""

import contextlib
import os
import statistics
import warnings
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache, partial
from typing import Any

import numpy as np

from kdsearch.data.look import Look, Size, Style
from kdsearch.errors import Refusal, listed

Progress = Callable[[str, int, int], None]
"""Told what is being done, how much of it is done, and out of how much."""

LARGEST = 64
"""Pixels of the longer side, unless more are asked for."""

STUBS = {"BUFR", "EPS", "GRIB", "HDF5", "MPEG", "WMF"}
"""Formats that Pillow knows, but does not draw by itself."""

DEEP = ("I", "F")
"""Beginnings of Pillow's modes with more than 8 bits: their values may be on any scale."""

GREY = ("1", "L", "LA")
"""Modes of one channel, beside the deep ones."""

ORIENTATION = 0x0112
"""Exif's tag; from 5 on, the image lies on its side."""

AT_ONCE = 5
"""So many broken files are named."""


@dataclass(frozen=True)
class Head:
    """A picture before it is decoded."""

    size: Size
    """As a person sees it."""
    mode: str
    low: float = 0.0
    high: float = 0.0
    """The least and the highest value of one with more than 8 bits."""

    @property
    def deep(self) -> bool:
        """More than 8 bits."""
        return self.mode.startswith(DEEP)

    @property
    def grey(self) -> bool:
        return self.deep or self.mode in GREY


@dataclass(frozen=True)
class Broken:
    """A file that is no readable picture."""

    path: str
    reason: str


@cache
def endings() -> frozenset[str]:
    """Of files that Pillow opens, and where pillow-heif is installed, those of phones."""
    from PIL import Image

    with contextlib.suppress(ImportError):
        from pillow_heif import register_heif_opener  # pyright: ignore[reportMissingImports]

        register_heif_opener()
    known = Image.registered_extensions()
    return frozenset(ending for ending, kind in known.items() if kind in Image.OPEN and kind not in STUBS)


def usual_size(sizes: Sequence[Size]) -> Size:
    """To which images are brought: where all are alike their own, else a square with the shorter side of the median
    one; the longer side at most LARGEST."""
    if len(set(sizes)) == 1:
        share = min(LARGEST / max(sizes[0]), 1)
        width, height = (round(side * share) for side in sizes[0])
        return width, height
    side = min(statistics.median_low(min(size) for size in sizes), LARGEST)
    return side, side


def span(heads: Sequence[Head]) -> str:
    """`32–200 px`, or `8×8` where all are alike."""
    if len({head.size for head in heads}) == 1:
        return "{}×{}".format(*heads[0].size)
    sides = [side for head in heads for side in head.size]
    return f"{min(sides)}–{max(sides)} px"


def style_of(heads: Sequence[Head], files: Sequence[str], known: Style | None) -> Style:
    """How pictures become bytes: as those of another part did, where that is `known`.

    Raises Refusal where some have 8 bits and others more, since no scale fits both."""
    deep = [file for head, file in zip(heads, files, strict=True) if head.deep]
    if (deep and len(deep) < len(heads)) or (known and bool(deep) != (known.scale is not None)):
        such = f" (such as '{deep[0]}')" if deep else ""
        raise Refusal(
            f"Pictures of a data set, all its parts together, have 8 bits a value or more, not both, but of these "
            f"{len(heads):,} {len(deep):,} have more{such}; bring all to one kind."
        )
    if known:
        return known
    scale = (min(head.low for head in heads), max(head.high for head in heads)) if deep else None
    return Style(all(head.grey for head in heads), scale)


def heads(files: Sequence[str], doing: str, progress: Progress) -> list[Head | Broken]:
    """Size and depth of each file."""
    return _each(partial(_opened, use=head), files, doing, progress)


def decode(files: Sequence[str], look: Look, into: np.ndarray, doing: str, progress: Progress) -> list[Broken]:
    """Writes pixels uint8 (N, height, width, 1 or 3), scaled and centre-cropped; returns the files that broke."""

    def fill(numbered: tuple[int, str]) -> Broken | None:
        place, path = numbered
        pixels = _opened(path, partial(pixels_of, look=look))
        if isinstance(pixels, Broken):
            return pixels
        into[place] = pixels.reshape(into.shape[1:])
        return None

    ends = _each(fill, list(enumerate(files)), doing, progress)
    return [end for end in ends if end is not None]


def refuse(broken: Sequence[Broken], count: int) -> None:
    """Raises Refusal for all files that broke, the first ones by their names."""
    if broken:
        named = [f"'{one.path}' ({one.reason})" for one in broken[:AT_ONCE]]
        more = [f"{len(broken) - AT_ONCE} more"] if len(broken) > AT_ONCE else []
        raise Refusal(
            f"All files of a class must be readable pictures, but {len(broken):,} of {count:,} are not: "
            f"{listed([*named, *more])}; mend or remove them."
        )


def _each(work: Callable[[Any], Any], files: Sequence[Any], doing: str, progress: Progress) -> list[Any]:
    done = []
    # For all threads: Pillow's own warnings are about files that it reads all the same.
    with warnings.catch_warnings(), ThreadPoolExecutor() as pool:
        warnings.simplefilter("ignore")
        for number, item in enumerate(pool.map(work, files, chunksize=64), start=1):
            done.append(item)
            if number % 256 == 0 or number == len(files):
                progress(doing, number, len(files))
    return done


def _opened(path: str, use: Callable[[Any], Any]) -> Any:
    from PIL import Image

    try:
        with Image.open(path) as image:
            return use(image)
    except FileNotFoundError:
        return Broken(path, "a link to a file that is not there" if os.path.islink(path) else "it is gone")
    except Exception as error:  # whatever a decoder makes of bytes that are no picture
        said = getattr(error, "strerror", None) or str(error).replace(f" {path!r}", "")
        return Broken(path, said or type(error).__name__)


def head(image: Any) -> Head:
    """What a picture is before it is decoded; raises ValueError where it holds values that are no numbers."""
    turned = image.getexif().get(ORIENTATION, 1) >= 5
    size = image.size[::-1] if turned else image.size
    if not image.mode.startswith(DEEP):
        return Head(size, image.mode)
    values = np.asarray(image)
    low, high = float(values.min()), float(values.max())
    if not np.isfinite((low, high)).all():
        raise ValueError("it holds values that are no numbers")
    return Head(size, image.mode, low, high)


def pixels_of(image: Any, look: Look) -> np.ndarray:
    """uint8 (height, width) or (height, width, 3)."""
    from PIL import Image, ImageOps

    assert look.style
    image = ImageOps.exif_transpose(image)
    if look.style.scale:
        low, high = look.style.scale
        shares = (np.asarray(image).astype(np.float64) - low) / ((high - low) or 1)
        image = Image.fromarray((255 * shares).round().clip(0, 255).astype(np.uint8))
    return np.asarray(fitted(image.convert("L" if look.style.grey else "RGB"), look))


def fitted(image: Any, look: Look) -> Any:
    """A picture brought to a size: its centre, scaled."""
    from PIL import Image, ImageOps

    assert look.size
    if image.size == look.size and look.crop == 1:
        return image
    how = Image.Resampling[(look.resize or "bicubic").upper()]
    return ImageOps.fit(image, look.size, how, bleed=(1 - look.crop) / 2)
