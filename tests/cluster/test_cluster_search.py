"""A search on several nodes, all on this machine: one dies, one comes late, one has fake GPUs to share."""

import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import brought
import pandas as pd
import pytest
from driver import planned
from unbroken import LONG, PATIENCE, SPACE, assert_equal, done, ran

import kdsearch
from kdsearch.results import files, searches, tables
from kdsearch.search import look
from kdsearch.search.driver import Driver

pytestmark = [pytest.mark.cluster, pytest.mark.filterwarnings("ignore")]


@pytest.fixture(scope="module")
def long(tmp_path_factory) -> Path:
    """The folder of a search that nothing disturbed; before the cluster, since it has a Ray of its own."""
    return ran(tmp_path_factory.mktemp("long"), LONG)


def call(where: Path, cluster: Any, *more: str) -> list[str]:
    (where / "lost.py").write_text(LONG)
    words = ["tune", "./lost.py", "--name", "s", "--address", cluster.address, "--storage", str(where / "shared")]
    return [sys.executable, "-m", "kdsearch.cli", *words, "--rule", "none", "--sampler", "random", *more]


def begun(where: Path, cluster: Any, *more: str) -> subprocess.Popen:
    words = call(where, cluster, *more)
    return subprocess.Popen(words, cwd=where, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def until(driver: subprocess.Popen, what: Any) -> None:
    deadline = time.monotonic() + PATIENCE
    while not what():
        assert driver.poll() is None and time.monotonic() < deadline, driver.communicate(timeout=5)[0]
        time.sleep(0.3)


def ended(driver: subprocess.Popen) -> str:
    said, _ = driver.communicate(timeout=PATIENCE)
    assert driver.returncode == 0, said
    return said


def test_trials_of_a_node_that_dies_finish_elsewhere_from_their_checkpoints(long, cluster, tmp_path):
    nodes = [cluster.add_node(num_cpus=1) for _ in range(2)]
    driver = begun(tmp_path, cluster)
    folder = tmp_path / "shared" / "s"

    def two_run_beyond_their_first_stage() -> bool:
        rows = tables.read(folder).trials.values()
        return sum(row["state"] == "running" and row["epochs"] > 3 for row in rows) == 2

    until(driver, two_run_beyond_their_first_stage)
    cluster.remove_node(nodes[0], allow_graceful=False)
    said = ended(driver)
    assert "it goes on from its last checkpoint" in said and "Nodes of the cluster" in said
    assert_equal(long, folder)


def test_a_node_that_comes_late_gets_work(cluster, tmp_path):
    driver = begun(tmp_path, cluster, "--trials", "1", "--epochs", "2")
    folder = tmp_path / "shared" / "s"
    until(driver, lambda: (folder / "search.json").exists())
    time.sleep(5)
    assert driver.poll() is None and not tables.read(folder).epochs  # nobody is there to train anything
    cluster.add_node(num_cpus=2)
    ended(driver)
    trials = pd.read_parquet(folder / "trials.parquet")
    assert len(trials) == 4 and set(trials["state"]) == {"complete"}


def shown(notes: Path, most: int) -> Callable[[dict], None]:
    """In place of a trial: it notes when it ran, and waits for as many as may run beside it.

    Made here, it travels whole: workers do not know this file.
    """

    def show(config: dict) -> None:
        import time

        from ray import tune

        begun = time.time()
        (notes / f"{config['trial']}.begun").write_text("")
        while len(list(notes.glob("*.begun"))) < most and time.time() - begun < 60:
            time.sleep(0.1)
        time.sleep(2)
        (notes / config["trial"]).write_text(f"{begun} {time.time()}")
        row = {
            "link": 1,
            "stage": "kd",
            "epoch": 1,
            "kd_epoch": 1,
            "accuracy": 0.5,
            "balanced_accuracy": 0.5,
            "seconds": 1.0,
        }
        tune.report({"rows": [row], "complete": True, "accuracy": 0.5, "balanced_accuracy": 0.5})

    return show


@pytest.mark.parametrize("share, most", [(0.5, 2), (0.25, 4)])
def test_as_many_trials_share_a_gpu_as_their_fractions_allow(cluster, tmp_path, monkeypatch, share, most):
    from kdsearch.cluster.session import start_ray
    from kdsearch.search.tuner import tune_trials

    monkeypatch.setattr(look, "DRAWS", 60)
    (tmp_path / "notes").mkdir()
    (tmp_path / "lost.py").write_text(SPACE)
    cluster.add_node(num_cpus=8, num_gpus=1)
    cluster.wait_for_nodes()
    start_ray(cluster.address)
    found = planned(tmp_path / "lost.py", trials=9, sampler="random", epochs=6, results=str(tmp_path / "r"), name="s")
    own = Driver(replace(found, resources={"cpu": 1, "gpu": share}, references={}))
    own.plan.folder.mkdir(parents=True)
    tune_trials(own, shown(tmp_path / "notes", most))
    spans = [tuple(map(float, path.read_text().split())) for path in (tmp_path / "notes").glob("?")]
    assert len(spans) == 9
    together = [sum(begin <= at < end for begin, end in spans) for at, _ in spans]
    assert max(together) == most


def test_a_front_in_a_bucket_is_confirmed_by_nodes_that_see_nothing_but_the_bucket(
    cluster, options, tmp_path, monkeypatch
):
    word = f"s3://searches/nodes{options}"
    for name in ("one", "two"):  # each node has a copy of its own
        monkeypatch.setenv("KDSEARCH_CACHE", str(tmp_path / name))
        cluster.add_node(num_cpus=1)
    monkeypatch.setenv("KDSEARCH_CACHE", str(tmp_path / "driver"))
    done(call(tmp_path, cluster, "--trials", "1", "--epochs", "4", "--storage", word), tmp_path)
    monkeypatch.setenv("RAY_ADDRESS", cluster.address)
    done(["kdsearch.cli", "confirm", "s", "--seeds", "2", "--storage", word], tmp_path)
    monkeypatch.setenv("KDSEARCH_CACHE", str(tmp_path / "third"))
    storage = searches.reading(word)
    folder = searches.find("s", storage)
    rows = sorted(files.confirmed(folder), key=lambda row: row["seed"])  # written as their seeds ended
    assert len(rows) == 2 and all(row["accuracy"] is not None and row["cause"] is None for row in rows)
    assert storage.names(folder / "confirmed") == [f"{row['trial']}-{row['seed']}.safetensors" for row in rows]
    trained = {path.parent.parent.name for path in tmp_path.glob("*/**/confirmed/*.safetensors")}
    assert trained


def test_a_search_of_own_networks_runs_on_nodes_with_a_bucket(cluster, options, tmp_path, monkeypatch):
    brought.written(tmp_path)
    for name in ("one", "two"):
        monkeypatch.setenv("KDSEARCH_CACHE", str(tmp_path / name))
        cluster.add_node(num_cpus=1)
    monkeypatch.setenv("KDSEARCH_CACHE", str(tmp_path / "driver"))
    words = ["--storage", f"s3://searches/own{options}", "--address", cluster.address]
    words += ["--epochs", "40"]  # so long that the second node has begun before the first one has trained them all
    done(brought.call("s", *words), tmp_path)
    assert {row["state"] for row in kdsearch.open("s", words[1]).trials.to_dict("records")} == {"complete"}
    assert {path.parts[len(tmp_path.parts)] for path in tmp_path.glob("*/**/code/*.zip")} >= {"one", "two"}
