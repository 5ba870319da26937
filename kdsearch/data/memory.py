"""Images of a data set, split: nested fractions, batches changed by tensor operations."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import torch
from torch import Tensor

from kdsearch.config.datasets import Shape
from kdsearch.config.net import Eye
from kdsearch.config.pipeline import Data, Fit, Precision
from kdsearch.data.look import Look
from kdsearch.data.rows import Rows
from kdsearch.data.views import Batch, Changes, changed, drawn, fixed


@dataclass(frozen=True)
class Origin:
    """Where images came from, and how they are looked at."""

    data: Data
    data_dir: Path
    judging: str
    """The part that validates."""
    look: Look
    """Its size and style are told."""
    memory: int
    """Bytes; a larger set is read ahead."""


@dataclass(frozen=True)
class Images:
    """One data set, split; where networks compute on it, and how. Labels are int64 (N,)."""

    train: Rows
    """In the order in which fractions take them: any first part is stratified."""
    labels: Tensor
    validation: Rows
    validation_labels: Tensor
    classes: tuple[str, ...]
    mean: Tensor
    """Of each channel that a network reads, over the training images, on the scale of 0–1: (C, 1, 1)."""
    std: Tensor
    fingerprint: str
    """Hash of the pixels, labels and class names of the whole training set."""
    augment: str
    order: Tensor
    """Places in `train` in the order of the file: int64 (N,)."""
    views: int
    """Fixed versions of each training image for links that are taught; 0: none, every epoch draws new ones."""
    account: str
    """What was read, in a sentence."""
    origin: Origin
    side: int
    """Shorter side of the images for which changes are drawn."""
    scale: tuple[float, float] = (1.0, 1.0)
    """Rows and columns here of one there."""
    backwards: bool = False
    """Whether a network reads the last channel first: blue, green, red."""
    precision: Precision = "float32"
    """In which networks multiply; their weights are float32."""

    @property
    def shape(self) -> Shape:
        """Of each image."""
        return self.train.shape

    @cached_property
    def sights(self) -> "dict[Eye, Images]":
        """The same images as others see them, where they were asked for."""
        return {}

    @cached_property
    def fixed(self) -> Changes:
        """The changes of all fixed views."""
        return fixed(self.augment, len(self.train), self.side, self.views).to(self.train.device)

    def autocast(self) -> torch.autocast:
        """Networks called inside multiply in this precision."""
        return torch.autocast(self.mean.device.type, torch.bfloat16, enabled=self.precision == "bfloat16")

    @property
    def bounds(self) -> tuple[Tensor, Tensor]:
        """What 0 and 255 become, of each channel."""
        return -self.mean / self.std, (1 - self.mean) / self.std

    @cached_property
    def line(self) -> tuple[Tensor, Tensor]:
        """Scale and shift of the values of one row of an image, channels last: long vectors instead of triples."""
        width = self.shape[2]
        return (1 / (255 * self.std)).flatten().repeat(width), (-self.mean / self.std).flatten().repeat(width)

    def prepare(self, pixels: Tensor) -> Tensor:
        """uint8 (N, C, H, W) -> (pixel / 255 - mean) / std, channels last, on the device of the statistics."""
        rows = moved_to(pixels, self.mean.device).permute(0, 2, 3, 1)
        rows = rows.flip(3) if self.backwards else rows
        scale, shift = self.line
        return torch.addcmul(shift, rows.flatten(2).float(), scale).view(rows.shape).permute(0, 3, 1, 2)

    def passes(self, fit: Fit) -> int:
        """How often an epoch goes through a fraction's images, begun passes counted whole."""
        return -(-self.length(fit) // self._kept(fit))

    def batches(self, fit: Fit, generator: torch.Generator, numbers: Sequence[int]) -> list[Tensor]:
        """One epoch's samples, a tensor a step, in the generator's order; `numbers` are the views of its passes.

        With fit.steps "full" a fraction is gone through as often as fills the full set's number of steps.
        """
        kept, count = self._kept(fit), len(self.train)
        passes = [torch.randperm(kept, generator=generator) for _ in numbers]
        if fit.subset == "first":
            passes = [self.order[places] for places in passes]
        passes = [places + number * count for places, number in zip(passes, numbers, strict=True)]
        assert fit.batch_size is not None
        steps = list(torch.cat(passes)[: self.length(fit)].split(fit.batch_size))
        # Batch normalisation has no variance over one image.
        return steps[:-1] if len(steps) > 1 and len(steps[-1]) == 1 else steps

    def epoch(self, fit: Fit, generator: torch.Generator, numbers: Sequence[int] | None) -> Iterator[Batch]:
        """One epoch's batches, in these fixed views, or (None) in views drawn for it alone."""
        passes = self.passes(fit)
        steps = self.batches(fit, generator, range(passes) if numbers is None else numbers)
        changes = None
        if numbers is None:
            changes = drawn(self.augment, passes * len(self.train), self.side, generator)
            changes = changes.to(self.train.device)
        # One copy to the device for the whole epoch: each would wait for the step before.
        there = torch.cat(steps).to(self.train.device).split([len(step) for step in steps])
        for samples, place in zip(steps, self.train.ahead(there), strict=True):
            labels = moved_to(self.labels[place % len(self.train)], self.mean.device)
            yield Batch(self.pixels(place, changes), labels, samples, changes)

    def pixels(self, samples: Tensor, changes: Changes | None = None) -> Tensor:
        """Training images (N, C, H, W), normalised, in their fixed views unless other changes are given."""
        samples = moved_to(samples, self.train.device)
        pixels = self.train[samples % len(self.train)].permute(0, 2, 3, 1)
        there = (changes or self.fixed).to(self.train.device)
        pixels = changed(pixels, there, samples, self.augment, self.scale)
        return self.prepare(pixels.permute(0, 3, 1, 2))

    def to(self, device: torch.device, precision: Precision = "float32") -> "Images":
        """Statistics on the device; pixels too where they fill at most a third of its free memory."""
        if device.type == "cpu":
            return replace(self, precision=precision)
        free, _ = torch.cuda.mem_get_info(device)
        place = device if self.train.nbytes + self.validation.nbytes < free / 3 else torch.device("cpu")
        pixels = ("train", "labels", "validation", "validation_labels")
        moved = {name: getattr(self, name).to(place) for name in pixels}
        moved |= {name: getattr(self, name).to(device) for name in ("mean", "std")}
        return replace(self, precision=precision, **moved)

    def _kept(self, fit: Fit) -> int:
        return max(round(fit.fraction * len(self.train)), 1)

    def length(self, fit: Fit) -> int:
        """Samples of an epoch."""
        return self._kept(fit) if fit.steps == "fraction" else len(self.train)


def moved_to(some: Tensor, device: torch.device) -> Tensor:
    """To the device; from pinned memory, so that nobody waits for the device's earlier work."""
    if some.device.type == device.type:
        return some
    return some.pin_memory().to(device, non_blocking=True)
