"""A trial as Ray runs it: rows become reports, the finished student is saved; and networks trained beforehand."""

import json
import time
import traceback
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

REPORT_EVERY = 2.0
"""Seconds between reports that nothing else makes due: each one waits for the driver."""


def trial(config: dict[str, Any]) -> None:
    """Ray Tune's function. A failure is reported as the trial's outcome, with its cause, and not raised."""
    from ray import tune

    waiting: list[dict] = []
    reported = time.monotonic()
    try:
        for row, last in _rows(config):
            waiting.append(row)
            due = last or row["kd_epoch"] in config["milestones"] or time.monotonic() - reported > REPORT_EVERY
            if due:
                outcome = {"accuracy": row["accuracy"], "complete": last}
                tune.report({"rows": waiting, **outcome})
                waiting, reported = [], time.monotonic()
    except Exception as error:  # whatever a trial raises is its outcome: the search goes on and shows the cause
        tune.report({"rows": waiting, "complete": False, "cause": _cause(error), "trace": traceback.format_exc()})


def _cause(error: Exception) -> str:
    return f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}".rstrip(": ")


def _rows(config: dict[str, Any]) -> Iterator[tuple[dict, bool]]:
    """Flat rows, and whether each is the last; the student is saved before the last one is given out."""
    from kdsearch import pipeline as pipelines
    from kdsearch.config import Pipeline
    from kdsearch.store import Store, save_net

    pipeline = Pipeline.model_validate(config["pipeline"])
    images = _opened(config)
    number = len(pipeline.links) - 1
    student = pipelines.untrained(pipeline, number, images)
    link = pipeline.student
    assert link.fit.epochs is not None
    for row in pipelines.run(pipeline, images, Store(Path(config["store"])), student):
        last = row.link == number and row.epoch == link.fit.epochs
        if last:
            save_net(Path(config["student"]), student, made_with(pipeline, images, Path(config["store"]), row.accuracy))
        yield row.flat(), last


def made_with(pipeline: Any, images: Any, store: Path, accuracy: float | None) -> dict[str, Any]:
    """What a config must record so that training it again gives the same number, as plain data."""
    from importlib.metadata import version

    import torch

    from kdsearch.config import Made, MadeTeacher
    from kdsearch.store import Store, key_of, read_facts

    keys = [key_of(pipeline, number, images.fingerprint) for number in range(len(pipeline.links) - 1)]
    facts = [read_facts(Store(store).path(key)) for key in keys]
    made = Made(
        kdsearch=version("kdsearch"),
        torch=torch.__version__,
        device=images.mean.device.type,
        precision="float32",
        threads=torch.get_num_threads(),
        fingerprint=images.fingerprint,
        classes=images.classes,
        image=images.shape,
        mean=tuple(images.mean.flatten().tolist()),
        std=tuple(images.std.flatten().tolist()),
        teachers=tuple(MadeTeacher(**{name: own[name] for name in MadeTeacher.model_fields}) for own in facts),
        accuracy=accuracy,
    )
    return made.model_dump(mode="json")


def _opened(config: dict[str, Any]) -> Any:
    import torch

    torch.set_num_threads(config["threads"])
    return _images(json.dumps(config["pipeline"]["data"]), config["data_dir"])


@lru_cache(maxsize=2)
def _images(data: str, data_dir: str) -> Any:
    """The images of a worker process, opened once for all its trials."""
    import torch

    from kdsearch import data as images
    from kdsearch.config import Data

    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    return images.load(Data.model_validate(json.loads(data)), Path(data_dir)).to(device)


def prepare(config: dict[str, Any], number: int) -> Iterator[dict]:
    """A Ray task: link `number` of a pipeline, trained through the store; yields its rows, then its facts."""
    from kdsearch import pipeline as pipelines
    from kdsearch.config import Pipeline
    from kdsearch.store import Store

    pipeline = Pipeline.model_validate(config["pipeline"])
    images = _opened(config)
    work = pipelines.taught(pipeline, number, images, Store(Path(config["store"])))
    while True:
        try:
            yield {"row": next(work).flat()}
        except StopIteration as end:
            yield {"facts": end.value.facts}
            return
