"""What stands under an answer chart: how the numbers here were made, and how the printed ones were."""

import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import altair as alt
import pandas as pd

from kdsearch.papers import printed, tables
from kdsearch.results.cells import Cell
from kdsearch.results.facts import Facts

HINTED = "15 epochs without and 20 with a hint"
FROZEN = "the first stage was 0.25 of the hint loss and 0.75 of the labels' through a random, frozen classifier"
PROTOCOLS = {
    "seed1-table1": f"one run, {HINTED}; the loss of the runs with a hint had no hint term",
    "seed1-table2": f"one unseeded run, {HINTED}; {FROZEN}",
    "seed1-table3": f"one run, 20 epochs; {FROZEN}",
    "seed1-table4": f"one unseeded run, 20 epochs; {FROZEN}",
    "seed1-table5": f"one run, {HINTED}; two hints shared the weight of one, 0.125 each; {FROZEN}",
    "seed1-table6": f"one unseeded run, {HINTED}; the hint term was identically zero",
    "seed2-table1": "the mean of 20 runs of 10 epochs, with standard deviations of 0.11 (labels) and 0.05",
    "seed2-alpha-temperature": "one run a cell, 50 epochs; labels alone gave 87.25, with half the updates",
    "seed2-data-fraction": (
        "one run, 50 epochs, the first images of the file: fewer images, fewer steps; labels at 100 % had half the "
        "updates of the others"
    ),
    "seed2-teacher-free": (
        "one run, 50 epochs, α = 0.4; distilled students had twice the updates, and a drop of the learning rate, that "
        "labels had not"
    ),
    "seed2-distilled-teacher": (
        "one run, 50 epochs; generation 1 was taught by a student like itself (α = 0.6, T = 2), not by ResNet-18, and "
        "taught generation 2; labels had half the updates"
    ),
    "seed2-table3": (
        "one run; every arm had its own optimiser, α, T and 30 to 150 epochs, some stopped early by the test images; "
        "the number without an assistant is in no stored output"
    ),
}
"""Of each table, how its numbers were made; all are of test images."""
TITLES = {"cifar10": "CIFAR-10", "cifar100": "CIFAR-100", "mnist": "MNIST"}
WIDTH = 140
"""Characters of a caption's line."""


def of_data(facts: Facts, cifar10: str, cifar100: str) -> str:
    """Which of two tables a search's data ask for."""
    return cifar100 if facts.data == "cifar100" else cifar10


def dataset(table: str) -> str:
    """The data set that a printed table is about."""
    return tables.find(table).data.name


def frame(table: str, rows: Mapping[str, str]) -> pd.DataFrame:
    """Columns arm, accuracy, said (as text), table, note: the printed numbers of these rows, each at its arm."""
    values, notes = printed.accuracies(table), {line.row: line.note for line in printed.read(table)[::-1]}
    found = [
        {
            "arm": arm,
            "accuracy": values[row],
            "said": f"{100 * values[row]:.2f} %",
            "table": table,
            "note": notes[row] or "–",
        }
        for row, arm in rows.items()
    ]
    return pd.DataFrame(found, columns=["arm", "accuracy", "said", "table", "note"])


def told(table: str) -> str:
    """`○ printed (seed1-table1): CIFAR-10 test images, one run, …`"""
    return f"○ printed ({table}): {TITLES[dataset(table)]} test images, {PROTOCOLS[table]}."


SEEDS = "small dots: seeds, lines: 95\u00a0% intervals over seeds, on the same images"
"""What a chart of seeds shows."""


def here(found: Sequence[Cell], facts: Facts, shown: str = SEEDS) -> list[str]:
    """How the numbers of a grid were made, what of its seeds is shown, and which cells are missing."""
    counts = sorted({len(cell.accuracies) for cell in found if cell.accuracies})
    seeds = "–".join(str(count) for count in dict.fromkeys((counts[0], counts[-1]))) if counts else "no"
    said = f"● here: {made(facts)}, {seeds} seed{'s' * (seeds != '1')}{epochs(facts, 'in every cell')}"
    lines = [f"{said}; {shown}."]
    if counts[-1:] == [1]:
        lines = [f"{said}. With one seed there is no interval: what differs may be noise."]
    failed = [f"{cell.name} ({_causes(cell)})" for cell in found if cell.failed]
    waiting = [cell.name for cell in found if not cell.accuracies and not cell.failed]
    lines += [f"failed: {', '.join(failed)}"] * bool(failed)
    return lines + [f"not fully trained yet: {', '.join(waiting)}"] * bool(waiting)


def made(facts: Facts) -> str:
    """`digits, 1,150 training and 287 validation images`."""
    counts = f"{facts.images:,} training and {facts.validation_images:,} validation images"
    return f"{Path(facts.data).name}, {counts}"


def epochs(facts: Facts, where: str) -> str:
    """`, 20 epochs in every cell`; nothing where a search does not say."""
    return f", {facts.epochs} epochs {where}" if facts.epochs else ""


def _causes(cell: Cell) -> str:
    some = f"{len(cell.failed)} of {len(cell.failed) + len(cell.accuracies)} seeds: " if cell.accuracies else ""
    return some + "; ".join(dict.fromkeys(textwrap.shorten(cause, 80, placeholder=" …") for cause in cell.failed))


def under(charts: Sequence[Any], lines: Sequence[str]) -> alt.HConcatChart:
    """Charts side by side with sentences under them."""
    whole = (line.replace(" = ", "\u00a0=\u00a0") for line in lines)
    text = [part for line in whole for part in textwrap.wrap(line, WIDTH)]
    caption = alt.TitleParams(
        text, orient="bottom", anchor="start", fontSize=11, fontWeight="normal", color="#5a6570", offset=12
    )
    return alt.hconcat(*charts, title=caption, spacing=30).resolve_scale(y="independent", color="independent")
