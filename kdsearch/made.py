"""What a trained student's number depends on, beside its pipeline."""

import platform
from pathlib import Path
from typing import Any, Literal

from kdsearch.config import Count, Part


class MadeTeacher(Part, frozen=True):
    """A network that taught a student, as it was in the store."""

    key: str
    digest: str
    """Hash of its weights."""
    threads: Count
    accuracy: float | None


class Made(Part, frozen=True):
    """What a number depends on beside the pipeline: with all of it equal, on CPU, training again gives it again."""

    kdsearch: str
    torch: str
    device: str
    machine: str
    """Its processor: another one may add in another order."""
    precision: Literal["float32"]
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


def made_with(pipeline: Any, images: Any, store: Path, accuracy: float | None) -> dict[str, Any]:
    """What a config must record so that training it again gives the same number, as plain data."""
    from importlib.metadata import version

    import torch

    from kdsearch.store import Store, key_of, read_facts

    keys = [key_of(pipeline, number, images.fingerprint) for number in range(len(pipeline.links) - 1)]
    facts = [read_facts(Store(store).path(key)) for key in keys]
    made = Made(
        kdsearch=version("kdsearch"),
        torch=torch.__version__,
        device=images.mean.device.type,
        machine=machine(),
        precision="float32",
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
