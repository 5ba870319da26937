"""What Ray runs: a trial, whose rows become reports; networks trained beforehand; a student trained again."""

import json
import time
import traceback
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

REPORT_EVERY = 2.0
"""Seconds between reports that nothing else makes due: each one waits for the driver."""
RETRIES = 2
"""Times that work goes on elsewhere after its process or node was lost."""
LOST = "its process ended without a word (killed, or out of memory)"
FULL = ("No space left", "Disk quota exceeded", "StorageFull", "QuotaExceeded", "os error 28", "code: 28")
"""Of a disk that is full, as the operating system, safetensors and Arrow put it."""


def trial(config: dict[str, Any]) -> None:
    """Ray Tune's function: from the trial's checkpoint on where there is one.

    A failure is reported as the trial's outcome, with its cause, and not raised.
    """
    from ray import tune

    from kdsearch.checkpoints import Paused

    waiting: list[dict] = []
    reported = time.monotonic()

    def recording(doing: str, done: int, total: int) -> None:
        nonlocal reported
        if time.monotonic() - reported > REPORT_EVERY:
            tune.report({"rows": [], "complete": False, "doing": f"{doing}, {100 * done // total} %"})
            reported = time.monotonic()

    try:
        if _stopping(config):
            raise Paused
        for row, last in _rows(config, recording):
            waiting.append(row)
            due = last or row["kd_epoch"] in config["milestones"] or time.monotonic() - reported > REPORT_EVERY
            if due:
                outcome = {"accuracy": row["accuracy"], "complete": last}
                tune.report({"rows": waiting, **outcome})
                waiting, reported = [], time.monotonic()
    except Paused:
        tune.report({"rows": waiting, "complete": False, "paused": True})
    except Exception as error:  # whatever a trial raises is its outcome: the search goes on and shows the cause
        said = {"full": str(error)} if is_full(error) else {"cause": cause_of(error)}
        tune.report({"rows": waiting, "complete": False, **said, "trace": traceback.format_exc()})
        free_memory()


def is_full(error: BaseException) -> bool:
    """Does the disk lack room? That is no trial's fault."""
    return any(word in str(error) for word in FULL)


def free_memory() -> None:
    """Give the GPU back what a failed trial held: the next one runs in the same process."""
    import gc

    import torch

    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def cause_of(error: BaseException) -> str:
    """An error's kind and first line."""
    return f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}".rstrip(": ")


def _rows(config: dict[str, Any], progress: Any) -> Iterator[tuple[dict, bool]]:
    """Flat rows, and whether each is the last; the student is saved before the last one is given out."""
    from kdsearch import pipeline as pipelines
    from kdsearch.config import Pipeline
    from kdsearch.made import made_with
    from kdsearch.storage import at
    from kdsearch.store import save_net

    pipeline = Pipeline.model_validate(config["pipeline"])
    means = _means(config, progress)
    number = len(pipeline.links) - 1
    student = pipelines.untrained(pipeline, number, means.images)
    link = pipeline.student
    assert link.fit.epochs is not None
    storage = at(config["storage"])
    checkpoint = storage.folder / config["checkpoint"] if "checkpoint" in config else None
    for row in pipelines.run(pipeline, means, student, checkpoint):
        last = row.link == number and row.epoch == link.fit.epochs
        if last:
            path = storage.folder / config["student"]
            save_net(path, student, made_with(pipeline, means, row.accuracy))
            storage.push(path)
        yield row.flat(), last


def _stopping(config: dict[str, Any]) -> bool:
    """Is the search to end?"""
    from kdsearch.storage import at

    storage = at(config["storage"])
    return storage.pull(storage.folder / config["stop_file"])


def _means(config: dict[str, Any], progress: Any) -> Any:
    from functools import partial

    from kdsearch import cache, device
    from kdsearch.checkpoints import Keeping
    from kdsearch.pipeline import Means
    from kdsearch.storage import at
    from kdsearch.store import Store
    from kdsearch.targets import Targets

    device.set_up(config["threads"])
    images = _images(json.dumps(config["pipeline"]["data"]), config["data_dir"], config["device"], config["precision"])
    told = config.get("targets", {})  # what was chosen before, where a student is trained again
    targets = Targets(cache.folder() / "targets", config["cache_limit"], told, progress)
    storage, keeping = at(config["storage"]), None
    if "stop_file" in config:
        keeping = Keeping(tuple(config.get("milestones", ())), partial(_stopping, config), storage)
    return Means(images, Store(storage.folder / "store", storage), targets, keeping)


@lru_cache(maxsize=2)
def _images(data: str, data_dir: str, device: str, precision: str) -> Any:
    """The images of a worker process, opened once for all its trials."""
    import torch

    from kdsearch import data as images
    from kdsearch.config import Data
    from kdsearch.device import precision_of

    found = images.load(Data.model_validate(json.loads(data)), Path(data_dir))
    return found.to(torch.device(device), precision_of(precision, device))


def prepare(config: dict[str, Any], number: int) -> Iterator[dict]:
    """A Ray task: link `number` of a pipeline, trained through the store; yields its rows, then its facts.

    Where the search is to end, it is kept as it is, and the last that it yields is `paused`.
    """
    from kdsearch import pipeline as pipelines
    from kdsearch.checkpoints import Paused
    from kdsearch.config import Pipeline
    from kdsearch.data import silent

    pipeline = Pipeline.model_validate(config["pipeline"])
    work = pipelines.taught(pipeline, number, _means(config, silent))
    while True:
        try:
            # In its own chain this link is the last, but no student: no epoch of its counts as a KD epoch.
            yield {"row": next(work).flat() | {"kd_epoch": None}}
        except StopIteration as end:
            yield {"facts": end.value.facts}
            return
        except Paused:
            yield {"paused": True}
            return


def again(config: dict[str, Any]) -> Iterator[dict]:
    """A Ray task: a student, trained where `train` says so; then judged on the test images where `test` does.

    Yields its rows, and whether each is the last; its test accuracy, and on how many images; a failure, if any.
    """
    from kdsearch.data import silent

    try:
        for row, last in _rows(config, silent) if config["train"] else ():
            yield {"row": row, "last": last}
        if config["test"]:
            reached, images = _tested(config, _means(config, silent).images)
            yield {"test": reached, "test_images": images}
    except Exception as error:  # as with a trial, whatever it raises is its outcome
        yield {"cause": cause_of(error), "trace": traceback.format_exc()}


def _tested(config: dict[str, Any], images: Any) -> tuple[float, int]:
    from kdsearch.config import Pipeline
    from kdsearch.data import load_test
    from kdsearch.pipeline import loaded
    from kdsearch.storage import at
    from kdsearch.train import accuracy

    pipeline = Pipeline.model_validate(config["pipeline"])
    pixels, labels = load_test(pipeline.data, Path(config["data_dir"]), images)
    student = at(config["storage"]).folder / config["student"]
    return accuracy(loaded(pipeline.student, student, images), images, pixels, labels), len(labels)
