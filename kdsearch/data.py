"""Images whole in memory: splits, nested fractions, batches changed by tensor operations."""

import hashlib
import json
import os
from dataclasses import dataclass, replace
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from kdsearch import sources
from kdsearch.config import Data, Fit
from kdsearch.errors import Refusal


def cache_folder() -> Path:
    """Where decoded images lie for the next process: $KDSEARCH_CACHE, else kdsearch/ in the user's cache folder."""
    chosen = os.environ.get("KDSEARCH_CACHE")
    base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return Path(chosen) if chosen else base / "kdsearch"


def silent(doing: str, done: int, total: int) -> None:
    """A progress that tells nobody."""


@dataclass(frozen=True)
class Images:
    """One data set, split. Pixels are uint8 (N, C, H, W); labels int64 (N,)."""

    train: Tensor
    """In the order in which fractions take them: any first part is stratified."""
    labels: Tensor
    validation: Tensor
    validation_labels: Tensor
    classes: tuple[str, ...]
    mean: Tensor
    """Of each channel over the training images, on the scale of 0–1: (C, 1, 1)."""
    std: Tensor
    fingerprint: str
    """Hash of the pixels, labels and class names of the whole training set."""
    augment: str

    @property
    def shape(self) -> tuple[int, int, int]:
        """Channels, height, width."""
        return (self.train.shape[1], self.train.shape[2], self.train.shape[3])

    def prepare(self, pixels: Tensor) -> Tensor:
        """uint8 -> normalised float32, on the device of the statistics."""
        return (pixels.to(self.mean.device, torch.float32) / 255 - self.mean) / self.std

    def batches(self, fit: Fit, generator: torch.Generator) -> list[Tensor]:
        """One epoch's indices of training images, a tensor a step, in the generator's order.

        With fit.steps "full" a fraction is gone through as often as fills the full set's number of steps.
        """
        kept = max(round(fit.fraction * len(self.train)), 1)
        length = kept if fit.steps == "fraction" else len(self.train)
        rounds = [torch.randperm(kept, generator=generator) for _ in range(-(-length // kept))]
        assert fit.batch_size is not None
        steps = list(torch.cat(rounds)[:length].split(fit.batch_size))
        # Batch normalisation has no variance over one image.
        return steps[:-1] if len(steps) > 1 and len(steps[-1]) == 1 else steps

    def batch(self, index: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Augmented, normalised images (N, C, H, W) and their labels."""
        index = index.to(self.train.device)
        pixels = augmented(self.train[index], self.augment, generator)
        return self.prepare(pixels), self.labels[index].to(self.mean.device)

    def to(self, device: torch.device) -> "Images":
        """Statistics on the device; pixels too where they fill at most a third of its free memory."""
        if device.type == "cpu":
            return self
        free, _ = torch.cuda.mem_get_info(device)
        fits = self.train.nbytes + self.validation.nbytes < free / 3
        moved = {"mean": self.mean.to(device), "std": self.std.to(device)}
        if fits:
            moved |= {n: getattr(self, n).to(device) for n in ("train", "labels", "validation", "validation_labels")}
        return replace(self, **moved)


def augmented(pixels: Tensor, kind: str, generator: torch.Generator) -> Tensor:
    """Randomly cropped after padding by an eighth of the side, and flipped, as `kind` says. (N, C, H, W) uint8."""
    count, _, height, width = pixels.shape
    device = pixels.device
    if "crop" in kind:
        pad = max(min(height, width) // 8, 1)
        top = torch.randint(2 * pad + 1, (count, 1), generator=generator).to(device)
        left = torch.randint(2 * pad + 1, (count, 1), generator=generator).to(device)
        rows = (top + torch.arange(height, device=device))[:, :, None]
        columns = (left + torch.arange(width, device=device))[:, None, :]
        image = torch.arange(count, device=device)[:, None, None]
        pixels = F.pad(pixels, (pad, pad, pad, pad))[image, :, rows, columns].permute(0, 3, 1, 2)
    if "flip" in kind:
        turned = (torch.rand(count, 1, 1, 1, generator=generator) < 0.5).to(device)
        pixels = torch.where(turned, pixels.flip(-1), pixels)
    return pixels


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
    """Read (or take from the cache), choose, split. Never touches the test images. Raises Refusal."""
    side = data.image_size
    wanted = sources.Wanted(size=(side, side) if side else None)
    pixels, labels, classes, fingerprint = _decoded(data.name, "train", data_dir, wanted, progress)
    counts = labels.bincount(minlength=len(classes))
    if len(classes) < 2 or counts.min() < 2:
        least = classes[int(counts.argmin())]
        raise Refusal(f"Each of at least two classes needs two training images, but '{least}' has {int(counts.min())}.")
    order = stratified(labels, data.split_seed)[: data.images]
    held = min(max(round(data.validation * len(order)), 1), len(order) - 1)
    validation, train = order[:held], order[held:]
    mean, std = _statistics(pixels[train])
    return Images(
        train=pixels[train], labels=labels[train],
        validation=pixels[validation], validation_labels=labels[validation],
        classes=tuple(classes), mean=mean, std=std, fingerprint=fingerprint,
        augment=data.changes,
    )  # fmt: skip


def load_test(data: Data, data_dir: Path, images: Images, progress: sources.Progress = silent) -> tuple[Tensor, Tensor]:
    """The test images, uint8 and of the training images' shape, and their labels: for configs already chosen.

    Raises Refusal where their classes are others: labels are places in the list of classes.
    """
    channels, height, width = images.shape
    wanted = sources.Wanted(size=(width, height), grey=channels == 1)
    pixels, labels, classes, _ = _decoded(data.name, "test", data_dir, wanted, progress)
    if tuple(classes) != images.classes:
        ours, theirs = sources.listed(images.classes), sources.listed(classes)
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


def _decoded(
    name: str, part: str, data_dir: Path, wanted: sources.Wanted, progress: sources.Progress
) -> tuple[Tensor, Tensor, list[str], str]:
    """Pixels, labels, class names, fingerprint: from the cache, else read and cached."""
    path = cache_folder() / "images" / f"{_source_key(name, part, data_dir, wanted)}.safetensors"
    try:
        with safe_open(path, framework="pt") as file:
            meta, pixels, labels = file.metadata(), file.get_tensor("pixels"), file.get_tensor("labels")
            return pixels, labels, json.loads(meta["classes"]), meta["fingerprint"]
    except (OSError, SafetensorError, KeyError, TypeError, ValueError):
        pass  # not there, or cut short: it is only a copy, made anew below
    pixels, labels, classes = sources.read(name, part, data_dir, wanted, progress)
    digest = hashlib.sha256(json.dumps([list(pixels.shape), classes]).encode())
    digest.update(pixels.numpy().data)
    digest.update(labels.numpy().data)
    fingerprint = digest.hexdigest()[:16]
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_suffix(f".{os.getpid()}")
    save_file({"pixels": pixels, "labels": labels}, draft, {"classes": json.dumps(classes), "fingerprint": fingerprint})
    os.replace(draft, path)
    return pixels, labels, classes, fingerprint


def _source_key(name: str, part: str, data_dir: Path, wanted: sources.Wanted) -> str:
    """Changes whenever the files of a folder do; torchvision checks the sums of its own files when they arrive."""
    path = sources.folder(name)
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
