"""A front's members trained again with other seeds, as Ray tasks; what is known already is not made again."""

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ray
from filelock import Timeout

from kdsearch import cache, results, sources
from kdsearch.errors import Refusal
from kdsearch.interrupts import remembered_ctrl_c
from kdsearch.made import Made, MadeTeacher
from kdsearch.missing import Asked, Seed, check, missing
from kdsearch.search import start_ray
from kdsearch.store import Store, read_facts
from kdsearch.tasks import Tasks
from kdsearch.trial import again, prepare


@dataclass(frozen=True)
class Step:
    """An epoch of a seed, or of a network that teaches it; or its end."""

    name: str
    done: int
    """Seeds that ended."""
    total: int
    epoch: int = 0
    epochs: int = 0
    accuracy: float | None = None
    ended: bool = False
    test: float | None = None
    cause: str | None = None


def confirm(asked: Asked, progress: sources.Progress) -> Iterator[Step | str]:
    """Train and judge what is missing; yields steps, and warnings. Raises Refusal before anything is trained."""
    pressed = threading.Event()
    with _alone(asked.folder), remembered_ctrl_c(pressed):
        cache.check()
        rows = {(row["trial"], row["seed"]): row for row in results.confirmed(asked.folder)}
        work = missing(asked, rows)
        if not work:
            return
        yield from check(asked, work[0], progress)
        start_ray()
        tasks = Tasks(_resources(asked.folder, work[0].made), asked.max_concurrent, pressed)
        yield from _networks(asked, work, tasks)
        yield from _seeds(asked, work, rows, tasks)


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    try:
        with results.driver_lock(folder):
            yield
    except Timeout:
        raise Refusal(
            f"A search can be confirmed when it does not run, but '{folder}' is running; wait for its end: "
            f"kdsearch status {folder}"
        ) from None


def _resources(folder: Path, made: Made) -> dict[str, float]:
    """What a trial of the search had; raises Refusal where this machine could never give it."""
    plain = {"cpu": made.threads, "gpu": 1 if made.device == "cuda" else 0}
    found = results.read_facts(folder).get("resources", plain)
    there = ray.cluster_resources()
    for kind in ("CPU", "GPU"):
        asked, given = found[kind.lower()], there.get(kind, 0)
        if asked > given and not os.environ.get("RAY_ADDRESS"):
            raise Refusal(
                f"A student is confirmed with what its search gave a trial, {asked:g} {kind}s, but there are {given:g} "
                f"here; confirm it where it was trained."
            )
    return found


def _places(asked: Asked, seed: Seed, made: Made | MadeTeacher) -> dict[str, Any]:
    """What a worker must be told beside a pipeline, so that a network is made as that one was."""
    return {
        "storage": str(asked.folder.parent.resolve()), "data_dir": str(asked.data_dir.resolve()),
        "cache_limit": cache.limit(), "device": seed.made.device,
        "threads": made.threads, "precision": made.precision, "targets": made.targets,
    }  # fmt: skip


def _networks(asked: Asked, work: list[Seed], tasks: Tasks) -> Iterator[Step | str]:
    """Train, as they were, the networks that the store has lost; warn where their weights are others."""
    store, chains = Store(asked.store), {}
    for seed in work:
        for number, teacher in enumerate(seed.made.teachers if seed.train else ()):
            chains.setdefault((number, teacher.key), (seed, teacher))
    for level in sorted({number for number, _ in chains}):
        lost = {key: own for key, own in chains.items() if key[0] == level and key[1] not in store}
        plain = {
            key: ({"pipeline": seed.pipeline.model_dump(mode="json"), **_places(asked, seed, teacher)}, level)
            for key, (seed, teacher) in lost.items()
        }
        for key, said in tasks.follow(prepare, plain):
            name = f"network {key[1][:6]}"
            if "cause" in said:
                raise Refusal(f"The {name}, which teaches, could not be trained: {said['cause']}")
            row = said.get("row")
            if row and row["stage"] != "record":
                epochs = lost[key][0].pipeline.links[level].fit.epochs or 0
                ended = row["epoch"] == epochs and row["link"] == level
                yield Step(name, 0, len(work), row["epoch"], epochs, row["accuracy"], ended)
    for (_, key), (seed, teacher) in chains.items():
        if read_facts(store.path(key))["digest"] != teacher.digest:
            yield f"the network {key[:6]} has other weights than when it taught trial {seed.row['trial']}."


def _seeds(asked: Asked, work: list[Seed], rows: dict, tasks: Tasks) -> Iterator[Step]:
    """Train and judge; every end goes to the table at once."""
    plain = {
        place: (
            {
                "pipeline": seed.pipeline.model_dump(mode="json"),
                "student": str(seed.student.relative_to(asked.folder.parent)),
                "train": seed.train, "test": seed.test, **_places(asked, seed, seed.made),
            },
        )
        for place, seed in enumerate(work)
    }  # fmt: skip
    done, seconds = 0, dict.fromkeys(plain, 0.0)
    for place, said in tasks.follow(again, plain):
        seed, row = work[place], said.get("row")
        own, last = seed.row, len(seed.pipeline.links) - 1
        if row and row["link"] == last:
            seconds[place] += row["seconds"]
            epochs = seed.pipeline.student.fit.epochs or 0
            yield Step(seed.name, done, len(work), row["epoch"], epochs, row["accuracy"])
        if said.get("last"):
            own |= {"accuracy": said["row"]["accuracy"], "seconds": seconds[place], "cause": None}
        elif "test" in said:
            own |= {"test": said["test"], "test_images": said["test_images"], "cause": None}
        elif "cause" in said:
            own["cause"] = said["cause"]
            _keep(asked.folder / "failures" / f"{own['trial']}-{own['seed']}.txt", said["trace"])
        if not row or said["last"]:
            rows[own["trial"], own["seed"]] = own
            results.write_table(asked.folder / "confirmed.parquet", list(rows.values()), results.CONFIRMED)
        if not said or "cause" in said:
            done += 1
            yield Step(
                seed.name, done, len(work), accuracy=own["accuracy"], ended=True, test=own["test"], cause=own["cause"]
            )


def _keep(path: Path, trace: str) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_text(trace, encoding="utf-8")
