"""The formats of a student that is handed over: ONNX, int8; how far each agrees with PyTorch, and how fast each is."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from kdsearch.config.datasets import Shape
from kdsearch.config.net import AnyNet
from kdsearch.errors import Refusal
from kdsearch.nets import latency, onnx
from kdsearch.nets.whole import untaught
from kdsearch.search.deployed import Deployed
from kdsearch.search.judges import Judges

TORCH, ONNX, INT8 = "student.safetensors", "model.onnx", "model.int8.onnx"
"""Files of an export that hold weights."""

CLOSE = 1e-3
"""Logits of the same float32 network differ by less, whatever runs it; else something is wrong."""


@dataclass(frozen=True)
class Formats:
    """What was made of a student."""

    files: Mapping[str, bytes] = field(default_factory=dict)
    """Beside the weights for PyTorch."""
    judged: tuple[Mapping[str, Any], ...] = ()
    """Of each format and part: format, part, precision, right, of; and of those beside PyTorch: same (answers) and
    difference (of logits, the largest)."""


def formats(student: Deployed, judges: Judges, int8: bool | None, most: float) -> Formats:
    """The student in PyTorch's float32 and, unless `int8` is None, in ONNX and perhaps int8, judged.

    Raises Refusal where ONNX cannot say it, gives other logits, or where int8 loses more than `most` percentage points
    of the validation images.
    """
    runs: dict[str, Any] = {TORCH: student.whole}
    files: dict[str, bytes] = {}
    if int8 is not None:
        files[ONNX] = onnx.exported(student.whole, student.image, onnx.words(student.classes, student.image))
        runs[ONNX] = onnx.Session(files[ONNX]).all
    if int8:
        files[INT8] = onnx.quantised(files[ONNX], judges.calibration(onnx.CALIBRATION))
        runs[INT8] = onnx.Session(files[INT8]).all
    judged = []
    for part in judges.parts:
        given = {name: part.logits(run) for name, run in runs.items()}
        plain = given[TORCH]
        for name, logits in given.items():
            one = {"format": name, "part": part.name, "precision": "int8" if name == INT8 else "float32"}
            one |= {"right": part.right(logits), "of": len(part.labels)}
            if name != TORCH:
                one |= _agreement(logits, plain)
            judged.append(one)
    _check(judged, most)
    return Formats(files, tuple(judged))


def _agreement(logits: Tensor, plain: Tensor) -> dict[str, Any]:
    same = int((logits.argmax(1) == plain.argmax(1)).sum())
    return {"same": same, "difference": float((logits - plain).abs().max())}


def _check(judged: list[dict[str, Any]], most: float) -> None:
    """Raises Refusal for a format that is not the student, or not as good as was asked."""
    found = {one["format"]: one for one in judged if one["part"] == "validation"}
    if ONNX in found and not found[ONNX]["difference"] <= CLOSE:
        raise Refusal(
            f"ONNX is to give the logits of PyTorch, but they differ by up to {found[ONNX]['difference']:.2g}: "
            f"something in the network means another thing there; leave --onnx out."
        )
    if INT8 in found:
        before, after, count = found[TORCH]["right"], found[INT8]["right"], found[INT8]["of"]
        lost = 100 * (before - after) / count
        if lost > most:
            raise Refusal(
                f"int8 may lose {most:g} points (--int8-loss), but it loses {lost:.1f}: {100 * after / count:.1f} % "
                f"instead of {100 * before / count:.1f} % of {count:,} validation images; allow more, or leave --int8 "
                f"out."
            )


def speeds(student: Deployed, teacher: AnyNet, image: Shape, made: Formats) -> list[dict[str, Any]]:
    """Of each format, of one image alone and among 32: microseconds, and the teacher's time / its own, the teacher (in
    float32) by the same runtime in the same rounds. `image`: the pipeline's."""
    whole, seen = untaught(teacher, image, len(student.classes))
    runs = {TORCH: (latency.eager(student.whole), student.image), "teacher": (latency.eager(whole), seen)}
    if made.files:
        runs["teacher.onnx"] = (onnx.Session(onnx.exported(whole, seen)), seen)
    runs |= {name: (onnx.Session(model), student.image) for name, model in made.files.items()}
    times = [
        latency.passes({name: (run, latency.pixels(shape, count)) for name, (run, shape) in runs.items()})
        for count in (latency.FEW, latency.MANY)
    ]
    found = []
    for name in (TORCH, *made.files):
        beside = "teacher" if name == TORCH else "teacher.onnx"
        (one, its), (many, their) = ((some[name], some[beside]) for some in times)
        by = f"torch {torch.__version__.partition('+')[0]} eager" if name == TORCH else latency.runtime()
        found.append(
            {"format": name, "runtime": by, "microseconds": one, "ratio": its / one, "many": many,
             "many_ratio": their / many}
        )  # fmt: skip
    return found


def rough(student: AnyNet, teacher: AnyNet, image: Shape, classes: int) -> list[dict[str, Any]]:
    """The same of a student that gets no other format, as its architecture is known to the cache."""
    one = latency.beside(student, teacher, image, classes)
    told = {"microseconds": one.microseconds, "ratio": one.ratio, "many": one.many, "many_ratio": one.many_ratio}
    return [{"format": TORCH, "runtime": latency.runtime(), **told}]
