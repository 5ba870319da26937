"""The data sets known by name: digits (embedded) and torchvision's."""

import warnings
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from kdsearch.data.look import Look, Style
from kdsearch.data.pictures import fitted
from kdsearch.data.reading import Reading
from kdsearch.errors import Refusal

TEST_DIGITS = 5
"""Every fifth digit of a class, in the order of the file, is a test image."""

PART = 256
"""Images that are changed at once: floats take four times the room of bytes."""

GREY = (19595, 38470, 7471)
"""ITU-R 601-2's shares of red, green and blue, in 65,536ths, as Pillow has them."""


def read(name: str, part: str, data_dir: Path, look: Look, places: Sequence[int] | None = None) -> Reading:
    """A part of such a set, or what is at some places of it; raises Refusal where its files cannot be read."""
    pixels, labels, classes = _digits(part) if name == "digits" else _torchvision(name, part, data_dir)
    if places is not None:
        pixels, labels = pixels[places], labels[places]
    _, height, width, channels = pixels.shape
    told = look.told((width, height), look.style or Style(channels == 1))

    def fill(into: np.ndarray) -> None:
        for some, there in zip(pixels.split(PART), torch.from_numpy(into).split(PART), strict=True):
            there.copy_(seen(some, told))

    return Reading(labels, tuple(classes), told, f"{width}×{height}", fill)


def seen(pixels: Tensor, look: Look) -> Tensor:
    """uint8 (N, H, W, 1 or 3) as they are to be looked at."""
    assert look.size and look.style
    channels = pixels.shape[3]
    if look.style.grey and channels == 3:
        pixels = ((pixels.int() * torch.tensor(GREY)).sum(3, keepdim=True) + 2**15 >> 16).to(torch.uint8)
    elif not look.style.grey and channels == 1:
        pixels = pixels.expand(-1, -1, -1, 3)
    if look.resize or look.crop < 1:
        return _fitted(pixels, replace(look, resize=look.resize or "bilinear"))
    return pixels if look.size == (pixels.shape[2], pixels.shape[1]) else _resized(pixels, look.size)


def _fitted(pixels: Tensor, look: Look) -> Tensor:
    from PIL import Image

    assert look.size
    shape = (look.size[1], look.size[0], pixels.shape[3])
    pictures = (Image.fromarray(one.squeeze(2) if one.shape[2] == 1 else one) for one in pixels.numpy())
    return torch.from_numpy(np.stack([np.asarray(fitted(one, look)).reshape(shape) for one in pictures]))


def _resized(pixels: Tensor, size: tuple[int, int]) -> Tensor:
    import torch.nn.functional as F

    # Laid out channels first: sums in another order would round otherwise than in all the images before.
    plain = pixels.permute(0, 3, 1, 2).contiguous().float()
    large = F.interpolate(plain, size=(size[1], size[0]), mode="bilinear", antialias=True, align_corners=False)
    return large.round().clamp(0, 255).to(torch.uint8).permute(0, 2, 3, 1)


def _digits(part: str) -> tuple[Tensor, Tensor, list[str]]:
    from sklearn.datasets import load_digits

    found: Any = load_digits()
    images = torch.from_numpy(np.round(found.images * (255 / 16)).astype(np.uint8))[..., None]
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
        images = images[..., None]
    elif name == "svhn":
        images = images.permute(0, 2, 3, 1)
    classes = [str(item) for item in getattr(found, "classes", range(10))]
    return images, labels, classes
