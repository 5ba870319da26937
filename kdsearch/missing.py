"""What of a confirmed front is not known yet: students to train, students to judge. Knows nothing of Ray."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from kdsearch import __version__, data, front, results, sources
from kdsearch.config import SEEDS, Pipeline
from kdsearch.errors import Refusal
from kdsearch.made import Made
from kdsearch.parsing import parse
from kdsearch.store import read_facts


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
    tables = results.read(asked.folder)
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
    return {name: None for name in results.CONFIRMED.names} | {
        "trial": trial["trial"], "seed": seed, "selected": selected, **known,
    }  # fmt: skip


def check(asked: Asked, seed: Seed, progress: sources.Progress) -> Iterator[str]:
    """Refuse other images than the search's, and missing test images; warn of other versions."""
    described = seed.pipeline.data
    images = data.load(described, asked.data_dir, progress)
    if images.fingerprint != seed.made.fingerprint:
        raise Refusal(
            f"A search is confirmed on its own images, but those of '{described.name}' have changed since (fingerprint "
            f"{seed.made.fingerprint} then, {images.fingerprint} now); run the search again."
        )
    if asked.test:
        data.load_test(described, asked.data_dir, images, progress)
    now = {"torch": torch.__version__, "kdsearch": __version__}
    for name, value in now.items():
        if getattr(seed.made, name) != value:
            yield f"{name} was {getattr(seed.made, name)} in the search and is {value} here; accuracies may differ."
