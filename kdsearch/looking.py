"""The commands that look: at spaces, at searches, at the cache, at cluster files."""

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from kdsearch.errors import Refusal
from kdsearch.remote import ClusterFile

Results = Annotated[
    str,
    typer.Option(
        "--results",
        "--storage",
        envvar="KDSEARCH_STORAGE",
        metavar="DIR|URI",
        help="Where all searches are: a folder (on a cluster one that all nodes see), s3://bucket/path or gs://…",
    ),
]
SearchName = Annotated[str, typer.Argument(metavar="SEARCH", help="A search's name in --storage, or its path.")]
RESULTS = "results"


def spaces() -> None:
    """List the search spaces and their questions."""
    from rich.table import Table

    from kdsearch import spaces as found
    from kdsearch import words

    table = Table.grid(padding=(0, 2))
    table.add_column(style="bold", no_wrap=True)
    for name, question in found.names().items():
        table.add_row(name, question)
    console = words.console()
    console.print(table)
    console.print("Your own: kdsearch tune ./my_space.py", style="dim")


def status(
    context: typer.Context,
    search: SearchName,
    results: Results = RESULTS,
    as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
    cluster: ClusterFile = None,
) -> None:
    """How a search stands: running, finished or interrupted; its front and failures."""
    if cluster is not None:
        from kdsearch import remote

        raise typer.Exit(remote.status(cluster, remote.asked(context)))
    from kdsearch import results as tables
    from kdsearch import searches

    storage = searches.reading(results)
    folder = searches.find(search, storage)
    with tables.readable(folder):
        _show(folder, storage, as_json)


def _show(folder: Path, storage: Any, as_json: bool) -> None:
    from kdsearch import cells, ledger, searches, words
    from kdsearch import results as tables
    from kdsearch.front import members, reached

    facts, found = tables.read_facts(folder), tables.read(folder)
    stands = searches.standing(storage, found, facts)
    if as_json:
        rows = [found.trials[name] for name in members(found.trials.values())]
        seeds = words.seeds_of(folder)
        front = [{**row, "pipeline": json.loads(row["pipeline"]), "seeds": 1 + seeds[row["trial"]]} for row in rows]
        area = reached(found.trials.values(), facts["classes"])
        spent = ledger.spent(found, facts)
        told = {"search": str(folder), **facts, **stands, "front": front, "hypervolume": area, "spent": spent}
        if facts.get("sampler") == "grid":
            told["cells"] = cells.plain(found, facts["validation_images"])
        print(json.dumps(told))
        return
    console = words.console()
    said = {"running": "cut off"} if stands["state"] == "interrupted" else {}
    counts = " · ".join(f"{count} {said.get(name, name)}" for name, count in stands["states"].items())
    ended = f"{stands['ended']} of {stands['total']} trials ended ({counts or 'none began'})"
    place = f"{storage.uri}: {folder.name}" if searches.in_bucket(folder, storage) else folder
    console.print(f"{place}: {stands['state']}, {ended}", style="bold", soft_wrap=True)
    words.summary(found, facts, console)
    if stands["state"] == "interrupted" and "resume" in facts:
        console.print(f"Go on:   {facts['resume']}", soft_wrap=True)


def report(
    context: typer.Context,
    search: SearchName,
    results: Results = RESULTS,
    output: Annotated[Path | None, typer.Option(metavar="FILE", help="[default: report.html in the search]")] = None,
    png: Annotated[bool, typer.Option("--png", help="Write each chart as a picture too.")] = False,
    cluster: ClusterFile = None,
) -> None:
    """One HTML page of a search: the front, who is on it and why, learning curves, importances. Needs no network."""
    if cluster is not None:
        from kdsearch import remote

        for path in remote.report(cluster, remote.asked(context), search, output):
            print(path)
        return
    import importlib

    from kdsearch import results as tables
    from kdsearch import searches

    folder = searches.find(search, searches.reading(results))
    reports: Any = importlib.import_module("kdsearch.analysis.report")
    target = output or folder / "report.html"
    with tables.readable(folder):
        for path in reports.write(folder, target, png):
            print(path)


