"""What all parts of a config are, and weights that change. Imports neither torch nor ray."""

import math
from typing import Annotated, Any, ClassVar, Literal

from pydantic import (
    BaseModel,
    Discriminator,
    Field,
    SerializationInfo,
    SerializerFunctionWrapHandler,
    Tag,
    model_serializer,
)

__all__ = ["Part", "Ramp"]

MOST = 1e8
"""Of a weight."""

Side = Annotated[int, Field(ge=8, le=1024)]
"""In pixels."""

WHOLE = {"whole": True}
"""Told to what writes a part with all of its fields."""


class Part(BaseModel, frozen=True, extra="forbid", allow_inf_nan=False, use_attribute_docstrings=True):
    """Keyword-only, unknown keys refused, never changed after it is made."""

    LATER: ClassVar[tuple[str, ...]] = ()
    """Fields that are written only where they are told: older configs lack them, and their keys in the store stay."""

    @model_serializer(mode="wrap")
    def _written(self, write: SerializerFunctionWrapHandler, how: SerializationInfo) -> dict[str, Any]:
        if how.context == WHOLE:
            return write(self)
        fields = type(self).model_fields
        unsaid = {name for name in self.LATER if getattr(self, name) == fields[name].default}
        found = {name: value for name, value in write(self).items() if name not in unsaid}
        if how.exclude_defaults and "method" in fields:  # it tells a part from others of its place
            found = {"method": getattr(self, "method")} | found  # noqa: B009
        return found

    def whole(self) -> dict[str, Any]:
        """As plain data with all of its fields, also those that are left out where they are written."""
        return self.model_dump(mode="json", context=WHOLE)


class Ramp(Part, frozen=True):
    """A weight that changes from epoch to epoch of its stage."""

    start: Annotated[float, Field(ge=0, le=MOST)]
    """Before the first epoch."""
    end: Annotated[float, Field(ge=0, le=MOST)]
    """From the epoch on in which it has arrived."""
    over: Annotated[float, Field(gt=0, le=1)] = 1.0
    """Share of the stage's epochs in which it changes."""
    shape: Literal["linear", "sigmoid"] = "linear"
    """sigmoid: by exp(−5·(1 − t)²), where t goes from 0 to 1 (Lan et al. 2018)."""

    def at(self, epoch: int, epochs: int) -> float:
        """In an epoch, from 1, of so many."""
        part = min(epoch / (self.over * epochs), 1.0)
        part = math.exp(-5 * (1 - part) ** 2) if self.shape == "sigmoid" else part
        return self.start + (self.end - self.start) * part

    def __rsub__(self, whole: float) -> "Ramp":
        """What it leaves of a whole."""
        return Ramp(start=whole - self.start, end=whole - self.end, over=self.over, shape=self.shape)

    def __format__(self, how: str) -> str:
        return f"{self.start:{how}}–{self.end:{how}}"


def _changes(value: Any) -> str:
    return "ramp" if isinstance(value, dict | Ramp) else "float"


Weight = Annotated[
    Annotated[float, Field(ge=0, le=MOST), Tag("float")] | Annotated[Ramp, Tag("ramp")], Discriminator(_changes)
]
"""Of a term's loss: a number, or one that changes."""

Share = Annotated[float, Field(gt=0, lt=1)]
