"""A config trained outside any search, once a seed."""

from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from kdsearch.config.pipeline import Pipeline
from kdsearch.config.provenance import RECIPE, Made, MadeTeacher
from kdsearch.data import images as data_images
from kdsearch.data.folder import placed
from kdsearch.data.pictures import Progress
from kdsearch.data.rows import Rows
from kdsearch.data.sight import seen_by
from kdsearch.distill import device
from kdsearch.distill import pipeline as distill_pipeline
from kdsearch.distill.pipeline import Means, Row, made_with, validated
from kdsearch.distill.store import Store, save_net
from kdsearch.distill.teacher import Targets, most_views
from kdsearch.distill.train import Diverged, Judged, judge
from kdsearch.errors import Refusal, nobody
from kdsearch.nets import pairs
from kdsearch.results import searches
from kdsearch.results import tables as results_tables
from kdsearch.results.show import console
from kdsearch.search.judges import with_size
from kdsearch.search.networks import bring
from kdsearch.search.progress import Step, Steps
from kdsearch.search.recipe import Recipe, changed, config_text, read_config
from kdsearch.search.settings import check_chosen
from kdsearch.storage import cache
from kdsearch.storage.bucket import at, usual
from kdsearch.storage.cache import machine


@dataclass(frozen=True)
class Student:
    """A trained student and what it takes to write it down."""

    net: nn.Module = field(repr=False)
    pipeline: Pipeline = field(repr=False)
    means: Means = field(repr=False)
    judged: Judged = field(repr=False)
    """On the validation images."""
    test: float | None
    """Accuracy on the test images, where asked for."""
    faint: tuple[str, ...]
    """Loss terms that did not teach, as `stage: term`."""

    @property
    def accuracy(self) -> float:
        """On the validation images, 0–1."""
        return self.judged.accuracy

    @property
    def balanced_accuracy(self) -> float:
        """The mean over classes of the same."""
        return self.judged.balanced

    @property
    def seed(self) -> int:
        return self.pipeline.student.seed

    def save(self, folder: Path) -> None:
        """Its weights and its config, as export writes them."""
        made = made_with(self.pipeline, self.means, self.judged)
        save_net(folder / "student.safetensors", self.net, made)
        text = config_text(self.pipeline.model_dump(mode="json"), made, f"Seed {self.pipeline.student.seed}.")
        (folder / "config.yaml").write_text(text, encoding="utf-8")


def train(
    config: str | Path,
    seeds: int = 1,
    *,
    test: bool = False,
    data: str | None = None,
    output: str | Path | None = None,
    data_dir: str | Path = "data",
    results: str | Path | None = None,
    progress: bool = True,
    ended: Callable[[Student, float | None], None] = nobody,
) -> list[Student]:
    """Run a config.yaml outside any search, once a seed: its own and those after it.

    `test`: read the test images, once, at the end; `data`: where the config's images lie now; `output`: save the
    students and configs there. `ended` hears of each student, and of the accuracy that the config tells of its seed.
    Raises Refusal.
    """
    if seeds < 1:
        raise Refusal(f"A config is trained once a seed, so seeds must be at least 1, but got {seeds}.")
    recipe, storage = read_config(Path(config)), at(str(results or usual()))
    edited = changed(Path(config).parent)
    if data is not None:
        recipe = replace(recipe, pipeline=recipe.pipeline.on(placed(data)), moved=True)
    store, students = storage.folder / "store", []
    if recipe.made:
        searches.bring_networks(storage, (teacher.key for teacher in recipe.made.teachers))
    else:
        storage.pull_folder(store, absent=True)
    bring(recipe.pipeline, storage)
    recorded = {recipe.pipeline.student.seed: recipe.made and recipe.made.accuracy}
    with Steps(console(quiet=not progress)) as watch, searches.sent(storage, store), _told():
        for said in replicates(recipe, seeds, Path(data_dir).resolve(), store, test, watch.read, watch.out.print):
            if edited:
                watch.warn(f"{edited}, and so it is trained.")
                edited = ""
            if not isinstance(said, Student):
                watch.show(said)
                continue
            students.append(said)
            ended(said, recorded.get(said.seed))
            if output is not None:
                said.save(Path(output) / f"seed-{said.seed}")
    return students


@contextmanager
def _told() -> Iterator[None]:
    """A loss that is no number, as a sentence: a search makes it its trial's outcome."""
    try:
        yield
    except Diverged as error:
        raise Refusal(
            f"The config cannot be trained: {error}; lower fit.learning_rate of the network that was at work."
        ) from error


