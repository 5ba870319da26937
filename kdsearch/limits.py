"""What a deployed student may cost: known before it is trained."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from kdsearch.errors import Refusal

Costs = tuple[Any, Any]
"""Surveys of a student and of its teacher (`nets.Survey`), which find out what they are asked for."""

SAID = {
    "max_params": ("under {:,g} parameters", "the smallest of {:,} draws has {:,}"),
    "max_macs": ("under {:,g} multiply-accumulates", "the cheapest of {:,} draws has {:,}"),
    "min_compression": ("a compression above {:,g}", "the highest of {:,} draws is {:,.4g}"),
}
"""Of each limit: its rule, and what came nearest."""


@dataclass(frozen=True)
class Limits:
    """None: no such limit."""

    max_params: float | None = None
    max_macs: float | None = None
    """Multiply-accumulates of a student for one image."""
    min_compression: float | None = None

    def set(self) -> dict[str, float]:
        """Those that there are, by name."""
        return {name: value for name, value in vars(self).items() if value is not None}

    def excess(self, costs: Costs) -> dict[str, float]:
        """By how much each limit is exceeded, as a share of it: 0 or less where it is met."""
        return {
            name: value / cost(name, costs) - 1 if name.startswith("min") else cost(name, costs) / value - 1
            for name, value in self.set().items()
        }

    def met(self, costs: Costs) -> bool:
        """Is none exceeded?"""
        return all(value <= 0 for value in self.excess(costs).values())

    def refusal(self, space: str, drawn: Sequence[Costs]) -> Refusal:
        """Why none of these draws will do: a limit that none meets, else all limits together."""
        for name, value in self.set().items():
            if not any(Limits(**{name: value}).met(costs) for costs in drawn):
                rule, nearest = SAID[name]
                best = (max if name.startswith("min") else min)(cost(name, costs) for costs in drawn)
                said = f"{rule.format(value)}; {nearest.format(len(drawn), best)}"
                return Refusal(f"No pipeline of '{space}' has {said}.")
        rules = " and ".join(SAID[name][0].format(value) for name, value in self.set().items())
        return Refusal(f"Of {len(drawn):,} draws of '{space}' none has {rules}, though each limit alone can be met.")


def cost(name: str, costs: Costs) -> float:
    """What the limit `name` is about."""
    student, teacher = costs
    kinds = {"max_params": "parameters", "max_macs": "macs"}
    return getattr(student, kinds[name]) if name in kinds else teacher.parameters / student.parameters
