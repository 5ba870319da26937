"""What trains beside a network and is dropped when it is deployed: peers, branches, exits."""

from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from kdsearch.config.part import Part, Ramp, Weight

__all__ = ["BYOT", "DML", "ONE"]

Temperature = Annotated[float, Field(gt=0, le=1000)]

Several = Annotated[int, Field(ge=2, le=16)]

Depth = Annotated[int, Field(ge=1)]
"""Number of a layer, from 1."""


def _once(exits: tuple[int, ...]) -> tuple[int, ...]:
    if len(set(exits)) < len(exits):
        raise ValueError(f"each layer has one exit, but got {', '.join(map(str, exits))}.")
    return exits


class DML(Part, frozen=True):
    """Networks of one kind teach each other: deep mutual learning (Zhang et al. 2018). The first one, drawn as it would
    be alone, is kept."""

    method: Literal["dml"] = "dml"
    peers: Annotated[int, Field(ge=1, le=16)] = 2
    """Networks in all, the one that is kept among them; 1: it learns from labels alone."""
    weight: Weight = 1.0
    """Of what each learns from the mean of the others."""
    temperature: Temperature = 1.0
    """Dividing the logits, with its square as a factor."""


class ONE(Part, frozen=True):
    """Branches behind a common trunk learn from their own ensemble, whose weights a gate gives (Lan et al. 2018). The
    first branch, with the trunk, is the network itself, and is kept."""

    method: Literal["one"] = "one"
    branches: Several = 3
    """In all, its own among them."""
    split: Depth | None = None
    """The last layer of the trunk; None: the end of the last block or stage but one."""
    weight: Weight = Ramp(start=0, end=1, over=80 / 300, shape="sigmoid")
    """Of what the branches learn from the ensemble: as published, 80 of 300 epochs of ramp."""
    temperature: Temperature = 3.0
    """Dividing the logits, with its square as a factor."""


class BYOT(Part, frozen=True):
    """Exits of earlier layers learn from labels and from the network's own answer: be your own teacher (Zhang et al.
    2019), without their hints between layers, whose published weight is 1e-6."""

    method: Literal["byot"] = "byot"
    exits: Annotated[tuple[Depth, ...], Field(max_length=16), AfterValidator(_once)] = ()
    """Layers that have one; empty: the ends of blocks or stages, of one's own networks all taps, but the last."""
    weight: Annotated[float, Field(ge=0, lt=1)] = 0.1
    """Of the network's answer; labels have the rest, in every exit and, unless `kd` says otherwise, in the network."""
    temperature: Temperature = 3.0
    """Dividing the logits, with its square as a factor."""


COMPANIONS = {"dml": DML, "one": ONE, "byot": BYOT}
"""By the word that a config has for them."""

BESIDE = {"dml": "peers", "one": "branches", "byot": "exits"}
"""What each kind adds, as the term has it by which these learn from labels."""

AnyCompanions = Annotated[DML | ONE | BYOT, Field(discriminator="method")]
