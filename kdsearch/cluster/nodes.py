"""What the nodes of a cluster said, judged: what is wrong on which of them, and the way out."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from rich.text import Text

from kdsearch.errors import Refusal, listed
from kdsearch.results import show

VERSIONS = ("python", "ray", "torch", "kdsearch")

COLUMNS = ("host", "role", *VERSIONS, "data", "storage", "GPUs")

SHARE = "let --storage name a folder that all nodes see, or a bucket such as s3://bucket/path"


@dataclass
class Node:
    """A row: a node of the cluster, its cells, and what is wrong with it."""

    host: str
    head: bool
    trials: bool
    """Whether it has any CPU or GPU for them."""
    cells: dict[str, str] = field(default_factory=dict)
    """By COLUMNS; absent where it was not asked."""
    problems: dict[str, str] = field(default_factory=dict)
    """By COLUMNS."""


@dataclass(frozen=True)
class Expected:
    """What each node must say."""

    versions: dict[str, str]
    fingerprint: str
    nonce: str


def runs_trials(resources: dict[str, float]) -> bool:
    """A head with neither CPUs nor GPUs runs none."""
    return bool(resources.get("CPU") or resources.get("GPU"))


def judge(node: Node, answer: dict[str, Any], expected: Expected) -> None:
    """Fill a node's cells from what it said, and its problems with what differs."""
    if "error" in answer:
        node.problems["host"] = f"{answer['error']}; see that it is up, or remove it from the cluster"
        return
    for name in VERSIONS:
        said, here = answer.get(name), expected.versions[name]
        node.cells[name] = said or "missing"
        if said is None:
            reason = answer.get(f"no {name}", "not found")
            node.problems[name] = f"{name} cannot be imported ({reason}); install it there: pip install kdsearch"
        elif said != here:
            node.problems[name] = f"{name} is {said} and here it is {here}; install the same there"
    _judge_data(node, answer.get("data") or {}, expected)
    _judge_storage(node, answer, expected)


def _judge_data(node: Node, said: dict[str, Any], expected: Expected) -> None:
    found, here = said.get("fingerprint"), expected.fingerprint
    if not said:
        node.cells["data"] = "–"
        return
    node.cells["data"] = "ok" if found == here else found or said["error"]
    if found is None:
        node.problems["data"] = f"the data cannot be read ({said['error']}); put them in the same place there"
    elif found != here:
        node.problems["data"] = f"the data differ (fingerprint {found}, here {here}); copy the same files there"


def _judge_storage(node: Node, answer: dict[str, Any], expected: Expected) -> None:
    said = answer.get("storage")
    if "kdsearch" not in answer:
        node.cells["storage"] = "–"
    elif said or answer.get("read") != expected.nonce:
        node.cells["storage"] = "not shared"
        node.problems["storage"] = f"the storage is not shared ({said or 'another file lies there'}); {SHARE}"
    elif answer.get("seen") != expected.nonce:
        node.cells["storage"] = "not seen here"
        node.problems["storage"] = f"the storage is not shared (what it writes is not seen here); {SHARE}"
    else:
        node.cells["storage"] = "ok"


def table(nodes: Sequence[Node]) -> show.Columns:
    """A row a node; wrong cells are red."""
    rows = []
    for node in nodes:
        role = ("head" if node.head else "worker") + ("" if node.trials else ", no trials")
        cells = {"host": node.host, "role": role, **node.cells}
        rows.append([Text(cells.get(name, "–"), "red" if name in node.problems else "") for name in COLUMNS])
    return show.table("Nodes of the cluster", COLUMNS, rows, left=COLUMNS[:-1], folded=COLUMNS)


def check(nodes: Sequence[Node]) -> None:
    """Raises Refusal where any node could not run a trial, with what is wrong and the way out."""
    bad = [node for node in nodes if node.problems]
    if bad:
        said = "; ".join(f"{node.host}: {listed(node.problems.values())}" for node in bad)
        raise Refusal(f"{len(bad)} of {len(nodes)} nodes cannot run trials: {said}.")
