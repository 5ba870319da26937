"""A front's members trained again with other seeds, as Ray tasks; what is known already is not made again."""

import os
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ray
import torch
from filelock import Timeout

from kdsearch import __version__
from kdsearch.cluster.own import lost, watched
from kdsearch.cluster.session import start_ray
from kdsearch.cluster.tasks import Tasks
from kdsearch.config.parse import parse
from kdsearch.config.pipeline import SEEDS, Pipeline
from kdsearch.config.provenance import Made, MadeTeacher
from kdsearch.data.folder import placed
from kdsearch.data.images import load, load_test
from kdsearch.distill.store import Store, read_facts
from kdsearch.errors import Refusal
from kdsearch.interrupts import remembered_ctrl_c
from kdsearch.results import facts as results_facts
from kdsearch.results import files, front
from kdsearch.results import tables as results_tables
from kdsearch.results.folder import driver_lock, keep_trace
from kdsearch.results.metric import METRICS
from kdsearch.results.searches import bring_networks, bring_students, driven, in_bucket
from kdsearch.search.plan import Progress
from kdsearch.search.progress import Step
from kdsearch.search.resume import check_recipe
from kdsearch.search.teachers import lacking
from kdsearch.search.trial import task
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


def confirm(
    search: str, storage: Storage, wanted: Wanted, show: Callable[[Step | str], None], progress: Progress
) -> Path:
    """Train the front's members again with other seeds, and judge them; all that is known already stays.

    `show` is handed steps, and warnings. Returns the search's folder. Raises Refusal before anything is trained.
    """
    if wanted.seeds < 2:
        raise Refusal(f"An interval needs two seeds or more, but got {wanted.seeds}.")
    pressed = threading.Event()
    with driven(search, storage) as (folder, lease, send):
        own = Confirming(storage if in_bucket(folder, storage) else Storage(folder.parent), folder, wanted)
        _bring(own)
        with _alone(folder), remembered_ctrl_c(pressed):
            died: list[str] = []
            try:
                for step in _steps(own, (pressed, died.append), progress):
                    lease.refresh()
                    if isinstance(step, Step) and step.ended:
                        send()
                    show(step)
            except KeyboardInterrupt:
                raise lost(died[0], f"kdsearch confirm {search}") if died else KeyboardInterrupt from None
    return folder


def _bring(own: Confirming) -> None:
    """Of a search in a bucket: the front's students and what taught them; for a test, the confirmed ones."""
    trials = front.members(results_tables.read(own.folder).trials.values())
    bring_students(own.storage, own.folder, trials)
    students = [files.weights(own.folder, "students", trial) for trial in trials]
    made = [read_facts(path) for path in students if own.storage.uri and path.exists()]
    bring_networks(own.storage, (teacher["key"] for facts in made for teacher in facts["teachers"]))
    if own.wanted.test:
        own.storage.pull_folder(own.folder / "confirmed", absent=True)


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


def _steps(
    own: Confirming, ends: tuple[threading.Event, Callable[[str], None]], progress: Progress
) -> Iterator[Step | str]:
    """`ends`: set by Ctrl-C, and told which process of Ray died."""
    cache.check()
    rows = {(row["trial"], row["seed"]): row for row in files.confirmed(own.folder)}
    work = missing(own, rows)
    if not work:
        return
    check_recipe(results_facts.read_facts(own.folder))
    yield from check(own.wanted, work[0], progress)
    start_ray()
    orders = own.orders(work[0].made)
    own.storage.remove(orders.stop_file)  # of a search that was killed as it stopped
    tasks = Tasks(orders.resources, own.wanted.max_concurrent, ends[0])
    with watched(ends[1]):
        yield from _networks(own, work, orders, tasks)
        yield from _seeds(own, work, rows, orders, tasks)


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    try:
        with driver_lock(folder):
            yield
    except Timeout:
        raise Refusal(
            f"A search can be confirmed when it does not run, but '{folder}' is running; wait for its end: "
            f"kdsearch status {folder}"
        ) from None


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


def _networks(own: Confirming, work: list[Seed], orders: Orders, tasks: Tasks) -> Iterator[Step | str]:
    """Train, as they were, the networks that the store has lost; warn where their weights are others."""
    taught: dict[str, tuple[Seed, int, MadeTeacher]] = {}
    for seed in work:
        for number, teacher in enumerate(seed.made.teachers if seed.train else ()):
            taught.setdefault(teacher.key, (seed, number, teacher))
    chains = {key: orders.work(seed.pipeline, made, link=number) for key, (seed, number, made) in taught.items()}
    for key, said in lacking(own.store, chains, tasks):
        name = f"network {key[:6]}"
        if cause := said.get("cause") or said.get("full"):
            raise Refusal(f"The {name}, which teaches, could not be trained: {cause}")
        if "warning" in said:
            yield said["warning"]
        row, link = said.get("row"), chains[key].link or 0
        if row and row["stage"] != "record":
            epochs = chains[key].pipeline.links[link].fit.epochs or 0
            ended = row["epoch"] == epochs and row["link"] == link
            yield Step(name, 0, len(work), row["epoch"], epochs, row["accuracy"], ended)
    for key, (seed, _, teacher) in taught.items():
        if key in own.store and read_facts(own.store.path(key))["digest"] != teacher.digest:
            yield f"the network {key[:6]} has other weights than when it taught trial {seed.row['trial']}."


def _seeds(own: Confirming, work: list[Seed], rows: dict, orders: Orders, tasks: Tasks) -> Iterator[Step | str]:
    """Train and judge; every end goes to the table at once."""
    plain = {place: seed.work(orders).model_dump(mode="json") for place, seed in enumerate(work)}
    seconds: dict[int, dict[int, float]] = {place: {} for place in plain}  # by epoch: some are told again
    done = 0
    for place, said in tasks.follow(task, plain):
        if "warning" in said:
            yield said["warning"]
            continue
        seed, row = work[place], said.get("row")
        found, last = seed.row, len(seed.pipeline.links) - 1
        if row and row["link"] == last:
            seconds[place][row["epoch"]] = row["seconds"]
            epochs = seed.pipeline.student.fit.epochs or 0
            yield Step(seed.name, done, len(work), row["epoch"], epochs, row["accuracy"])
        cause = said.get("cause") or said.get("full")
        if "paused" in said:
            continue
        if "accuracy" in said:
            found |= {name: said[name] for name in METRICS.values()}
            found |= {"seconds": sum(seconds[place].values()), "cause": None}
        elif "test" in said:
            found |= {"test": said["test"], "test_images": said["test_images"], "cause": None}
        elif cause:
            found["cause"] = cause
            keep_trace(own.folder, f"{found['trial']}-{found['seed']}", said["trace"])
        if not row:
            rows[found["trial"], found["seed"]] = found
            files.write_table(own.folder / "confirmed.parquet", list(rows.values()), files.CONFIRMED)
        if not said or cause:
            done += 1
            own.storage.remove(seed.checkpoint)
            yield Step(
                seed.name, done, len(work), accuracy=found["accuracy"], ended=True, test=found["test"],
                cause=found["cause"],
            )  # fmt: skip
