"""What the fast path costs in accuracy: fixed views against fresh ones, bfloat16 against float32.

python benchmarks/accuracy.py --data ./cifar10 --images 10000 --epochs 24 --seeds 3

One teacher and one student (those of depth_vs_hint), crops and flips, each arm with the same seeds. Prints validation
accuracy after the last epoch, mean ± standard deviation, and the paired difference from the last row.
"""

import argparse
import json
import statistics
from dataclasses import replace
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

VIEWS = (1, 4, 8, "fresh")
ARMS = ("labels", "kd", "hint+kd")


def asked() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--data", default="cifar10", help="a data set's name, or a folder with train/<class>/*")
    parser.add_argument("--data-dir", type=Path, default=Path("data"), help="where torchvision's data sets lie")
    parser.add_argument("--images", type=int, default=10_000, help="in all; a fifth is for validation")
    parser.add_argument("--epochs", type=int, default=24, help="of each student")
    parser.add_argument("--teacher-epochs", type=int, default=15)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--device", default="cpu", help="cpu or cuda")
    parser.add_argument("--store", type=Path, default=Path("results/store"), help="where the teacher is kept")
    return parser.parse_args()


def pipeline_of(told: argparse.Namespace, arm: str, views: Any, seed: int) -> Any:
    from kdsearch.config.net import Net
    from kdsearch.config.pipeline import KD, Data, Fit, Hints, Link, Pair, Pipeline

    fit = Fit(epochs=told.epochs, batch_size=64, schedule="cosine", learning_rate=2e-3)
    teacher = Net(widths=(128, 356, 356), depth=3, hidden=512, batch_norm=True)
    hints = Hints(pairs=(Pair(hint=2, guided=4),), share=0.3) if "hint" in arm else None
    kd = KD(weight=0.5, temperature=4.0) if "kd" in arm else None
    return Pipeline(
        links=(
            Link(net=teacher, fit=fit.model_copy(update={"epochs": told.teacher_epochs})),
            Link(net=Net(depth=6, batch_norm=True), fit=fit, hints=hints, kd=kd, seed=seed),
        ),
        data=Data(name=told.data, images=told.images, augment="crop+flip", views=views),
    )


def accuracy(told: argparse.Namespace, arm: str, views: Any, precision: Any, seed: int) -> float:
    """Of one student, after its last epoch."""
    import torch

    from kdsearch.data import images as data_images
    from kdsearch.distill import pipeline
    from kdsearch.distill.store import Store
    from kdsearch.distill.teacher import Targets
    from kdsearch.storage import cache as storage_cache

    asked_for = pipeline_of(told, arm, views, seed)
    images = data_images.load(asked_for.data, told.data_dir).to(torch.device(told.device), "float32")
    means = pipeline.Means(
        images, Store(told.store), Targets(storage_cache.folder() / "targets", storage_cache.limit())
    )
    # One teacher for all arms, made in float32.
    for _ in pipeline.taught(asked_for, 0, means):
        pass
    means = replace(means, images=replace(images, precision=precision))
    student = pipeline.untrained(asked_for, 1, images)
    rows = [row for row in pipeline.run(asked_for, means, student) if row.link == 1]
    return rows[-1].accuracy or 0.0


def main() -> None:
    from kdsearch.distill import device as distill_device

    told, console = asked(), Console()
    distill_device.set_up(told.threads)
    compared = [("labels", views, "float32") for views in VIEWS] + [("kd", views, "float32") for views in VIEWS]
    found: dict[tuple, list[float]] = {}
    cells = [*compared, *((arm, 8, "bfloat16") for arm in ARMS), ("hint+kd", 8, "float32")]
    for arm, views, precision in cells:
        for seed in range(told.seeds):
            found.setdefault((arm, views, precision), []).append(accuracy(told, arm, views, precision, seed))
            print(f"{arm}, views {views}, {precision}, seed {seed}: {found[arm, views, precision][-1]:.4f}", flush=True)
    for arm in ("labels", "kd"):
        against(console, f"{arm}: views", {str(v): found[arm, v, "float32"] for v in VIEWS})
    for arm in ARMS:
        against(console, f"{arm}: precision", {p: found[arm, 8, p] for p in ("bfloat16", "float32")})
    print(json.dumps({"/".join(map(str, key)): values for key, values in found.items()}))


def against(console: Console, title: str, rows: dict[str, list[float]]) -> None:
    """A table of rows, each compared with the last, seed by seed; in percent."""
    table = Table(title=title)
    for name in (title.partition(": ")[2], "accuracy %", "difference, points"):
        table.add_column(name, justify="right")
    last = list(rows.values())[-1]
    for name, values in rows.items():
        differences = [one - other for one, other in zip(values, last, strict=True)]
        table.add_row(name, spread(values), "" if values is last else spread(differences))
    console.print(table)


def spread(values: list[float]) -> str:
    deviation = statistics.stdev(values) if len(values) > 1 else 0.0
    return f"{100 * statistics.mean(values):.1f} ± {100 * deviation:.1f}"


if __name__ == "__main__":
    main()
