"""The command that makes a paper's table again."""

import json
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from kdsearch.cli.options import DATA_DIR, RESULTS, DataDir, Results, interruptible
from kdsearch.papers.comparison import Line
from kdsearch.papers.tables import Protocol
from kdsearch.results import show

HELD = 0.2
"""Share of the training images that judges where there are no test images."""


def reproduce(
    table: Annotated[str | None, typer.Argument(metavar="TABLE", help="Its name; without it, all are listed.")] = None,
    scale: Annotated[
        str,
        typer.Option(
            metavar="tiny|small|full",
            help="tiny: 400 images, 2 epochs, narrow networks: seconds. small: 5,000 images, a third of the epochs: "
            "minutes to hours on two cores. full: as published, for a GPU.",
        ),
    ] = "small",
    data: Annotated[
        str | None, typer.Option(metavar="NAME|DIR", help="Other images than the paper's, as of tune.")
    ] = None,
    data_dir: DataDir = DATA_DIR,
    seeds: Annotated[int, typer.Option(min=1, max=1000, help="Of each row; the teacher has one.")] = 1,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show each row's parameters; train nothing.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
    results: Results = RESULTS,
    max_concurrent: Annotated[int | None, typer.Option(min=1, help="Networks at a time, at most.")] = None,
    cpus_per_trial: Annotated[float, typer.Option(min=0.1, help="Cores (and threads) a network.")] = 1,
    gpus_per_trial: Annotated[
        float | None, typer.Option(min=0, help="Share of a GPU a network, e.g. 0.25.  [default: 1 where there is one]")
    ] = None,
    precision: Annotated[
        Literal["auto", "float32", "bfloat16"],
        typer.Option(help="In which networks multiply; those in the store stay as they are."),
    ] = "auto",
) -> None:
    """Make a paper's table again, as published or smaller, and print it beside the printed numbers.

    It reads the test images, as the papers did: nothing is chosen by it.
    """
    from kdsearch.papers import comparison
    from kdsearch.papers import scales as papers_scales
    from kdsearch.papers import tables as papers_tables

    console = show.console(stderr=as_json)
    if table is None:
        _list(as_json)
        return
    published, reduced = papers_tables.find(table), papers_scales.named(scale)
    where, held = _judged(data or published.data.name)
    protocol = papers_scales.resized(published, reduced, where, held)
    told = {"table": table, "title": protocol.title, "scale": scale, "data": where}
    told |= {"split": "test" if held is None else "validation", "training_images": reduced.images}
    told |= {"comparable": scale == "full" and where == published.data.name, "remarks": protocol.remarks}
    if dry_run:
        found = comparison.lines(table, protocol, _sizes(protocol, data_dir))
        title, shown = f"{table}: {protocol.title}", comparison.planned(protocol, found)
    else:
        options = {"max_concurrent": max_concurrent, "precision": precision}
        options |= {"cpus_per_trial": cpus_per_trial, "gpus_per_trial": gpus_per_trial, "seeds": seeds}
        folder, found = _made(table, scale, protocol, results, console, data_dir=str(data_dir), **options)
        title = f"{table}: {protocol.title}; accuracy on the {told['split']} images, in percent"
        shown, told["folder"] = comparison.made(found, where == published.data.name), str(folder)
        told["seeds"], told["judged"] = (
            seeds,
            max((entry["images"] for line in found for entry in line.entries), default=0),
        )
    if as_json:
        print(json.dumps({**told, "rows": comparison.plain(found)}))
    else:
        console.print(title, style="bold", soft_wrap=True)
        console.print(shown)
        quantities = comparison.SIZES if dry_run else ("accuracy", *comparison.SIZES)
        sentences = _sentences(told, reduced.said, published.data.name)
        comparison.under(found, quantities, protocol.remarks, sentences, console)
    if any(line.cause for line in found):
        raise typer.Exit(1)


def _list(as_json: bool) -> None:
    from kdsearch.papers.tables import TABLES

    titles = {name: protocol.title for name, protocol in TABLES.items()}
    if as_json:
        print(json.dumps(titles))
    else:
        show.console().print(show.listing(titles))


def _judged(data: str) -> tuple[str, float | None]:
    """A data set as every process understands it; the share that judges where it has no test images."""
    from kdsearch.config.datasets import KNOWN

    if data in KNOWN:
        return data, None
    from kdsearch.data.folder import placed

    path = placed(data)
    return path, None if (Path(path) / "test").is_dir() else HELD


def _sizes(protocol: "Protocol", data_dir: Path) -> dict[str, dict[str, Any]]:
    """Of each row's network; why it cannot be."""
    from kdsearch.config.datasets import KNOWN
    from kdsearch.papers.sizes import sizes_or_cause

    if known := KNOWN.get(protocol.data.name):
        image, classes = known.shape, known.classes
    else:
        from kdsearch.data.images import load

        images = load(protocol.data, data_dir)
        image, classes = images.shape, len(images.classes)
    return sizes_or_cause(protocol, image, classes)


def _made(
    table: str, scale: str, protocol: "Protocol", results: str, console: Any, **options: Any
) -> "tuple[Path, list[Line]]":
    """The table's folder, and its rows."""
    from kdsearch.papers import comparison
    from kdsearch.papers import scales as papers_scales
    from kdsearch.search.progress import Watch
    from kdsearch.storage.bucket import at

    storage = at(results)
    folder = storage.folder / "reproduce" / f"{table}-{scale}-{papers_scales.called(protocol.data.name)}"
    command = shlex.join(["kdsearch", *sys.argv[1:]])
    said = "What was trained is kept; the same command goes on."
    with interruptible(lambda: said), Watch(console) as watch:
        from kdsearch.papers import reproduce as papers_reproduce

        own = papers_reproduce.Table(table, protocol, storage, folder, command)
        made = papers_reproduce.reproduce(own, options, watch.show, watch.read)
    others = set(papers_reproduce.other_precisions(own, options["precision"])) if made.entries else set()
    if others:
        text = f"networks that were there before were trained in {' and '.join(sorted(others))}"
        console.print(f"Warning: {text}, not {options['precision']}.", style="yellow", soft_wrap=True)
    return folder, comparison.lines(table, protocol, made.sizes, made.entries)


def _sentences(told: dict[str, Any], reduced: str, published: str) -> Iterator[str]:
    """What the numbers may be compared with."""
    if told.get("seeds", 1) > 1:
        yield f"± is a 95 % interval over seeds, on the same {told['judged']:,} {told['split']} images."
    if told["split"] == "validation":
        yield (
            f"'{told['data']}' has no folder 'test': {100 * HELD:.0f} % of its training images are held out to judge, "
            f"where the papers read test images."
        )
    if told["scale"] != "full":
        yield f"Reduced, on {told['data']}: {reduced}: not comparable with the print."
    elif told["data"] != published:
        yield f"On '{told['data']}' instead of {published}: comparable with the print if it holds the same images."
    if "folder" in told:
        yield f"Written: {told['folder']}/trials.parquet"
