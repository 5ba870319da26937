"""How fast a student trains: labels, KD and hint epochs of kdsearch beside the tutorials' loops on the same images.

python benchmarks/kd_step.py --data ./cifar10 --images 5000

Seed 1's pair at 32×32 (teacher 3.2 M parameters, 9-conv student 140 k), batch 128. Every kind of epoch is run in turn,
round after round, each side in a process of its own; medians of the rounds. Ends with one JSON line.
"""

import argparse
import json
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

TEACHER = {"widths": (128, 356, 356), "depth": 3, "hidden": 512}
STUDENT = {"widths": (16, 32, 48), "depth": 9, "hidden": 128}
PAIRS = {"hint": (2, 6), "hint_1_3": (1, 3)}
KINDS = ("labels", "kd", *PAIRS)


def asked() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--data", default="cifar10", help="a data set's name, or a folder with train/<class>/*")
    parser.add_argument("--data-dir", type=Path, default=Path("data"), help="where torchvision's data sets lie")
    parser.add_argument("--images", type=int, default=5000, help="training images of an epoch")
    parser.add_argument("--augment", default="none", help="none, flip, crop or crop+flip, for both sides")
    parser.add_argument("--batch-size", type=int, default=128)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument(
        "--together", type=int, nargs="*", default=[2], help="how many one-thread trials run side by side (GPU: 1 4 16)"
    )
    parser.add_argument("--device", default="cpu", help="cpu or cuda")
    return parser.parse_args()


def opened(told: argparse.Namespace, precision: str = "float32") -> Any:
    import torch

    from kdsearch.config.pipeline import Data
    from kdsearch.data import images as data_images

    whole = Data(name=told.data, images=round(told.images / 0.8), augment=told.augment)
    return data_images.load(whole, told.data_dir).to(torch.device(told.device), precision)  # pyright: ignore


def textbook(told: argparse.Namespace, _: str, __: Path) -> dict[str, Callable[[], float]]:
    """The twin's epochs."""
    import textbook as twin
    import torch

    from kdsearch.config.net import Net

    torch.set_num_threads(told.threads)
    kinds = twin.epochs(told.device, opened(told), told.batch_size, Net(**TEACHER), Net(**STUDENT), PAIRS)
    return {kind: timed(run) for kind, run in kinds.items()}


def ours(told: argparse.Namespace, precision: str, folder: Path) -> dict[str, Callable[[], float]]:
    """kdsearch's epochs, from recorded targets; and recording beside a bare forward pass over the same images."""
    from kdsearch.distill import device as distill_device

    distill_device.set_up(told.threads)
    images = opened(told, precision)
    found = {kind: epochs_of(kind, told, images, folder) for kind in KINDS}
    return found | {"recording": lambda: recording(images, folder), "forward": lambda: forward(images)}


def timed(run: Callable[[], Any]) -> Callable[[], float]:
    def seconds() -> float:
        started = time.perf_counter()
        run()
        return time.perf_counter() - started

    return seconds


def pipeline_of(kind: str, told: argparse.Namespace, epochs: int) -> Any:
    from kdsearch.config.net import Net
    from kdsearch.config.pipeline import KD, Fit, Hints, Link, Pair, Pipeline

    fit = Fit(epochs=epochs, batch_size=told.batch_size)
    hints = Hints(pairs=(Pair(hint=PAIRS[kind][0], guided=PAIRS[kind][1]),), share=0.999) if kind in PAIRS else None
    kd = KD(weight=0.25, temperature=2.0) if kind == "kd" else None
    return Pipeline(links=(Link(net=Net(**TEACHER), fit=fit), Link(net=Net(**STUDENT), fit=fit, hints=hints, kd=kd)))


