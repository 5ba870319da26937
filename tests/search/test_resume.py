"""A search that is broken off anywhere in its driver, and goes on, draws and keeps what an unbroken one does."""

from pathlib import Path

import optuna
import pytest
from driver import Driver, Killed
from hypothesis import HealthCheck, Phase, example, given, settings
from hypothesis import strategies as st
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import TrialState

from kdsearch.results import files
from kdsearch.results import tables as results_tables
from kdsearch.results.facts import read_facts
from kdsearch.search import look


def ended(folder: Path, sampler: str, trials: int, deaths: list[int], seeds: int = 1) -> tuple[dict, list]:
    """A search's trials and the journal's draws, after so many deaths."""
    for left in [*deaths, -1]:
        try:
            driver = Driver(folder, sampler, trials, left, seeds)
            driver.run()
        except Killed:
            continue
    found = results_tables.read(folder / "s")
    storage = JournalStorage(JournalFileBackend(str(folder / "s" / "optuna.journal")))
    draws = optuna.load_study(study_name=read_facts(folder / "s").study, storage=storage).get_trials()
    kept = [(draw.number, draw.params, draw.state, draw.values, draw.user_attrs) for draw in draws]
    return {name: {**row, "front": None} for name, row in found.trials.items()}, kept


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(look, "DRAWS", 60)


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
    assert {row["state"] for row in broken.values()} <= set(files.ENDED) and len(broken) == 3 + trials * seeds
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


def test_all_that_a_driver_writes_of_its_search_has_a_name(tmp_path):
    Driver(tmp_path, "random", 2, -1).run()
    found = read_facts(tmp_path / "s")
    assert not found.model_extra and (found.trials, found.total) == (2, 5)
