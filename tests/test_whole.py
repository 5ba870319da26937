"""Every space that comes with kdsearch runs from end to end on digits with two epochs, in about a minute at most."""

import json
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest

from kdsearch.search import spaces

pytestmark = pytest.mark.whole
SECONDS = 120
"""Twice what is promised of two idle cores: other work may run beside a test."""


@pytest.fixture(scope="module")
def where(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("whole")


def said(where: Path, *words: object) -> str:
    done = subprocess.run([sys.executable, "-m", "kdsearch.cli", *map(str, words)], cwd=where, capture_output=True)
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout.decode()


@pytest.mark.parametrize("name", sorted(spaces.names()))
def test_a_space_runs_on_digits_in_time_and_its_report_is_drawn(name, where):
    begun = time.monotonic()
    found = said(where, "tune", name, "--epochs", 2)
    took = time.monotonic() - begun
    assert f"Next:    kdsearch report {name}" in found
    trials = pd.read_parquet(where / "results" / name / "trials.parquet")
    status = json.loads(said(where, "status", name, "--json"))
    assert (status["state"], status["ended"]) == ("finished", len(trials))
    if spaces.load(spaces.find(name)).budget.sampler == "grid":
        assert set(trials["state"]) == {"complete"}
    said(where, "report", name)
    print(f"{name}: {took:.0f} s, {len(trials)} trials")
    assert took < SECONDS


def test_a_grid_runs_every_cell_once_a_seed_and_grows_by_seeds(where):
    said(where, "tune", "mnist_basics", "--name", "grown", "--epochs", 2, "--seeds", 2)
    before = pd.read_parquet(where / "results" / "grown" / "trials.parquet").set_index("trial")
    found = said(where, "tune", "mnist_basics", "--name", "grown", "--resume", "--seeds", 3)
    after = pd.read_parquet(where / "results" / "grown" / "trials.parquet").set_index("trial")
    assert sorted(after.index) == ["0", "0-1", "0-2", "1", "1-1", "1-2"]
    assert after["seed"].tolist() == [int(name.partition("-")[2] or 0) for name in after.index]
    assert after.loc[before.index, "accuracy"].equals(before["accuracy"])
    assert after.loc["0", "knob.taught"] == after.loc["0-2", "knob.taught"] != after.loc["1", "knob.taught"]
    assert "points." in found and len(set(after["accuracy"])) > 2
