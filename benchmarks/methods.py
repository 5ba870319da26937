"""What an epoch of each method costs: in epochs of labels alone, from recorded answers where the method allows it.

python benchmarks/methods.py --data ./cifar10 --images 5000

ResNet-14 (of random weights: a forward pass takes as long) teaches ResNet-8 at 32×32, batch 128. Each method's epoch is
run beside one of labels, round after round; medians of the ratios. Methods of two stages are told by their first one;
FSP also as a further term. Ends with one JSON line.
"""

import argparse
import json
import statistics
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from kd_step import means_with, opened, teacher
from rich.console import Console
from rich.table import Table

EPOCHS = 10_000


def asked() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--data", default="cifar10", help="a data set's name, or a folder with train/<class>/*")
    parser.add_argument("--data-dir", type=Path, default=Path("data"), help="where torchvision's data sets lie")
    parser.add_argument("--images", type=int, default=5000, help="training images of an epoch")
    parser.add_argument("--augment", default="none", help="none, flip, crop or crop+flip")
    parser.add_argument("--batch-size", type=int, default=128)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--methods", nargs="*", default=[], help="some of them alone")
    parser.add_argument("--device", default="cpu", help="cpu or cuda")
    return parser.parse_args()


def links(told: argparse.Namespace) -> dict[str, Any]:
    """Pipelines by method."""
    from kdsearch.config import BSS, FSP, KD, Fit, Link, Pipeline, ResNet
    from kdsearch.papers import METHODS

    net, fit = ResNet(kind="resnet", widths=(16, 32, 64), blocks=2), Fit(epochs=EPOCHS, batch_size=told.batch_size)
    student = net.model_copy(update={"blocks": 1})
    found: dict[str, dict] = {"labels": {}} | {name: own.link(net, student) for name, own in METHODS.items()}
    found |= {"FSP, joint": {"terms": (FSP(),)}, "BSS, recorded": {"kd": KD(), "terms": (BSS(recorded=True),)}}
    some = {name: own for name, own in found.items() if name in ("labels", *(told.methods or found))}
    return {
        name: Pipeline(links=(Link(net=net, fit=fit), Link(net=student, fit=fit, **own))) for name, own in some.items()
    }


def epochs_of(pipeline: Any, told: argparse.Namespace, images: Any, folder: Path) -> Callable[[], float]:
    """The next epoch of a method's first stage, as a trial would run it; returns its seconds."""
    from kdsearch.distill import pipeline as distill_pipeline
    from kdsearch.distill.train import train

    student = distill_pipeline.untrained(pipeline, 1, images)
    taught = {0: teacher(pipeline, images)}
    lesson = next(distill_pipeline.lessons(pipeline, 1, student, taught, means_with(images, folder)))
    for answers in lesson.answers:
        list(answers.ready(range(images.views)))
    work = train(lesson, images, pipeline.student.fit, (0, 1, 2))
    return lambda: next(work).seconds


def measured(told: argparse.Namespace, console: Console) -> dict[str, list[float]]:
    """Epochs of labels that an epoch of each method takes, one a round."""
    from kdsearch.distill import device

    device.set_up(told.threads)
    images = opened(told)
    found: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory(prefix="methods-") as folder, console.status("recording") as status:
        work = {name: epochs_of(own, told, images, Path(folder)) for name, own in links(told).items()}
        labels = work.pop("labels")
        for number in range(told.rounds + 1):
            for name, run in work.items():
                status.update(f"round {number} of {told.rounds} (0 is a warm-up): {name}")
                ratio = run() / labels()  # neighbours: these machines' speed drifts
                if number:
                    found.setdefault(name, []).append(ratio)
    return found


def main() -> None:
    told, console = asked(), Console()
    found = measured(told, console)
    table = Table(title="An epoch of each method, in epochs of labels alone: median, least and most of the rounds")
    for name in ("method", "median", "least", "most"):
        table.add_column(name, justify="left" if name == "method" else "right")
    for name, ratios in found.items():
        table.add_row(name, *(f"{value:.2f}" for value in (statistics.median(ratios), min(ratios), max(ratios))))
    console.print(table)
    facts = {name: getattr(told, name) for name in ("images", "batch_size", "threads", "augment", "device", "rounds")}
    print(json.dumps(facts | {name: round(statistics.median(ratios), 3) for name, ratios in found.items()}))


if __name__ == "__main__":
    main()
