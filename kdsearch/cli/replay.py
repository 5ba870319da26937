"""The command that compares stopping rules on recorded curves."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from kdsearch.cli.options import RESULTS, Results, numbers_of
from kdsearch.results import show as results_show
from kdsearch.results.curves import Curves
from kdsearch.search.progress import Display
from kdsearch.search.replay import Line, Setting

COLUMNS = ("rule", "regret", "quartiles", "× none", "× asha", "started", "S/M/L", "killed")


def plain(curves: Curves, setting: Setting, found: Sequence[Line]) -> dict[str, Any]:
    """For programs."""
    told = {"table": curves.name, "trials": len(curves.trials), "length": curves.length, "front": len(curves.members)}
    return told | {"hypervolume": curves.hypervolume, **asdict(setting), "rules": [asdict(line) for line in found]}


def show(curves: Curves, setting: Setting, lines: Iterable[Line], console: Console) -> None:
    """A table for each budget: what each stopping rule came to."""
    at = ", ".join(map(str, setting.milestones))
    console.print(
        f"{curves.name}: {len(curves.trials)} trials of up to {curves.length:g} epochs, {len(curves.members)} on the "
        f"front, hypervolume {curves.hypervolume:.3f}", style="bold", soft_wrap=True,
    )  # fmt: skip
    console.print(
        f"{setting.seeds} orders, {setting.workers} workers, judged at KD epochs {at}, best 1/{setting.reduction:g} go "
        f"on", soft_wrap=True,
    )  # fmt: skip
    for budget, own in groupby(lines, key=lambda line: line.budget):
        title = f"\nAfter {budget * curves.length:g} epochs, those of {budget} full-length trials"
        console.print(results_show.table(title, COLUMNS, map(_cells, own), left=("rule",)))
    console.print(
        "Regret: share of the table's hypervolume that the fully trained trials lack, median. S/M/L: fully trained "
        "trials among the smallest, middle and largest third. Killed: members of the table's front that were stopped.",
        style="dim", soft_wrap=True,
    )  # fmt: skip


def _cells(line: Line) -> list[str]:
    """A rule's COLUMNS."""
    low, middle, high = line.regret
    return [
        line.rule, f"{middle:.4f}", f"{low:.3f}–{high:.3f}", f"{line.against_none:.2f}", f"{line.against_asha:.2f}",
        f"{line.started:.0f}", "/".join(f"{one:.0f}" for one in line.complete), f"{100 * line.killed:.0f} %",
    ]  # fmt: skip


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
    from kdsearch.results import curves as results_curves
    from kdsearch.results import searches as results_searches
    from kdsearch.search import replay as search_replay

    storage = results_searches.reading(results)
    if storage.uri and Path(table).suffix != ".parquet" and not Path(table).exists():
        results_searches.find(table, storage)
    found = results_curves.read(table, storage.folder)
    setting = search_replay.Setting(workers, reduction, numbers_of(milestones or ""), numbers_of(budget), seeds)
    setting = search_replay.checked(found, setting)
    if save:
        results_curves.write(save, found)
    with Display(results_show.console(stderr=True)) as display:
        replays = search_replay.replays(found, setting, partial(display.wait, "replays"))
        lines = list(search_replay.lines(replays))
    if as_json:
        print(json.dumps(plain(found, setting, lines)))
        return
    show(found, setting, lines, results_show.console())