def epochs_of(kind: str, told: argparse.Namespace, images: Any, folder: Path) -> Callable[[], float]:
    """The next epoch of an endless stage, as a trial would run it; returns its seconds."""
    from kdsearch.distill import pipeline as distill_pipeline
    from kdsearch.distill.train import train

    endless = pipeline_of(kind, told, 10_000)
    means = means_with(images, folder)
    student = distill_pipeline.untrained(endless, 1, images)
    lesson = next(distill_pipeline.lessons(endless, 1, student, {0: teacher(endless, images)}, means))
    for answers in lesson.answers:
        list(answers.ready(range(images.views)))
    work = train(lesson, images, endless.student.fit, (0, 1, 2))
    return lambda: next(work).seconds


def means_with(images: Any, folder: Path) -> Any:
    from kdsearch.distill.pipeline import Means
    from kdsearch.distill.store import Store
    from kdsearch.distill.teacher import Targets

    return Means(images, Store(folder / "store"), Targets(folder / "targets", 10**12))


def teacher(pipeline: Any, images: Any) -> Any:
    """With random weights: a forward pass takes as long."""
    from kdsearch.distill import pipeline as distill_pipeline
    from kdsearch.distill.weights import Taught

    net = distill_pipeline.untrained(pipeline, 0, images)
    return Taught({"key": "random", "digest": "0"}, lambda: net)


def recording(images: Any, folder: Path) -> float:
    """Hint 2 and the logits of one view, written to disk."""
    from kdsearch.distill.recorded import Recorded
    from kdsearch.distill.teacher import survey_of

    told = argparse.Namespace(batch_size=128)
    pipeline = pipeline_of("kd", told, 2)
    taught, survey = teacher(pipeline, images), survey_of(pipeline.links[0].net, images)
    taught.net  # noqa: B018 (loaded before the clock starts)
    place = folder / "recorded anew" / "again"
    one = replace(images, views=1)
    started = time.perf_counter()
    list(Recorded(taught, survey, (2, 4), one, place, 10**12, lambda *_: None).ready([0]))
    seconds = time.perf_counter() - started
    shutil.rmtree(place.parent)
    return seconds


def forward(images: Any) -> float:
    """The teacher's bare forward pass over the same images, in the same batches."""
    import torch

    from kdsearch.distill.recorded import CHUNK

    told = argparse.Namespace(batch_size=128)
    net = teacher(pipeline_of("kd", told, 2), images).net
    started = time.perf_counter()
    with torch.inference_mode(), images.autocast():
        for samples in torch.arange(len(images.train)).split(CHUNK):
            net(images.pixels(samples))
    if images.mean.device.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - started


def child(side: Callable, told: argparse.Namespace, precision: str, pipe: Any) -> None:
    """Runs the epochs it is told to, each when told, and says how long each took."""
    with tempfile.TemporaryDirectory(prefix="kd_step-") as folder:
        kinds = side(told, precision, Path(folder))
        pipe.send(len(opened(told).train))
        for kind in iter(pipe.recv, None):
            pipe.send(kinds[kind]())


class Side:
    """A process that waits for orders."""

    def __init__(self, side: Callable, told: argparse.Namespace, precision: str = "float32") -> None:
        self.pipe, other = get_context("spawn").Pipe()
        self.process = get_context("spawn").Process(target=child, args=(side, told, precision, other))
        self.process.start()
        other.close()  # so that a process that dies is not waited for
        self.images: int = self.pipe.recv()

    def begin(self, kind: str) -> None:
        self.pipe.send(kind)

    def seconds(self, kind: str | None = None) -> float:
        if kind:
            self.begin(kind)
        return self.pipe.recv()

    def end(self) -> None:
        self.pipe.send(None)
        self.process.join()


