"""Pipelines that train in a blink."""

import torch

from kdsearch.config.net import Net
from kdsearch.config.pipeline import KD, Fit, Hints, Link, Pair, Pipeline
from kdsearch.data.memory import Images
from kdsearch.data.views import Batch
from kdsearch.results.facts import Facts

TEACHER = Net(widths=(8, 8, 8), depth=3, hidden=16)
STUDENT = Net(widths=(4, 4, 4), depth=6, hidden=8)
FIT = Fit(epochs=4, batch_size=64, learning_rate=5e-3)
HINTS = Hints(pairs=(Pair(hint=2, guided=4),), share=0.5)
MADE = {
    "kdsearch": "0", "torch": "2", "device": "cpu", "machine": "m", "precision": "float32", "targets": {"kd": "live"},
    "threads": 1, "fingerprint": "f", "classes": ["0", "1"], "image": [1, 8, 8], "mean": [0.5], "std": [0.5],
    "teachers": [], "accuracy": 0.5,
}  # fmt: skip
"""What a student's number depends on, as its file says it."""
FACTS = {
    "space": "s", "command": "kdsearch tune s", "trials": 1, "seed": 3, "data": "digits", "fingerprint": "f",
    "images": 10, "validation_images": 10, "classes": 10, "knobs": {},
}  # fmt: skip
"""The least that a search.json holds."""


def facts(**more: object) -> Facts:
    """Those of a small search; keywords change them."""
    return Facts.model_validate(FACTS | more)


def pipeline(**student: object) -> Pipeline:
    """A small teacher and a small student; keywords change the student's link."""
    link = Link.model_validate({"net": STUDENT, "fit": FIT, "hints": HINTS, "kd": KD(), **student})
    return Pipeline(links=(Link(net=TEACHER, fit=FIT), link))


def first(images: Images, count: int) -> Batch:
    """The first training images, in view 0."""
    samples = torch.arange(count)
    return Batch(images.pixels(samples), images.labels[samples], samples)
