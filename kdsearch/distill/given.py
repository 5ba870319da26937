"""A given teacher looked at before anybody learns from it: how good it is here, and what would make it better."""

import itertools
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from scipy.optimize import linear_sum_assignment
from scipy.stats import binomtest
from torch import Tensor, nn

from kdsearch.config.net import Eye, Own, Side
from kdsearch.data.memory import Images
from kdsearch.data.pictures import Progress
from kdsearch.data.sight import seen
from kdsearch.data.sources import silent

CHUNK = 100
"""Validation images a forward pass."""

TRIED = 256
"""Validation images on which other ways of seeing are tried."""

CERTAIN = 0.001
"""Two accuracies differ where chance alone would make them differ so much less often (McNemar's exact test)."""

SCALES = {
    "ImageNet's": ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
    "(pixel − 127) / 128": ((0.498,) * 3, (0.502,) * 3),
    "0 to 1": ((0.0,) * 3, (1.0,) * 3),
    "−1 to 1": ((0.5,) * 3, (0.5,) * 3),
    "0 to 255": ((0.0,) * 3, (1 / 255,) * 3),
}
"""Means and standard deviations that networks are usually trained with, on the scale 0–1."""

SIZES = (2, 3, 4, 7)
"""Times the images' side: at which a teacher that answers at chance is tried."""


@dataclass(frozen=True)
class Heard:
    """What a teacher says of validation images."""

    right: Tensor
    """bool (N,)."""
    taken: Tensor
    """int64 (N,): the class of its largest output."""
    labels: Tensor
    probabilities: bool
    """All of its outputs are positive and sum to 1."""
    seconds: float

    @property
    def accuracy(self) -> float:
        """0–1."""
        return float(self.right.double().mean())

    @property
    def interval(self) -> tuple[float, float]:
        """Of 95 %, for other images of the same kind (Wilson 1927)."""
        found = binomtest(int(self.right.sum()), len(self.right)).proportion_ci(method="wilson")
        return float(found.low), float(found.high)

    @property
    def rate(self) -> float:
        """Images a second."""
        return len(self.right) / max(self.seconds, 1e-9)

    def at_chance(self, classes: int) -> bool:
        """Whether guessing would do as well."""
        return self.interval[0] <= 1 / classes


@dataclass(frozen=True)
class Other:
    """Another way of seeing, and what it would come to."""

    words: tuple[str, ...]
    """As --teacher-eye takes them."""
    said: str
    accuracy: float
    before: float
    """On the same images, as it sees now."""
    certain: bool


def heard(net: nn.Module, images: Images, most: int | None = None, progress: Progress = silent) -> Heard:
    """Ask a network about validation images, in evaluation mode; `images`: as it sees them."""
    labels = images.validation_labels[:most] if most is None else _spread(images.validation_labels, most)[1]
    places = torch.arange(len(labels)) if most is None else _spread(images.validation_labels, most)[0]
    said, started = [], time.perf_counter()
    with torch.inference_mode():
        for some in places.split(CHUNK):
            with images.autocast():
                said.append(net(images.prepare(images.validation[some.to(images.validation.device)])).float().cpu())
            progress("asking the teacher", int(some[-1]) + 1, len(places))
    outputs, seconds = torch.cat(said), time.perf_counter() - started
    sums = bool((outputs >= 0).all()) and torch.allclose(outputs.sum(1), torch.ones(len(outputs)), atol=1e-2)
    taken, truth = outputs.argmax(1), labels.cpu()
    return Heard(taken == truth, taken, truth, sums, seconds)


def _spread(labels: Tensor, most: int) -> tuple[Tensor, Tensor]:
    """So many images, spread over all: their places and labels."""
    step = max(len(labels) / most, 1)
    places = (torch.arange(min(most, len(labels))) * step).long()
    return places, labels[places.to(labels.device)]


def renamed(told: Heard, classes: Sequence[str]) -> tuple[dict[str, str], float] | None:
    """What each of its classes should be called for it to be better, beyond chance: found on half of the images (the
    assignment with the most right answers), judged on the others, with that accuracy; None: its own names are best."""
    one, other = slice(0, None, 2), slice(1, None, 2)
    counts = torch.zeros(len(classes), len(classes))
    counts.index_put_((told.taken[one], told.labels[one]), torch.ones(()), accumulate=True)
    counts += 0.5 * torch.eye(len(classes))  # where nothing is known, a name stays
    _, names = linear_sum_assignment(-counts.numpy())
    right = torch.from_numpy(names)[told.taken[other]] == told.labels[other]
    if not better(right, told.right[other]):
        return None
    wrong = {str(classes[own]): str(classes[name]) for own, name in enumerate(names.tolist()) if own != name}
    return wrong, float(right.double().mean())


def better(one: Tensor, other: Tensor) -> bool:
    """Whether one is right where the other is wrong more often than the reverse, beyond chance."""
    gained, lost = int((one & ~other).sum()), int((other & ~one).sum())
    return gained > lost and bool(binomtest(gained, gained + lost).pvalue < CERTAIN)


def others(net: nn.Module, own: Own, images: Images, lost: bool, progress: Progress = silent) -> Iterator[Other]:
    """Other scales and orders of channels, and other sizes where none is told, on the same few images; where it is
    `lost`, all of them together."""
    now = heard(net, seen(images, own.eye), TRIED)
    found = list(_eyes(own.eye, images.shape, lost))
    for number, (eye, words, said) in enumerate(found, start=1):
        progress("trying how it sees", number, len(found))
        try:
            then = heard(net, seen(images, eye), TRIED)
        except RuntimeError:  # no image of that size
            continue
        yield Other(words, said, then.accuracy, now.accuracy, better(then.right, now.right))


def _eyes(eye: Eye, image: tuple[int, int, int], lost: bool) -> Iterator[tuple[Eye, tuple[str, ...], str]]:
    channels = eye.channels or image[0]
    sides: list[Side | tuple[int, int] | None] = [eye.size]
    if lost or eye.size is None:
        sides += [(image[2] * times, image[1] * times) for times in SIZES if max(image[1:]) * times <= 320]
    orders = ("rgb", "bgr") if channels == 3 else ("rgb",)
    scales = [
        (None, eye.mean, eye.std),
        *((name, mean[:channels], std[:channels]) for name, (mean, std) in SCALES.items()),
    ]
    for side, order, (scale, mean, std) in itertools.product(sides, orders, scales):
        if side != eye.size and not lost and (order != eye.order or scale):
            continue
        tried = eye.model_copy(update={"size": side, "order": order, "mean": mean, "std": std})
        words = []
        if side != eye.size and isinstance(side, tuple):
            words.append(f"size={side[0]}" if side[0] == side[1] else f"size={side[0]},{side[1]}")
        if order != eye.order:
            words.append(f"order={order}")
        if scale and mean and std:
            words += [f"mean={','.join(f'{one:g}' for one in mean)}", f"std={','.join(f'{one:g}' for one in std)}"]
        if words:
            named = [f"at {side[0]}×{side[1]}"] if side != eye.size and isinstance(side, tuple) else []
            named += [f"its channels {order.upper()}"] if order != eye.order else []
            named += [f"scaled by {scale}" if scale in ("ImageNet's",) else f"scaled as {scale}"] if scale else []
            yield tried, tuple(words), ", ".join(named)
