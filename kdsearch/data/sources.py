"""Images of a source, read once, to uint8 tensors."""

import hashlib
import json
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from kdsearch.data import known, pictures
from kdsearch.data.folder import Listing, folder
from kdsearch.data.look import Look, Style
from kdsearch.data.pictures import Broken, Progress
from kdsearch.data.reading import Reading, check_size
from kdsearch.storage import cache
from kdsearch.storage.files import whole


def silent(doing: str, done: int, total: int) -> None:
    """A progress that tells nobody."""


@dataclass(frozen=True)
class Decoded:
    """A part of a data set: train, validation or test."""

    pixels: Tensor
    """uint8 (N, H, W, C)."""
    labels: Tensor
    """int64 (N,): places in `classes`."""
    classes: tuple[str, ...]
    fingerprint: str
    """Hash of all these."""
    span: str
    """Sizes before: `32–200 px`."""
    look: Look
    """How they are looked at; size and style are told."""
    part: str = "train"
    passed: tuple[str, ...] = ()
    """What was passed over."""


def decoded(name: str, part: str, data_dir: Path, look: Look, progress: Progress) -> Decoded:
    """A part of a data set, from the cache, else read and cached. Raises Refusal for images that cannot be read."""
    there = folder(name)
    listing = there.listing(part) if there else None
    source = listing.key() if listing else str(data_dir.resolve()) if name != "digits" else ""
    passed = (*listing.passed, *there.beside()) if listing and there else ()
    # Whoever asks for the size that is usual anyway finds what was decoded without being asked for any.
    for kept in (look, replace(look, size=None)):
        found = _cached(_path(name, part, source, kept))
        if found and look.size in (None, found.look.size):
            return replace(found, part=part, passed=passed)
    reading = read(name, part, data_dir, listing, look, progress)
    pixels = np.empty(reading.shape, np.uint8)
    reading.fill(pixels)
    plain = torch.from_numpy(pixels).permute(0, 3, 1, 2).contiguous()
    fingerprint = _fingerprint(plain, reading.labels, reading.classes)
    words = {"classes": json.dumps(reading.classes), "fingerprint": fingerprint, "span": reading.span}
    with whole(_path(name, part, source, look)) as draft:
        save_file(
            {"pixels": plain, "labels": reading.labels}, draft, words | {"look": json.dumps(asdict(reading.look))}
        )
        os.chmod(draft, 0o644)  # others on a shared disk read it too
    return Decoded(
        torch.from_numpy(pixels), reading.labels, reading.classes, fingerprint, reading.span, reading.look, part, passed
    )


def _cached(path: Path) -> Decoded | None:
    try:
        with safe_open(path, framework="pt") as file:
            meta, pixels, labels = file.metadata(), file.get_tensor("pixels"), file.get_tensor("labels")
            classes, look = tuple(json.loads(meta["classes"])), look_of(json.loads(meta["look"]))
            if meta["fingerprint"] == _fingerprint(pixels, labels, classes):
                return Decoded(pixels.permute(0, 2, 3, 1), labels, classes, meta["fingerprint"], meta["span"], look)
    except (OSError, SafetensorError, LookupError, TypeError, ValueError):
        pass  # not there, or damaged: it is only a copy, which is made anew
    return None


def look_of(told: dict[str, Any]) -> Look:
    """What asdict() made of it."""
    style = Style(told["style"]["grey"], told["style"]["scale"] and tuple(told["style"]["scale"]))
    return Look(tuple(told["size"]), style, told["resize"], told["crop"])


def _path(name: str, part: str, source: str, look: Look) -> Path:
    told = json.dumps([name, part, source, asdict(look)])
    return cache.folder() / "images" / f"{hashlib.sha256(told.encode()).hexdigest()[:16]}.safetensors"


def _fingerprint(pixels: Tensor, labels: Tensor, classes: Sequence[str]) -> str:
    digest = hashlib.sha256(json.dumps([list(pixels.shape), list(classes)]).encode())
    digest.update(pixels.numpy().data)
    digest.update(labels.numpy().data)
    return digest.hexdigest()[:16]


def read(name: str, part: str, data_dir: Path, listing: Listing | None, look: Look, progress: Progress) -> Reading:
    """A part of a data set as its files are; raises Refusal where they cannot be read."""
    return _read_folder(part, listing, look, progress) if listing else known.read(name, part, data_dir, look)


def _read_folder(part: str, listing: Listing, look: Look, progress: Progress) -> Reading:
    seen = pictures.heads(listing.files, f"looking at {part} images", progress)
    broken = [one for one in seen if isinstance(one, Broken)]
    sound = [(file, one) for file, one in zip(listing.files, seen, strict=True) if not isinstance(one, Broken)]
    if not sound:
        pictures.refuse(broken, len(seen))
    files, heads = [file for file, _ in sound], [head for _, head in sound]
    style = pictures.style_of(heads, files, look.style)
    told = replace(look, size=look.size or pictures.usual_size([head.size for head in heads]), style=style)
    assert told.size
    check_size(told.size, len(files), 1 if style.grey else 3, pictures.span(heads))

    def fill(into: np.ndarray) -> None:
        late = pictures.decode(files, told, into, f"decoding {part} images", progress)
        pictures.refuse([*broken, *late], len(seen))

    return Reading(torch.tensor(listing.labels), listing.classes, told, pictures.span(heads), fill)
