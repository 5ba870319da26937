"""How long a network takes for an image: on one thread of this machine, warm.

A median of wall time says more of a machine's other work than of a network. What the thread itself computes takes no
less time than it must, and whatever disturbs it (other work, full caches, a lower frequency) only adds: so the shortest
of many calls is told, once several others came close to it."""

import hashlib
import json
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch

from kdsearch.config.datasets import Shape
from kdsearch.config.net import AnyNet, Own
from kdsearch.nets import onnx
from kdsearch.nets.whole import Whole, untaught
from kdsearch.storage import cache
from kdsearch.storage.files import whole as written_whole

BURST = 5
"""Calls one after another, behind one more that warms up."""

AGREE, CLOSE = 8, 1.01
"""So many bursts whose shortest calls lie within this factor of the shortest of all end a measurement,"""

LEAST, MOST = 0.5, 3.0
"""but not before so many seconds of CPU time, and whatever they say after so many. Many images at once, which nothing
is decided by, get the former."""

FEW, MANY = 1, 32
"""Images at once."""

EAGER = f"torch {torch.__version__.partition('+')[0]} eager"
"""PyTorch as it is."""

MEANT = "shortest, in microseconds"
"""What is kept: times of an older kdsearch, which meant another thing, are not read."""

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
    """Microseconds of an image, alone and among 32."""

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


def timed(run: Run, image: Shape) -> Times:
    """Microseconds of a network that runs. `image`: as it sees it."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        few = shortest(run, pixels(image, FEW), MOST)
        many = shortest(run, pixels(image, MANY), LEAST)
        return Times(1e6 * few / FEW, 1e6 * many / MANY)
    finally:
        torch.set_num_threads(threads)


def shortest(run: Run, given: np.ndarray, most: float) -> float:
    """Seconds of the thread's CPU time that a call takes at least, as far as `most` seconds of calls tell."""
    best: list[float] = []
    begun = time.thread_time()
    while True:
        best = sorted([*best, _burst(run, given)])[:AGREE]
        spent = time.thread_time() - begun
        agreed = len(best) == AGREE and best[-1] <= CLOSE * best[0]
        if spent >= most or (spent >= LEAST and agreed):
            return best[0]


def _burst(run: Run, given: np.ndarray) -> float:
    """Seconds of its shortest call."""
    run(given)
    found = []
    for _ in range(BURST):
        begun = time.thread_time()
        run(given)
        found.append(time.thread_time() - begun)
    return min(found)


def eager(whole: Whole) -> Run:
    """A network as PyTorch runs it."""

    def run(pixels: np.ndarray) -> Any:
        with torch.inference_mode():
            return whole(torch.from_numpy(pixels))

    return run


def beside(net: AnyNet, teacher: AnyNet, image: Shape, classes: int) -> Latency:
    """Of an architecture, as it is drawn: a trained one takes as long. Each is measured once and kept in the
    cache. `image`: the pipeline's. Raises Refusal."""
    own, its = (_architecture(one, image, classes) for one in (net, teacher))
    return Latency(own.few, its.few / own.few, its.few, own.many, its.many / own.many)


def _architecture(net: AnyNet, image: Shape, classes: int) -> Times:
    """From the cache, else measured and kept there, by this machine and what runs networks."""
    key = json.dumps([MEANT, _plain(net), list(image), classes, cache.machine(), runtime()])
    path = cache.folder() / "latency" / f"{hashlib.sha256(key.encode()).hexdigest()[:16]}.json"
    try:
        return Times(**json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):  # none, or one that was cut short
        found = timed(*_runnable(net, image, classes))
    path.parent.mkdir(parents=True, exist_ok=True)
    with written_whole(path) as draft:
        draft.write_text(json.dumps(asdict(found)), encoding="utf-8")
    return found


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
