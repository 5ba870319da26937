"""What a trained student's number depends on, beside its pipeline."""

from typing import Annotated, Any

from pydantic import Field

from kdsearch.config.part import Part
from kdsearch.config.pipeline import Choice, Count, Precision

Stage = Annotated[str, Field(pattern=r"^(hint|kd)(/\d+)?$")]
"""Of a link; with a number what another teacher, of several, is asked there."""

Key = Annotated[str, Field(pattern=r"^[0-9a-f]{16}$")]
"""Of a network in the store, whose file it names."""

RECIPE = 3
"""Raised whenever the same pipeline would come to another number.

2: before recipes were written down. 3: splits draw whose turn it is among classes that are equally far; images of a
folder have at most 64 pixels a side unless told, and those with more than 8 bits the range that they show; a plain
network averages the last map of images above 32×32."""


class MadeTeacher(Part, frozen=True):
    """A network that taught a student, as it was in the store."""

    key: Key
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
    balanced_accuracy: float | None = None
    """Its mean over classes; None: an older version did not say."""
    confusion: tuple[tuple[int, int, int], ...] = ()
    """(class, what it was taken for, how many validation images), by the places of their logits."""
    recipe: int = 2
    """RECIPE when it was trained."""
    range: tuple[float, float] | None = None
    """Of pictures with more than 8 bits a value: the values that became 0 and 255."""

    def plain(self) -> dict[str, Any]:
        """As files hold it: of pictures of 8 bits, without a range."""
        found = self.model_dump(mode="json")
        return found if self.range else {name: value for name, value in found.items() if name != "range"}
