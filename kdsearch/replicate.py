"""A config trained outside any search, once a seed."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path

import torch
from torch import Tensor, nn

from kdsearch import data, pipeline, sources
from kdsearch.config import Pipeline
from kdsearch.export import Recipe, config_text
from kdsearch.made import Made, made_with
from kdsearch.pipeline import Row
from kdsearch.store import Store, key_of, read_facts, save_net
from kdsearch.train import accuracy


@dataclass(frozen=True)
class Student:
    """A trained student and what it takes to write it down."""

    net: nn.Sequential
    pipeline: Pipeline
    images: data.Images
    store: Store
    accuracy: float | None

    def save(self, folder: Path) -> None:
        """Its weights and its config, as export writes them."""
        made = made_with(self.pipeline, self.images, self.store.folder, self.accuracy)
        save_net(folder / "student.safetensors", self.net, made)
        text = config_text(self.pipeline.model_dump(mode="json"), made, f"Seed {self.pipeline.student.seed}.")
        (folder / "config.yaml").write_text(text, encoding="utf-8")


@dataclass(frozen=True)
class Step:
    """An epoch done by one seed's training, or its end."""

    seed: int
    row: Row
    epochs: int
    """Of this row's link."""
    student: Student | None = None
    """At the end."""
    test: float | None = None
    """Accuracy on the test images, at the end, where asked for."""


def replicates(
    recipe: Recipe, seeds: int, data_dir: Path, store: Path, test: bool, progress: sources.Progress
) -> Iterator[Step | str]:
    """Train a config's student with its own seed and those after it; yields steps, and warnings before them.

    On the device that the config was made on, where there is one; on the GPU for a config made by hand.
    """
    there = torch.cuda.is_available() and not (recipe.made and recipe.made.device == "cpu")
    images = data.load(recipe.pipeline.data, data_dir, progress).to(torch.device("cuda" if there else "cpu"))
    tested = data.load_test(recipe.pipeline.data, data_dir, images, progress) if test else None
    yield from differences(recipe, Store(store), images)
    first = recipe.pipeline.student.seed
    for seed in range(first, first + seeds):
        *before, student = recipe.pipeline.links
        links = (*before, student.model_copy(update={"seed": seed}))
        again = recipe.pipeline.model_copy(update={"links": links})
        yield from _replicate(again, recipe.made, images, Store(store), tested)


def _replicate(
    again: Pipeline, made: Made | None, images: data.Images, store: Store, tested: tuple[Tensor, Tensor] | None
) -> Iterator[Step]:
    # A network that the store lacks is trained with the threads it had: sums in another order give other weights.
    for number, teacher in enumerate(made.teachers[: len(again.links) - 1] if made else ()):
        torch.set_num_threads(teacher.threads)
        yield from _steps(pipeline.taught(again, number, images, store), again)
    if made:
        torch.set_num_threads(made.threads)
    net = pipeline.untrained(again, len(again.links) - 1, images)
    step = None
    for step in _steps(pipeline.run(again, images, store, net), again):
        yield step
    assert step is not None
    reached = step.row.accuracy
    test = accuracy(net, images, *tested) if tested else None
    yield replace(step, student=Student(net, again, images, store, reached), test=test)


def _steps(rows: Iterator[Row], again: Pipeline) -> Iterator[Step]:
    for row in rows:
        epochs = again.links[row.link].fit.epochs
        assert epochs is not None
        yield Step(again.student.seed, row, epochs)


def differences(recipe: Recipe, store: Store, images: data.Images) -> list[str]:
    """Why this machine may not give the number that the config's trial had, a sentence each."""
    made, found = recipe.made, []
    if made is None:
        return []
    now = {
        "torch": torch.__version__, "kdsearch": version("kdsearch"), "device": images.mean.device.type,
        "fingerprint": images.fingerprint,
    }  # fmt: skip
    for name, value in now.items():
        if getattr(made, name) != value:
            found.append(f"{name} was {getattr(made, name)} and is {value} here")
    for number, teacher in enumerate(made.teachers):
        path = store.path(key_of(recipe.pipeline, number, images.fingerprint))
        if path.exists() and read_facts(path)["digest"] != teacher.digest:
            found.append(f"link {number} in '{store.folder}' has other weights than the network that taught the trial")
    return found
