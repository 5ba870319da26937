"""What the tests share: a cache of their own, and the digits."""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")  # read at torch's import: two test processes share the cores

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from kdsearch.config.pipeline import Data
from kdsearch.data import images as data_images

os.environ["KDSEARCH_CACHE"] = tempfile.mkdtemp(prefix="kdsearch-tests-")


@pytest.fixture(scope="session")
def images() -> data_images.Images:
    return data_images.load(Data(), Path("nowhere"))


@pytest.fixture(scope="module")
def options() -> Iterator[str]:
    """Of the address of a bucket's server on this machine."""
    from bucket import served

    with served() as found:
        yield found


@pytest.fixture(scope="module")
def own_ray() -> Iterator[None]:
    """One Ray for all that a module runs in this process."""
    import ray

    from kdsearch.cluster.session import start_ray

    start_ray()
    yield
    ray.shutdown()


@pytest.fixture
def cluster(monkeypatch) -> Iterator[Any]:
    """Ray nodes on this machine: a head that runs no trials, and those that a test adds; one that dies is missed after
    three seconds instead of fifteen."""
    import ray
    from ray.cluster_utils import Cluster

    from kdsearch.cluster.own import USUAL, seen_by_others

    for name, value in (("period_ms", "1000"), ("failure_threshold", "3")):
        monkeypatch.setenv(f"RAY_health_check_{name}", value)
    seen_by_others(USUAL)  # a test before may have had a Ray of its own in this process
    found = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
    yield found
    ray.shutdown()
    found.shutdown()
