"""One stage of training: the weighted sum of its terms falls, epoch after epoch. Knows nothing of teachers."""

import hashlib
import json
import math
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

import torch
from torch import Tensor, nn

from kdsearch.config.pipeline import Fit
from kdsearch.data.memory import Images
from kdsearch.data.rows import Rows
from kdsearch.data.views import Batch
from kdsearch.distill.terms import Lesson, Stage
from kdsearch.distill.weighing import Weights


class Diverged(ArithmeticError):
    """A loss became infinite or not a number."""


@dataclass(frozen=True)
class Epoch:
    """What one epoch showed."""

    number: int
    """Within its stage, from 1."""
    losses: dict[str, float]
    """Mean of each term over the epoch's images, unweighted."""
    shares: dict[str, float] = field(default_factory=dict)
    """Each weighted term's part of the sum of gradient norms on the first batch, 0–1."""
    seconds: float = 0.0
    weights: dict[str, float] = field(default_factory=dict)
    """Of terms whose weights are not the same in all epochs."""


def seed_of(*words: object) -> int:
    """A seed for torch from words such as (seed, link, stage, epoch): a resumed run equals an unbroken one."""
    return int.from_bytes(hashlib.sha256(json.dumps(words).encode()).digest()[:6], "big")


def rate(fit: Fit, epoch: int, epochs: int) -> float:
    """The learning rate in an epoch (from 0) of a stage that lasts `epochs`."""
    if fit.schedule == "cosine":
        return fit.learning_rate * (1 + math.cos(math.pi * epoch / epochs)) / 2
    if fit.schedule == "step":
        return fit.learning_rate * 0.1 ** sum(epoch >= epochs * part for part in fit.drops)
    return fit.learning_rate


def views_of(stage: Stage, images: Images, fit: Fit, epoch: int) -> list[int] | None:
    """The views of each pass of an epoch (from 0); None: new ones."""
    if not (stage.replayed and images.views):
        return None
    passes = images.passes(fit)
    return [number % images.views for number in range(epoch * passes, (epoch + 1) * passes)]


def optimizer(fit: Fit, module: nn.Module) -> torch.optim.Optimizer:
    """A new one for each stage, fused into one kernel a step."""
    weights = list(module.parameters())
    if fit.optimizer == "adam":
        return torch.optim.Adam(weights, fit.learning_rate, weight_decay=fit.weight_decay, fused=True)
    return torch.optim.SGD(weights, fit.learning_rate, fit.momentum, weight_decay=fit.weight_decay, fused=True)


def train(
    lesson: Lesson,
    images: Images,
    fit: Fit,
    seed: tuple[object, ...],
    steps: torch.optim.Optimizer | None = None,
    past: int = 0,
    before: Mapping[str, float] = MappingProxyType({}),
) -> Iterator[Epoch]:
    """Train a stage, yielding at each epoch's end. Raises Diverged. All randomness is drawn anew from (seed, epoch).

    `steps`, if not new, and `past`: an optimiser, and how many epochs it and what it trains have behind them; `before`:
    the weights in the last of these.
    """
    stage = lesson.stage
    steps = steps or optimizer(fit, lesson.trained)
    for epoch in range(past, stage.epochs):
        started = time.perf_counter()
        word = seed_of(*seed, epoch)
        torch.manual_seed(word)
        generator = torch.Generator().manual_seed(word)
        for group in steps.param_groups:
            group["lr"] = rate(fit, epoch, stage.epochs)
        lesson.train()
        batches = images.epoch(fit, generator, views_of(stage, images, fit, epoch))
        weights = weights_in(stage, epoch + 1, before if epoch else {})
        losses, shares = _epoch(lesson, images, batches, steps, weights)
        before = {name: float(weights[name]) for name in stage.varying}
        if not all(math.isfinite(value) for value in losses.values()):
            raise Diverged(f"the loss is not finite in stage {stage.name}, epoch {epoch + 1}: {losses}.")
        yield Epoch(epoch + 1, losses, shares, time.perf_counter() - started, dict(before))


def _epoch(
    lesson: Lesson, images: Images, batches: Iterator[Batch], steps: torch.optim.Optimizer, weights: Weights
) -> tuple[dict[str, float], dict[str, float]]:
    idle = {name for name in lesson.stage.weights if weights.idle(name)}
    # Sums stay on the device until the epoch's end: reading a number at every step would wait for it.
    totals: dict[str, Tensor] = {}
    shares: dict[str, Tensor] = {}
    seen = 0
    for batch in batches:
        with images.autocast():
            terms = lesson.losses(batch, idle)
        steps.zero_grad()
        if not seen:
            shares = backward_by_term(lesson, terms, weights)
        else:
            torch.stack([weights[name] * term for name, term in terms.items()]).sum().backward()
        steps.step()
        for name, term in terms.items():
            totals[name] = totals.get(name, 0) + term.detach() * len(batch.samples)
        seen += len(batch.samples)
    means = {name: float(total) / seen for name, total in totals.items()}
    return means, {name: float(share) for name, share in shares.items()}


