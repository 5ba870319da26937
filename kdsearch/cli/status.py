"""The command that looks at a search."""

import json
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from kdsearch.cli.options import RESULTS, ClusterFile, Results
from kdsearch.results import show
from kdsearch.results.format import percent

COLUMNS = ("search", "state", "trials ended", "best", "front", "last written")


def status(
    context: typer.Context,
    search: Annotated[
        str | None,
        typer.Argument(metavar="SEARCH", help="Its name in --storage, or its path; without it, all are listed."),
    ] = None,
    results: Results = RESULTS,
    as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
    cluster: ClusterFile = None,
) -> None:
    """How a search stands: running, finished or interrupted; its front and failures."""
    if cluster is not None:
        from kdsearch.cli import options
        from kdsearch.cluster import remote as cluster_remote

        raise typer.Exit(cluster_remote.status(cluster, options.asked(context)))
    from kdsearch.results import folder as results_folder
    from kdsearch.results import searches as results_searches

    storage = results_searches.reading(results)
    if search is None:
        _list(list(results_searches.overview(storage)), storage.uri or str(storage.folder), as_json)
        return
    folder = results_searches.find(search, storage)
    with results_folder.readable(folder):
        _show(folder, storage, as_json)


def _list(found: list[dict[str, Any]], place: str, as_json: bool) -> None:
    """All searches of a storage; why, of those that are damaged."""
    console = show.console()
    if as_json:
        print(json.dumps({"storage": place, "searches": found}))
    elif not found:
        console.print(
            f"There is no search in '{place}' yet. Start one: kdsearch tune SPACE    kdsearch spaces lists the spaces",
            soft_wrap=True,
        )
    else:
        console.print(show.table(f"Searches in {place}", COLUMNS, map(_line, found), left=COLUMNS[:2], folded=COLUMNS))
        for one in found:
            if "cause" in one:
                console.print(f"Damaged: {one['name']}: {one['cause']}", style="red", soft_wrap=True)


def _line(one: dict[str, Any]) -> list[str]:
    """A search's COLUMNS."""
    if "cause" in one:
        return [one["name"], one["state"], *["–"] * 4]
    written = datetime.fromisoformat(one["written"]).astimezone()
    ended, best = f"{one['ended']} of {one['total']}", percent(one["accuracy"])
    return [one["name"], one["state"], ended, best, str(one["front"]), f"{written:%Y-%m-%d %H:%M}"]


def _confirmed(member: Any) -> dict[str, Any] | None:
    """The mean over new seeds, half of its 95 % interval, and how many they are; the row's accuracy is one run's."""
    if member is None:
        return None
    return {"mean": member.confirmed.value, "half": member.confirmed.half, "seeds": len(member.accuracies)}


def _show(folder: Path, storage: Any, as_json: bool) -> None:
    from kdsearch.cli import tables as cli_tables
    from kdsearch.results import cells as results_cells
    from kdsearch.results import costs, seeds
    from kdsearch.results import searches as results_searches
    from kdsearch.results import tables as results_tables
    from kdsearch.results.facts import read_facts
    from kdsearch.results.front import members, reached

    facts, found = read_facts(folder), results_tables.read(folder)
    stands = results_searches.standing(storage, found, facts)
    if as_json:
        rows = [found.trials[name] for name in members(found.trials.values())]
        known = {one.trial: one for one in seeds.members(found, facts.validation_images)}
        front = [
            {**row, "pipeline": json.loads(row["pipeline"]), "confirmed": _confirmed(known.get(row["trial"]))}
            for row in rows
        ]
        area = reached(found.trials.values(), facts.chance)
        spent = costs.spent(found, facts)
        told = {"search": str(folder), **facts.plain(), **stands, "front": front, "hypervolume": area, "spent": spent}
        if facts.is_grid:
            told["cells"] = results_cells.plain(found, facts.validation_images)
        print(json.dumps(told))
        return
    console = show.console()
    said = {"running": "cut off"} if stands["state"] == "interrupted" else {}
    counts = " · ".join(f"{count} {said.get(name, name)}" for name, count in stands["states"].items())
    ended = f"{stands['ended']} of {stands['total']} trials ended ({counts or 'none began'})"
    place = f"{storage.uri}: {folder.name}" if results_searches.in_bucket(folder, storage) else folder
    console.print(f"{place}: {stands['state']}, {ended}", style="bold", soft_wrap=True)
    if facts.account:
        console.print(facts.account, soft_wrap=True)
    cli_tables.summary(found, facts, console)
    if stands["state"] == "interrupted" and facts.resume:
        console.print(f"Go on:   {facts.resume}", soft_wrap=True)
