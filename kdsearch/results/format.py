"""Numbers as a person reads them; a trial as columns. Imports neither torch nor ray."""

import json
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from kdsearch.config.pipeline import Pipeline
from kdsearch.results import files


def percent(value: float | None) -> str:
    """0.9312 -> 93.1 %."""
    return "–" if value is None else f"{100 * value:.1f} %"


def duration(seconds: float) -> str:
    """75 -> 1 min 15 s."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s" if minutes else f"{rest} s"


def size(count: float) -> str:
    """2_621_440_000 -> 2.6 GB."""
    unit, name = (1e9, "GB") if count >= 1e9 else (1e6, "MB") if count >= 1e6 else (1e3, "kB")
    return f"{count / unit:.1f} {name}"


def times(value: float) -> str:
    """1778.6 -> 1,779×; 29.53 -> 29.5×."""
    return f"{value:,.0f}×" if value >= 1000 else f"{value:.3g}×"


def outcome(row: Mapping[str, Any]) -> str:
    """`complete, accuracy 97.9 %, 33,574 parameters (52×)`."""
    accuracy = f", accuracy {percent(row['accuracy'])}" if row["accuracy"] is not None else ""
    return f"{row['state']}{accuracy}, {row['parameters']:,} parameters ({times(row['compression'])})"


COLUMNS = ("trial", "accuracy", "parameters", "compression", "pairs", "λ", "τ", "epochs", "seeds")
"""Of a table of trials; λ is the labels' share of the loss; epochs of the student and seeds stand behind a row."""


def seeds_of(folder: Path) -> Counter[str]:
    """How many seeds `confirm` trained of each trial, beside its own."""
    rows = files.confirmed(folder)
    return Counter(row["trial"] for row in rows if not row["selected"] and row["accuracy"] is not None)


def columns(row: Mapping[str, Any], confirmed: int = 0) -> list[str]:
    """A trial's COLUMNS; `confirmed`: its seeds beside its own."""
    student = Pipeline.model_validate(json.loads(row["pipeline"])).student
    return [
        row["trial"],
        percent(row["accuracy"]),
        f"{row['parameters']:,}",
        times(row["compression"]),
        student.pairs,
        f"{1 - student.kd.weight:.2f}" if student.kd else "1",
        f"{student.kd.temperature:.1f}" if student.kd else "–",
        str(row["epochs"]),
        str(1 + confirmed),
    ]