def backward_by_term(lesson: Lesson, terms: dict[str, Tensor], weights: Weights | None = None) -> dict[str, Tensor]:
    """Backward through each weighted term by itself, gradients added up; returns each one's part of the sum of norms.

    Terms of weight 0 have no part, nor those that reach companions alone: what is dropped does not count. Terms with a
    share come last: they get their `weights` here.
    """
    weights = weights or weights_in(lesson.stage, 1, {})
    norms: dict[str, Tensor] = {}
    for name, term in terms.items():
        if name not in weights.shares and not weights.idle(name):
            found = _kept(_added(_gradient(weights[name] * term, lesson)), lesson)
            if found or not lesson.companions:
                norms[name] = _length(found, term)
    shared = {name: _gradient(terms[name], lesson) for name in weights.shares}
    weights.measured(norms, {name: _length(_kept(found, lesson), terms[name]) for name, found in shared.items()})
    for name, found in shared.items():
        added = _added([(weight, weights[name] * own) for weight, own in found])
        norms[name] = _length(_kept(added, lesson), terms[name])
    total = torch.stack(list(norms.values())).sum()
    return {name: torch.where(total > 0, norm / total, 0.0) for name, norm in norms.items()}


def weights_in(stage: Stage, epoch: int, before: Mapping[str, float]) -> Weights:
    """Of a stage in an epoch, from 1; `before`: those of the epoch before."""
    return Weights(stage.weights_in(epoch), stage.shares, before)


Gradient = list[tuple[Tensor, Tensor]]
"""Of each weight that a term reaches."""


def _gradient(loss: Tensor, lesson: Lesson) -> Gradient:
    weights = list(lesson.trained.parameters())
    found = torch.autograd.grad(loss, weights, retain_graph=True, allow_unused=True)
    return [(weight, own) for weight, own in zip(weights, found, strict=True) if own is not None]


def _added(gradient: Gradient) -> Gradient:
    for weight, own in gradient:
        weight.grad = own if weight.grad is None else weight.grad + own
    return gradient


def _kept(gradient: Gradient, lesson: Lesson) -> Gradient:
    """Of what is not dropped with the companions."""
    if lesson.companions is None:
        return gradient
    dropped = set(map(id, lesson.companions.parameters()))
    return [(weight, own) for weight, own in gradient if id(weight) not in dropped]


def _length(gradient: Gradient, term: Tensor) -> Tensor:
    parts = [own.norm() for _, own in gradient]
    return torch.stack(parts).norm() if parts else torch.zeros_like(term)


@dataclass(frozen=True)
class Judged:
    """What a network said of images whose class is known."""

    confusion: Tensor
    """(classes, classes) counts: of the images of a class (row), how many were taken for which (column)."""

    @property
    def accuracy(self) -> float:
        """Share of the images that were taken for what they are, 0–1."""
        return int(self.confusion.diagonal().sum()) / int(self.confusion.sum())

    @property
    def balanced(self) -> float:
        """Balanced accuracy: the mean over classes of the share of their images that were taken for what they are, so
        that each class counts alike (Brodersen et al. 2010). Classes without images are left out."""
        images = self.confusion.sum(1)
        there = images > 0
        return float((self.confusion.diagonal()[there].double() / images[there]).mean())

    @property
    def counts(self) -> tuple[tuple[int, int, int], ...]:
        """(class, what it was taken for, how often), where that is not never."""
        places = self.confusion.nonzero().tolist()
        return tuple((one, other, int(self.confusion[one, other])) for one, other in places)


def judge(net: nn.Module, images: Images, pixels: Rows, labels: Tensor) -> Judged:
    """What the net, in eval mode, says of images: the class of the largest logit."""
    net.eval()
    classes = len(images.classes)
    found = torch.zeros(classes * classes, dtype=torch.int64, device=images.mean.device)
    with torch.inference_mode(), images.autocast():
        for some, truth in zip(pixels.split(1000), labels.split(1000), strict=True):
            told = net(images.prepare(some)).argmax(1)
            found += torch.bincount(truth.to(told.device) * classes + told, minlength=classes * classes)
    return Judged(found.view(classes, classes).cpu())
