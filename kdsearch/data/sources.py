"""Where images come from: digits (embedded), torchvision's sets, a folder. Each is read to uint8 tensors."""

import hashlib
import json
import os
import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from kdsearch.config.datasets import KNOWN
from kdsearch.errors import Refusal, listed, unknown
from kdsearch.storage import cache
from kdsearch.storage.files import whole

Progress = Callable[[str, int, int], None]
"""Told what is being done, how much of it is done, and out of how much."""


def silent(doing: str, done: int, total: int) -> None:
    """A progress that tells nobody."""


@dataclass(frozen=True)
class Wanted:
    """How images are to come; None: as they are."""

    size: tuple[int, int] | None = None
    """Width, height."""
    grey: bool | None = None
    """One channel, or three."""


def decoded(
    name: str, part: str, data_dir: Path, wanted: Wanted, progress: Progress
) -> tuple[Tensor, Tensor, list[str], str]:
    """Pixels, labels, class names, fingerprint of a part (train or test): from the cache, else read and cached.

    Raises Refusal for images that cannot be read.
    """
    path = cache.folder() / "images" / f"{_source_key(name, part, data_dir, wanted)}.safetensors"
    try:
        with safe_open(path, framework="pt") as file:
            meta, pixels, labels = file.metadata(), file.get_tensor("pixels"), file.get_tensor("labels")
            classes = json.loads(meta["classes"])
            if meta["fingerprint"] == _fingerprint(pixels, labels, classes):
                return pixels, labels, classes, meta["fingerprint"]
    except (OSError, SafetensorError, KeyError, TypeError, ValueError):
        pass  # not there, or damaged: it is only a copy, made anew below
    pixels, labels, classes = read(name, part, data_dir, wanted, progress)
    fingerprint = _fingerprint(pixels, labels, classes)
    words = {"classes": json.dumps(classes), "fingerprint": fingerprint}
    with whole(path) as draft:
        save_file({"pixels": pixels, "labels": labels}, draft, words)
        os.chmod(draft, 0o644)  # others on a shared disk read it too
    return pixels, labels, classes, fingerprint


def _fingerprint(pixels: Tensor, labels: Tensor, classes: list[str]) -> str:
    digest = hashlib.sha256(json.dumps([list(pixels.shape), classes]).encode())
    digest.update(pixels.numpy().data)
    digest.update(labels.numpy().data)
    return digest.hexdigest()[:16]


def _source_key(name: str, part: str, data_dir: Path, wanted: Wanted) -> str:
    """Changes whenever the files of a folder do; torchvision checks the sums of its own files when they arrive."""
    path = folder(name)
    if path is None:
        parts: list = [name, str(data_dir.resolve()) if name != "digits" else ""]
    else:
        root = (path / part).resolve()
        files = sorted(root.glob("*/*")) if root.is_dir() else []
        stats = [(str(file), *_size_and_time(file)) for file in files]
        parts = [str(root), hashlib.sha256(json.dumps(stats).encode()).hexdigest()]
    return hashlib.sha256(json.dumps([part, wanted.size, wanted.grey, *parts]).encode()).hexdigest()[:16]


def _size_and_time(file: Path) -> tuple[int, int]:
    found = file.stat()
    return found.st_size, found.st_mtime_ns


