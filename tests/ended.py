"""Tables of searches that ended, made by hand."""

from pathlib import Path
from typing import Any

from kdsearch.results import files
from kdsearch.results.facts import Facts
from kdsearch.results.tables import Tables

FACTS = Facts(
    space="s", command="c", trials=2, seed=0, data="d", fingerprint="f", images=900, validation_images=1000, classes=10,
    knobs={}, teacher_accuracy=0.97,
)  # fmt: skip
PIPELINE = {
    "links": [
        {"net": {"widths": [4, 4], "depth": 2, "hidden": 8}, "seed": 0},
        {"net": {"widths": [4, 4], "depth": 2, "hidden": 8}, "seed": 0, "kd": {"weight": 0.75, "temperature": 4.0}},
    ]
}


def searched(folder: Path, *told: tuple[str, str | None, int, float], **knobs: Any) -> Tables:
    """Trials that ended: id, reference, parameters, accuracy."""
    tables = Tables(folder)
    for name, reference, size, accuracy in told:
        known = {"parameters": size, "compression": 1e6 / size, "training_parameters": size, "macs": 1}
        own = {key: values[int(name)] for key, values in knobs.items()} if reference is None else {}
        tables.add(name, PIPELINE, known | {"reference": reference}, own)
        tables.mark(name, "complete", None, accuracy, accuracy)
    return tables


def confirm(folder: Path, trial: str, *accuracies: float) -> None:
    rows = [
        {"trial": trial, "seed": seed, "selected": False, "accuracy": one, "seconds": 1.0}
        for seed, one in enumerate(accuracies, start=1)
    ]
    files.write_table(folder / "confirmed.parquet", rows, files.CONFIRMED)
