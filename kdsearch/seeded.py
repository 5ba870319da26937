"""Samplers whose n-th draw follows from a seed, n and the draws before: a search that was broken off draws on."""

import hashlib
from collections.abc import Callable
from typing import Any

from optuna.samplers import BaseSampler, RandomSampler, TPESampler

from kdsearch.grid import Grid

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
