"""One picture as a network sees it: as the images that it learned from were brought to bytes."""

import os
from collections.abc import Collection
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from kdsearch.config.datasets import KNOWN
from kdsearch.data import known, pictures
from kdsearch.data.folder import walked
from kdsearch.data.look import Look
from kdsearch.errors import Refusal, listed

ARRAYS = "uint8 (height, width), or (height, width, 1, 3 or 4), 0–255"


def pixels(image: Any, look: Look, data: str, colour: bool = True) -> Tensor:
    """uint8 (C, H, W) of a path, a picture of Pillow's or a uint8 array. `look`: size and style are told; `data`: the
    set that was learned from; `colour`: whether it may have some where the look is grey. Raises Refusal."""
    if isinstance(image, str | os.PathLike):
        return _opened(Path(image), look, data, colour)
    try:
        return _seen(_picture(image), "The picture", look, data, colour)
    except ValueError as error:  # one that was closed, or holds values that are no numbers
        raise Refusal(f"The picture cannot be read ({error}).") from None


def _opened(path: Path, look: Look, data: str, colour: bool) -> Tensor:
    from PIL import Image, UnidentifiedImageError

    pictures.endings()  # phones' pictures, too, where Pillow is taught them
    try:
        with Image.open(path) as image:
            return _seen(image, f"'{path}'", look, data, colour)
    except Refusal:
        raise
    except UnidentifiedImageError:
        said = "Pillow knows no such format"
    except Exception as error:  # whatever a decoder makes of bytes that are no picture
        said = getattr(error, "strerror", None) or str(error) or type(error).__name__
    raise Refusal(f"A prediction is about a picture, but '{path}' is none that can be read ({said}).")


def _picture(image: Any) -> Any:
    from PIL import Image

    if isinstance(image, Image.Image):
        return image
    if isinstance(image, np.ndarray) and image.dtype == np.uint8 and (
        image.ndim == 2 or (image.ndim == 3 and image.shape[2] in (1, 3, 4))
    ):  # fmt: skip
        return Image.fromarray(image.squeeze(2) if image.shape[2:] == (1,) else image)
    what = type(image).__name__
    if isinstance(image, np.ndarray | Tensor):
        kind = "an array" if isinstance(image, np.ndarray) else "a tensor"
        what = f"{kind} {image.dtype} of {'×'.join(map(str, image.shape)) or 'one number'}"
    raise Refusal(f"A picture is a path, one of Pillow's, or an array {ARRAYS}, but got {what}.")


def _seen(image: Any, called: str, look: Look, data: str, colour: bool) -> Tensor:
    assert look.size and look.style
    if not all(image.size):
        raise Refusal(f"{called} has no pixels ({image.size[0]}×{image.size[1]}).")
    head = pictures.head(image)
    if head.deep != (look.style.scale is not None):
        ours, its = ("more than 8 bits", "8 bits") if head.deep else ("8 bits", "more than 8 bits")
        raise Refusal(
            f"{called} has {ours} a value, but this network learned from pictures of {its}; bring it to those."
        )
    if not colour and look.style.grey and not head.grey and _coloured(image):
        raise Refusal(
            f"{called} is in colour (3 channels), but this network reads grey pictures (1 channel); convert it first: "
            f"PIL.Image.open(…).convert('L')."
        )
    if data in KNOWN:
        return _as_known(image, look, data)
    found = pictures.pixels_of(image, look)
    return torch.from_numpy(found.reshape(*found.shape[:2], -1).copy()).permute(2, 0, 1)


def _coloured(image: Any) -> bool:
    found = np.asarray(image.convert("RGB"))
    return bool((found != found[..., :1]).any())


def _as_known(image: Any, look: Look, data: str) -> Tensor:
    """As the images of a set that is known by its name are changed, which are no files."""
    from PIL import ImageOps

    channels, height, width = KNOWN[data].shape
    image = ImageOps.exif_transpose(image).convert("L" if channels == 1 else "RGB")
    there = np.asarray(pictures.fitted(image, Look((width, height))))
    return known.seen(torch.from_numpy(there.reshape(1, height, width, channels).copy()), look)[0].permute(2, 0, 1)


def below(places: list[Path]) -> list[tuple[Path, Path]]:
    """The pictures that paths mean, each with the folder from which it was found: files as they are, of folders all
    that Pillow opens in them, as a training set is read. Raises Refusal."""
    found: list[tuple[Path, Path]] = []
    for place in places:
        if not place.is_dir():
            found.append((place, place.parent))
            continue
        inside = [Path(one) for one in walked(place) if os.path.splitext(one)[1].lower() in pictures.endings()]
        if not inside:
            some = listed([f"*{ending}" for ending in (".png", ".jpg", ".webp")])
            raise Refusal(f"A folder to predict holds pictures ({some}, …), but '{place}' has none.")
        found += [(path, place) for path in inside]
    return found


def class_of(path: Path, place: Path, classes: Collection[str]) -> str | None:
    """The class in whose folder a picture lies: the first one on its way from where it was found, that place
    included."""
    parts = (place.resolve().name, *path.relative_to(place).parts[:-1])
    return next((part for part in parts if part in classes), None)
