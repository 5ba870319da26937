"""Before the first trial on a cluster: what is wrong on which node."""

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import uuid4

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy
from rich.table import Table
from rich.text import Text

from kdsearch.config.pipeline import Data
from kdsearch.errors import Refusal, listed
from kdsearch.results import show
from kdsearch.storage.bucket import Storage

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
    problems: list[str] = field(default_factory=list)
    wrong: set[str] = field(default_factory=set)
    """The columns of the problems."""

    def blame(self, column: str, problem: str) -> None:
        self.problems.append(problem)
        self.wrong.add(column)


def versions() -> dict[str, str]:
    """Of this process."""
    import platform

    import torch

    import kdsearch

    return {
        "python": platform.python_version(), "ray": ray.__version__, "torch": str(torch.__version__),
        "kdsearch": kdsearch.__version__,
    }  # fmt: skip


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
        node.blame("host", f"{answer['error']}; see that it is up, or remove it from the cluster")
        return
    for name in VERSIONS:
        said = answer.get(name)
        node.cells[name] = said or "missing"
        if said is None:
            reason = answer.get(f"no {name}", "not found")
            node.blame(name, f"{name} cannot be imported ({reason}); install it there: pip install kdsearch")
        elif said != expected.versions[name]:
            node.blame(name, f"{name} is {said} and here it is {expected.versions[name]}; install the same there")
    _judge_data(node, answer.get("data") or {}, expected)
    _judge_storage(node, answer, expected)


def _judge_data(node: Node, said: dict[str, Any], expected: Expected) -> None:
    found = said.get("fingerprint")
    if found is None and "error" not in said:
        node.cells["data"] = "–"
        return
    node.cells["data"] = "ok" if found == expected.fingerprint else found or said["error"]
    if found is None:
        node.blame("data", f"the data cannot be read ({said['error']}); put them in the same place there")
    elif found != expected.fingerprint:
        node.blame(
            "data", f"the data differ (fingerprint {found}, here {expected.fingerprint}); copy the same files there"
        )


def _judge_storage(node: Node, answer: dict[str, Any], expected: Expected) -> None:
    said = answer.get("storage")
    if "kdsearch" not in answer:
        node.cells["storage"] = "–"
    elif said or answer.get("read") != expected.nonce:
        node.cells["storage"] = "not shared"
        node.blame("storage", f"the storage is not shared ({said or 'another file lies there'}); {SHARE}")
    elif answer.get("seen") != expected.nonce:
        node.cells["storage"] = "not seen here"
        node.blame("storage", f"the storage is not shared (what it writes is not seen here); {SHARE}")
    else:
        node.cells["storage"] = "ok"


def table(nodes: Sequence[Node]) -> Table:
    """A row a node; wrong cells are red."""
    rows = []
    for node in nodes:
        role = ("head" if node.head else "worker") + ("" if node.trials else ", no trials")
        cells = {"host": node.host, "role": role, **node.cells}
        rows.append([Text(cells.get(name, "–"), "red" if name in node.wrong else "") for name in COLUMNS])
    return show.table("Nodes of the cluster", COLUMNS, rows, left=COLUMNS[:-1], folded=COLUMNS)


def check(nodes: Sequence[Node]) -> None:
    """Raises Refusal where any node could not run a trial, with what is wrong and the way out."""
    bad = [node for node in nodes if node.problems]
    if bad:
        said = "; ".join(f"{node.host}: {listed(node.problems)}" for node in bad)
        raise Refusal(f"{len(bad)} of {len(nodes)} nodes cannot run trials: {said}.")


__all__ = ["Node", "check", "preflight", "table"]


Progress = Callable[[str, int, int], None]

PATIENCE = 30.0
"""Seconds in which a node must answer."""

READING = 600.0
"""Seconds in which it must have read the data: it may have to decode them."""

SIGHT = 5.0
"""Seconds in which a file must be seen from another machine."""


def preflight(
    storage: Storage, data: Data, data_dir: Path, fingerprint: str, progress: Progress | None = None
) -> list[Node]:
    """Ask all nodes at once, on the Ray that this process has joined; raises Refusal where it cannot write itself."""
    told = progress or (lambda doing, done, total: None)
    note = storage.folder / f".preflight-{uuid4().hex[:12]}"
    expected = Expected(versions(), fingerprint, uuid4().hex)
    there = sorted(
        (node for node in ray.nodes() if node["Alive"]), key=lambda node: (not _is_head(node), node["NodeID"])
    )
    driver = ray.get_runtime_context().get_node_id()
    asked = {node["NodeID"]: node for node in there if runs_trials(node["Resources"]) or node["NodeID"] == driver}
    try:
        _write(storage, note, expected.nonce)
        answers = _all(_probe(), {one: (storage.word, note.name, one) for one in asked}, PATIENCE, "nodes asked", told)
        ready = [one for one, said in answers.items() if "kdsearch" in said and runs_trials(asked[one]["Resources"])]
        plain = json.dumps(data.model_dump(mode="json"))
        reading = {one: (plain, str(data_dir.resolve())) for one in ready}
        prints = _all(_fingerprint(), reading, READING, "nodes read the data", told)
        for one in asked:
            answers[one] |= {"data": prints.get(one, {})}
            if not answers[one].get("storage"):
                answers[one]["seen"] = _read(storage, note.with_name(f"{note.name}-{one}"))
    finally:
        for path in (note, *(note.with_name(f"{note.name}-{one}") for one in asked)):
            storage.remove(path)
    return [_row(node, answers.get(node["NodeID"]), expected) for node in there]


