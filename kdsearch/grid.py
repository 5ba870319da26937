"""Every combination of a space's knobs, by Optuna's own enumeration."""

import warnings
from typing import Any

from optuna.distributions import FloatDistribution, json_to_distribution
from optuna.exceptions import ExperimentalWarning
from optuna.samplers import BruteForceSampler

from kdsearch.errors import Refusal, listed


class Grid(BruteForceSampler):
    """Draws no cell twice before all are drawn; then it repeats some."""

    def __init__(self, seed: int) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ExperimentalWarning)  # of Optuna's developers to its users' developers
            super().__init__(seed=seed)

    def after_trial(self, study: Any, trial: Any, state: Any, values: Any) -> None:
        """Nothing: when all cells are drawn, Optuna stops its own loop here, which ask and tell do not have."""


def check(space: str, ranges: dict[str, str]) -> None:
    """Raises Refusal for knobs without steps; `ranges` are Optuna's distributions as JSON, by knob."""
    found = {name: json_to_distribution(text) for name, text in ranges.items()}
    endless = [name for name, kind in found.items() if isinstance(kind, FloatDistribution) and kind.step is None]
    if endless:
        raise Refusal(
            f"A grid has finitely many cells, but '{space}' draws {listed(endless)} from a continuous range; give each "
            f"a step in its suggest_float, or choose --sampler tpe or random."
        )
