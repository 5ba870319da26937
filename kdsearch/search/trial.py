"""What Ray runs: a trial, whose rows become reports; networks trained beforehand; a student trained again."""

import json
import time
import traceback
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

from kdsearch.errors import cause_of, is_full

REPORT_EVERY = 2.0
"""Seconds between reports that nothing else makes due: each one waits for the driver."""


def trial(config: dict[str, Any]) -> None:
    """Ray Tune's function: from the trial's checkpoint on where there is one.

    A failure is reported as the trial's outcome, with its cause, and not raised.
    """
    from ray import tune

    from kdsearch.distill.checkpoint import Paused

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


def free_memory() -> None:
    """Give the GPU back what a failed trial held: the next one runs in the same process."""
    import gc

    import torch

    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def keep_trace(folder: Path, name: str, trace: str) -> Path:
    """Write a failure's traceback beside the tables of `folder`; returns the file."""
    path = folder / "failures" / f"{name}.txt"
    path.parent.mkdir(exist_ok=True)
    path.write_text(trace, encoding="utf-8")
    return path


def _rows(config: dict[str, Any], progress: Any) -> Iterator[tuple[dict, bool]]:
    """Flat rows, and whether each is the last; the student is saved before the last one is given out."""
    from kdsearch.config.pipeline import Pipeline
    from kdsearch.distill import pipeline as distill_pipeline
    from kdsearch.distill.pipeline import made_with
    from kdsearch.distill.store import save_net
    from kdsearch.storage.bucket import at

    pipeline = Pipeline.model_validate(config["pipeline"])
    means = _means(config, progress)
    number = len(pipeline.links) - 1
    student = distill_pipeline.untrained(pipeline, number, means.images)
    link = pipeline.student
    assert link.fit.epochs is not None
    storage = at(config["storage"])
    checkpoint = storage.folder / config["checkpoint"] if "checkpoint" in config else None
    for row in distill_pipeline.run(pipeline, means, student, checkpoint):
        last = row.link == number and row.epoch == link.fit.epochs
        if last:
            path = storage.folder / config["student"]
            save_net(path, student, made_with(pipeline, means, row.accuracy))
            storage.push(path)
        yield row.flat(), last


def _stopping(config: dict[str, Any]) -> bool:
    """Is the search to end?"""
    from kdsearch.storage.bucket import at

    storage = at(config["storage"])
    return storage.pull(storage.folder / config["stop_file"])


def _means(config: dict[str, Any], progress: Any) -> Any:
    from functools import partial

    from kdsearch.distill import device as distill_device
    from kdsearch.distill.checkpoint import Keeping
    from kdsearch.distill.pipeline import Means
    from kdsearch.distill.store import Store
    from kdsearch.distill.teacher import Targets
    from kdsearch.storage import cache as storage_cache
    from kdsearch.storage.bucket import at

    distill_device.set_up(config["threads"])
    images = _images(json.dumps(config["pipeline"]["data"]), config["data_dir"], config["device"], config["precision"])
    told = config.get("targets", {})  # what was chosen before, where a student is trained again
    targets = Targets(storage_cache.folder() / "targets", config["cache_limit"], told, progress)
    storage, keeping = at(config["storage"]), None
    if "stop_file" in config:
        keeping = Keeping(tuple(config.get("milestones", ())), partial(_stopping, config), storage)
    return Means(images, Store(storage.folder / "store", storage), targets, keeping)


@lru_cache(maxsize=2)
def _images(data: str, data_dir: str, device: str, precision: str) -> Any:
    """The images of a worker process, opened once for all its trials."""
    import torch

    from kdsearch.config.pipeline import Data
    from kdsearch.data import images as data_images
    from kdsearch.distill.device import precision_of

    found = data_images.load(Data.model_validate(json.loads(data)), Path(data_dir))
    return found.to(torch.device(device), precision_of(precision, device))


def prepare(config: dict[str, Any], number: int) -> Iterator[dict]:
    """A Ray task: link `number` of a pipeline, trained through the store; yields its rows, then its facts.

    Where the search is to end, it is kept as it is, and the last that it yields is `paused`.
    """
    from kdsearch.config.pipeline import Pipeline
    from kdsearch.data.images import silent
    from kdsearch.distill import pipeline as distill_pipeline
    from kdsearch.distill.checkpoint import Paused

    pipeline = Pipeline.model_validate(config["pipeline"])
    work = distill_pipeline.taught(pipeline, number, _means(config, silent))
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
    from kdsearch.data.images import silent

    try:
        for row, last in _rows(config, silent) if config["train"] else ():
            yield {"row": row, "last": last}
        if config["test"]:
            reached, images = _tested(config, _means(config, silent).images)
            yield {"test": reached, "test_images": images}
    except Exception as error:  # as with a trial, whatever it raises is its outcome
        yield {"cause": cause_of(error), "trace": traceback.format_exc()}


def _tested(config: dict[str, Any], images: Any) -> tuple[float, int]:
    from kdsearch.config.pipeline import Pipeline
    from kdsearch.data.images import load_test
    from kdsearch.distill.pipeline import loaded
    from kdsearch.distill.train import accuracy
    from kdsearch.storage.bucket import at

    pipeline = Pipeline.model_validate(config["pipeline"])
    pixels, labels = load_test(pipeline.data, Path(config["data_dir"]), images)
    student = at(config["storage"]).folder / config["student"]
    return accuracy(loaded(pipeline.student, student, images), images, pixels, labels), len(labels)