def _row(node: dict[str, Any], answer: dict[str, Any] | None, expected: Expected) -> Node:
    row = Node(node["NodeManagerHostname"], _is_head(node), runs_trials(node["Resources"]))
    gpus = f"{node['Resources'].get('GPU', 0):g}"
    if answer is not None:
        row.cells["GPUs"] = gpus if gpus == "0" or answer.get("cuda", True) else f"{gpus}, torch without CUDA"
        judge(row, answer, expected)
    return row


def _is_head(node: dict[str, Any]) -> bool:
    return "node:__internal_head__" in node["Resources"]


def _write(storage: Storage, path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    storage.push(path)


def _read(storage: Storage, path: Path) -> str | None:
    """What another machine wrote, as soon as it is seen."""
    until = time.monotonic() + SIGHT
    while not storage.pull(path):
        if time.monotonic() > until:
            return None
        time.sleep(0.2)
    return path.read_text(encoding="utf-8")


def _all(
    work: Callable[..., dict], asked: dict[str, tuple], patience: float, doing: str, progress: Progress
) -> dict[str, dict[str, Any]]:
    """What a function says on every node, all at once; an `error` where it says nothing in time."""
    task = ray.remote(num_cpus=0, max_retries=0)(work)
    refs = {
        task.options(scheduling_strategy=NodeAffinitySchedulingStrategy(one, soft=False)).remote(*told): one
        for one, told in asked.items()
    }
    found: dict[str, dict[str, Any]] = {}
    until, waiting = time.monotonic() + patience, list(refs)
    while waiting and time.monotonic() < until:
        progress(doing, len(found), len(refs))
        ready, waiting = ray.wait(waiting, timeout=0.5)
        for ref in ready:
            try:
                found[refs[ref]] = ray.get(ref)
            except Exception as error:  # of a node that dies, or a process that cannot start there
                line = str(error).strip().splitlines() or [""]
                found[refs[ref]] = {"error": f"{type(error).__name__}: {line[0]}"}
    for ref in waiting:
        ray.cancel(ref, force=True)
        found[refs[ref]] = {"error": f"no answer in {patience:.0f} s"}
    progress(doing, len(refs), len(refs))
    return found


def _probe() -> Callable[..., dict[str, Any]]:
    """A function that travels whole, so that a node without kdsearch can run it too."""

    def probe(word: str, name: str, node: str) -> dict[str, Any]:
        import dataclasses
        import importlib
        import platform
        import shutil
        import tempfile
        import time
        from pathlib import Path

        def said(error: BaseException) -> str:
            return f"{type(error).__name__}: {error}".splitlines()[0]

        copy = tempfile.mkdtemp()
        found: dict[str, Any] = {"python": platform.python_version()}
        for package in ("ray", "torch", "kdsearch"):
            try:
                found[package] = str(importlib.import_module(package).__version__)
            except Exception as error:  # whatever a broken installation raises
                found[f"no {package}"] = said(error)
        if "torch" in found:
            found["cuda"] = importlib.import_module("torch").version.cuda is not None
        try:
            storage = importlib.import_module("kdsearch.storage.bucket").at(word)
            if storage.uri:
                storage = dataclasses.replace(storage, folder=Path(copy))
            note, until = storage.folder / name, time.monotonic() + 5
            while not storage.pull(note) and time.monotonic() < until:
                time.sleep(0.2)
            found["read"] = note.read_text(encoding="utf-8")
            own = note.with_name(f"{note.name}-{node}")
            own.write_text(found["read"], encoding="utf-8")
            storage.push(own)
        except Exception as error:
            found["storage"] = said(error)
        finally:
            shutil.rmtree(copy)
        return found

    return probe


def _fingerprint() -> Callable[..., dict[str, Any]]:
    def fingerprint(data: str, data_dir: str) -> dict[str, Any]:
        import json
        from pathlib import Path

        try:
            from kdsearch.config.pipeline import Data
            from kdsearch.data.images import load

            return {"fingerprint": load(Data.model_validate(json.loads(data)), Path(data_dir)).fingerprint}
        except Exception as error:
            return {"error": f"{type(error).__name__}: {error}".splitlines()[0]}

    return fingerprint
