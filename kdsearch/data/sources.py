"""Where images come from: digits (embedded), torchvision's sets, a folder. Each is read once, to uint8 tensors."""

import hashlib
import json
import os
import warnings
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from kdsearch.data import pictures
from kdsearch.data.folder import Listing, folder, look
from kdsearch.data.pictures import Broken, Progress, Size, Style
from kdsearch.errors import Refusal
from kdsearch.storage import cache
from kdsearch.storage.files import whole

TEST_DIGITS = 5
"""Every fifth digit of a class, in the order of the file, is a test image."""

SMALLEST = 8
"""Pixels of the shorter side."""

PART = 256
"""Images that are resized at once."""

PEAK = 2.5
"""Bytes of memory that a byte of pixels takes at most, while images are decoded and split."""


def silent(doing: str, done: int, total: int) -> None:
    """A progress that tells nobody."""


@dataclass(frozen=True)
class Wanted:
    """How images are to come; None: as is usual."""

    size: Size | None = None
    style: Style | None = None
    """As another part has it."""


@dataclass(frozen=True)
class Decoded:
    """A part of a data set: train, validation or test."""

    pixels: Tensor
    """uint8 (N, C, H, W)."""
    labels: Tensor
    """int64 (N,): places in `classes`."""
    classes: tuple[str, ...]
    fingerprint: str
    """Hash of all these."""
    span: str
    """Sizes before: `32–200 px`."""
    style: Style
    part: str = "train"
    passed: tuple[str, ...] = ()
    """What was passed over."""


def decoded(name: str, part: str, data_dir: Path, wanted: Wanted, progress: Progress) -> Decoded:
    """A part of a data set, from the cache, else read and cached. Raises Refusal for images that cannot be read."""
    there = folder(name)
    listing = look(there, part) if there else None
    source = listing.key() if listing else str(data_dir.resolve()) if name != "digits" else ""
    passed = (*listing.passed, *there.beside()) if listing and there else ()
    # Whoever asks for the size that is usual anyway finds what was decoded without being asked for any.
    for kept in (wanted, Wanted(None, wanted.style)):
        found = _cached(_path(name, part, source, kept))
        if found and wanted.size in (None, (found.pixels.shape[3], found.pixels.shape[2])):
            return replace(found, part=part, passed=passed)
    found = read(name, part, data_dir, listing, wanted, progress)
    words = {"classes": json.dumps(found.classes), "fingerprint": found.fingerprint, "span": found.span}
    with whole(_path(name, part, source, wanted)) as draft:
        save_file(
            {"pixels": found.pixels, "labels": found.labels}, draft, words | {"style": json.dumps(asdict(found.style))}
        )
        os.chmod(draft, 0o644)  # others on a shared disk read it too
    return replace(found, part=part, passed=passed)


def _cached(path: Path) -> Decoded | None:
    try:
        with safe_open(path, framework="pt") as file:
            meta, pixels, labels = file.metadata(), file.get_tensor("pixels"), file.get_tensor("labels")
            classes, style = tuple(json.loads(meta["classes"])), json.loads(meta["style"])
            if meta["fingerprint"] == _fingerprint(pixels, labels, classes):
                style = Style(style["grey"], style["scale"] and tuple(style["scale"]))
                return Decoded(pixels, labels, classes, meta["fingerprint"], meta["span"], style)
    except (OSError, SafetensorError, LookupError, TypeError, ValueError):
        pass  # not there, or damaged: it is only a copy, which is made anew
    return None


def _path(name: str, part: str, source: str, wanted: Wanted) -> Path:
    told = json.dumps([name, part, source, wanted.size, wanted.style and asdict(wanted.style)])
    return cache.folder() / "images" / f"{hashlib.sha256(told.encode()).hexdigest()[:16]}.safetensors"


def _fingerprint(pixels: Tensor, labels: Tensor, classes: Sequence[str]) -> str:
    digest = hashlib.sha256(json.dumps([list(pixels.shape), list(classes)]).encode())
    digest.update(pixels.numpy().data)
    digest.update(labels.numpy().data)
    return digest.hexdigest()[:16]


