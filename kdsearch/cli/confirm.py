"""The command that trains a front's members again with other seeds."""

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

import kdsearch
from kdsearch.cli.options import DATA_DIR, RESULTS, DataDir, Results, SearchName, interruptible, name_of
from kdsearch.results import files, show
from kdsearch.results import seeds as results_seeds
from kdsearch.results.confirmed import TESTED, cells, columns, gain, heading, sentences
from kdsearch.results.objectives import objective
from kdsearch.results.seeds import Member

WIDE = 92
"""Columns of a terminal that show all of these; where it has fewer, what they save is left out."""


def table(found: Sequence[Member], width: int) -> show.Columns:
    """Confirmed members as a table in a terminal of that many columns."""
    names = [name for name in columns(found) if width >= WIDE or name != gain(found) or TESTED[0] not in columns(found)]
    rows = [cells(member, names) for member in found]
    return show.table(heading(found), names, rows, left=("trial",), folded=names, boxed=True)


def summary(folder: Path, found: Sequence[Member], images: int, console: Console) -> None:
    """The table, the sentences, the seeds that failed."""
    if found:
        console.print(table(found, console.width))
    for text in sentences(found, images) if found else ():
        console.print(text, soft_wrap=True)
    for row in files.confirmed(folder):
        if row["cause"]:
            text = f"Failed: trial {row['trial']}, seed {row['seed']}: {row['cause']}"
            console.print(text, style="red", soft_wrap=True)
    if found:
        console.print(f"Written: {folder}/: confirmed.parquet, confirmed/", soft_wrap=True)


def plain(found: Sequence[Member], images: int) -> dict[str, Any]:
    """The same for programs: members, neighbours, and what selection cost; accuracies 0–1."""
    return {
        "members": [_plain(member) for member in found],
        "neighbours": [
            {
                "larger": pair.larger.trial,
                "smaller": pair.smaller.trial,
                "differ": pair.differ,
                **asdict(pair.difference),
            }
            for pair in results_seeds.neighbours(found, images)
        ],
        "cost": results_seeds.cost(found) if found else None,
    }


def _plain(member: Member) -> dict[str, Any]:
    own, told = objective(member.against), asdict(member)
    return {own.column: told.pop("amount"), own.ratio: told.pop("ratio"), **told, "cost": member.cost}


def confirm(
    search: SearchName,
    seeds: Annotated[int, typer.Option(min=2, max=1000, help="New seeds of each member of the front.")] = 5,
    test: Annotated[bool, typer.Option("--test", help="Read the test images, once for each student.")] = False,
    data_dir: DataDir = DATA_DIR,
    data: Annotated[str | None, typer.Option(metavar="DIR", help="Where the folder of images lies now.")] = None,
    results: Results = RESULTS,
    max_concurrent: Annotated[int | None, typer.Option(min=1, help="Seeds at a time, at most.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
) -> None:
    """Train the front's members again with other seeds: who differs beyond noise, and what selection cost."""
    from kdsearch.results import searches
    from kdsearch.storage.bucket import at

    folder, console = searches.named(search, at(results)), show.console(stderr=as_json)
    kept = f"The seeds that ended are kept; the same command goes on: kdsearch confirm {name_of(folder, results)}"
    with interruptible(lambda: kept):
        own = kdsearch.open(search, results)
        found = own.confirm(
            seeds, test=test, data_dir=data_dir, data=data, max_concurrent=max_concurrent, progress=console
        )
    images = own.facts.validation_images
    if as_json:
        print(json.dumps({"search": str(folder), **plain(found, images)}))
    else:
        summary(folder, found, images, console)
    if not found:
        raise typer.Exit(1)
