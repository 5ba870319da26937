"""What a deployed student may cost, as the command line says it. Imports neither torch nor ray."""

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from kdsearch.errors import Refusal, listed
from kdsearch.results.objectives import OBJECTIVES, Objective

BYTES = {"": 1, "b": 1, "kb": 1e3, "mb": 1e6, "gb": 1e9}
MICROSECONDS = {"us": 1, "µs": 1, "μs": 1, "ms": 1e3, "s": 1e6}
"""The micro sign, and the Greek letter that looks like it."""


@dataclass(frozen=True)
class Costs:
    """A student and its teacher, which find out what they are asked for, once."""

    student: Any
    """A Survey, as of `nets.survey`; the teacher likewise."""
    teacher: Any
    measure: Callable[[Any], Any] | None = None
    """Gives a network's nets.latency.Latency."""

    @cached_property
    def latency(self) -> Any:
        """Measured when it is first asked for."""
        assert self.measure is not None
        return self.measure(self.student.net)

    def amount(self, own: Objective) -> float:
        """The student's."""
        return self.latency.microseconds if own.measured else getattr(self.student, own.column)

    def ratio(self, own: Objective) -> float:
        """The teacher's / the student's."""
        if own.measured:
            return self.latency.ratio
        return getattr(self.teacher, own.column) / getattr(self.student, own.column)


@dataclass(frozen=True)
class Limit:
    """One kind of limit: its objective, its rule in words, and what came nearest."""

    objective: str
    rule: str
    nearest: str
    of_ratio: bool = False
    """It is the least ratio to the teacher, else the most of the objective."""

    def cost(self, costs: Costs) -> float:
        """What it is about."""
        own = OBJECTIVES[self.objective]
        return costs.ratio(own) if self.of_ratio else costs.amount(own)

    def excess(self, value: float, costs: Costs) -> float:
        """By how much of itself it is exceeded: 0 or less where it is met."""
        return value / self.cost(costs) - 1 if self.of_ratio else self.cost(costs) / value - 1

    def refused(self, value: float, drawn: Sequence[Costs]) -> str:
        """The rule, and the draw that comes nearest to it."""
        best = (max if self.of_ratio else min)(self.cost(costs) for costs in drawn)
        return f"{self.rule.format(value)}; {self.nearest.format(len(drawn), best)}"


LIMITS = {
    "max_params": Limit("parameters", "under {:,g} parameters", "the smallest of {:,} draws has {:,}"),
    "max_macs": Limit("macs", "under {:,g} multiply-accumulates", "the cheapest of {:,} draws has {:,}"),
    "max_bytes": Limit("bytes", "under {:,g} bytes of weights", "the smallest of {:,} draws has {:,}"),
    "min_compression": Limit(
        "parameters", "a compression above {:,g}", "the highest of {:,} draws is {:,.4g}", of_ratio=True
    ),
    "min_speed": Limit(
        "latency", "{:,.3g} × its teacher's speed", "the highest of {:,} draws is {:,.3g} ×", of_ratio=True
    ),
}


@dataclass(frozen=True)
class Limits:
    """None: no such limit."""

    max_params: float | None = None
    max_macs: float | None = None
    """Multiply-accumulates of a student for one image."""
    max_bytes: float | None = None
    """Of its weights in float32."""
    min_compression: float | None = None
    min_speed: float | None = None
    """The teacher's time for an image / the student's; measured, and so the last to be asked."""

    def set(self) -> dict[str, float]:
        """Those that there are, by name."""
        return {name: value for name, value in vars(self).items() if value is not None}

    @property
    def counted(self) -> "Limits":
        """Those for which nothing is measured."""
        return replace(self, min_speed=None)

    def excess(self, costs: Costs) -> dict[str, float]:
        """By how much each limit is exceeded, as a share of it: 0 or less where it is met. What exceeds another one is
        not measured."""
        found: dict[str, float] = {}
        for name, value in self.set().items():
            if not OBJECTIVES[LIMITS[name].objective].measured or all(each <= 0 for each in found.values()):
                found[name] = LIMITS[name].excess(value, costs)
        return found

    def met(self, costs: Costs) -> bool:
        """Is none exceeded?"""
        return all(value <= 0 for value in self.excess(costs).values())

    def refusal(self, space: str, drawn: Sequence[Costs]) -> Refusal:
        """Why none of these draws will do: a limit that none meets, else all limits together."""
        for name, value in self.set().items():
            if not any(Limits(**{name: value}).met(costs) for costs in drawn):
                return Refusal(f"No pipeline of '{space}' has {LIMITS[name].refused(value, drawn)}.")
        rules = " and ".join(LIMITS[name].rule.format(value) for name, value in self.set().items())
        return Refusal(f"Of {len(drawn):,} draws of '{space}' none has {rules}, though each limit alone can be met.")


def bytes_of(word: str | int) -> int:
    """`100kB`, or a number of bytes; raises Refusal."""
    number, unit = _split(word)
    if unit.lower() not in BYTES or not 1 <= number * BYTES[unit.lower()] < math.inf:
        raise Refusal(f"--max-bytes is a number of bytes, such as 100kB (B, kB, MB, GB) or 100000, but got '{word}'.")
    return int(number * BYTES[unit.lower()])


def microseconds_of(word: object) -> float:
    """`200us`, `0.2 ms`; raises Refusal, also for a number without a unit."""
    number, unit = _split(word)
    if unit == "" and 0 < number < math.inf:
        raise Refusal(
            f"--max-latency is a time with its unit, but got '{word}': {word}us is microseconds, {word}ms thousandths "
            f"of a second."
        )
    if unit not in MICROSECONDS or not 0 < number < math.inf:
        raise Refusal(
            f"--max-latency is a time above 0 with its unit, such as 200us ({listed(('us', 'µs', 'ms', 's'))}), but "
            f"got '{word}'."
        )
    return number * MICROSECONDS[unit]


def _split(word: object) -> tuple[float, str]:
    """Number and unit; NaN for what is no number."""
    found = re.fullmatch(r"([0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:e([+-]?[0-9]+))?\s*([^\W\d_]*)", str(word).strip())
    if not found:
        return math.nan, ""
    return float(f"{found[1]}e{found[2] or 0}"), found[3]
