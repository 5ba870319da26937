"""Numbers as a person reads them; the front and the references as tables. Imports neither torch nor ray."""

import json
from collections.abc import Iterable, Mapping
from typing import Any

from rich.console import Console
from rich.table import Table

from kdsearch import front, results
from kdsearch.config import Pipeline


def console() -> Console:
    """Prints text as it is: a cause or a path in brackets is no markup, numbers have no colours."""
    return Console(markup=False, highlight=False)


def percent(value: float | None) -> str:
    """0.9312 -> 93.1 %."""
    return "–" if value is None else f"{100 * value:.1f} %"


def duration(seconds: float) -> str:
    """75 -> 1 min 15 s."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s" if minutes else f"{rest} s"


def outcome(row: Mapping[str, Any]) -> str:
    """`complete, accuracy 97.9 %, 33,574 parameters (52×)`."""
    accuracy = f", accuracy {percent(row['accuracy'])}" if row["accuracy"] is not None else ""
    return f"{row['state']}{accuracy}, {row['parameters']:,} parameters ({row['compression']:.3g}×)"


COLUMNS = ("trial", "accuracy", "parameters", "compression", "pairs", "λ", "τ")
"""Of a table of trials; λ is the labels' share of the loss."""


def cells(row: Mapping[str, Any]) -> list[str]:
    """A trial's COLUMNS."""
    student = Pipeline.model_validate(json.loads(row["pipeline"])).student
    return [
        row["trial"],
        percent(row["accuracy"]),
        f"{row['parameters']:,}",
        f"{row['compression']:.3g}×",
        student.pairs,
        f"{1 - student.kd.weight:.2f}" if student.kd else "1",
        f"{student.kd.temperature:.1f}" if student.kd else "–",
    ]


def trials_table(rows: Iterable[Mapping[str, Any]], title: str) -> Table:
    """Trials as a table in the terminal."""
    table = Table(title=title, title_justify="left", title_style="bold", header_style="bold")
    for name in COLUMNS:
        table.add_column(name, justify="left" if name in ("trial", "pairs") else "right")
    for row in rows:
        table.add_row(*cells(row))
    return table


def summary(tables: results.Tables, facts: Mapping[str, Any], console: Console) -> None:
    """The front, the references, and what deserves a warning."""
    trials = tables.trials
    members = [trials[name] for name in front.members(trials.values())]
    if members:
        console.print(trials_table(members, "Front: fully trained trials, accuracy on the validation images"))
    else:
        console.print("No trial is fully trained yet, so there is no front.")
    references = [row for row in trials.values() if row["reference"] and row["state"] == "complete"]
    if references:
        console.print(trials_table(references, "References: one student, equal budgets"))
    if facts.get("teacher_accuracy") is not None:
        console.print(f"Teacher: accuracy {percent(facts['teacher_accuracy'])}")
    for name, stage, term in results.faint(tables.epochs):
        console.print(
            f"Warning: trial {name}: the loss {term} had under 0.1 % of the gradient in all of stage {stage}: "
            f"this trial is not distilling.", style="yellow", soft_wrap=True,
        )  # fmt: skip
    failed = [row for row in trials.values() if row["state"] == "failed"]
    for row in failed:
        console.print(f"Failed: trial {row['trial']}: {row['cause']}", style="red", soft_wrap=True)
