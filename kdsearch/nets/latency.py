"""How long a network takes for an image: one thread, beside another network, on this machine.

A median of wall time says more of a machine's other work than of a network: what holds is the 10th percentile of the
thread's own CPU time, networks taking turns in a new order each round, each warm. Even so microseconds drift from hour
to hour, and only a ratio of what was measured in the same rounds can be compared."""

import hashlib
import json
import random
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import torch

from kdsearch.config.datasets import Shape
from kdsearch.config.net import AnyNet, Own
from kdsearch.nets import onnx
from kdsearch.nets.whole import Whole, untaught
from kdsearch.storage import cache
from kdsearch.storage.files import whole as written_whole

ROUNDS, BURST = 40, 5
"""Each network is called so often in a burst, once more before it to be warm, and has so many bursts."""

PERCENTILE = 10
"""Of a burst's calls: what other work of the machine adds lies above."""

FEW, MANY = 1, 32
"""Images at once."""

EAGER = f"torch {torch.__version__.partition('+')[0]} eager"
"""PyTorch as it is."""

Run = Callable[[np.ndarray], Any]
"""Of uint8 (N, C, H, W)."""


@dataclass(frozen=True)
class Latency:
    """Of a network, beside its teacher's in the same rounds."""

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
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        for _ in range(rounds):
            dice.shuffle(order)
            for name in order:
                run, given = runs[name]
                run(given)
                for _ in range(BURST):
                    begun = time.thread_time()
                    run(given)
                    times[name].append((time.thread_time() - begun) / len(given))
    finally:
        torch.set_num_threads(threads)
    return {name: 1e6 * float(np.percentile(own, PERCENTILE)) for name, own in times.items()}


def eager(whole: Whole) -> Run:
    """A network as PyTorch runs it."""

    def run(pixels: np.ndarray) -> Any:
        with torch.inference_mode():
            return whole(torch.from_numpy(pixels))

    return run


def beside(net: AnyNet, teacher: AnyNet, image: Shape, classes: int) -> Latency:
    """Of an architecture, as it is drawn: a trained one takes as long. Kept in the cache, by both architectures, the
    machine and what runs them, so that it is measured once. `image`: the pipeline's. Raises Refusal."""
    told = [_plain(net), _plain(teacher), list(image), classes, cache.machine(), runtime()]
    path = cache.folder() / "latency" / f"{hashlib.sha256(json.dumps(told).encode()).hexdigest()[:16]}.json"
    try:
        return Latency(**json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):  # none, or one that was cut short
        found = _beside(net, teacher, image, classes)
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


def _beside(net: AnyNet, teacher: AnyNet, image: Shape, classes: int) -> Latency:
    (own, small), (its, large) = (_runnable(one, image, classes) for one in (net, teacher))
    found = []
    for count, rounds in ((FEW, ROUNDS), (MANY, ROUNDS // 4)):
        times = passes({"own": (own, pixels(small, count)), "its": (its, pixels(large, count))}, rounds)
        found.append((times["own"], times["its"]))
    (one, theirs), (many, their_many) = found
    return Latency(one, theirs / one, theirs, many, their_many / many)


def pixels(image: Shape, count: int) -> np.ndarray:
    """Of no picture in particular: uint8 (count, C, H, W)."""
    return np.random.default_rng(0).integers(0, 256, (count, *image), np.uint8)


@lru_cache(maxsize=2)  # the teacher, whom every student meets
def _runnable(net: AnyNet, image: Shape, classes: int) -> tuple[Run, Shape]:
    """A network, and the image as it sees it."""
    whole, seen = untaught(net, image, classes)
    if runtime().startswith("torch"):
        return eager(whole), seen
    return onnx.Session(onnx.exported(whole, seen)), seen
