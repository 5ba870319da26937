"""What a student may cost: on which axis it stands beside its teacher. Pure Python."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

Against = Literal["parameters", "macs", "latency", "bytes"]

MILLION = 1_000_000
"""Parts of its teacher's time by which a student's latency is told as a size."""


@dataclass(frozen=True)
class Objective:
    """One thing of which a student should have little; its search looks at the ratio to the teacher, and at accuracy.

    Of all of them less is better, and of the ratios (the teacher's / the student's) more."""

    name: str
    """As --against has it."""
    label: str
    """As titles, axes and columns have it."""
    column: str
    """Of trials.parquet: the student's own."""
    ratio: str
    """Of trials.parquet: the teacher's / the student's."""
    gain: str
    """The ratio in words."""
    unit: str
    """Behind a number of it."""
    small: str
    smaller: str
    """How a student is that has little of it, and less."""
    measured: bool = False
    """On the machine that drives the search, else counted; both before training."""

    @property
    def axis(self) -> str:
        """`compression: the teacher's parameters / the student's`"""
        return f"{self.gain}: the teacher's {self.label} / the student's"

    @property
    def known(self) -> str:
        """How it is found out."""
        return "measured before training" if self.measured else "counted before training"


OBJECTIVES: dict[str, Objective] = {
    own.name: own
    for own in (
        Objective("parameters", "parameters", "parameters", "compression", "compression", "", "small", "smaller"),
        Objective("macs", "MACs", "macs", "macs_ratio", "MACs ratio", "", "cheap", "cheaper"),
        Objective(
            "latency", "latency", "latency_us", "latency_ratio", "latency ratio", "µs", "fast", "faster", measured=True
        ),
        Objective("bytes", "bytes", "bytes", "bytes_ratio", "bytes ratio", "B", "small", "smaller"),
    )
}
"""By their names."""


def objective(against: str | None) -> Objective:
    """By its name; an older search, which names none, looks at parameters."""
    return OBJECTIVES[against or "parameters"]


def of(rows: Iterable[Mapping[str, Any]]) -> Objective:
    """At which a search looks, by its trials."""
    return objective(next((row.get("against") for row in rows), None))


def known(rows: Iterable[Mapping[str, Any]]) -> list[str]:
    """Names of the objectives of which all these trials have the ratio; none where there are no trials."""
    trials = list(rows)
    return [
        name for name, own in OBJECTIVES.items() if trials and all(row.get(own.ratio) is not None for row in trials)
    ]


def size(row: Mapping[str, Any]) -> int:
    """Of a trial, by what its search looks at: what rules sort by. What is measured drifts with its machine, and so is
    told as millionths of what the teacher takes in the same rounds."""
    own = objective(row.get("against"))
    return millionths(row[own.ratio]) if own.measured else row[own.column]


def millionths(speed: float) -> int:
    """Of its teacher's time what a student takes that is so many times as fast."""
    return max(round(MILLION / speed), 1)
