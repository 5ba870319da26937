"""What is known of a student that is handed over: the facts of its card.json. results/card.py puts them into words."""

import platform
from collections.abc import Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from kdsearch.config.datasets import KNOWN
from kdsearch.config.net import Own
from kdsearch.config.pipeline import Pipeline
from kdsearch.config.provenance import Made
from kdsearch.distill.given import interval
from kdsearch.distill.pipeline import asked
from kdsearch.nets.whole import backwards
from kdsearch.results import seeds, students
from kdsearch.results.facts import Facts
from kdsearch.results.metric import words
from kdsearch.results.objectives import objective
from kdsearch.results.tables import Tables
from kdsearch.storage.cache import machine

PACKAGES = ("kdsearch", "torch", "torchvision", "timm", "onnx", "onnxruntime")
"""Whose versions a card tells, as far as they are installed."""

SIZES = ("parameters", "macs", "compression")


def facts(
    tables: Tables, told: Facts, row: Mapping[str, Any], pipeline: Pipeline, made: Made
) -> dict[str, Any]:  # fmt: skip
    """Of a trial's student: all that is known without looking at it again."""
    student, first = pipeline.student, pipeline.links[0]
    return {
        "search": tables.folder.resolve().name, "space": told.space, "trial": row["trial"], "seed": row["seed"],
        **{name: row[name] for name in SIZES}, "classes": list(made.classes),
        "network": _network(student.net), "teacher": _network(first.net) if asked(pipeline) else None,
        "teacher_accuracy": told.teacher_accuracy, "teacher_parameters": told.teacher_parameters,
        "recipe": _recipe(pipeline), "data": pipeline.data.name, "account": told.account,
        "fingerprint": made.fingerprint, "input": _input(pipeline, made), "chosen": _chosen(tables, told, row),
        "accuracies": [_recorded(told, made)], **students.per_class(made.model_dump()),
        "versions": _versions(), "machine": machine(), "trained": {"torch": made.torch, "machine": made.machine},
    }  # fmt: skip


def _network(net: Any) -> str:
    if isinstance(net, Own):
        told = ", ".join(f"{name}={value}" for name, value in net.arguments)
        return f"{net.called}({told})"
    shape = f"{net.kind}, widths {'-'.join(map(str, net.widths))} × {net.width:.3g}"
    return f"{shape}, {f'{net.blocks} blocks a stage' if net.kind == 'resnet' else f'{net.depth} convolutions'}"


def _recipe(pipeline: Pipeline) -> dict[str, Any]:
    student = pipeline.student
    kd, hints = student.kd, student.hints
    return {
        "links": len(pipeline.links),
        "epochs": student.fit.epochs,
        "hint_epochs": student.hint_epochs,
        "pairs": student.pairs if hints else None,
        "lambda": f"{student.labels_weight:.3g}",
        "tau": kd.temperature if kd else None,
        "virtual": kd.virtual if kd else None,
        "terms": [one.name for one in student.terms],
        "companions": student.companions and student.companions.method,
        "teachers": len(pipeline.teachers(len(pipeline.links) - 1)),
        "augment": pipeline.data.changes,
    }


def _input(pipeline: Pipeline, made: Made) -> dict[str, Any]:
    return {
        "image": list(made.image), "mean": list(made.mean), "std": list(made.std), "range": made.range,
        "order": "bgr" if backwards(pipeline.student.net) else "rgb", "brought": _brought(pipeline, made),
    }  # fmt: skip


def _brought(pipeline: Pipeline, made: Made) -> str:
    """How a picture becomes pixels of that size."""
    net = pipeline.student.net
    eye = net.eye if isinstance(net, Own) else None
    how = (eye and eye.resize) or ("bilinear" if pipeline.data.name in KNOWN else "bicubic")
    crop = f" {eye.crop:.3g} of its" if eye and eye.crop < 1 else ""
    kind = "grey" if made.image[0] == 1 else "RGB"
    return f"turned as Exif says, made {kind}, its{crop} centre scaled to {made.image[2]}×{made.image[1]} ({how})"


def _chosen(tables: Tables, told: Facts, row: Mapping[str, Any]) -> dict[str, Any]:
    """How it came to be this one."""
    done = [one for one in tables.trials.values() if one["state"] == "complete" and not one["reference"]]
    found: dict[str, Any] = {
        "sampler": told.sampler, "trials": len(tables.draws), "complete": len(done), "front": row["front"],
        "reference": row["reference"], "confirmed": None, "metric": words(told.metric),
        "against": objective(told.against).label,
    }  # fmt: skip
    for member in seeds.members(tables, told.validation_images):
        if member.trial == row["trial"]:
            mean = member.confirmed
            found["confirmed"] = {"seeds": len(member.accuracies), "mean": mean.value, "half": mean.half}
    return found


def _recorded(told: Facts, made: Made) -> dict[str, Any]:
    """The accuracy that the search saw."""
    right = round((made.accuracy or 0.0) * told.validation_images)
    of = {"right": right, "of": told.validation_images}
    return {"format": "search", "part": "validation", "precision": made.precision, **of}


def _versions() -> dict[str, str]:
    found = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def with_interval(accuracy: Mapping[str, Any]) -> dict[str, Any]:
    """An accuracy with its value and its 95 % interval over images (Wilson 1927)."""
    value = accuracy["right"] / accuracy["of"]
    low, high = interval(value, accuracy["of"])
    return {**accuracy, "accuracy": value, "low": low, "high": high}


def complete(
    found: Mapping[str, Any], judged: Sequence[Mapping[str, Any]], speeds: Sequence[Mapping[str, Any]],
    sizes: Mapping[str, int],
) -> dict[str, Any]:  # fmt: skip
    """With what was found out when it was handed over: accuracies, speeds, bytes of its files."""
    accuracies = [with_interval(one) for one in (*found["accuracies"], *judged)]
    return {**found, "accuracies": accuracies, "speeds": list(speeds), "bytes": dict(sizes)}
