"""What a replay's outcomes say of each stopping rule, for people and for programs."""

import math
import statistics
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import groupby
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from kdsearch.curves import Curves
from kdsearch.replay import Outcome, Setting
from kdsearch.rungs import RULES


@dataclass(frozen=True)
class Line:
    """A rule at a budget, over all seeds."""

    rule: str
    budget: int
    regret: tuple[float, float, float]
    """Quartiles."""
    against_none: float
    """Its median regret as a multiple of that of no stopping."""
    against_asha: float
    epochs: float
    """Median, as all that follow."""
    started: float
    complete: tuple[float, ...]
    killed: float
    """Share of the front's members that were stopped, of those that a replay met; all seeds together."""


def lines(outcomes: Sequence[Outcome]) -> Iterator[Line]:
    """One for each budget and rule."""
    grouped: dict[tuple[int, str], list[Outcome]] = {}
    for outcome in outcomes:
        grouped.setdefault((outcome.budget, outcome.rule), []).append(outcome)
    medians = {key: statistics.median(one.regret for one in own) for key, own in grouped.items()}
    for budget, rule in sorted(grouped, key=lambda key: (key[0], RULES.index(key[1]))):
        own, median = grouped[budget, rule], medians[budget, rule]
        yield Line(
            rule, budget, quartiles([one.regret for one in own]),
            against_none=ratio(median, medians[budget, "none"]),
            against_asha=ratio(median, medians[budget, "asha"]),
            epochs=statistics.median(one.epochs for one in own),
            started=statistics.median(one.started for one in own),
            complete=tuple(statistics.median(one.complete[third] for one in own) for third in range(3)),
            killed=ratio(sum(one.killed for one in own), sum(one.met for one in own)),
        )  # fmt: skip


def quartiles(values: Sequence[float]) -> tuple[float, float, float]:
    """The lower quartile, the median and the upper one."""
    if len(values) == 1:
        return values[0], values[0], values[0]
    low, middle, high = statistics.quantiles(values, n=4, method="inclusive")
    return low, middle, high


def ratio(one: float, other: float) -> float:
    """`one / other`; 1 where both are 0."""
    return one / other if other else math.inf if one else 1.0


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
        style: dict[str, Any] = {"title_justify": "left", "title_style": "bold", "header_style": "bold"}
        table = Table(title=title, box=SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0), **style)
        for name in ("rule", "regret", "quartiles", "× none", "× asha", "started", "S/M/L", "killed"):
            table.add_column(name, justify="left" if name == "rule" else "right", no_wrap=True)
        for line in own:
            low, middle, high = line.regret
            table.add_row(
                line.rule, f"{middle:.4f}", f"{low:.3f}–{high:.3f}", f"{line.against_none:.2f}",
                f"{line.against_asha:.2f}", f"{line.started:.0f}", "/".join(f"{one:.0f}" for one in line.complete),
                f"{100 * line.killed:.0f} %",
            )  # fmt: skip
        console.print(table)
    console.print(
        "Regret: share of the table's hypervolume that the fully trained trials lack, median. S/M/L: fully trained "
        "trials among the smallest, middle and largest third. Killed: members of the table's front that were stopped.",
        style="dim", soft_wrap=True,
    )  # fmt: skip
