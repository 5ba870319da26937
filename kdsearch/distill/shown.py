"""A term: one loss of a stage, what it asks of the teacher, what it reads of the student; and what a step shows it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

from torch import Tensor, nn

from kdsearch.config.datasets import Shape
from kdsearch.config.part import Weight
from kdsearch.nets.beside import Beside
from kdsearch.nets.derived import Asked

Net = Callable[[Tensor], Tensor]


class Bridge(Protocol):
    """From a guided map to its hint."""

    def __call__(self, guided: Tensor) -> Tensor: ...

    def match(self, image: Tensor) -> Tensor:
        """The hint at the size of what it is compared with."""
        ...


@dataclass(frozen=True)
class Again:
    """Both networks, asked about images that a term makes itself."""

    pixels: Tensor
    """Of the batch, as both see them."""
    student: Net
    """Pixels -> logits, in float32."""
    teacher: Net | None
    """None: no term asks it live."""
    bounds: tuple[Tensor, Tensor] | None
    """The least and the largest value of a pixel, of each channel."""


@dataclass(frozen=True)
class Shown:
    """What one step shows to all terms of its stage."""

    ours: Mapping[int, Tensor]
    """The student's maps by layer; under the number after the last one its logits, in float32; under 0 its
    embedding."""
    theirs: Mapping[Asked, Tensor]
    """The teacher's, as it answers: maps and what is made of them in half precision, logits in float32."""
    labels: Tensor
    """int64 (N,)."""
    bridges: Mapping[str, Bridge]
    """By their term's name."""
    again: Again | None = None
    """Where a term asks about other images."""
    others: tuple[Tensor, ...] = ()
    """The logits of its other teachers, in float32."""
    beside: Beside | None = None
    """What its companions say."""


@dataclass(frozen=True)
class Term:
    """One loss of a stage."""

    name: str
    """Of its columns; a stage has it once."""
    weight: Weight
    value: Callable[[Shown], Tensor]
    """Unweighted: a scalar."""
    reads: tuple[int, ...]
    """The student's layers, from 1; its logits have the number after the last one, its embedding 0."""
    asks: tuple[Asked, ...] = ()
    """The teacher's, likewise, and what is made of them."""
    bridge: Callable[[Shape, Shape], nn.Module] | None = None
    """Makes its regressor of the shapes of the first map that it reads and of the first that it asks for."""
    share: float | None = None
    """Of the gradient, by which its weight is set."""
    again: bool = False
    """It asks the student again, about other images."""
    live: bool = False
    """It asks the teacher itself about images that it makes."""
    all: bool = False
    """It asks all of its teachers for their logits."""
    beside: bool = False
    """It is about what companions say; their layers are among those that it reads."""
