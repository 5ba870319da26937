"""Numbers as a person reads them; the front and the references as tables. Imports neither torch nor ray."""

import json
import time
from collections import Counter
from collections.abc import Container, Iterable, Mapping
from pathlib import Path
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from kdsearch import cache, cells, front, results
from kdsearch.config import Pipeline


def console(stderr: bool = False) -> Console:
    """Prints text as it is: a cause or a path in brackets is no markup, numbers have no colours."""
    return Console(markup=False, highlight=False, stderr=stderr)


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
    rows = results.confirmed(folder)
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


def trials_table(rows: Iterable[Mapping[str, Any]], title: str, confirmed: Mapping[str, int]) -> Table:
    """Trials as a table in the terminal; `confirmed`: their seeds beside their own."""
    table = _table(title, COLUMNS, left=("trial", "pairs"))
    for row in rows:
        table.add_row(*columns(row, confirmed.get(row["trial"], 0)))
    return table


def summary(tables: results.Tables, facts: Mapping[str, Any], console: Console) -> None:
    """The front, the references, and what deserves a warning."""
    trials = tables.trials
    members, confirmed = [trials[name] for name in front.members(trials.values())], seeds_of(tables.folder)
    if facts.get("sampler") == "grid":
        _grid(tables, facts, console)
    elif members:
        title = "Front: fully trained trials, accuracy on the validation images"
        console.print(trials_table(members, title, confirmed))
        area = front.reached(trials.values(), facts["classes"])
        spent = sum(row["epochs"] for row in trials.values() if row["reference"] is None)
        said = "(decades of compression × accuracy above chance)"
        console.print(f"Hypervolume {area:.3f} {said} after {spent:,} epochs of students", soft_wrap=True)
    else:
        console.print("No trial is fully trained yet, so there is no front.")
    references = [row for row in trials.values() if row["reference"] and row["state"] == "complete"]
    if references:
        console.print(trials_table(references, "References: one student, equal budgets", {}))
    if "why_ended" in facts:
        console.print(f"Ended after {facts['trials']} draws: {facts['why_ended']}.", soft_wrap=True)
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


def _grid(tables: results.Tables, facts: Mapping[str, Any], console: Console) -> None:
    """The cells of a grid, the best first, and what their seeds can tell apart."""
    found, images = cells.cells(tables, facts["validation_images"]), facts["validation_images"]
    table = _table("Cells: validation accuracy in percent", cells.COLUMNS, left=("trial", "cell"))
    for row in cells.table(found):
        table.add_row(*row)
    console.print(table)
    if any(cell.mean and cell.mean.half is not None for cell in found):
        console.print(cells.about(images), soft_wrap=True)
    for sentence in (*cells.sentences(found, images), *cells.at_chance(found, facts["classes"])):
        console.print(sentence, soft_wrap=True)


def _table(title: str, names: Iterable[str], left: Container[str]) -> Table:
    style: dict[str, Any] = {"title_justify": "left", "title_style": "bold", "header_style": "bold"}
    table = Table(title=title, box=SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0), **style)
    for name in names:
        table.add_column(name, justify="left" if name in left else "right", no_wrap=name not in ("pairs", "cell"))
    return table


def cached(folder: Path, limit: int, console: Console) -> None:
    """What lies in the cache, teacher by teacher, the one used last first."""
    images, targets = cache.entries(folder / "images"), cache.entries(folder / "targets")
    console.print(f"{folder}", style="bold", soft_wrap=True)
    console.print(f"decoded images: {size(sum(entry.bytes for entry in images))} in {len(images)} files")
    filled = sum(entry.bytes for entry in targets)
    console.print(f"targets: {size(filled)} in {len(targets)} files, of at most {size(limit)}")
    teachers: dict[str, list[cache.Entry]] = {}
    for entry in reversed(targets):
        teachers.setdefault(entry.path.parent.name, []).append(entry)
    if not teachers:
        return
    table = Table(header_style="bold")
    for name in ("teacher (key-weights-device-precision)", "files", "size", "last used"):
        table.add_column(name, justify="left" if name.startswith("teacher") else "right")
    for name, own in teachers.items():
        ago = duration(max(time.time() - own[0].used, 0))
        table.add_row(name, str(len(own)), size(sum(entry.bytes for entry in own)), f"{ago} ago")
    console.print(table)
