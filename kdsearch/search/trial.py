"""What Ray runs: a trial, whose rows become reports; a task that trains one link, or judges it."""

import gc
import json
import time
import traceback
from collections.abc import Callable, Generator, Iterator
from functools import lru_cache, partial
from pathlib import Path
from typing import Any, TypeVar

import torch

from kdsearch.config.pipeline import Data
from kdsearch.data.images import Images, load, load_test, silent
from kdsearch.distill import device
from kdsearch.distill.checkpoint import Keeping, Paused
from kdsearch.distill.pipeline import Means, Row, loaded, made_with, run, taught, untrained, validated
from kdsearch.distill.store import Store, save_net
from kdsearch.distill.teacher import Targets
from kdsearch.distill.train import Judged, judge
from kdsearch.errors import cause_of, is_full, nobody
from kdsearch.search import networks
from kdsearch.search.work import Work
from kdsearch.storage import cache
from kdsearch.storage.bucket import at

REPORT_EVERY = 2.0
"""Seconds between reports that nothing else makes due: each one waits for the driver."""
Progress = Callable[[str, int, int], None]
Result = TypeVar("Result")


def trial(config: dict[str, Any]) -> None:
    """Ray Tune's function; `config` is a Work as plain data: from the trial's checkpoint on where there is one.

    A failure is reported as the trial's outcome, with its cause, and not raised.
    """
    from ray import tune

    work = Work.model_validate(config)
    waiting: list[dict] = []
    reported = time.monotonic()

    def recording(doing: str, done: int, total: int) -> None:
        nonlocal reported
        if time.monotonic() - reported > REPORT_EVERY:
            tune.report({"rows": [], "complete": False, "doing": f"{doing}, {100 * done // total} %"})
            reported = time.monotonic()

    def told(row: dict) -> bool:
        """Whether an epoch is reported now; the last one is once the student is saved."""
        ended = row["link"] == len(work.pipeline.links) - 1 and row["epoch"] == work.pipeline.student.fit.epochs
        return not ended and (row["kd_epoch"] in work.milestones or time.monotonic() - reported > REPORT_EVERY)

    def tell(sentence: str) -> None:
        tune.report({"rows": [], "complete": False, "warning": sentence})

    try:
        if work.impossible:
            tune.report({"rows": [], "complete": False, "cause": work.impossible, "trace": ""})
            return
        if _stopping(work):
            raise Paused
        rows = student(work, recording, tell)
        while True:
            try:
                waiting.append(next(rows))
            except StopIteration as end:
                tune.report({"rows": waiting, **_reached(end.value), "complete": True})
                return
            if told(waiting[-1]):
                tune.report({"rows": waiting, "accuracy": waiting[-1]["accuracy"], "complete": False})
                waiting, reported = [], time.monotonic()
    except Paused:
        tune.report({"rows": waiting, "complete": False, "paused": True})
    except Exception as error:  # whatever a trial raises is its outcome: the search goes on and shows the cause
        tune.report({"rows": waiting, "complete": False, **_failure(error)})
        _free_memory()


def task(plain: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """A Ray task; `plain` is a Work: a network that teaches, through the store, or a student trained and judged.

    Yields each `row`, and a `warning` where a file was damaged; then the `facts` of a network, or a student's
    `accuracy` and `balanced_accuracy`; `test` accuracy and on how many `test_images`; `paused` where the search is to
    end and the link is kept as it is; a failure's `cause` (or `full`: of the disk) and `trace`.
    """
    work, warnings = Work.model_validate(plain), list[str]()
    try:
        if _stopping(work):
            raise Paused
        if work.link is not None:
            # In its own chain this link is the last, but no student: no epoch of its counts as a KD epoch.
            rows = _flat(taught(work.pipeline, work.link, _means(work, silent, warnings.append)))
            trained = yield from _told(rows, warnings, kd_epoch=None)
            yield {"facts": trained.facts}
        elif work.train:
            yield _reached((yield from _told(student(work, silent, warnings.append), warnings)))
        if work.test:
            reached, images = _tested(work)
            yield {"test": reached, "test_images": images}
    except Paused:
        yield {"paused": True}
    except Exception as error:  # as with a trial, whatever it raises is its outcome
        yield _failure(error)


def _reached(judged: Judged) -> dict[str, float]:
    return {"accuracy": judged.accuracy, "balanced_accuracy": judged.balanced}


def _failure(error: Exception) -> dict[str, str]:
    said = {"full": str(error)} if is_full(error) else {"cause": cause_of(error)}
    return {**said, "trace": traceback.format_exc()}


def _free_memory() -> None:
    """Give the GPU back what a failed trial held: the next one runs in the same process."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def student(work: Work, progress: Progress, tell: Callable[[str], None] = nobody) -> Generator[dict, None, Judged]:
    """Trains a pipeline's last link and saves it; yields flat rows, returns what it said of the validation images."""
    pipeline, means, storage = work.pipeline, _means(work, progress, tell), at(work.storage)
    number = len(pipeline.links) - 1
    if work.stored:
        trained = yield from _flat(taught(pipeline, number, means))
        net = trained.net
    else:
        net = untrained(pipeline, number, means.images)
        for row in run(pipeline, means, net, storage.folder / work.checkpoint if work.checkpoint else None):
            yield row.flat()
    judged = validated(net, means.seen(pipeline.student.net))
    path = storage.folder / work.student
    save_net(path, net, made_with(pipeline, means, judged))
    storage.push(path)
    return judged


def _told(rows: Generator[dict, None, Result], warnings: list[str], **more: None) -> Generator[dict, None, Result]:
    while True:
        try:
            row = next(rows)
        except StopIteration as end:
            return end.value
        finally:
            yield from ({"warning": warnings.pop(0)} for _ in tuple(warnings))
        yield {"row": row | more}


def _flat(rows: Generator[Row, None, Result]) -> Generator[dict, None, Result]:
    while True:
        try:
            yield next(rows).flat()
        except StopIteration as end:
            return end.value


def _tested(work: Work) -> tuple[float, int]:
    images, storage = _means(work, silent).seen(work.pipeline.student.net), at(work.storage)
    pixels, labels = load_test(work.pipeline.data, Path(work.data_dir), images)
    path = storage.folder / work.student
    if not path.exists():
        storage.pull(path)
    return judge(loaded(work.pipeline.student, path, images), images, pixels, labels).accuracy, len(labels)


def _stopping(work: Work) -> bool:
    """Is the search to end?"""
    storage = at(work.storage)
    return storage.pull(storage.folder / work.stop_file)


def _means(work: Work, progress: Progress, tell: Callable[[str], None] = nobody) -> Means:
    device.set_up(work.threads)
    images = _images(work.pipeline.data.model_dump_json(), work.data_dir, work.device, work.precision, work.memory)
    targets = Targets(cache.folder() / "targets", work.cache_limit, work.targets, progress)
    storage = at(work.storage)
    networks.bring(work.pipeline, storage)
    keeping = Keeping(work.milestones, partial(_stopping, work), storage)
    return Means(images, Store(storage.folder / "store", storage), targets, keeping, tell)


@lru_cache(maxsize=2)
def _images(data: str, data_dir: str, device_name: str, precision: str, memory: int | None) -> Images:
    """The images of a worker process, opened once for all its trials."""
    found = load(Data.model_validate(json.loads(data)), Path(data_dir), memory=memory)
    return found.to(torch.device(device_name), device.precision_of(precision, device_name))
