"""A search that is broken off anywhere in its driver, and goes on, draws and keeps what an unbroken one does."""

import random
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import optuna
import pytest
from hypothesis import HealthCheck, Phase, example, given, settings
from hypothesis import strategies as st
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import TrialState
from ray.tune.search import Searcher

from kdsearch import results, scout, spaces
from kdsearch.plan import Search
from kdsearch.sampler import Sampler
from kdsearch.settings import Settings

SPACE = """
'''Is anything lost?'''
from kdsearch.config import *

BUDGET = Budget(trials=8, epochs=4, teacher_epochs=1)
TEACHER = REFERENCE = Net(widths=(4, 4, 4), depth=3, hidden=8)
PUBLISHED = ({"width": 2, "hidden": 3},)


def space(trial):
    width, hidden = trial.suggest_int("width", 1, 3), trial.suggest_int("hidden", 1, 12)
    return Pipeline(links=(Link(net=TEACHER), Link(net=Net(widths=(width,) * 3, depth=3, hidden=hidden), kd=KD())))
"""


class Killed(BaseException):
    """The process ends here: nothing after it is done."""


class Driver:
    """A search's driver without Ray: three trials at a time, each told after a while; what it does is counted."""

    def __init__(self, folder: Path, sampler: str, trials: int, dies_after: int, seeds: int = 1) -> None:
        path = folder / "lost.py"
        path.write_text(SPACE)
        before = results.read_facts(folder / "s") if (folder / "s" / "search.json").exists() else {}
        told = {"space": str(path), "results": str(folder)}
        self.search = Search(
            spaces.load(path), Settings(4, 1), trials, folder / "s", Path("data"), sampler=sampler, options=told,
            before=before, rule="none", seeds=seeds,
        )  # fmt: skip
        self.search.resources = {"cpu": 1, "gpu": 0}
        _, self.references = scout.look(self.search)
        self.left = dies_after

    def run(self) -> None:
        self.search.folder.mkdir(exist_ok=True)
        if self.search.resumed:
            self.search.tables.take_over()
        self.search.write_facts()
        self.mortal(self.search.tables, "_note", "write")
        sampler = Sampler(self.search, self.references, (1,), startup=3)
        self.mortal(sampler._study, "ask", "tell")
        self.mortal(sampler._study._storage, "set_trial_user_attr", "set_trial_param", "set_trial_state_values")
        work = self.asked(sampler, sampler.to_come)
        running = dict(islice(work, 3))
        while running:
            name = next(iter(running))
            self.end(sampler, name, running.pop(name))
            running.update(islice(work, 1))
        sampler.close()
        self.search.tables.write(at_once=True)

    def asked(self, sampler: Sampler, count: int) -> Iterator[tuple[str, dict]]:
        for number in range(count):
            config = sampler.suggest(f"r{number}")
            if config == Searcher.FINISHED:
                return
            yield f"r{number}", config

    def end(self, sampler: Sampler, ray_name: str, config: dict) -> None:
        """As Ray tells it: the callback, then the sampler."""
        name, tables = config["trial"], self.search.tables
        draw = random.Random(str(config["pipeline"]))
        accuracy, fate = draw.random(), draw.choice(["complete", "stopped", "failed"])
        row = {"link": 1, "stage": "kd", "epoch": 1, "kd_epoch": 1, "accuracy": accuracy, "seconds": 1.0}
        tables.extend(name, [row], student=1)
        tables.mark(name, fate, None if fate == "complete" else "because")
        told = {"complete": fate == "complete", "accuracy": accuracy, "cause": "because" if fate == "failed" else None}
        sampler.on_trial_complete(ray_name, told)

    def mortal(self, thing: Any, *names: str) -> None:
        """Before each call of these the process may die."""

        def dying(plain: Any) -> Any:
            def call(*told: Any, **more: Any) -> Any:
                self.left -= 1
                if self.left == 0:
                    raise Killed
                return plain(*told, **more)

            return call

        for name in names:
            object.__setattr__(thing, name, dying(getattr(thing, name)))


def ended(folder: Path, sampler: str, trials: int, deaths: list[int], seeds: int = 1) -> tuple[dict, list]:
    """A search's trials and the journal's draws, after so many deaths."""
    for left in [*deaths, -1]:
        try:
            driver = Driver(folder, sampler, trials, left, seeds)
            driver.run()
        except Killed:
            continue
    found = results.read(folder / "s")
    storage = JournalStorage(JournalFileBackend(str(folder / "s" / "optuna.journal")))
    draws = optuna.load_study(study_name=results.read_facts(folder / "s")["study"], storage=storage).get_trials()
    kept = [(draw.number, draw.params, draw.state, draw.values, draw.user_attrs) for draw in draws]
    return {name: {**row, "front": None} for name, row in found.trials.items()}, kept


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(scout, "DRAWS", 60)


@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture],
    phases=[Phase.explicit, Phase.generate],
)  # fmt: skip
@given(
    deaths=st.lists(st.integers(1, 60), max_size=6),
    sampler=st.sampled_from(["random", "grid", "tpe"]),
    trials=st.integers(1, 11),
    more=st.integers(0, 2),
)
@example(deaths=[30, 30, 1, 41, 13, 56], sampler="random", trials=9, more=0)  # between the knobs of one draw
def test_a_search_that_dies_anywhere_and_goes_on_has_the_trials_of_one_that_lives(
    tmp_path_factory, deaths, sampler, trials, more
):
    seeds = 1 + more if sampler == "grid" else 1
    whole, draws = ended(tmp_path_factory.mktemp("whole"), sampler, trials, [], seeds)
    broken, redrawn = ended(tmp_path_factory.mktemp("broken"), sampler, trials, deaths, seeds)
    assert {row["state"] for row in broken.values()} <= set(results.ENDED) and len(broken) == 3 + trials * seeds
    assert {row["seed"] for row in broken.values()} == set(range(seeds))
    assert not {TrialState.RUNNING} & {state for _, _, state, _, _ in redrawn}
    # Each trial has one draw that is not its twin's, with the trial's own outcome.
    own = [(told["trial"], state) for _, _, state, _, told in redrawn if "trial" in told]
    names = {"complete": TrialState.COMPLETE, "stopped": TrialState.PRUNED, "failed": TrialState.FAIL}
    draws_of = {name: row for name, row in broken.items() if row["reference"] is None and row["replicate_of"] is None}
    states = {name: names[row["state"]] for name, row in draws_of.items()}
    assert sorted(own) == sorted(states.items())
    if sampler != "tpe":  # what TPE draws depends on who had ended by then
        assert broken == whole and redrawn == draws