def replicates(
    recipe: Recipe,
    seeds: int,
    data_dir: Path,
    store: Path,
    test: bool,
    progress: Progress,
    tell: Callable[[str], None] = nobody,
) -> Iterator[Step | Student | str]:
    """Train a config's student with its own seed and those after it; yields steps, warnings, and each student; `tell`
    hears what was read.

    On the device that the config was made on, where there is one; on the GPU for a config made by hand.
    """
    cache.check()
    chosen, made = recipe.pipeline, recipe.made
    check_chosen(chosen)
    kind = "cuda" if torch.cuda.is_available() and not (made and made.device == "cpu") else "cpu"
    precision = device.precision_of(made.precision if made else "auto", kind)
    device.set_up(torch.get_num_threads())
    chosen = chosen.model_copy(update={"data": with_size(chosen.data, made)})
    images = data_images.load(chosen.data, data_dir, progress).to(torch.device(kind), precision)
    if chosen.data.views is None:
        images = replace(images, views=most_views([chosen], images, cache.limit()))
        chosen = chosen.model_copy(update={"data": chosen.data.model_copy(update={"views": images.views})})
    pairs.check(chosen, images.shape, len(images.classes))  # before anything is trained
    tested = (
        data_images.load_test(chosen.data, data_dir, seen_by(images, chosen.student.net), progress) if test else None
    )
    tell(images.account)
    if recipe.moved and made and images.fingerprint != made.fingerprint:
        raise Refusal(
            f"Images may lie elsewhere, but must be the same, and those of '{chosen.data.name}' are others "
            f"(fingerprint {made.fingerprint} in the config, {images.fingerprint} here); leave --data out, or write "
            f"that folder into the config's data.name."
        )
    yield from (f"{text}; the accuracy may differ." for text in differences(made, images))
    targets = Targets(cache.folder() / "targets", cache.limit(), progress=progress)
    means = Means(images, Store(store), targets, tell=tell)
    first = chosen.student.seed
    for seed in range(first, first + seeds):
        yield from _replicate(chosen.with_seed(seed), made, means, tested)


def _replicate(
    again: Pipeline, made: Made | None, means: Means, tested: tuple[Rows, Tensor] | None
) -> Iterator[Step | Student | str]:
    rows: list[Row] = []
    # A network that the store lacks is trained as it was: sums in another order give other weights.
    for number, teacher in enumerate(made.teachers[: len(again.links) - 1] if made else ()):
        work = distill_pipeline.taught(again, number, _as_made(teacher, means))
        there = yield from _steps(work, again, rows)
        if there.facts["digest"] != teacher.digest:
            said = f"the network of link {number} has other weights than the one that taught the recorded student"
            yield f"{said}; the accuracy may differ."
    means = _as_made(made, means) if made else means
    net = distill_pipeline.untrained(again, len(again.links) - 1, means.images)
    yield from _steps(distill_pipeline.run(again, means, net), again, rows)
    seen = means.seen(again.student.net)
    test = judge(net, seen, *tested).accuracy if tested else None
    faint = (f"{stage}: {term}" for _, stage, term in results_tables.faint({"trial": "", **row.flat()} for row in rows))
    yield Student(net, again, means, validated(net, seen), test, tuple(faint))


def _as_made(made: Made | MadeTeacher, means: Means) -> Means:
    """The same threads, precision, and choice between recorded and live answers."""
    device.set_up(made.threads)
    images = replace(means.images, precision=made.precision)
    return replace(means, images=images, targets=replace(means.targets, told=made.targets))


def _steps(work: Iterator[Row], again: Pipeline, rows: list[Row]) -> Generator[Step, None, Any]:
    """A generator's rows as steps, and noted; returns what it returns."""
    while True:
        try:
            row = next(work)
        except StopIteration as end:
            return end.value
        if row.stage != "record":
            rows.append(row)
            name, epochs = f"link {row.link}, seed {again.student.seed}", again.links[row.link].fit.epochs or 0
            yield Step(name, epoch=row.epoch, epochs=epochs, accuracy=row.accuracy, stage=row.stage)


def differences(made: Made | None, images: data_images.Images) -> list[str]:
    """Why this machine may not give the recorded number, a sentence each."""
    now = {
        "torch": torch.__version__,
        "kdsearch": version("kdsearch"),
        "machine": machine(),
        "device": images.mean.device.type,
        "fingerprint": images.fingerprint,
    }
    told = ((name, getattr(made, name), value) for name, value in now.items()) if made else ()
    found = [f"{name} was {then} and is {value} here" for name, then, value in told if then != value]
    if made and made.recipe != RECIPE:
        found.append(f"its number belongs to recipe {made.recipe}, and here pipelines are trained by recipe {RECIPE}")
    return found
