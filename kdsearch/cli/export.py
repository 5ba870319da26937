"""The command that hands over trained students."""

from pathlib import Path
from typing import Annotated

import typer

from kdsearch.cli.options import RESULTS, Results, SearchName


def export(
    search: SearchName,
    trial: Annotated[str | None, typer.Option(metavar="ID", help="One trial.")] = None,
    best: Annotated[str | None, typer.Option(metavar="accuracy|knee", help="The best trial by this.")] = None,
    front: Annotated[bool, typer.Option("--front", help="All trials of the front.")] = False,
    output: Annotated[Path, typer.Option(metavar="DIR", help="A folder a trial is made in it.")] = Path("exports"),
    results: Results = RESULTS,
) -> None:
    """Write a trial's config.yaml, student.safetensors and metrics.json."""
    from kdsearch.results import folder as results_folder
    from kdsearch.results import searches as results_searches
    from kdsearch.results import tables as results_tables
    from kdsearch.search import export as search_export

    storage = results_searches.reading(results)
    folder = results_searches.find(search, storage)
    with results_folder.readable(folder):
        found = results_tables.read(folder)
        trials = search_export.chosen(found, trial, best, front)
        results_searches.bring_students(storage, folder, trials)
        for path in search_export.export(folder, found, trials, output):
            print(path)
