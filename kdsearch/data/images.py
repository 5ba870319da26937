"""Images read, chosen, split."""

from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from kdsearch import errors
from kdsearch.config.pipeline import Data
from kdsearch.data import sources
from kdsearch.data.memory import Images
from kdsearch.data.sources import decoded, silent
from kdsearch.errors import Refusal


def stratified(labels: Tensor, seed: int) -> Tensor:
    """An order of the images, any first part of which holds every class in proportion (to one image), drawn by seed."""
    generator = torch.Generator().manual_seed(seed)
    place = torch.empty(len(labels), dtype=torch.float64)
    for label in labels.unique():
        members = (labels == label).nonzero().flatten()
        members = members[torch.randperm(len(members), generator=generator)]
        place[members] = (torch.arange(len(members), dtype=torch.float64) + 0.5) / len(members)
    return place.argsort(stable=True)


def load(data: Data, data_dir: Path, progress: sources.Progress = silent) -> Images:
    """Read (or take from the cache), choose, split. Raises Refusal.

    Touches no test images, unless a published protocol is repeated (data.validation "test").
    """
    side = data.image_size
    wanted = sources.Wanted(size=(side, side) if side else None)
    pixels, labels, classes, fingerprint = decoded(data.name, "train", data_dir, wanted, progress)
    counts = labels.bincount(minlength=len(classes))
    if len(classes) < 2 or counts.min() < 2:
        least = classes[int(counts.argmin())]
        raise Refusal(f"Each of at least two classes needs two training images, but '{least}' has {int(counts.min())}.")
    order = stratified(labels, data.split_seed)[: data.images]
    share = 0 if data.validation == "test" else data.validation
    held = min(max(round(share * len(order)), 1), len(order) - 1) if share else 0
    validation, train = order[:held], order[held:]
    found = _statistics(pixels[train])
    mean, std = (_told(*pair) for pair in zip((data.mean, data.std), found, strict=True))
    last = torch.channels_last
    images = Images(
        train=pixels[train].contiguous(memory_format=last), labels=labels[train],
        validation=pixels[validation].contiguous(memory_format=last), validation_labels=labels[validation],
        classes=tuple(classes), mean=mean, std=std, fingerprint=fingerprint,
        augment=data.changes, order=train.argsort(), views=data.fixed_views,
    )  # fmt: skip
    if share:
        return images
    pixels, labels = load_test(data, data_dir, images, progress)
    return replace(images, validation=pixels.contiguous(memory_format=last), validation_labels=labels)


def account(name: str, images: Images) -> str:
    """What was read: `digits: 1,437 images of 10 classes (139–146 each), 8×8, grey; 287 more for validation`."""
    counts, (channels, height, width) = images.labels.bincount(minlength=len(images.classes)), images.shape
    each = "–".join(f"{count:,}" for count in dict.fromkeys((int(counts.min()), int(counts.max()))))
    return (
        f"{Path(name).name}: {len(images.train):,} images of {len(images.classes)} classes ({each} each), "
        f"{width}×{height}, {'grey' if channels == 1 else 'colour'}; {len(images.validation):,} more for validation"
    )


def _told(values: tuple[float, ...] | None, own: Tensor) -> Tensor:
    """A statistic that a config tells, of as many channels as the images' own; (C, 1, 1)."""
    if values is None:
        return own
    told = torch.tensor(values)
    return (told if len(told) == len(own) else told.mean().expand(len(own))).view(-1, 1, 1).contiguous()


def load_test(data: Data, data_dir: Path, images: Images, progress: sources.Progress = silent) -> tuple[Tensor, Tensor]:
    """The test images, uint8 and of the training images' shape, and their labels: for configs already chosen.

    Raises Refusal where their classes are others: labels are places in the list of classes.
    """
    channels, height, width = images.shape
    wanted = sources.Wanted(size=(width, height), grey=channels == 1)
    pixels, labels, classes, _ = decoded(data.name, "test", data_dir, wanted, progress)
    if tuple(classes) != images.classes:
        ours, theirs = errors.listed(images.classes), errors.listed(classes)
        raise Refusal(f"The classes of '{data.name}' must be the same in train and test: {ours}, but in test {theirs}.")
    return pixels, labels


def _statistics(pixels: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation of each channel, exact (from counts of the 256 values)."""
    values = torch.arange(256, dtype=torch.float64) / 255
    means, stds = [], []
    for channel in range(pixels.shape[1]):
        share = pixels[:, channel].flatten().bincount(minlength=256).double()
        share /= share.sum()
        mean = (share * values).sum()
        means.append(mean)
        stds.append((share * (values - mean) ** 2).sum().sqrt().clamp(min=1e-3))
    shape = (-1, 1, 1)
    return torch.stack(means).float().view(shape), torch.stack(stds).float().view(shape)
