"""How long a network takes for an image: one thread, by the clock of a small network, on this machine.

A median of wall time says more of a machine's other work than of a network: what holds is the 10th percentile of the
thread's own CPU time, networks taking turns in a new order each round, each warm. Even so microseconds drift by half
from minute to minute, and those of a large network, whose weights others push out of the caches, by more. So each is
timed in rounds with one small network, the clock, and told in its ticks; what a tick takes is measured once a machine,
and microseconds and ratios of all networks follow from the same ticks."""

import hashlib
import json
import random
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import torch

from kdsearch.config.datasets import Shape
from kdsearch.config.net import AnyNet, Net, Own
from kdsearch.nets import onnx
from kdsearch.nets.whole import Whole, untaught
from kdsearch.storage import cache
from kdsearch.storage.files import whole as written_whole

ROUNDS, BURST = 80, 5
"""Each network is called so often in a burst, once more before it to be warm, and has so many bursts at most."""

LEAST, ENOUGH = 10, 1.5
"""Rounds, and seconds of CPU time after which there are no more of them."""

PERCENTILE = 10
"""Of a burst's calls: what other work of the machine adds lies above."""

CLOCK, FACE, KINDS = Net(widths=(16, 32, 48), depth=3, hidden=64), (1, 8, 8), 10
"""The clock, the image that it sees, and its classes: it stays in a processor's caches."""

FEW, MANY = 1, 32
"""Images at once."""

EAGER = f"torch {torch.__version__.partition('+')[0]} eager"
"""PyTorch as it is."""

Run = Callable[[np.ndarray], Any]
"""Of uint8 (N, C, H, W)."""


@dataclass(frozen=True)
class Latency:
    """Of a network, beside its teacher's."""

    microseconds: float
    """CPU time of one image, alone."""
    ratio: float
    """The teacher's time / its own: 2 is twice as fast."""
    teacher: float
    """The teacher's microseconds."""
    many: float
    """CPU time of one image among 32, in microseconds."""
    many_ratio: float
    """Likewise, of the teacher's among 32."""


@dataclass(frozen=True)
class Times:
    """Of an image, alone and among 32."""

    few: float
    many: float


def runtime() -> str:
    """What runs networks where they are measured."""
    try:
        import onnxruntime
        import onnxscript  # noqa: F401

        return f"onnxruntime {onnxruntime.__version__}"
    except ImportError:
        return EAGER


def passes(runs: Mapping[str, tuple[Run, np.ndarray]], rounds: int = ROUNDS) -> dict[str, float]:
    """Microseconds of one image by name, each with the pixels that it is given: the 10th percentile of thread time."""
    times: dict[str, list[float]] = {name: [] for name in runs}
    order, dice = list(runs), random.Random(0)
    threads, begun = torch.get_num_threads(), time.thread_time()
    torch.set_num_threads(1)
    try:
        for number in range(rounds):
            if number >= LEAST and time.thread_time() - begun > ENOUGH:
                break
            dice.shuffle(order)
            for name in order:
                times[name] += _burst(*runs[name])
    finally:
        torch.set_num_threads(threads)
    return {name: 1e6 * float(np.percentile(own, PERCENTILE)) for name, own in times.items()}


def _burst(run: Run, given: np.ndarray) -> list[float]:
    """Seconds of an image in each call."""
    run(given)
    found = []
    for _ in range(BURST):
        begun = time.thread_time()
        run(given)
        found.append((time.thread_time() - begun) / len(given))
    return found


def timed(run: Run, image: Shape) -> Times:
    """Microseconds of a network that runs, by the clock. `image`: as it sees it."""
    ticks, tick = _ticks(run, image), _tick()
    return Times(ticks.few * tick.few, ticks.many * tick.many)


def _ticks(run: Run, image: Shape) -> Times:
    """In units of the clock's own times."""
    found = []
    for count in (FEW, MANY):
        both = passes({"own": (run, pixels(image, count)), "clock": (_clock(), pixels(FACE, count))})
        found.append(both["own"] / both["clock"])
    return Times(*found)


@lru_cache(maxsize=1)
def _clock() -> Run:
    return _runnable(CLOCK, FACE, KINDS)[0]


def _tick() -> Times:
    """Microseconds of the clock, as they were when this machine was first asked."""
    return _kept(["tick"], lambda: Times(*(passes({"": (_clock(), pixels(FACE, n))})[""] for n in (FEW, MANY))))


def _kept(told: Sequence[Any], measure: Callable[[], Times]) -> Times:
    """From the cache, else measured and kept there, by this machine and what runs networks."""
    key = json.dumps([*told, cache.machine(), runtime()])
    path = cache.folder() / "latency" / f"{hashlib.sha256(key.encode()).hexdigest()[:16]}.json"
    try:
        return Times(**json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):  # none, or one that was cut short
        found = measure()
    path.parent.mkdir(parents=True, exist_ok=True)
    with written_whole(path) as draft:
        draft.write_text(json.dumps(asdict(found)), encoding="utf-8")
    return found


def eager(whole: Whole) -> Run:
    """A network as PyTorch runs it."""

    def run(pixels: np.ndarray) -> Any:
        with torch.inference_mode():
            return whole(torch.from_numpy(pixels))

    return run


def beside(net: AnyNet, teacher: AnyNet, image: Shape, classes: int) -> Latency:
    """Of an architecture, as it is drawn: a trained one takes as long. Its ticks are kept in the cache, so that it is
    measured once. `image`: the pipeline's. Raises Refusal."""
    own, its = (_architecture(one, image, classes) for one in (net, teacher))
    tick = _tick()
    return Latency(own.few * tick.few, its.few / own.few, its.few * tick.few, own.many * tick.many, its.many / own.many)


def _architecture(net: AnyNet, image: Shape, classes: int) -> Times:
    """In ticks."""
    return _kept([_plain(net), list(image), classes], lambda: _ticks(*_runnable(net, image, classes)))


def _plain(net: AnyNet) -> dict[str, Any]:
    """What decides how long a network takes: neither its weights nor where its code lies."""
    plain = net.model_dump(mode="json")
    if isinstance(net, Own):
        plain |= {"factory": net.called, "weights": None, "weights_hash": "", "taps": ()}
    return plain


def pixels(image: Shape, count: int) -> np.ndarray:
    """Of no picture in particular: uint8 (count, C, H, W)."""
    return np.random.default_rng(0).integers(0, 256, (count, *image), np.uint8)


def _runnable(net: AnyNet, image: Shape, classes: int) -> tuple[Run, Shape]:
    """A network, and the image as it sees it."""
    whole, seen = untaught(net, image, classes)
    if runtime() == EAGER:
        return eager(whole), seen
    return onnx.Session(onnx.exported(whole, seen)), seen
