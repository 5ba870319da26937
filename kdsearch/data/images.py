"""Images read, chosen, split."""

import hashlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from kdsearch import errors
from kdsearch.config.pipeline import Data
from kdsearch.data.folder import folder
from kdsearch.data.look import Look, pair
from kdsearch.data.memory import Images, Origin
from kdsearch.data.pictures import Progress
from kdsearch.data.rows import Rows
from kdsearch.data.sources import Decoded, decoded, silent
from kdsearch.data.statistics import statistics, told
from kdsearch.errors import Refusal


def stratified(labels: Tensor, seed: int) -> Tensor:
    """An order of the images, any first part of which holds every class in proportion (to one image).

    `seed` draws the images of a class, and whose turn it is among classes that are equally far."""
    generator = torch.Generator().manual_seed(seed)
    place = torch.empty(len(labels), dtype=torch.float64)
    tie = torch.rand(len(labels), generator=generator)
    for label in labels.unique():
        members = (labels == label).nonzero().flatten()
        members = members[torch.randperm(len(members), generator=generator)]
        place[members] = (torch.arange(len(members), dtype=torch.float64) + 0.5) / len(members)
    return torch.from_numpy(np.lexsort((tie.numpy(), place.numpy())))


def load(data: Data, data_dir: Path, progress: Progress = silent) -> Images:
    """Read (or take from the cache), choose, split. Raises Refusal.

    Touches no test images, unless a published protocol is repeated (data.validation "test").
    """
    found = _looked_at(data, data_dir, progress)
    counts = found.labels.bincount(minlength=len(found.classes))
    if len(found.classes) < 2 or counts.min() < 2:
        least = found.classes[int(counts.argmin())]
        raise Refusal(f"Each of at least two classes needs two training images, but '{least}' has {int(counts.min())}.")
    order = stratified(found.labels, data.split_seed)[: data.images]
    judging, train, validation = _judging(data, data_dir, found, order, progress)
    rows = Rows(found.pixels, train)
    own = statistics(rows)
    if not own[1].any():
        raise Refusal(f"Images differ in their pixels, but all {len(train):,} of '{data.name}' have one colour alone.")
    mean, std = (told(*both) for both in zip((data.mean, data.std), own, strict=True))
    return Images(
        train=rows, labels=found.labels[train],
        validation=Rows(judging.pixels, validation), validation_labels=judging.labels[validation],
        classes=found.classes, mean=mean, std=std.clamp(min=1e-3), fingerprint=_fingerprint(found, judging),
        augment=data.changes, order=train.argsort(), views=data.fixed_views,
        account=_account(data, found, judging, order, validation),
        origin=Origin(data, data_dir, judging.part, found.look), side=min(rows.shape[1:]),
    )  # fmt: skip


def _looked_at(data: Data, data_dir: Path, progress: Progress) -> Decoded:
    """The training images, in the channels that are told."""
    found = decoded(data.name, "train", data_dir, Look(pair(data.image_size)), progress)
    style = found.look.style
    assert style
    if data.channels is None or style.grey == (data.channels == 1):
        return found
    look = replace(found.look, style=replace(style, grey=data.channels == 1))
    return decoded(data.name, "train", data_dir, look, progress)


def _judging(
    data: Data, data_dir: Path, found: Decoded, order: Tensor, progress: Progress
) -> tuple[Decoded, Tensor, Tensor]:
    """The part that judges; which images train, and which of that part judge. Raises Refusal for a split that cannot
    be."""
    there = folder(data.name)
    if data.validation == "test" or (there and there.validation):
        part = "test" if data.validation == "test" else "validation"
        judging = _alike(data, part, data_dir, found.look, found.classes, progress)
        train, validation = order, torch.arange(len(judging.labels))
    else:
        held = min(max(round(data.validation * len(order)), 1), len(order) - 1)
        judging, validation, train = found, order[:held], order[held:]
    lacking = int((found.labels[train].bincount(minlength=len(found.classes)) == 0).sum())
    if lacking:
        raise Refusal(
            f"Every class needs an image that trains, but of the {len(order):,} images taken of '{data.name}' "
            f"{len(train):,} train, and {lacking:,} of its {len(found.classes):,} classes have none among them; take "
            f"more (data.images), or validate by less (data.validation)."
        )
    return judging, train, validation


def _account(data: Data, found: Decoded, judging: Decoded, order: Tensor, validation: Tensor) -> str:
    """What was read, what judges, and what was passed over."""
    counts = found.labels[order].bincount(minlength=len(found.classes))
    each = "–".join(f"{count:,}" for count in dict.fromkeys((int(counts.min()), int(counts.max()))))
    taken = f"{len(order):,} of its {len(found.labels):,}" if len(order) < len(found.labels) else f"{len(order):,}"
    size = f"{found.pixels.shape[2]}×{found.pixels.shape[1]}"
    said = [
        f"{Path(data.name).name}: {taken} images of {len(found.classes):,} classes ({each} each), {found.span}"
        + ("" if found.span == size else f", brought to {size}")
    ]
    judged = len(judging.labels[validation].unique())
    share = f" ({judged:,} of {len(found.classes):,} classes have any)" if judged < len(found.classes) else ""
    if judging is found:
        said.append(f"{len(validation):,} kept for validation{share}")
    else:
        there = folder(data.name)
        where = there.part(judging.part).name if there else judging.part
        said.append(f"validated by the {len(validation):,} of {where}/{share}")
    if passed := dict.fromkeys([*found.passed, *(judging.passed if judging is not found else ())]):
        said.append(f"passed over: {errors.listed(passed)}")
    return "; ".join(said)


def _fingerprint(found: Decoded, judging: Decoded) -> str:
    """Of the training images, and of validation images that are not among them."""
    if judging is found or judging.part == "test":
        return found.fingerprint
    return hashlib.sha256(f"{found.fingerprint} {judging.fingerprint}".encode()).hexdigest()[:16]


def load_test(data: Data, data_dir: Path, images: Images, progress: Progress = silent) -> tuple[Rows, Tensor]:
    """The test images, looked at as the training images are, and their labels: for configs already chosen.

    Raises Refusal where their classes are others.
    """
    found = _alike(data, "test", data_dir, images.origin.look, images.classes, progress)
    return Rows(found.pixels, torch.arange(len(found.labels))), found.labels


def _alike(data: Data, part: str, data_dir: Path, look: Look, classes: tuple[str, ...], progress: Progress) -> Decoded:
    """Another part than the training images; raises Refusal where its classes are others than theirs: labels are
    places in the list of classes."""
    found = decoded(data.name, part, data_dir, look, progress)
    if found.classes != classes:
        ours, theirs = errors.listed(classes), errors.listed(found.classes)
        raise Refusal(
            f"The classes of '{data.name}' must be the same in train and {part}: {ours}, but in {part} {theirs}."
        )
    return found
