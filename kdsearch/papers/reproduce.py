"""A published table made again: its networks trained through the store as Ray tasks, teachers first."""

import threading
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from filelock import Timeout

from kdsearch.cluster.session import asked_resources, start_ray
from kdsearch.cluster.tasks import LOST, Tasks
from kdsearch.config.pipeline import Pipeline
from kdsearch.data import images as data_images
from kdsearch.data import sources
from kdsearch.distill.store import Store, key_of, read_facts
from kdsearch.errors import Refusal, cause_of
from kdsearch.interrupts import remembered_ctrl_c
from kdsearch.papers import entries
from kdsearch.papers.entries import Entry, Place
from kdsearch.papers.tables import Protocol
from kdsearch.results import folder as results_folder
from kdsearch.search.progress import Step
from kdsearch.search.trial import keep_trace, prepare
from kdsearch.storage import cache
from kdsearch.storage.bucket import Storage
from kdsearch.storage.lease import Lease, hold


@dataclass(frozen=True)
class Asked:
    """What `reproduce` is told."""

    protocol: Protocol
    """At its scale, on its data."""
    folder: Path
    """Of the table."""
    storage: Storage
    data_dir: Path
    seeds: int = 1
    max_concurrent: int | None = None
    """Networks at a time, at most."""
    cpus_per_trial: float = 1
    gpus_per_trial: float | None = None
    precision: str = "auto"


@dataclass
class Making:
    """A table that is being made."""

    asked: Asked
    fingerprint: str
    """Of the images."""
    store: Store
    missing: list[Entry]
    """That are asked for and not known yet."""
    rows: dict[Place, dict[str, Any]]
    """Of the entries that have ended."""
    causes: dict[str, str] = field(default_factory=dict)
    """Why networks failed, by key."""
    done: int = 0
    """Missing entries that ended."""

    def key(self, chain: Pipeline) -> str:
        """Of a chain's last network."""
        return key_of(chain, len(chain.links) - 1, self.fingerprint)

    def named(self, key: str, chain: Pipeline) -> str:
        """A network as its entry; else by its place in the chain."""
        for entry in self.missing:
            if entry.key == key:
                return entry.row if self.asked.seeds == 1 else f"{entry.row}, seed {entry.seed}"
        return "teacher" if len(chain.links) == 1 else f"network {key[:6]}"

    def end(self, key: str, chain: Pipeline, seconds: float | None = None) -> Step:
        """Of a network, trained or failed: the entry that it is, if any, is written down."""
        reached: dict[str, Any] = {}
        try:
            if key not in self.causes and key not in self.store:
                self.causes[key] = LOST
            if key not in self.causes:
                reached = read_facts(self.store.path(key))
        except Refusal as error:  # a damaged file
            self.causes[key] = cause_of(error)
        told = {name: reached.get(name) for name in ("accuracy", "precision")}
        for entry in (entry for entry in self.missing if entry.key == key):
            self.rows[entry.place] = entry.facts | told | {"cause": self.causes.get(key), "seconds": seconds}
            self.done += 1
            self.write()
        cause, name = self.causes.get(key), self.named(key, chain)
        return Step(name, self.done, len(self.missing), accuracy=told["accuracy"], ended=True, cause=cause)

    def write(self) -> None:
        """The table as far as it is known, row by row."""
        order = list(self.asked.protocol.rows)
        places = sorted(self.rows, key=lambda place: (order.index(place[0]), place[1]))
        entries.write(self.asked.folder, [self.rows[place] for place in places])
        self.asked.storage.push(entries.file(self.asked.folder))


def reproduce(asked: Asked, progress: sources.Progress) -> Generator[Step | str, None, None]:
    """Train what is missing; yields steps, and warnings. Raises Refusal before anything is trained."""
    pressed = threading.Event()
    cache.check()
    images = data_images.load(asked.protocol.data, asked.data_dir, progress)
    asked.storage.check()
    with _alone(asked) as lease, remembered_ctrl_c(pressed):
        asked.storage.pull(entries.file(asked.folder))
        found = entries.entries(asked.protocol, asked.seeds, images, entries.read(asked.folder))
        known = {entry.place: entry.facts for entry in found if entry.facts["accuracy"] is not None}
        missing = [entry for entry in found if entry.place not in known]
        store = Store(asked.storage.folder / "store", asked.storage)
        making = Making(asked, images.fingerprint, store, missing, known)
        for step in _steps(making, pressed, progress):
            lease.refresh()
            yield step
        yield from _otherwise(making)


