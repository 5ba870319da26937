"""Images of a source, decoded once, to a file of the cache."""

import hashlib
import json
import shutil
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from kdsearch.config.datasets import KNOWN
from kdsearch.data import known, pictures
from kdsearch.data.folder import Folder, file_of, folder
from kdsearch.data.listing import Listing
from kdsearch.data.look import Look, Style
from kdsearch.data.mapped import FORMAT, Mapped, drafted, opened
from kdsearch.data.own import Items, Own
from kdsearch.data.pictures import Broken, Progress
from kdsearch.data.reading import Reading
from kdsearch.data.rows import Rows
from kdsearch.data.tables import Table
from kdsearch.errors import Refusal
from kdsearch.storage import cache

SMALLEST = 8
"""Pixels of the shorter side."""


def silent(doing: str, done: int, total: int) -> None:
    """A progress that tells nobody."""


@dataclass(frozen=True)
class Decoded:
    """A part of a data set: train, validation or test."""

    file: Mapped
    classes: tuple[str, ...]
    fingerprint: str
    """Hash of pixels, labels and classes."""
    span: str
    """Sizes before: `32–200 px`."""
    look: Look
    """How they are looked at; size and style are told."""
    part: str = "train"
    passed: tuple[str, ...] = ()
    """What was passed over."""

    @property
    def labels(self) -> Tensor:
        """int64 (N,): places in `classes`."""
        return self.file.labels

    def rows(self, places: Tensor, memory: int) -> Rows:
        """Some of the images; read ahead where all of them are more than so many bytes."""
        pixels = self.file.pixels
        return Rows(pixels, places, fetch=self.file.fetch if pixels.nbytes > memory else None)


def decoded(name: str, part: str, data_dir: Path, look: Look, progress: Progress) -> Decoded:
    """A part of a data set, from the cache, else read and cached. Raises Refusal for images that cannot be read."""
    there = place(name)
    held = there.holds(part) if there else None
    source = held.key() if held else str(data_dir.resolve()) if name != "digits" else ""
    passed = (*held.passed, *there.beside()) if held and there else ()
    # Whoever asks for the size that is usual anyway finds what was decoded without being asked for any.
    for kept in (look, replace(look, size=None)):
        found = _cached(_path(name, part, source, kept))
        if found and look.size in (None, found.look.size):
            return replace(found, part=part, passed=passed)
    reading, path = read(name, part, data_dir, held, look, progress), _path(name, part, source, look)
    _check_size(reading, path.parent)
    facts = {"classes": json.dumps(reading.classes), "span": reading.span, "look": json.dumps(asdict(reading.look))}
    with drafted(path, reading.shape, reading.labels, reading.classes, facts) as pixels:
        reading.fill(pixels)
    found = _cached(path)
    assert found, "what was just written can be read"
    return replace(found, part=part, passed=passed)


def some(name: str, part: str, data_dir: Path, places: Sequence[int], look: Look) -> Tensor:
    """Images at some places of a part, decoded for this alone: uint8 (n, H, W, C). Raises Refusal."""
    there = place(name)
    if there:
        reading = read(name, part, data_dir, there.holds(part).some(places), look, silent)
    else:
        reading = known.read(name, part, data_dir, look, places)
    pixels = np.empty(reading.shape, np.uint8)
    reading.fill(pixels)
    return torch.from_numpy(pixels)


def _cached(path: Path) -> Decoded | None:
    file = opened(path)
    if file is None:
        return None
    facts, told = file.facts, json.loads(file.facts["look"])
    style = Style(told["style"]["grey"], told["style"]["scale"] and tuple(told["style"]["scale"]))
    look = Look(tuple(told["size"]), style, told["resize"], told["crop"])
    return Decoded(file, tuple(json.loads(facts["classes"])), facts["fingerprint"], facts["span"], look)


def _path(name: str, part: str, source: str, look: Look) -> Path:
    told = json.dumps([FORMAT, name, part, source, asdict(look)])
    return cache.folder() / "images" / f"{hashlib.sha256(told.encode()).hexdigest()[:16]}.safetensors"


def _check_size(reading: Reading, place: Path) -> None:
    """Raises Refusal for images that are too small, or too many for the cache's disk."""
    count, height, width, channels = reading.shape
    if min(height, width) < SMALLEST:
        raise Refusal(
            f"Images must be at least {SMALLEST}×{SMALLEST}, but these ({reading.span}) would be {width}×{height}; "
            f"enlarge them with --image-size."
        )
    place.mkdir(parents=True, exist_ok=True)
    free, needed = shutil.disk_usage(place).free, count * channels * width * height
    if needed > free:
        fits = int((free / (count * channels)) ** 0.5)
        way_out = f"--image-size {fits} would fit" if fits >= SMALLEST else "take fewer images"
        raise Refusal(
            f"All images are kept in the cache as they are after decoding, but {count:,} of {width}×{height} take "
            f"{needed / 1e9:.1f} GB and {free / 1e9:.1f} GB are free on the disk of '{place}'; {way_out}, or let "
            f"KDSEARCH_CACHE name another disk."
        )


def place(name: str) -> Folder | Table | Own | None:
    """What a data set's name means, or None where it is one of the names in KNOWN. Raises Refusal."""
    if name in KNOWN:
        return None
    if file := file_of(name):
        path, inside = file
        return Own(path, inside) if inside else Table(path)
    return folder(name)


def read(name: str, part: str, data_dir: Path, held: Listing | Items | None, look: Look, progress: Progress) -> Reading:
    """A part of a data set as its files are; raises Refusal where they cannot be read."""
    if held is None:
        return known.read(name, part, data_dir, look)
    return held.read(part, look, progress) if isinstance(held, Items) else _read_files(part, held, look, progress)


def _read_files(part: str, listing: Listing, look: Look, progress: Progress) -> Reading:
    seen = pictures.heads(listing.files, f"looking at {part} images", progress)
    broken = [one for one in seen if isinstance(one, Broken)]
    sound = [(file, one) for file, one in zip(listing.files, seen, strict=True) if not isinstance(one, Broken)]
    if not sound:
        pictures.refuse(broken, len(seen))
    files, heads = [file for file, _ in sound], [head for _, head in sound]
    size, style = pictures.usual_size([head.size for head in heads]), pictures.style_of(heads, files, look.style)
    told = look.told(size, style)

    def fill(into: np.ndarray) -> None:
        late = pictures.decode(files, told, into, f"decoding {part} images", progress)
        pictures.refuse([*broken, *late], len(seen))

    return Reading(torch.tensor(listing.labels), listing.classes, told, pictures.span(heads), fill)
