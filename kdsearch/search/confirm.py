"""A front's members trained again with other seeds, as Ray tasks; what is known already is not made again."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import Timeout

from kdsearch.cluster.own import lost, watched
from kdsearch.cluster.session import start_ray
from kdsearch.cluster.tasks import Tasks
from kdsearch.config.provenance import MadeTeacher
from kdsearch.distill.store import read_facts
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
from kdsearch.search.unconfirmed import Confirming, Seed, Wanted, check, missing
from kdsearch.search.work import Orders
from kdsearch.storage import cache
from kdsearch.storage.bucket import Storage


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


def _networks(own: Confirming, work: list[Seed], orders: Orders, tasks: Tasks) -> Iterator[Step | str]:
    """Train, as they were, the networks that the store has lost; warn where their weights are others."""
    taught: dict[str, tuple[Seed, int, MadeTeacher]] = {}
    for seed in work:
        for number, teacher in enumerate(seed.made.teachers if seed.train else ()):
            taught.setdefault(teacher.key, (seed, number, teacher))
    chains = {key: orders.work(seed.pipeline, made, link=number) for key, (seed, number, made) in taught.items()}
    for key, said in lacking(own.store, chains, tasks, task):
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