def measured(told: argparse.Namespace, console: Console) -> tuple[dict[str, list[float]], int]:
    """Seconds of each epoch, by side and kind; and the number of images."""
    from kdsearch.distill.device import precision_of

    default = precision_of("auto", told.device)
    sides = {"textbook": Side(textbook, told)}
    sides |= {precision: Side(ours, told, precision) for precision in dict.fromkeys(("float32", default))}
    single = argparse.Namespace(**{**vars(told), "threads": 1})
    crowd = [Side(ours, single, default) for _ in range(max(told.together))]
    found: dict[str, list[float]] = {}
    with console.status("warming up") as status:
        for number in range(told.rounds + 1):
            # What is compared most closely lies side by side: these machines' speed drifts.
            own = [
                (name, kind) for name in sides if name != "textbook" for kind in (*KINDS * 2, "forward", "recording")
            ]
            for name, kind in [("textbook", kind) for kind in KINDS] + own:
                status.update(f"round {number} of {told.rounds} (0 is a warm-up): {name} {kind}")
                seconds = sides[name].seconds(kind)
                if number:
                    found.setdefault(f"{name} {kind}", []).append(seconds)
            for many in told.together:
                status.update(f"round {number} of {told.rounds}: {many} trials together")
                for side in crowd[:many]:
                    side.begin("labels")
                longest = max([side.seconds() for side in crowd[:many]])
                if number:
                    found.setdefault(f"{many} together", []).append(longest)
    for side in (*sides.values(), *crowd):
        side.end()
    return found, sides["float32"].images


def ratio(found: dict[str, list[float]], above: str, below: str) -> float:
    """The median of neighbours' ratios."""
    return statistics.median(one / other for one, other in zip(found[above], found[below], strict=True))


def shown(found: dict[str, list[float]], count: int, default: str, console: Console) -> dict[str, float]:
    """A table; returns the numbers for the JSON line: without a prefix, those of a search's own precision."""
    precisions = list(dict.fromkeys(("float32", default)))
    medians = {name: statistics.median(times) for name, times in found.items()}
    table = Table(title="Images a second, and how many times the textbook loop's (which is float32)")
    table.add_column("epoch")
    for name in ("textbook", *(name for precision in precisions for name in (f"kdsearch {precision}", "×"))):
        table.add_column(name, justify="right")
    numbers: dict[str, float] = {}
    for kind in KINDS:
        base = count / medians[f"textbook {kind}"]
        numbers[f"textbook_{kind}_images_per_s"] = base
        cells = [kind, f"{base:,.0f}"]
        for precision in precisions:
            rate = count / medians[f"{precision} {kind}"]
            cells += [f"{rate:,.0f}", f"{rate / base:.1f}"]
            for prefix in prefixes(precision, default):
                numbers[f"{prefix}{kind}_images_per_s"] = rate
        table.add_row(*cells)
    console.print(table)
    for precision in precisions:
        kd = ratio(found, f"{precision} kd", f"{precision} labels")
        recording = ratio(found, f"{precision} recording", f"{precision} forward")
        for prefix in prefixes(precision, default):
            numbers |= {f"{prefix}kd_over_labels": kd, f"{prefix}recording_over_forward": recording}
        console.print(f"{precision}: a KD epoch takes {kd:.2f} labels-only epochs;", end=" ")
        console.print(f"recording takes {recording:.2f} forward passes of the teacher")
    for name in (name for name in medians if name.endswith(" together")):
        many = int(name.split()[0])
        numbers[f"together_{many}_images_per_s"] = many * count / medians[name]
        gain = many * medians[f"{default} labels"] / medians[name]
        console.print(f"{many} trials of one thread together train {gain:.2f} times the images of one with all threads")
    return numbers


def prefixes(precision: str, default: str) -> list[str]:
    """Of the JSON keys that a precision's numbers have."""
    return ([""] if precision == default else []) + (["float32_"] if precision == "float32" else [])


def main() -> None:
    from kdsearch.distill.device import precision_of

    told, console = asked(), Console()
    default = precision_of("auto", told.device)
    found, count = measured(told, console)
    numbers = shown(found, count, default, console)
    facts = {name: getattr(told, name) for name in ("threads", "batch_size", "device", "augment")}
    facts |= {"images": count, "precision": default, "textbook_precision": "float32"}
    print(json.dumps(facts | {name: round(value, 3) for name, value in numbers.items()}))


if __name__ == "__main__":
    main()
