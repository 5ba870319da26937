"""The numbers that papers printed: a CSV file a table in analysis/published/. Imports neither torch nor ray."""

import csv
import importlib
from dataclasses import dataclass
from pathlib import Path

from kdsearch.errors import unknown


@dataclass(frozen=True)
class Printed:
    """One number of one row of a table."""

    row: str
    quantity: str
    """accuracy (test, percent), parameters, or compression."""
    printed: float
    correct: float | None
    """Where the print is wrong, and what is right is known."""
    note: str
    """What the print got wrong, or what its reader must know; may be empty."""

    @property
    def right(self) -> float:
        """What to compare with."""
        return self.printed if self.correct is None else self.correct


def folder() -> Path:
    """Where the files lie, in the repository and in an installed package."""
    return Path(importlib.import_module("kdsearch.analysis").__path__[0]) / "published"


def names() -> list[str]:
    """Of all tables."""
    return sorted(path.stem for path in folder().glob("*.csv"))


def read(table: str) -> list[Printed]:
    """All numbers of a table; raises Refusal for an unknown one."""
    path = folder() / f"{table}.csv"
    if table not in names():
        raise unknown("table", table, names())
    with path.open(encoding="utf-8", newline="") as file:
        return [
            Printed(
                line["row"], line["quantity"], float(line["printed"]),
                float(line["correct"]) if line["correct"] else None, line["note"],
            )
            for line in csv.DictReader(file)
        ]  # fmt: skip


def accuracies(table: str) -> dict[str, float]:
    """The printed test accuracies, 0–1, by row; corrected where the print is wrong."""
    found = (line for line in read(table) if line.quantity == "accuracy")
    return {line.row: line.right / 100 for line in found}
