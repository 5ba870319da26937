"""Every space that comes with kdsearch runs from end to end on a few digits, two epochs each network."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import brought
import pandas as pd
import pytest
import ray

import kdsearch
from kdsearch.cluster.session import start_ray
from kdsearch.results import cells, tables
from kdsearch.search import spaces

pytestmark = pytest.mark.whole
TRIALS = 4
"""Of spaces that draw their trials; a grid trains each cell once."""
SECONDS = 900
"""Many times what two idle cores take: other work runs beside a test, which is no measurement."""


@pytest.fixture(scope="module")
def where(tmp_path_factory) -> Iterator[Path]:
    """Where all searches lie; one Ray for them."""
    start_ray()
    yield tmp_path_factory.mktemp("whole")
    ray.shutdown()


@pytest.mark.parametrize("name", sorted(spaces.names()))
def test_a_space_runs_on_digits_in_time_and_its_report_is_drawn(name, where):
    begun = time.monotonic()
    space = spaces.load(spaces.find(name))
    is_grid = space.budget.sampler == "grid"
    more: dict[str, Any] = {}
    if space.takes_networks:
        file = brought.written(where)
        weights = file.with_name("weights.safetensors")  # that nobody trained
        more = {"teacher": f"{file}:teacher", "student": f"{file}:student", "teacher_weights": str(weights)}
        more["teacher_anyway"] = True
    trials = None if is_grid else TRIALS
    few = {"set": "data.images=300", "teacher_epochs": 2, "max_concurrent": 1}
    search = kdsearch.tune(name, epochs=2, results=where, progress=False, trials=trials, **few, **more)
    took = time.monotonic() - begun
    assert isinstance(search, kdsearch.Search) and search.state == "finished"
    assert len(search.trials) == search.facts.all_trials
    if is_grid:
        assert set(search.trials["state"]) == {"complete"}
    assert search.report() == [search.folder / "report.html"]
    print(f"{name}: {took:.0f} s, {len(search.trials)} trials")
    assert took < SECONDS


def test_a_grid_runs_every_cell_once_a_seed_and_grows_by_seeds(where):
    told = {"name": "grown", "results": where, "progress": False}
    kdsearch.tune("mnist_basics", epochs=2, seeds=2, **told)
    before = pd.read_parquet(where / "grown" / "trials.parquet").set_index("trial")
    kdsearch.tune("mnist_basics", resume=True, seeds=3, **told)
    after = pd.read_parquet(where / "grown" / "trials.parquet").set_index("trial")
    assert sorted(after.index) == ["0", "0-1", "0-2", "1", "1-1", "1-2"]
    assert after["seed"].tolist() == [int(name.partition("-")[2] or 0) for name in after.index]
    assert after.loc[before.index, "accuracy"].equals(before["accuracy"])
    assert after.loc["0", "knob.taught"] == after.loc["0-2", "knob.taught"] != after.loc["1", "knob.taught"]
    found = cells.cells(tables.read(where / "grown"), 287)
    assert "points." in " ".join(cells.said(found, 287, 10)) and len(set(after["accuracy"])) > 2
