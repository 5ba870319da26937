"""A front's members trained again with other seeds, as Ray tasks; what is known already is not made again."""

import os
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ray
import torch
from filelock import Timeout

from kdsearch import __version__
from kdsearch.cluster.session import start_ray
from kdsearch.cluster.tasks import Step, Tasks
from kdsearch.config.parse import parse
from kdsearch.config.pipeline import SEEDS, Pipeline
from kdsearch.config.provenance import Made, MadeTeacher
from kdsearch.data import images as data_images
from kdsearch.data import sources
from kdsearch.distill.store import Store, read_facts
from kdsearch.errors import Refusal
from kdsearch.interrupts import remembered_ctrl_c
from kdsearch.results import facts, files, front
from kdsearch.results import folder as results_folder
from kdsearch.results import tables as results_tables
from kdsearch.search.trial import again, keep_trace, prepare
from kdsearch.storage import cache


@dataclass(frozen=True)
class Asked:
    """What `confirm` is told."""

    folder: Path
    """Of the search."""
    data_dir: Path
    seeds: int
    """Of each member, beside the selected one."""
    test: bool = False
    max_concurrent: int | None = None
    """Seeds at a time, at most."""

    @property
    def store(self) -> Path:
        return self.folder.parent / "store"


@dataclass(frozen=True)
class Seed:
    """A student with something missing: it is to be trained, or judged on the test images, or both."""

    row: dict[str, Any]
    """Of confirmed.parquet, as far as it is known."""
    pipeline: Pipeline
    made: Made
    """The selected student."""
    student: Path
    train: bool
    test: bool

    @property
    def name(self) -> str:
        return f"trial {self.row['trial']}, seed {self.row['seed']}"


def missing(asked: Asked, rows: Mapping[tuple[str, int], dict]) -> list[Seed]:
    """All that is asked for and not known yet, the first seed of every member first."""
    tables = results_tables.read(asked.folder)
    if any(row["replicate_of"] for row in tables.trials.values()):
        raise Refusal(
            f"The cells of '{asked.folder}' have their seeds, by which they stand on its front: to confirm them with "
            f"these would count them twice. More seeds: kdsearch tune … --name {asked.folder.name} --resume --seeds N"
        )
    names = front.members(tables.trials.values())
    if not names:
        raise Refusal("Only a front of fully trained trials can be confirmed, but this search has none yet.")
    found = [_missing_of(asked, tables.trials[name], rows) for name in names]
    return [seed for _, seed in sorted((pair for own in found for pair in own), key=lambda pair: pair[0])]


def _missing_of(asked: Asked, trial: dict, rows: Mapping[tuple[str, int], dict]) -> Iterator[tuple[int, Seed]]:
    """Seeds of one member that lack something, numbered: 0 is the selected one, which is never trained again."""
    name, folder = trial["trial"], asked.folder
    selected = folder / "students" / f"{name}.safetensors"
    made = parse(Made, read_facts(selected, "The search must be run again to have it."), f"'made' in '{selected}'")
    known = sum(own["trial"] == name and not own["selected"] for own in rows.values())
    chosen = Pipeline.model_validate_json(trial["pipeline"])
    for number in range(max(asked.seeds, known) + 1):
        seed = (trial["seed"] + number) % SEEDS
        row = rows.get((name, seed)) or _row(trial, seed, selected=number == 0)
        student = folder / "confirmed" / f"{name}-{seed}.safetensors" if number else selected
        test = asked.test and row["test"] is None
        train = number > 0 and (row["accuracy"] is None or (test and not student.exists()))
        pipeline = chosen.with_seed(seed)
        if train or test:
            yield number, Seed(row, pipeline, made, student, train, test)


def _row(trial: dict, seed: int, selected: bool) -> dict[str, Any]:
    known = {"accuracy": trial["accuracy"], "seconds": trial["seconds"]} if selected else {}
    return {name: None for name in files.CONFIRMED.names} | {
        "trial": trial["trial"], "seed": seed, "selected": selected, **known,
    }  # fmt: skip


def check(asked: Asked, seed: Seed, progress: sources.Progress) -> Iterator[str]:
    """Refuse other images than the search's, and missing test images; warn of other versions."""
    described = seed.pipeline.data
    images = data_images.load(described, asked.data_dir, progress)
    if images.fingerprint != seed.made.fingerprint:
        raise Refusal(
            f"A search is confirmed on its own images, but those of '{described.name}' have changed since (fingerprint "
            f"{seed.made.fingerprint} then, {images.fingerprint} now); run the search again."
        )
    if asked.test:
        data_images.load_test(described, asked.data_dir, images, progress)
    now = {"torch": torch.__version__, "kdsearch": __version__}
    for name, value in now.items():
        if getattr(seed.made, name) != value:
            yield f"{name} was {getattr(seed.made, name)} in the search and is {value} here; accuracies may differ."


def confirm(asked: Asked, progress: sources.Progress) -> Iterator[Step | str]:
    """Train and judge what is missing; yields steps, and warnings. Raises Refusal before anything is trained."""
    pressed = threading.Event()
    with _alone(asked.folder), remembered_ctrl_c(pressed):
        cache.check()
        rows = {(row["trial"], row["seed"]): row for row in files.confirmed(asked.folder)}
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
        with results_folder.driver_lock(folder):
            yield
    except Timeout:
        raise Refusal(
            f"A search can be confirmed when it does not run, but '{folder}' is running; wait for its end: "
            f"kdsearch status {folder}"
        ) from None


def _resources(folder: Path, made: Made) -> dict[str, float]:
    """What a trial of the search had; raises Refusal where this machine could never give it."""
    plain: dict[str, float] = {"cpu": made.threads, "gpu": 1 if made.device == "cuda" else 0}
    found = facts.read_facts(folder).resources or plain
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
            keep_trace(asked.folder, f"{own['trial']}-{own['seed']}", said["trace"])
        if not row or said["last"]:
            rows[own["trial"], own["seed"]] = own
            files.write_table(asked.folder / "confirmed.parquet", list(rows.values()), files.CONFIRMED)
        if not said or "cause" in said:
            done += 1
            yield Step(
                seed.name, done, len(work), accuracy=own["accuracy"], ended=True, test=own["test"], cause=own["cause"]
            )
