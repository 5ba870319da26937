"""The command that binds a search's charts into one page."""

from pathlib import Path
from typing import Annotated

import typer

import kdsearch
from kdsearch.cli.options import RESULTS, ClusterFile, Results, SearchName


def report(
    context: typer.Context,
    search: SearchName,
    results: Results = RESULTS,
    output: Annotated[Path | None, typer.Option(metavar="FILE", help="[default: report.html in the search]")] = None,
    png: Annotated[bool, typer.Option("--png", help="Write each chart as a picture too.")] = False,
    svg: Annotated[bool, typer.Option("--svg", help="Likewise, as a drawing.")] = False,
    cluster: ClusterFile = None,
) -> None:
    """One HTML page of a search: the front, who is on it and why, learning curves, importances. Needs no network."""
    if cluster is not None:
        from kdsearch.cli import options
        from kdsearch.cluster import remote as cluster_remote

        for path in cluster_remote.report(cluster, options.asked(context), search, output):
            print(path)
        return
    for path in kdsearch.open(search, results).report(output, png=png, svg=svg):
        print(path)
