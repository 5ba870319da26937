"""A decoded set as a file that is mapped into memory: written while it is decoded, read by rows.

Its pages are the system's: all processes of a machine share them, and where memory is needed they go. So a set that
fits into memory is read from the disk once, whoever reads it; one that does not is read ahead.
"""

import hashlib
import json
import math
import mmap
import os
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from kdsearch.storage.files import whole

FORMAT = 2
"""Of the file; pixels lie (N, H, W, C), so that an image is read in one piece. 1: (N, C, H, W)."""

UNKNOWN = "0" * 16
"""A hash, until the last image is written."""

SAMPLE = 64
"""Images that are looked at when a file is opened: 19 GB would take 25 seconds in every process."""

PART = 256
"""Images that are hashed at once."""


@dataclass(frozen=True)
class Mapped:
    """A file that is open."""

    pixels: Tensor
    """uint8 (N, H, W, C), which cannot be written to."""
    labels: Tensor
    """int64 (N,)."""
    facts: Mapping[str, str]
    """What whoever wrote it said of it; and its fingerprint."""
    file: mmap.mmap
    start: int
    """Bytes before the first pixel."""

    def fetch(self, places: Tensor) -> None:
        """Have the disk read these images, all at once, while something else is done."""
        if not hasattr(self.file, "madvise"):
            return
        each = self.pixels[0].nbytes
        for place in places.tolist():
            begin = self.start + place * each
            page = begin - begin % mmap.PAGESIZE
            self.file.madvise(mmap.MADV_WILLNEED, page, begin + each - page)


@contextmanager
def drafted(
    path: Path, shape: tuple[int, ...], labels: Tensor, classes: tuple[str, ...], facts: dict[str, str]
) -> Iterator[np.ndarray]:
    """Pixels (N, H, W, C) to write; at the end they are the file, in the safetensors format. Raises OSError."""
    unknown = {"fingerprint": UNKNOWN, "sample": UNKNOWN}
    head = _head(shape, facts | unknown)
    start = 8 + len(head) + labels.nbytes
    with whole(path) as draft:
        with open(draft, "w+b") as file:
            # Whoever writes to a mapped page for which the disk has no room is killed.
            _reserve(file.fileno(), start + math.prod(shape))
            file.write(len(head).to_bytes(8, "little") + head + labels.numpy().tobytes())
            file.flush()
            pixels = np.memmap(file, np.uint8, "r+", start, shape)
            yield pixels
            known = {"fingerprint": fingerprint(pixels, labels, classes), "sample": _sample(pixels, labels)}
            pixels.flush()
            file.seek(8)
            file.write(_head(shape, facts | known))
            file.flush()
            os.fsync(file.fileno())
        os.chmod(draft, 0o644)  # others on a shared disk read it too


def opened(path: Path) -> Mapped | None:
    """None where there is no such file, or where it is damaged."""
    try:
        with open(path, "rb") as file:
            mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        length = int.from_bytes(mapped[:8], "little")
        told: dict[str, Any] = json.loads(mapped[8 : 8 + length])
        facts, shape = told["__metadata__"], told["pixels"]["shape"]
        start = 8 + length + 8 * shape[0]
        if facts["format"] != str(FORMAT):
            return None
        # A private mapping, as safetensors makes one, must be smaller than the memory: it might be written to.
        pixels = np.frombuffer(mapped, np.uint8, offset=start).reshape(shape)
        labels = torch.from_numpy(np.frombuffer(mapped, np.int64, shape[0], 8 + length).copy())
        if facts["sample"] != _sample(pixels, labels):
            return None
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # nobody writes to it
            return Mapped(torch.from_numpy(pixels), labels, facts, mapped, start)
    except (OSError, LookupError, TypeError, ValueError):
        return None


def fingerprint(pixels: np.ndarray, labels: Tensor, classes: tuple[str, ...]) -> str:
    """Of a set, over (N, C, H, W): it names sets in stores and configs, however their files lie."""
    count, height, width, channels = pixels.shape
    digest = hashlib.sha256(json.dumps([[count, channels, height, width], list(classes)]).encode())
    for first in range(0, count, PART):
        digest.update(np.ascontiguousarray(pixels[first : first + PART].transpose(0, 3, 1, 2)).data)
    digest.update(labels.numpy().data)
    return digest.hexdigest()[:16]


def _sample(pixels: np.ndarray, labels: Tensor) -> str:
    """Hash of the labels and of some images from the first to the last."""
    digest = hashlib.sha256(labels.numpy().data)
    for place in np.linspace(0, len(pixels) - 1, SAMPLE).astype(int):
        digest.update(pixels[place].data)
    return digest.hexdigest()[:16]


def _head(shape: tuple[int, ...], facts: dict[str, str]) -> bytes:
    ends = 8 * shape[0], 8 * shape[0] + math.prod(shape)
    told = {
        "__metadata__": facts | {"format": str(FORMAT)},
        "labels": {"dtype": "I64", "shape": [shape[0]], "data_offsets": [0, ends[0]]},
        "pixels": {"dtype": "U8", "shape": list(shape), "data_offsets": list(ends)},
    }
    head = json.dumps(told).encode()
    return head + b" " * (-len(head) % 8)


def _reserve(file: int, size: int) -> None:
    if hasattr(os, "posix_fallocate"):
        os.posix_fallocate(file, 0, size)
    else:
        os.truncate(file, size)
