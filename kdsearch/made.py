"""What a trained student's number depends on, beside its pipeline."""

import platform
from pathlib import Path
from typing import Any, Literal

from kdsearch.config import Choice, Count, Part, Precision

Stage = Literal["hint", "kd"]


class MadeTeacher(Part, frozen=True):
    """A network that taught a student, as it was in the store."""

    key: str
    digest: str
    """Hash of its weights."""
    threads: Count
    precision: Precision
    targets: dict[Stage, Choice]
    accuracy: float | None


class Made(Part, frozen=True):
    """What a number depends on beside the pipeline: with all of it equal, on CPU, training again gives it again."""

    kdsearch: str
    torch: str
    device: str
    machine: str
    """Its processor: another one may add in another order."""
    precision: Precision
    targets: dict[Stage, Choice]
    """How its teacher answered, for each stage that asks one."""
    threads: Count
    fingerprint: str
    """Of the training images."""
    classes: tuple[str, ...]
    """By the place of their logit."""
    image: tuple[int, int, int]
    """Channels, height, width."""
    mean: tuple[float, ...]
    """Of each channel, on the scale 0–1: the student reads (pixel / 255 - mean) / std."""
    std: tuple[float, ...]
    teachers: tuple[MadeTeacher, ...]
    """From the first link on."""
    accuracy: float | None
    """Validation, last epoch."""


def machine() -> str:
    """The processor's name, as far as the system tells."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        return next(line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def made_with(pipeline: Any, means: Any, accuracy: float | None) -> dict[str, Any]:
    """What a config must record so that training it again gives the same number, as plain data."""
    from importlib.metadata import version

    import torch

    from kdsearch.store import key_of, read_facts

    images, last = means.images, len(pipeline.links) - 1
    keys = [key_of(pipeline, number, images.fingerprint) for number in range(last)]
    facts = [read_facts(means.store.path(key)) for key in keys]
    made = Made(
        kdsearch=version("kdsearch"),
        torch=torch.__version__,
        device=images.mean.device.type,
        machine=machine(),
        precision=images.precision,
        targets=means.targets.choices(pipeline, last, images),
        threads=torch.get_num_threads(),
        fingerprint=images.fingerprint,
        classes=images.classes,
        image=images.shape,
        mean=tuple(images.mean.flatten().tolist()),
        std=tuple(images.std.flatten().tolist()),
        teachers=tuple(MadeTeacher(**{name: own[name] for name in MadeTeacher.model_fields}) for own in facts),
        accuracy=accuracy,
    )
    return made.model_dump(mode="json")
