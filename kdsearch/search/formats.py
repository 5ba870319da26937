"""The formats of a student that is handed over: ONNX, int8; how far each agrees with PyTorch, and how fast each is."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

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

ARCHITECTURE = "architecture"
"""A network as it is drawn, in the runtime in which searches measure."""

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
                f"int8 may lose {most:g} points (--int8-loss), but it loses {lost:.2f}: {after:,} right "
                f"instead of {before:,} of {count:,} validation images; allow more, or leave --int8 "
                f"out."
            )


Speeds = tuple[list[dict[str, Any]], str]
"""Of each format, of one image alone and among 32: microseconds, and the teacher's time / its own, None where the
teacher cannot be measured, and why."""


def speeds(student: Deployed, teacher: AnyNet, image: Shape, made: Formats) -> Speeds:
    """Each format beside the teacher (in float32) by the same runtime. `image`: the pipeline's."""
    found, why = [], ""
    for name in (TORCH, *made.files):
        run = latency.eager(student.whole) if name == TORCH else onnx.Session(made.files[name])
        try:
            its = _teacher(teacher, image, len(student.classes), name)
        except Refusal as refused:  # its code is elsewhere, say
            its, why = None, f"the teacher: {refused}"
        found.append(_beside(name, (run, student.image), its))
    return found, why


def _teacher(net: AnyNet, image: Shape, classes: int, name: str) -> tuple[latency.Run, Shape]:
    whole, seen = untaught(net, image, classes)
    return (latency.eager(whole) if name == TORCH else onnx.Session(onnx.exported(whole, seen))), seen


def _beside(name: str, own: tuple[latency.Run, Shape], its: tuple[latency.Run, Shape] | None) -> dict[str, Any]:
    mine, theirs = latency.timed(*own), latency.timed(*its) if its else None
    by = latency.EAGER if name == TORCH else latency.runtime()
    told = {"format": name, "runtime": by, "microseconds": mine.few, "many": mine.many}
    return told | {
        "ratio": theirs and theirs.few / mine.few, "many_ratio": theirs and theirs.many / mine.many
    }  # fmt: skip


def rough(student: Deployed, net: AnyNet, teacher: AnyNet, image: Shape) -> Speeds:
    """The same of a student that gets no other format: as the cache knows its architecture, untrained."""
    try:
        one = latency.beside(net, teacher, image, len(student.classes))
    except Refusal as refused:
        return [_beside(TORCH, (latency.eager(student.whole), student.image), None)], f"the teacher: {refused}"
    name = TORCH if latency.runtime() == latency.EAGER else ARCHITECTURE
    told = {"microseconds": one.microseconds, "ratio": one.ratio, "many": one.many, "many_ratio": one.many_ratio}
    return [{"format": name, "runtime": latency.runtime(), **told}], ""
