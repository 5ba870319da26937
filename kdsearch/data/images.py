"""Images read, chosen, split."""

import hashlib
from pathlib import Path

import numpy as np
import psutil
import torch
from torch import Tensor

from kdsearch import errors
from kdsearch.config.pipeline import Data
from kdsearch.data.look import Look, pair
from kdsearch.data.memory import Images, Origin
from kdsearch.data.pictures import Progress
from kdsearch.data.rows import Rows
from kdsearch.data.sources import Decoded, decoded, place, silent
from kdsearch.data.statistics import statistics, told
from kdsearch.errors import Refusal


def stratified(labels: Tensor, seed: int) -> Tensor:
    """An order of the images, any first part of which holds every class in proportion (to one image).

    `seed` draws the images of a class, and whose turn it is among classes that are equally far."""
    generator = torch.Generator().manual_seed(seed)
    place = np.empty(len(labels))
    tie = torch.rand(len(labels), generator=generator).numpy()
    for label in np.unique(labels.numpy()):
        members = np.flatnonzero(labels.numpy() == label)
        members = members[torch.randperm(len(members), generator=generator).numpy()]
        place[members] = (np.arange(len(members)) + 0.5) / len(members)
    return torch.from_numpy(np.lexsort((tie, place)))


def load(data: Data, data_dir: Path, progress: Progress = silent, memory: int | None = None) -> Images:
    """Read (or take from the cache), choose, split. Raises Refusal.

    `memory`: bytes that the images may be expected to have there; None: a quarter of the machine's.

    Touches no test images, unless a published protocol is repeated (data.validation "test").
    """
    found = decoded(data.name, "train", data_dir, Look(pair(data.image_size), channels=data.channels), progress)
    counts = found.labels.bincount(minlength=len(found.classes))
    if len(found.classes) < 2 or counts.min() < 2:
        least = found.classes[int(counts.argmin())]
        raise Refusal(f"Each of at least two classes needs two training images, but '{least}' has {int(counts.min())}.")
    order = stratified(found.labels, data.split_seed)[: data.images]
    judging, train, validation = _judging(data, data_dir, found, order, progress)
    memory = memory or psutil.virtual_memory().total // 4
    rows = found.rows(train, memory)
    own = statistics(rows, found.fingerprint)
    if not own[1].any():
        raise Refusal(f"Images differ in their pixels, but all {len(train):,} of '{data.name}' have one colour alone.")
    mean, std = (told(*both) for both in zip((data.mean, data.std), own, strict=True))
    return Images(
        train=rows, labels=found.labels[train],
        validation=judging.rows(validation, memory), validation_labels=judging.labels[validation],
        classes=found.classes, mean=mean, std=std.clamp(min=1e-3), fingerprint=_fingerprint(found, judging),
        augment=data.changes, order=torch.from_numpy(train.numpy().argsort()), views=data.fixed_views,
        account=_account(data, found, judging, order, validation),
        origin=Origin(data, data_dir, judging.part, found.look, memory), side=min(rows.shape[1:]),
    )  # fmt: skip


def _judging(
    data: Data, data_dir: Path, found: Decoded, order: Tensor, progress: Progress
) -> tuple[Decoded, Tensor, Tensor]:
    """The part that judges; which images train, and which of that part judge. Raises Refusal for a split that cannot
    be."""
    there = place(data.name)
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
    assert found.look.size
    size = "{}×{}".format(*found.look.size)
    said = [
        f"{Path(data.name).name}: {taken} images of {len(found.classes):,} classes ({each} each), {found.span}"
        + ("" if found.span == size else f", brought to {size}")
    ]
    judged = int(judging.labels[validation].bincount().count_nonzero())
    share = f" ({judged:,} of {len(found.classes):,} classes have any)" if judged < len(found.classes) else ""
    if judging is found:
        said.append(f"{len(validation):,} kept for validation{share}")
    else:
        there = place(data.name)
        where = there.where(judging.part) if there else f"{judging.part}/"
        said.append(f"validated by the {len(validation):,} of {where}{share}")
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
    return found.rows(torch.arange(len(found.labels)), images.origin.memory), found.labels


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