def export(
    search: SearchName,
    trial: Annotated[str | None, typer.Option(metavar="ID", help="One trial.")] = None,
    best: Annotated[str | None, typer.Option(metavar="accuracy|knee", help="The best trial by this.")] = None,
    front: Annotated[bool, typer.Option("--front", help="All trials of the front.")] = False,
    output: Annotated[Path, typer.Option(metavar="DIR", help="A folder a trial is made in it.")] = Path("exports"),
    results: Results = RESULTS,
) -> None:
    """Write a trial's config.yaml, student.safetensors and metrics.json."""
    from kdsearch import export as exports
    from kdsearch import results as tables
    from kdsearch import searches

    storage = searches.reading(results)
    folder = searches.find(search, storage)
    with tables.readable(folder):
        found = tables.read(folder)
        trials = exports.chosen(found, trial, best, front)
        searches.bring_students(storage, folder, trials)
        for path in exports.export(folder, found, trials, output):
            print(path)


def replay(
    table: Annotated[str, typer.Argument(metavar="TABLE", help="A search run with --rule none, or a .parquet file.")],
    workers: Annotated[int, typer.Option(min=1, help="Trials side by side.")] = 4,
    reduction: Annotated[float, typer.Option(help="A rule sends on the best 1/N of those judged.", metavar="N")] = 3,
    milestones: Annotated[
        str | None, typer.Option(metavar="1,3,9", help="KD epochs of judgement.  [default: powers of N]")
    ] = None,
    budget: Annotated[str, typer.Option(metavar="18,55", help="In epochs of so many full-length trials.")] = "18,55",
    seeds: Annotated[int, typer.Option(min=1, help="Orders in which the trials are drawn.")] = 20,
    save: Annotated[Path | None, typer.Option(metavar="FILE", help="Write a search's curves as one parquet.")] = None,
    results: Results = RESULTS,
    as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
) -> None:
    """Compare all stopping rules on recorded learning curves: what each would have found, and killed."""
    from kdsearch import comparison, curves, searches, words
    from kdsearch import replay as replays
    from kdsearch.display import Counting
    from kdsearch.settings import numbers_of

    storage = searches.reading(results)
    if storage.uri and Path(table).suffix != ".parquet" and not Path(table).exists():
        searches.find(table, storage)
    found = curves.read(table, storage.folder)
    setting = replays.Setting(workers, reduction, numbers_of(milestones or ""), numbers_of(budget), seeds)
    setting = replays.checked(found, setting)
    if save:
        curves.write(save, found)
    with Counting(words.console(stderr=True), "replays") as counting:
        lines = list(comparison.lines(replays.replays(found, setting, counting.count)))
    if as_json:
        print(json.dumps(comparison.plain(found, setting, lines)))
        return
    comparison.show(found, setting, lines, words.console())


def cache(
    clear: Annotated[bool, typer.Option("--clear", help="Delete all of it; what is needed is made again.")] = False,
) -> None:
    """Show what is kept on disk: decoded images, teachers' answers (at most KDSEARCH_CACHE_LIMIT GB)."""
    from kdsearch import cache as disk
    from kdsearch import words

    console = words.console()
    if clear:
        console.print(f"Deleted: {words.size(disk.clear(disk.folder()))} in {disk.folder()}", soft_wrap=True)
        return
    words.cached(disk.folder(), disk.limit(), console)


def check(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A cluster file, as `ray up` takes it.")],
) -> None:
    """Check a cluster file without contacting anybody: Ray's own schema, then what kdsearch needs."""
    from kdsearch import cluster as clusters
    from kdsearch import lints

    config = clusters.read(file)
    wrong = list(lints.findings(config))
    for sentence in wrong:
        print(sentence)
    if wrong:
        raise Refusal(f"'{file}' breaks {len(wrong)} rule{'s' if len(wrong) > 1 else ''}, see above.")
    open_words = lints.placeholders(config)
    for word in open_words:
        print(f"Yours to fill in: {word}")
    but = f", once the {len(open_words)} words above are yours" if open_words else ""
    print(f"{file}: {lints.summary(config)}: looks right{but}")