def read(name: str, part: str, data_dir: Path, listing: Listing | None, wanted: Wanted, progress: Progress) -> Decoded:
    """A part of a data set as its files are; raises Refusal where they cannot be read."""
    if listing is not None:
        return _read_folder(part, listing, wanted, progress)
    pixels, labels, classes = _digits(part) if name == "digits" else _torchvision(name, part, data_dir)
    span = f"{pixels.shape[3]}×{pixels.shape[2]}"
    if wanted.size and wanted.size != (pixels.shape[3], pixels.shape[2]):
        _check_size(wanted.size, len(pixels), pixels.shape[1], span)
        pixels = _resized(pixels, wanted.size)
    return Decoded(
        pixels, labels, tuple(classes), _fingerprint(pixels, labels, classes), span, Style(pixels.shape[1] == 1)
    )


def _read_folder(part: str, listing: Listing, wanted: Wanted, progress: Progress) -> Decoded:
    seen = pictures.heads(listing.files, f"looking at {part} images", progress)
    broken = [one for one in seen if isinstance(one, Broken)]
    sound = [(file, one) for file, one in zip(listing.files, seen, strict=True) if not isinstance(one, Broken)]
    if not sound:
        pictures.refuse(broken, len(seen))
    files, heads = [file for file, _ in sound], [head for _, head in sound]
    style = pictures.style_of(heads, files, wanted.style)
    size = wanted.size or pictures.usual_size([head.size for head in heads])
    _check_size(size, len(files), 1 if style.grey else 3, pictures.span(heads))
    pixels, late = pictures.decode(files, size, style, f"decoding {part} images", progress)
    pictures.refuse([*broken, *late], len(seen))
    tensor, labels = torch.from_numpy(pixels).permute(0, 3, 1, 2).contiguous(), torch.tensor(listing.labels)
    fingerprint = _fingerprint(tensor, labels, listing.classes)
    return Decoded(tensor, labels, listing.classes, fingerprint, pictures.span(heads), style)


def _check_size(size: Size, count: int, channels: int, span: str) -> None:
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


def _digits(part: str) -> tuple[Tensor, Tensor, list[str]]:
    from sklearn.datasets import load_digits

    found: Any = load_digits()
    images = torch.from_numpy(np.round(found.images * (255 / 16)).astype(np.uint8))[:, None]
    labels = torch.from_numpy(found.target.astype(np.int64))
    test = torch.zeros(len(labels), dtype=torch.bool)
    for digit in range(10):
        test[(labels == digit).nonzero()[::TEST_DIGITS]] = True
    chosen = test if part == "test" else ~test
    return images[chosen], labels[chosen], [str(digit) for digit in range(10)]


def _torchvision(name: str, part: str, data_dir: Path) -> tuple[Tensor, Tensor, list[str]]:
    from torchvision import datasets

    makers = {
        "mnist": datasets.MNIST, "fashion_mnist": datasets.FashionMNIST, "svhn": datasets.SVHN,
        "cifar10": datasets.CIFAR10, "cifar100": datasets.CIFAR100,
    }  # fmt: skip
    which = {"split": part} if name == "svhn" else {"train": part == "train"}
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torchvision's own use of NumPy's and Python's deprecated corners
            found = makers[name](str(data_dir), download=True, **which)
    except (OSError, RuntimeError, EOFError, ValueError) as error:
        reason = " ".join(str(error).split())
        raise Refusal(
            f"The data set '{name}' could not be downloaded to, or read from, '{data_dir}' ({reason}). "
            f"Check the network, or put the files there by hand and name the folder with --data-dir."
        ) from error
    labels = torch.as_tensor(np.asarray(found.labels if name == "svhn" else found.targets), dtype=torch.int64)
    images = torch.as_tensor(np.asarray(found.data))
    if images.dim() == 3:
        images = images[:, None]
    elif name != "svhn":
        images = images.permute(0, 3, 1, 2)
    classes = [str(item) for item in getattr(found, "classes", range(10))]
    return images.contiguous(), labels, classes


def _resized(images: Tensor, size: Size) -> Tensor:
    """A part at a time: floats take four times the room of bytes."""
    import torch.nn.functional as F

    found = torch.empty((*images.shape[:2], size[1], size[0]), dtype=torch.uint8)
    for part, into in zip(images.split(PART), found.split(PART), strict=True):
        large = F.interpolate(
            part.float(), size=(size[1], size[0]), mode="bilinear", antialias=True, align_corners=False
        )
        into.copy_(large.round().clamp(0, 255))
    return found