@contextmanager
def _alone(asked: Asked) -> Iterator[Lease]:
    asked.folder.mkdir(parents=True, exist_ok=True)
    try:
        with results_folder.driver_lock(asked.folder), hold(asked.storage, asked.folder) as lease:
            yield lease
    except Timeout:
        raise Refusal(
            f"A table is made by one process at a time, but another one makes '{asked.folder}'; wait for its end."
        ) from None


def _steps(making: Making, pressed: threading.Event, progress: sources.Progress) -> Iterator[Step]:
    """What is in the store, or cannot be, then what must be trained."""
    for entry in making.missing:
        if entry.facts["cause"]:
            making.causes[entry.key] = entry.facts["cause"]
        if entry.key in making.causes or entry.key in making.store:
            yield making.end(entry.key, entry.pipeline)
    lost = _lost(making)
    if not lost:
        return
    progress("networks to train", 0, len(lost))
    address, asked = start_ray(), making.asked
    resources = asked_resources(asked.cpus_per_trial, asked.gpus_per_trial, address)
    tasks = Tasks(resources, asked.max_concurrent, pressed)
    for level in sorted({len(chain.links) for chain in lost.values()}):
        yield from _level(making, {key: chain for key, chain in lost.items() if len(chain.links) == level}, tasks)


def _lost(making: Making) -> dict[str, Pipeline]:
    """Chains whose last network must be trained: those of the missing entries and what teaches them."""
    found: dict[str, Pipeline] = {}
    for entry in making.missing:
        if entry.place in making.rows:
            continue
        for length in range(len(entry.pipeline.links), 0, -1):
            chain = Pipeline(links=entry.pipeline.links[:length], data=entry.pipeline.data)
            key = making.key(chain)
            if key in making.store:
                break
            found[key] = chain
    return found


def _level(making: Making, chains: dict[str, Pipeline], tasks: Tasks) -> Iterator[Step]:
    """Networks whose teachers are there, or have failed."""
    work, seconds = {}, dict.fromkeys(chains, 0.0)
    for key, chain in chains.items():
        before = making.key(Pipeline(links=chain.links[:-1], data=chain.data)) if len(chain.links) > 1 else ""
        if before in making.causes:
            making.causes[key] = f"its teacher failed: {making.causes[before]}"
            yield making.end(key, chain)
        else:
            work[key] = ({"pipeline": chain.model_dump(mode="json"), **_places(making, tasks)}, len(chain.links) - 1)
    for key, said in tasks.follow(prepare, work):
        chain, row = chains[key], said.get("row")
        if row and row["link"] == len(chain.links) - 1 and row["stage"] != "record":
            seconds[key] += row["seconds"]
            name, epochs = making.named(key, chain), chain.student.fit.epochs or 0
            yield Step(name, making.done, len(making.missing), row["epoch"], epochs, row["accuracy"])
        if "cause" in said:
            making.causes[key] = said["cause"]
            keep_trace(making.asked.folder, key, said["trace"])
        if not said or "cause" in said:
            yield making.end(key, chain, seconds[key])


def _places(making: Making, tasks: Tasks) -> dict[str, Any]:
    """What a worker must be told beside a pipeline; networks in training are kept for whoever goes on."""
    asked = making.asked
    return {
        "storage": asked.storage.word, "data_dir": str(asked.data_dir.resolve()), "cache_limit": cache.limit(),
        "device": "cuda" if tasks.resources["gpu"] else "cpu", "threads": max(int(asked.cpus_per_trial), 1),
        "precision": asked.precision, "stop_file": str((asked.folder / "stop").relative_to(asked.storage.folder)),
    }  # fmt: skip


def _otherwise(making: Making) -> Iterator[str]:
    """Whether entries were trained in another precision than this command asks for: the store makes nothing twice."""
    asked = making.asked.precision
    others = {row["precision"] for row in making.rows.values() if row["precision"]} - {asked}
    if asked != "auto" and others:
        yield f"networks that were there before were trained in {' and '.join(sorted(others))}, not {asked}."
