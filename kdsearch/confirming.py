"""What `confirm` shows while it trains, and what it says of a confirmed front. Imports neither torch nor ray."""

import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.console import Console, Group
from rich.table import Table
from rich.text import Text

from kdsearch import noise, results
from kdsearch.display import LINE_EVERY, Screen, bar
from kdsearch.noise import Member, Neighbours
from kdsearch.words import percent

COLUMNS = ("trial", "parameters", "compression", "selected", "confirmed", "cost")
"""Of a table of confirmed members; accuracies on the validation images."""
TESTED = ("test, selected", "test, confirmed")
"""Columns more, where test images were read."""
WIDE = 92
"""Columns of a terminal that show all of these; where it has fewer, compression is left out."""


NAME = 20
"""Columns of a bar's name, so that bars stand below each other."""


class ConfirmWatch(Screen):
    """Shows `confirm`: a bar for all seeds and one for each at work, a line for each that ended."""

    counted = "seeds"
    """What the first bar counts."""

    def __init__(self, console: Console) -> None:
        super().__init__(console)
        self.bars: dict[str, Table] = {}
        self.whole: Table | None = None
        self.told = time.monotonic()

    def picture(self) -> Group:
        """The live display."""
        bars = [*self.bars.values(), *([self.whole] if self.whole else [])]
        return Group(*(bars or [Text("starting …")]))

    def read(self, doing: str, done: int, total: int) -> None:
        """Progress of reading the data."""
        self.bars[""] = bar(doing, done, total, f"{done}/{total}")

    def warn(self, text: str) -> None:
        """Why the seeds may not be replicates of what was selected."""
        self.console.print(f"Warning: {text}", style="yellow", soft_wrap=True)

    def show(self, step: Any) -> None:
        """An epoch of a seed, or its end."""
        self.bars.pop("", None)
        self.whole = bar(self.counted.ljust(NAME), step.done, step.total, f"{step.done}/{step.total}")
        text = f"epoch {step.epoch}/{step.epochs}  {percent(step.accuracy)}"
        if step.ended:
            self.bars.pop(step.name, None)
            style = "red" if step.cause else None
            self.console.print(f"{step.name}: {_ended(step)}; {step.done}/{step.total}", style=style, soft_wrap=True)
            return
        self.bars[step.name] = bar(step.name.ljust(NAME), step.epoch, step.epochs, text)
        if not self.console.is_terminal and time.monotonic() - self.told > LINE_EVERY:
            self.told = time.monotonic()
            self.console.print(f"{step.name}: {text}", soft_wrap=True)


def _ended(step: Any) -> str:
    if step.cause:
        return f"failed ({step.cause})"
    test = f", test accuracy {percent(step.test)}" if step.test is not None else ""
    return f"accuracy {percent(step.accuracy)}{test}"


def heading(found: Sequence[Member]) -> str:
    """What a table of these members shows: `Confirmed: 5 seeds, …`, or the fewest and the most."""
    counts = sorted({len(member.accuracies) for member in found})
    seeds = " to ".join(str(count) for count in dict.fromkeys((counts[0], counts[-1])))
    return f"Confirmed: {seeds} seeds, mean ± 95 % interval over them, in percent"


def columns(found: Sequence[Member]) -> tuple[str, ...]:
    """COLUMNS; TESTED where test images were read; `seeds` where members have not equally many."""
    uneven = len({len(member.accuracies) for member in found}) > 1
    tested = any(member.test for member in found)
    return COLUMNS + (TESTED if tested else ()) + (("seeds",) if uneven else ())


def cells(member: Member, names: Sequence[str]) -> list[str]:
    """A member's columns, by name."""
    told = {
        "trial": member.trial,
        "parameters": f"{member.parameters:,}",
        "compression": f"{member.compression:.3g}×",
        "seeds": str(len(member.accuracies)),
        "selected": f"{100 * member.selected:.1f}",
        "confirmed": member.confirmed.points,
        "cost": f"{100 * member.cost:+.1f}",
        "test, selected": "–" if member.selected_test is None else f"{100 * member.selected_test:.1f}",
        "test, confirmed": member.test.points if member.test else "–",
    }
    return [told[name] for name in names]


def sentences(found: Sequence[Member], images: int) -> list[str]:
    """What the seeds say of neighbours on the front, and what selection cost."""
    said = [_sentence(pair) for pair in noise.neighbours(found, images)]
    plural = "s" if len(found) > 1 else ""
    cost = f"Selection cost {100 * noise.cost(found):.1f} points on average over {len(found)} member{plural}"
    return [*said, f"{cost}: accuracy when selected, minus the mean when confirmed."]


def _sentence(pair: Neighbours) -> str:
    names = f"{pair.larger.trial} and {pair.smaller.trial}"
    smaller = f"the smaller ({pair.smaller.parameters:,} parameters)"
    if pair.difference.half is None:
        return f"{names} cannot be compared: each needs two seeds."
    if not pair.differ:
        return f"{names} cannot be told apart: {pair.difference.points} points; {smaller} may be as good."
    better = f"; {smaller} is better" if pair.difference.value < 0 else ""
    return f"{names} differ: {pair.difference.points} points{better}."


def table(found: Sequence[Member], width: int) -> Table:
    """Confirmed members as a table in a terminal of that many columns."""
    names = [
        name for name in columns(found) if width >= WIDE or name != "compression" or TESTED[0] not in columns(found)
    ]
    shown = Table(title=heading(found), title_justify="left", title_style="bold", header_style="bold")
    for name in names:
        shown.add_column(name, justify="left" if name == "trial" else "right")
    for member in found:
        shown.add_row(*cells(member, names))
    return shown


def summary(folder: Path, found: Sequence[Member], images: int, console: Console) -> None:
    """The table, the sentences, the seeds that failed."""
    if found:
        console.print(table(found, console.width))
    for text in sentences(found, images) if found else ():
        console.print(text, soft_wrap=True)
    for row in results.confirmed(folder):
        if row["cause"]:
            text = f"Failed: trial {row['trial']}, seed {row['seed']}: {row['cause']}"
            console.print(text, style="red", soft_wrap=True)
    if found:
        console.print(f"Written: {folder}/: confirmed.parquet, confirmed/", soft_wrap=True)


def plain(found: Sequence[Member], images: int) -> dict[str, Any]:
    """The same for programs: members, neighbours, and what selection cost; accuracies 0–1."""
    return {
        "members": [asdict(member) | {"cost": member.cost} for member in found],
        "neighbours": [
            {
                "larger": pair.larger.trial,
                "smaller": pair.smaller.trial,
                "differ": pair.differ,
                **asdict(pair.difference),
            }
            for pair in noise.neighbours(found, images)
        ],
        "cost": noise.cost(found) if found else None,
    }
