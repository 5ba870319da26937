"""Tables and sentences in the terminal. Imports neither torch nor ray."""

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console

from kdsearch.results import answer, cells, front, show
from kdsearch.results import tables as results_tables
from kdsearch.results.facts import Facts
from kdsearch.results.format import listing, percent
from kdsearch.results.metric import words
from kdsearch.results.objectives import objective


def trials_table(
    rows: Sequence[Mapping[str, Any]], title: str, tables: results_tables.Tables, images: int
) -> show.Columns:
    """Trials as a table in the terminal; so many images judged them."""
    names, lines = listing(rows, tables, images)
    return show.table(title, names, lines, left=("trial", "pairs"), folded=("pairs",))


def summary(tables: results_tables.Tables, facts: Facts, console: Console) -> None:
    """The front, the references, and what deserves a warning."""
    trials = tables.trials
    members = [trials[name] for name in front.members(trials.values())]
    if facts.is_grid:
        _grid(tables, facts, console)
    elif members:
        title = f"Front: fully trained trials, {words(facts.metric)} on the validation images"
        console.print(trials_table(members, title, tables, facts.validation_images))
        area = front.reached(trials.values(), facts.chance)
        spent = sum(row["epochs"] for row in trials.values() if row["reference"] is None)
        said = f"(decades of {objective(facts.against).gain} × {words(facts.metric)} above chance)"
        console.print(f"Hypervolume {area:.3f} {said} after {spent:,} epochs of students", soft_wrap=True)
    else:
        console.print("No trial is fully trained yet, so there is no front.")
    references = [row for row in trials.values() if row["reference"] and row["state"] == "complete"]
    if references:
        console.print(
            trials_table(references, "References: one student, equal budgets", tables, facts.validation_images)
        )
    for sentence in () if facts.is_grid else answer.sentences(tables, facts):
        console.print(sentence, soft_wrap=True)
    if facts.why_ended is not None:
        console.print(f"Ended after {facts.trials} draws: {facts.why_ended}.", soft_wrap=True)
    if facts.teacher_accuracy is not None:
        console.print(f"Teacher: {words(facts.metric)} {percent(facts.teacher_accuracy)}")
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
    title, rows = f"Cells: validation {words(facts.metric)} in percent", cells.table(found)
    console.print(show.table(title, cells.heading(found), rows, left=("trial", "cell"), folded=("cell",)))
    for sentence in cells.said(found, images, facts.chance):
        console.print(sentence, soft_wrap=True)
