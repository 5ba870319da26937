"""Tables and sentences in the terminal. Imports neither torch nor ray."""

import time
from collections.abc import Container, Iterable, Mapping
from pathlib import Path
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from kdsearch.results import cells, front
from kdsearch.results import tables as results_tables
from kdsearch.results.facts import Facts
from kdsearch.results.format import COLUMNS, columns, duration, percent, seeds_of, size
from kdsearch.storage import cache


def console(stderr: bool = False) -> Console:
    """Prints text as it is: a cause or a path in brackets is no markup, numbers have no colours."""
    return Console(markup=False, highlight=False, stderr=stderr)


def trials_table(rows: Iterable[Mapping[str, Any]], title: str, confirmed: Mapping[str, int]) -> Table:
    """Trials as a table in the terminal; `confirmed`: their seeds beside their own."""
    table = _table(title, COLUMNS, left=("trial", "pairs"))
    for row in rows:
        table.add_row(*columns(row, confirmed.get(row["trial"], 0)))
    return table


def summary(tables: results_tables.Tables, facts: Facts, console: Console) -> None:
    """The front, the references, and what deserves a warning."""
    trials = tables.trials
    members, confirmed = [trials[name] for name in front.members(trials.values())], seeds_of(tables.folder)
    if facts.is_grid:
        _grid(tables, facts, console)
    elif members:
        title = "Front: fully trained trials, accuracy on the validation images"
        console.print(trials_table(members, title, confirmed))
        area = front.reached(trials.values(), facts.classes)
        spent = sum(row["epochs"] for row in trials.values() if row["reference"] is None)
        said = "(decades of compression × accuracy above chance)"
        console.print(f"Hypervolume {area:.3f} {said} after {spent:,} epochs of students", soft_wrap=True)
    else:
        console.print("No trial is fully trained yet, so there is no front.")
    references = [row for row in trials.values() if row["reference"] and row["state"] == "complete"]
    if references:
        console.print(trials_table(references, "References: one student, equal budgets", {}))
    if facts.why_ended is not None:
        console.print(f"Ended after {facts.trials} draws: {facts.why_ended}.", soft_wrap=True)
    if facts.teacher_accuracy is not None:
        console.print(f"Teacher: accuracy {percent(facts.teacher_accuracy)}")
    for name, stage, term in results_tables.faint(tables.epochs):
        console.print(
            f"Warning: trial {name}: the loss {term} had under 0.1 % of the gradient in all of stage {stage}: "
            f"this trial is not distilling.", style="yellow", soft_wrap=True,
        )  # fmt: skip
    failed = [row for row in trials.values() if row["state"] == "failed"]
    for row in failed:
        console.print(f"Failed: trial {row['trial']}: {row['cause']}", style="red", soft_wrap=True)


def _grid(tables: results_tables.Tables, facts: Facts, console: Console) -> None:
    """The cells of a grid, the best first, and what their seeds can tell apart."""
    found, images = cells.cells(tables, facts.validation_images), facts.validation_images
    table = _table("Cells: validation accuracy in percent", cells.COLUMNS, left=("trial", "cell"))
    for row in cells.table(found):
        table.add_row(*row)
    console.print(table)
    for sentence in cells.said(found, images, facts.classes):
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