SUFFIXES = {".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".ppm", ".pgm", ".pbm"}

GREY = {"L", "1", "LA", "I", "I;16", "I;16B", "I;16L", "I;16N"}
"""Pillow's modes of one channel."""

TEST_DIGITS = 5
"""Every fifth digit of a class, in the order of the file, is a test image."""


ORIENTATION = 0x0112
"""Exif's tag; from 5 on, the image lies on its side."""

Read = tuple[Tensor, Tensor, list[str]]
"""Images (N, C, H, W) uint8, labels (N,) int64, class names."""


def folder(name: str) -> Path | None:
    """The folder that a data set's name means, or None where it is one of the names in KNOWN."""
    if name in KNOWN:
        return None
    path = Path(name).expanduser()
    if not path.is_dir():
        if "/" not in name and "\\" not in name:
            raise unknown("data set or folder", name, KNOWN)
        raise Refusal(f"A data set is {listed(KNOWN)}, or a folder with train/<class>/*; there is no folder '{name}'.")
    if not (path / "train").is_dir():
        raise Refusal(f"A folder of images must hold train/<class>/*, but '{name}' has no folder 'train'.")
    return path


def placed(name: str) -> str:
    """A data set's name as every process understands it: a folder's path made absolute. Raises Refusal."""
    path = folder(name)
    return name if path is None else str(path.resolve())


def read(name: str, part: str, data_dir: Path, wanted: Wanted, progress: Progress) -> Read:
    """All images of the part "train" or "test" of a data set; raises Refusal where there are none."""
    path = folder(name)
    if path is not None:
        return _read_folder(path / part, wanted, progress)
    images, labels, classes = _digits(part) if name == "digits" else _torchvision(name, part, data_dir)
    if wanted.size and wanted.size[0] != images.shape[-1]:
        images = _resized(images, wanted.size[0])
    return images, labels, classes


def _digits(part: str) -> Read:
    from sklearn.datasets import load_digits

    found: Any = load_digits()
    images = torch.from_numpy(np.round(found.images * (255 / 16)).astype(np.uint8))[:, None]
    labels = torch.from_numpy(found.target.astype(np.int64))
    test = torch.zeros(len(labels), dtype=torch.bool)
    for digit in range(10):
        test[(labels == digit).nonzero()[::TEST_DIGITS]] = True
    chosen = test if part == "test" else ~test
    return images[chosen], labels[chosen], [str(digit) for digit in range(10)]


def _torchvision(name: str, part: str, data_dir: Path) -> Read:
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


def _read_folder(root: Path, wanted: Wanted, progress: Progress) -> Read:
    if not root.is_dir():
        raise Refusal(f"A folder of images must hold '{root.name}/<class>/*' for this, but there is no '{root}'.")
    classes = sorted(entry.name for entry in root.iterdir() if entry.is_dir() and not entry.name.startswith("."))
    if len(classes) < 2:
        raise Refusal(f"Classes are the folders in '{root}', and at least two are needed, but got {listed(classes)}.")
    files, labels = [], []
    for number, name in enumerate(classes):
        found = sorted(path for path in (root / name).iterdir() if path.suffix.lower() in SUFFIXES)
        if not found:
            raise Refusal(f"Every class needs images, but '{root / name}' holds none ({' '.join(sorted(SUFFIXES))}).")
        files += found
        labels += [number] * len(found)
    heads = _each(_head, files, f"looking at {root.name} images", progress)
    sizes = {size for size, _ in heads}
    grey = all(mode in GREY for _, mode in heads) if wanted.grey is None else wanted.grey
    common = sizes.pop() if len(sizes) == 1 else (32, 32)
    if not wanted.size and min(common) < 8:
        small = f"{common[0]}×{common[1]}"
        raise Refusal(
            f"Images must be at least 8×8, but those in '{root}' are {small}; enlarge them with --image-size."
        )
    size = wanted.size or common

    def pixels(path: Path) -> np.ndarray:
        return _pixels(path, size, grey)

    images = np.stack(_each(pixels, files, f"decoding {root.name} images", progress))
    tensor = torch.from_numpy(images)
    return (tensor[:, None] if grey else tensor.permute(0, 3, 1, 2)).contiguous(), torch.tensor(labels), classes


def _each(work: Callable, files: list[Path], doing: str, progress: Progress) -> list:
    done = []
    with ThreadPoolExecutor() as pool:
        for number, item in enumerate(pool.map(work, files, chunksize=64), start=1):
            done.append(item)
            if number % 256 == 0 or number == len(files):
                progress(doing, number, len(files))
    return done


def _open(path: Path, use: Callable):
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(path) as image:
            return use(image)
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise Refusal(f"Files of a class must be readable images, but '{path}' is not ({error}); remove it.") from None


def _head(path: Path) -> tuple[tuple[int, int], str]:
    """Size as a person sees it, and mode."""

    def use(image) -> tuple[tuple[int, int], str]:
        turned = image.getexif().get(ORIENTATION, 1) >= 5
        return (image.size[::-1] if turned else image.size), image.mode

    return _open(path, use)


def _pixels(path: Path, size: tuple[int, int], grey: bool) -> np.ndarray:
    from PIL import Image, ImageOps

    def use(image) -> np.ndarray:
        image = ImageOps.exif_transpose(image)
        if image.mode.startswith("I"):  # 16 bits: Pillow's own conversion would clip all above 255 to white
            image = Image.fromarray((np.asarray(image).astype(np.int64) >> 8).clip(0, 255).astype(np.uint8))
        image = image.convert("L" if grey else "RGB")
        return np.asarray(image if image.size == size else ImageOps.fit(image, size))  # fit: scale, then centre-crop

    return _open(path, use)


def _resized(images: Tensor, side: int) -> Tensor:
    import torch.nn.functional as F

    large = F.interpolate(images.float(), size=(side, side), mode="bilinear", antialias=True, align_corners=False)
    return large.round().clamp(0, 255).to(torch.uint8)
