"""A given teacher looked at before anybody learns from it: how good it is here, and what would make it better."""

import itertools
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from kdsearch.config.net import Eye, Own, Side
from kdsearch.data.memory import Images
from kdsearch.data.pictures import Progress
from kdsearch.data.sight import few, scaled, seen
from kdsearch.data.sources import silent

CHUNK = 100
"""Validation images a forward pass."""

TRIED = 256
"""Validation images on which other ways of seeing are tried."""

JUDGED = 2000
"""Validation images at most on which the best of them is judged where so few cannot tell."""

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
    finite: bool = True
    """All of its outputs are numbers."""

    @property
    def accuracy(self) -> float:
        """0–1."""
        return float(self.right.double().mean())

    @property
    def rate(self) -> float:
        """Images a second."""
        return len(self.right) / max(self.seconds, 1e-9)

    def at_chance(self, classes: int) -> bool:
        """Whether guessing would do as well."""
        return at_chance(self.accuracy, len(self.right), classes)


@dataclass(frozen=True)
class Way:
    """Another way of seeing."""

    eye: Eye
    words: tuple[str, ...]
    """As --teacher-eye takes them."""
    said: str


@dataclass(frozen=True)
class Other:
    """What another way of seeing would come to."""

    way: Way
    accuracy: float
    before: float
    """On the same images, as it sees now."""
    images: int
    """How many these are."""
    certain: bool


def interval(accuracy: float, images: int) -> tuple[float, float]:
    """Of 95 %, of an accuracy on so many images (Wilson 1927); 0–1."""
    from scipy.stats import binomtest  # here, since it takes a second and a half to import

    found = binomtest(round(accuracy * images), images).proportion_ci(method="wilson")
    return float(found.low), float(found.high)


def at_chance(accuracy: float, images: int, classes: int) -> bool:
    """Whether guessing would do as well."""
    return interval(accuracy, images)[0] <= 1 / classes


def heard(net: nn.Module, images: Images, progress: Progress = silent) -> Heard:
    """Ask a network about the validation images, in evaluation mode; `images`: as it sees them."""
    labels, said, started = images.validation_labels.cpu(), [], time.perf_counter()
    with torch.inference_mode():
        for pixels in images.validation.split(CHUNK):
            with images.autocast():
                said.append(net(images.prepare(pixels)).float().cpu())
            progress("asking the teacher", min(len(said) * CHUNK, len(labels)), len(labels))
    outputs, seconds = torch.cat(said), time.perf_counter() - started
    sums = bool((outputs >= 0).all()) and torch.allclose(outputs.sum(1), torch.ones(len(outputs)), atol=1e-2)
    taken = outputs.argmax(1)
    return Heard(taken == labels, taken, labels, sums, seconds, bool(outputs.isfinite().all()))


def renamed(told: Heard, classes: Sequence[str]) -> tuple[dict[str, str], float] | None:
    """What each of its classes should be called for it to be better, beyond chance: found on half of the images (the
    assignment with the most right answers), judged on the others, with that accuracy; None: its own names are best."""
    from scipy.optimize import linear_sum_assignment

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
    from scipy.stats import binomtest

    gained, lost = int((one & ~other).sum()), int((other & ~one).sum())
    return gained > lost and bool(binomtest(gained, gained + lost).pvalue < CERTAIN)


def other(net: nn.Module, own: Own, images: Images, told: Heard, progress: Progress = silent) -> Other | None:
    """The best other way of seeing, if it is better than how the teacher was heard, beyond chance: other scales and
    orders of channels, and other sizes where none is told; of who answers at chance, all of them together."""
    ways, usual = list(_ways(own.eye, images.shape, told.at_chance(len(images.classes)))), seen(images, own.eye)
    found: list[Other] = []
    for _, alike in itertools.groupby(ways, key=lambda way: way.eye.size):
        some: Images | None = None
        for way in alike:
            some = some or few(usual, way.eye, _spread(told, TRIED))
            progress("trying how it sees", len(found), len(ways))
            found.append(_compared(net, some, way, told))
    progress("trying how it sees", len(ways), len(ways))
    best = max(found, key=lambda one: one.accuracy)
    if not best.certain and best.accuracy > best.before and len(told.right) > TRIED:
        some = few(usual, best.way.eye, _spread(told, JUDGED))
        best = _compared(net, some, best.way, told, progress)
    return best if best.certain else None


def _spread(told: Heard, most: int) -> Tensor:
    """Places of so many validation images, spread over all."""
    count = len(told.right)
    return (torch.arange(min(most, count)) * max(count / most, 1)).long()


def _compared(net: nn.Module, some: Images, way: Way, told: Heard, progress: Progress = silent) -> Other:
    now, sight = told.right[_spread(told, len(some.validation))], scaled(some, way.eye)
    then = heard(net, sight, progress).right if _takes(net, sight) else torch.zeros_like(now)
    accuracy, before = (float(right.double().mean()) for right in (then, now))
    return Other(way, accuracy, before, len(now), better(then, now))


def _takes(net: nn.Module, images: Images) -> bool:
    """Whether a network can see images of this size at all."""
    first = images.prepare(images.validation[:2])
    try:
        with torch.inference_mode(), images.autocast():
            net(first)
    except Exception:  # whatever a user's module raises
        return False
    return True


def _ways(eye: Eye, image: tuple[int, int, int], lost: bool) -> Iterator[Way]:
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
            yield Way(tried, tuple(words), ", ".join(named))
