"""The command that hands over trained students."""

import sys
from pathlib import Path
from typing import Annotated

import typer

import kdsearch
from kdsearch.cli.options import RESULTS, Results, SearchName


def export(
    search: SearchName,
    trial: Annotated[str | None, typer.Option(metavar="ID", help="One trial.")] = None,
    best: Annotated[str | None, typer.Option(metavar="accuracy|knee", help="The best trial by this.")] = None,
    front: Annotated[bool, typer.Option("--front", help="All trials of the front.")] = False,
    output: Annotated[Path, typer.Option(metavar="DIR", help="In it a folder a search, and there one a trial.")] = Path(
        "exports"
    ),
    results: Results = RESULTS,
) -> None:
    """Write a trial's config.yaml, student.safetensors and metrics.json."""
    from kdsearch.search.export import changed

    for path in kdsearch.open(search, results).export(trial, best=best, front=front, output=output):
        print(path)
        if told := changed(path):
            print(told, file=sys.stderr)
