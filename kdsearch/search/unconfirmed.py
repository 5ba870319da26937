"""What a front's members lack of the seeds that are asked for: which students are to be trained, which judged."""

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ray
import torch

from kdsearch import __version__
from kdsearch.config.parse import parse
from kdsearch.config.pipeline import SEEDS, Pipeline
from kdsearch.config.provenance import Made
from kdsearch.data.folder import placed
from kdsearch.data.images import load, load_test
from kdsearch.distill.store import Store, read_facts
from kdsearch.errors import Refusal
from kdsearch.results import facts as results_facts
from kdsearch.results import files, front
from kdsearch.results import tables as results_tables
from kdsearch.results.metric import METRICS
from kdsearch.search.plan import Progress
from kdsearch.search.work import Orders, Work
from kdsearch.storage import cache
from kdsearch.storage.bucket import Storage


@dataclass(frozen=True)
class Wanted:
    """What `confirm` is told."""

    seeds: int = 5
    """Of each member, beside the selected one."""
    test: bool = False
    """Students are judged on the test images, too."""
    data_dir: Path = Path("data")
    data: str | None = None
    """Where the folder of images lies now; they must be the same."""
    max_concurrent: int | None = None
    """Seeds at a time, at most."""


@dataclass(frozen=True)
class Confirming:
    """A search whose front is confirmed, and what is wanted of it."""

    storage: Storage
    folder: Path
    wanted: Wanted

    @property
    def store(self) -> Store:
        return Store(self.storage.folder / "store", self.storage)

    def orders(self, made: Made) -> Orders:
        """With what a trial of the search had; raises Refusal where this machine could never give it."""
        resources = _resources(self.folder, made)
        return Orders(self.storage, self.folder, self.wanted.data_dir, resources, made.precision, cache.limit())


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

    @property
    def checkpoint(self) -> Path:
        """From which it goes on."""
        return self.student.parents[1] / "checkpoints" / self.student.name

    def work(self, orders: Orders) -> Work:
        """The student's, as the selected one was made."""
        files = {"student": self.student, "checkpoint": self.checkpoint}
        return orders.work(self.pipeline, self.made, train=self.train, test=self.test, **files)


def _resources(folder: Path, made: Made) -> Mapping[str, float]:
    plain = {"cpu": made.threads, "gpu": 1 if made.device == "cuda" else 0}
    found = results_facts.read_facts(folder).resources or plain
    there = ray.cluster_resources()
    for kind in ("CPU", "GPU"):
        asked, given = found[kind.lower()], there.get(kind, 0)
        if asked > given and not os.environ.get("RAY_ADDRESS"):
            raise Refusal(
                f"A student is confirmed with what its search gave a trial, {asked:g} {kind}s, but there are {given:g} "
                f"here; confirm it where it was trained."
            )
    return found


def missing(own: Confirming, rows: Mapping[tuple[str, int], dict]) -> list[Seed]:
    """All that is asked for and not known yet, the first seed of every member first."""
    tables = results_tables.read(own.folder)
    if any(row["replicate_of"] for row in tables.trials.values()):
        raise Refusal(
            f"The cells of '{own.folder}' have their seeds, by which they stand on its front: to confirm them with "
            f"these would count them twice. More seeds: kdsearch tune … --name {own.folder.name} --resume --seeds N"
        )
    names = front.members(tables.trials.values())
    if not names:
        raise Refusal("Only a front of fully trained trials can be confirmed, but this search has none yet.")
    found = [_missing_of(own, tables.trials[name], rows) for name in names]
    return [seed for _, seed in sorted((pair for member in found for pair in member), key=lambda pair: pair[0])]


def _missing_of(own: Confirming, trial: dict, rows: Mapping[tuple[str, int], dict]) -> Iterator[tuple[int, Seed]]:
    """Seeds of one member that lack something, numbered: 0 is the selected one, which is never trained again."""
    name, folder = trial["trial"], own.folder
    selected = files.weights(folder, "students", name)
    made = parse(Made, read_facts(selected, "The search must be run again to have it."), f"'made' in '{selected}'")
    known = sum(row["trial"] == name and not row["selected"] for row in rows.values())
    chosen = Pipeline.model_validate_json(trial["pipeline"])
    if own.wanted.data is not None:
        chosen = chosen.on(placed(own.wanted.data))
    for number in range(max(own.wanted.seeds, known) + 1):
        seed = (trial["seed"] + number) % SEEDS
        row = rows.get((name, seed)) or _row(trial, seed, selected=number == 0)
        student = files.weights(folder, "confirmed", f"{name}-{seed}") if number else selected
        test = own.wanted.test and row["test"] is None
        train = number > 0 and (row["accuracy"] is None or (test and not student.exists()))
        pipeline = chosen.with_seed(seed)
        if train or test:
            yield number, Seed(row, pipeline, made, student, train, test)


def _row(trial: dict, seed: int, selected: bool) -> dict[str, Any]:
    known = {name: trial.get(name) for name in (*METRICS.values(), "seconds")} if selected else {}
    return {name: None for name in files.CONFIRMED.names} | {
        "trial": trial["trial"], "seed": seed, "selected": selected, **known,
    }  # fmt: skip


def check(wanted: Wanted, seed: Seed, progress: Progress) -> Iterator[str]:
    """Refuse other images than the search's, and missing test images; warn of other versions."""
    described = seed.pipeline.data
    images = load(described, wanted.data_dir, progress)
    if images.fingerprint != seed.made.fingerprint:
        raise Refusal(
            f"A search is confirmed on its own images, but those of '{described.name}' have changed since (fingerprint "
            f"{seed.made.fingerprint} then, {images.fingerprint} now); run the search again."
        )
    if wanted.test:
        load_test(described, wanted.data_dir, images, progress)
    now = {"torch": torch.__version__, "kdsearch": __version__}
    for name, value in now.items():
        if getattr(seed.made, name) != value:
            yield f"{name} was {getattr(seed.made, name)} in the search and is {value} here; accuracies may differ."
