"""Samplers whose n-th draw follows from a seed, n and the draws before: a search that was broken off draws on."""

import hashlib
import json
import os
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

from optuna.distributions import FloatDistribution, json_to_distribution
from optuna.exceptions import ExperimentalWarning
from optuna.samplers import BaseSampler, BruteForceSampler, RandomSampler, TPESampler

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


def damaged(path: Path, error: Exception, where: str = "") -> Refusal:
    """What a user is told of a journal that cannot be read."""
    start = f"{where}'{path}'" if where else f"The journal '{path}'"
    said = (str(error).splitlines() or [""])[0][:200]
    return Refusal(
        f"{start} is damaged ({type(error).__name__}: {said}); delete that file: what the search learnt is drawn anew "
        f"from its tables."
    )


def mend(path: Path) -> None:
    """Cut off a last line that a full disk let begin but not end, and open the lock of a process that was killed.

    Only the search's driver may do so. Raises Refusal where a whole line is damaged.
    """
    path.with_name(f"{path.name}.lock").unlink(missing_ok=True)
    if not path.exists():
        return
    whole = path.read_bytes()
    lines = whole.splitlines(keepends=True)
    for number, line in enumerate(lines, start=1):
        try:
            if not line.endswith(b"\n"):
                raise ValueError("it does not end")
            json.loads(line)
        except ValueError as error:
            if number < len(lines):
                raise damaged(path, error, f"Line {number} of ") from None
            os.truncate(path, len(whole) - len(line))


Make = Callable[[int], BaseSampler]


def make(name: str, seed: int, startup: int) -> "Seeded":
    """By its name; TPE draws its first `startup` trials at random."""
    makers: dict[str, Make] = {
        "tpe": lambda own: TPESampler(seed=own, n_startup_trials=startup),
        "random": lambda own: RandomSampler(seed=own),
        "grid": lambda own: Grid(seed=own),
    }
    return Seeded(makers[name], seed)


class Seeded(BaseSampler):
    """A new sampler for each draw, whose seed is made of the search's and the draw's number."""

    def __init__(self, maker: Make, seed: int) -> None:
        self._maker, self._seed = maker, seed
        self._own = maker(seed)

    def before_trial(self, study: Any, trial: Any) -> None:
        """A draw begins: also one that another process began and did not end."""
        self._own = self._made(trial.number)
        self._own.before_trial(study, trial)

    def _made(self, *words: Any) -> BaseSampler:
        told = " ".join(map(str, (self._seed, *words)))
        return self._maker(int.from_bytes(hashlib.sha256(told.encode()).digest()[:4], "big"))

    def infer_relative_search_space(self, study: Any, trial: Any) -> dict[str, Any]:
        """As the sampler does."""
        return self._own.infer_relative_search_space(study, trial)

    def sample_relative(self, study: Any, trial: Any, search_space: dict[str, Any]) -> dict[str, Any]:
        """As the sampler does."""
        return self._own.sample_relative(study, trial, search_space)

    def sample_independent(self, study: Any, trial: Any, param_name: str, param_distribution: Any) -> Any:
        """As the sampler does, whatever knobs the draw has by now: another process may have drawn some of them."""
        own = self._made(trial.number, param_name)
        own.before_trial(study, trial)
        return own.sample_independent(study, trial, param_name, param_distribution)

    def after_trial(self, study: Any, trial: Any, state: Any, values: Any) -> None:
        """As the sampler does."""
        self._own.after_trial(study, trial, state, values)
