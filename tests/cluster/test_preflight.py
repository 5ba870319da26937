"""Two nodes on this machine, asked before the first trial."""

import textwrap
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from bucket import served

from kdsearch.cluster.nodes import check, table
from kdsearch.cluster.preflight import preflight
from kdsearch.cluster.session import probe
from kdsearch.config.pipeline import Data
from kdsearch.data import images as data_images
from kdsearch.errors import Refusal
from kdsearch.storage.bucket import Storage, at

pytestmark = [pytest.mark.cluster, pytest.mark.filterwarnings("ignore")]
PACKAGE = Path(__file__).parents[2] / "kdsearch"


def other_package(folder: Path, last: str) -> dict[str, str]:
    """A node's environment in which kdsearch is this one, but for some lines."""
    (folder / "kdsearch").mkdir(parents=True)
    text = f"__version__ = '0.1.0'\n__path__.append({str(PACKAGE)!r})\n" + textwrap.dedent(last)
    (folder / "kdsearch" / "__init__.py").write_text(text)
    return {"PYTHONPATH": str(folder)}


def joined(cluster: Any, **more: Any) -> None:
    import ray

    cluster.add_node(num_cpus=1, **more)
    cluster.wait_for_nodes()
    ray.init(cluster.address, log_to_driver=False)


def asked(storage: Storage, images: data_images.Images) -> list:
    return preflight(storage, Data(), Path("nowhere"), images.fingerprint)


def test_two_nodes_where_all_is_well(cluster, images, tmp_path):
    joined(cluster, num_gpus=1)
    probe(cluster.address)
    told = []
    storage = at(tmp_path / "results")
    nodes = preflight(storage, Data(), tmp_path, images.fingerprint, lambda *said: told.append(said))
    check(nodes)
    head, worker = nodes
    assert head.head and not head.trials and worker.trials and not worker.head
    assert [node.cells["storage"] for node in nodes] == ["ok", "ok"]
    assert head.cells["data"] == "–" and worker.cells["data"] == "ok" and worker.cells["GPUs"].startswith("1")
    assert told[-1][1:] == (1, 1) and len(list(table(nodes).rows)) == 2
    assert not list(tmp_path.rglob("*preflight*"))


@pytest.fixture(scope="module")
def options() -> Iterator[str]:
    """Before the cluster, which takes the credentials from this process."""
    with served() as found:
        yield found


def test_a_bucket_is_shared_by_all(options, cluster, images, tmp_path):
    joined(cluster)
    storage = replace(at(f"s3://searches/here{options}"), folder=tmp_path)
    nodes = asked(storage, images)
    check(nodes)
    assert nodes[1].cells["storage"] == "ok" and storage.names(tmp_path) == []
    assert [name for name, is_file in storage._listed(tmp_path) if is_file] == []


def test_a_folder_that_a_node_does_not_see_is_told(cluster, images, tmp_path):
    joined(cluster)

    class Apart(Storage):
        @property
        def word(self) -> str:
            return str(tmp_path / "elsewhere")

    nodes = asked(Apart(tmp_path / "results"), images)
    assert set(nodes[1].problems) == {"storage"}
    with pytest.raises(Refusal, match=r"2 of 2 nodes cannot run trials: .* not shared \(FileNotFoundError"):
        check(nodes)


@pytest.mark.parametrize(
    "last, column, said",
    [
        ("__version__ = '0.0.9'", "kdsearch", "kdsearch is 0.0.9 and here it is"),
        ("raise ImportError('no such thing')", "kdsearch", "cannot be imported .ImportError: no such thing"),
        (
            """
            import dataclasses, kdsearch.data.images as images
            load = images.load
            images.load = lambda *told: dataclasses.replace(load(*told), fingerprint="beef")
            """,
            "data",
            "the data differ .fingerprint beef",
        ),
    ],
)
def test_a_node_that_differs_is_told(cluster, images, tmp_path, monkeypatch, last, column, said):
    monkeypatch.chdir(tmp_path)  # Ray's workers look for packages in the driver's folder first
    joined(cluster, env_vars=other_package(tmp_path / "other", last))
    nodes = asked(at(tmp_path / "results"), images)
    assert set(nodes[1].problems) == {column} and not nodes[0].problems
    with pytest.raises(Refusal, match=rf"^1 of 2 nodes cannot run trials: .*{said}"):
        check(nodes)
