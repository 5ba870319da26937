"""Before the first trial on a cluster: every node is asked what it has, at once."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import uuid4

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from kdsearch.cluster.nodes import Expected, Node, judge, runs_trials
from kdsearch.config.pipeline import Data
from kdsearch.storage.bucket import Storage

Progress = Callable[[str, int, int], None]

PATIENCE = 120.0
"""Seconds in which a node must answer: importing torch from a cold or shared disk takes a minute."""

READING = 600.0
"""Seconds in which it must have read the data: it may have to decode them."""

SIGHT = 5.0
"""Seconds in which a file must be seen from another machine."""


def preflight(
    storage: Storage, data: Data, data_dir: Path, fingerprint: str, progress: Progress = lambda *_: None
) -> list[Node]:
    """Ask all nodes, on the Ray that this process has joined; raises Refusal where it cannot write itself."""
    note = storage.folder / f".preflight-{uuid4().hex[:12]}"
    expected = Expected(_versions()(), fingerprint, uuid4().hex)
    alive = {node["NodeID"]: node for node in ray.nodes() if node["Alive"]}
    nodes = {one: _row(node) for one, node in alive.items()}
    here = ray.get_runtime_context().get_node_id()
    own = {one: note.with_name(f"{note.name}-{one}") for one, node in nodes.items() if node.trials or one == here}
    try:
        _write(storage, note, expected.nonce)
        asked = {one: (storage.word, note.name, path.name) for one, path in own.items()}
        answers = _all(_probe(), asked, PATIENCE, "nodes asked", progress)
        ready = [one for one, said in answers.items() if "kdsearch" in said and nodes[one].trials]
        reading = {one: (data.model_dump_json(), str(data_dir.resolve())) for one in ready}
        prints = _all(_fingerprint(), reading, READING, "nodes read the data", progress)
        for one, path in own.items():
            seen = None if answers[one].get("storage") else _read(storage, path)
            judge(nodes[one], answers[one] | {"data": prints.get(one), "seen": seen}, expected)
            nodes[one].cells["GPUs"] = _gpus(alive[one], answers[one])
    finally:
        for path in (note, *own.values()):
            storage.remove(path)
    return [nodes[one] for one in sorted(nodes, key=lambda one: (not nodes[one].head, one))]


def _row(node: dict[str, Any]) -> Node:
    resources = node["Resources"]
    return Node(node["NodeManagerHostname"], "node:__internal_head__" in resources, runs_trials(resources))


def _gpus(node: dict[str, Any], answer: dict[str, Any]) -> str:
    count = f"{node['Resources'].get('GPU', 0):g}"
    return count if count == "0" or answer.get("cuda", True) else f"{count}, torch without CUDA"


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


# Functions made by functions travel whole, so that a node without kdsearch can run them too.


def _versions() -> Callable[[], dict[str, Any]]:
    def versions() -> dict[str, Any]:
        import importlib
        import platform

        found: dict[str, Any] = {"python": platform.python_version()}
        for package in ("ray", "torch", "kdsearch"):
            try:
                found[package] = str(importlib.import_module(package).__version__)
            except Exception as error:  # whatever a broken installation raises
                found[f"no {package}"] = f"{type(error).__name__}: {error}".splitlines()[0]
        return found

    return versions


def _probe() -> Callable[..., dict[str, Any]]:
    versions = _versions()

    def probe(word: str, name: str, own: str) -> dict[str, Any]:
        import dataclasses
        import importlib
        import tempfile
        import time
        from pathlib import Path

        found = versions()
        if "torch" in found:
            found["cuda"] = importlib.import_module("torch").version.cuda is not None
        try:
            storage = importlib.import_module("kdsearch.storage.bucket").at(word)
            with tempfile.TemporaryDirectory() as copy:
                if storage.uri:
                    storage = dataclasses.replace(storage, folder=Path(copy))
                note, until = storage.folder / name, time.monotonic() + 5
                while not storage.pull(note) and time.monotonic() < until:
                    time.sleep(0.2)
                found["read"] = note.read_text(encoding="utf-8")
                note.with_name(own).write_text(found["read"], encoding="utf-8")
                storage.push(note.with_name(own))
        except Exception as error:
            found["storage"] = f"{type(error).__name__}: {error}".splitlines()[0]
        return found

    return probe


def _fingerprint() -> Callable[..., dict[str, Any]]:
    def fingerprint(data: str, data_dir: str) -> dict[str, Any]:
        from pathlib import Path

        try:
            from kdsearch.config.pipeline import Data
            from kdsearch.data.images import load

            return {"fingerprint": load(Data.model_validate_json(data), Path(data_dir)).fingerprint}
        except Exception as error:
            return {"error": f"{type(error).__name__}: {error}".splitlines()[0]}

    return fingerprint
