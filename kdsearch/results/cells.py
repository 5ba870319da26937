"""The cells of a grid: each with its seeds, their mean and interval; which of them can be told apart.

Imports neither torch nor ray."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from kdsearch.results.facts import read_facts
from kdsearch.results.format import amount
from kdsearch.results.front import by_cell, ratio
from kdsearch.results.metric import guesses, score
from kdsearch.results.objectives import objective
from kdsearch.results.seeds import Estimate, difference, estimate
from kdsearch.results.tables import Tables, knobs

SINGLY = 8
"""Up to so many cells are each compared with the best in a sentence of their own."""

NEAR = 9
"""Decimals to which distances from a mean are told apart: sums of the same counts differ behind them."""


@dataclass(frozen=True)
class Cell:
    """One combination of a grid's knobs."""

    trial: str
    """Its first seed's."""
    knobs: dict[str, Any]
    accuracies: tuple[float, ...]
    """Of the fully trained seeds, 0–1."""
    mean: Estimate | None
    """None where no seed is fully trained."""
    amount: float
    """Parameters, or what it has of what its search looks at."""
    ratio: float
    """The teacher's / its own: compression."""
    failed: tuple[str, ...]
    """Causes, one a failed seed."""
    stopped: int = 0
    """Seeds that a rule stopped."""
    against: str = "parameters"
    """The objective that the search looks at."""

    @property
    def name(self) -> str:
        """`1→3`, `depth 3` or `alpha 0.2 tau 4`: one knob's word needs no name, its number does."""
        if len(self.knobs) == 1 and not re.fullmatch("[0-9.+]+", word := str(next(iter(self.knobs.values())))):
            return word
        return " ".join(f"{name} {value}" for name, value in self.knobs.items())


def cells(tables: Tables, images: int) -> list[Cell]:
    """In the order of their knobs' drawing; `images` judged them. References are none."""
    return [_cell(name, rows, images) for name, rows in by_cell(tables.trials.values()).items()]


def _cell(name: str, rows: Sequence[Mapping[str, Any]], images: int) -> Cell:
    first, own = rows[0], objective(rows[0].get("against"))
    accuracies = tuple(score(row) or 0.0 for row in rows if row["state"] == "complete")
    return Cell(
        name, knobs(first), accuracies, estimate(accuracies, images) if accuracies else None, first[own.column],
        ratio(first), tuple(row["cause"] or "" for row in rows if row["state"] == "failed"),
        sum(row["state"] == "stopped" for row in rows), own.name,
    )  # fmt: skip


@dataclass(frozen=True)
class Typical:
    """The seed that stands for a cell of several."""

    trial: str
    others: tuple[str, ...]
    """The other seeds' trials."""
    mean: float
    half: float | None
    """Of the 95 % interval over seeds."""
    seeds: int


def typical(tables: Tables, trial: str) -> Typical | None:
    """Of a cell's fully trained seeds the one nearest their mean, of ties the first; None for a trial that is of no
    cell with several. What the highest seed reached was luck."""
    found = by_cell(row for row in tables.trials.values() if row["state"] == "complete").values()
    rows = next((own for own in found if trial in {row["trial"] for row in own}), [])
    if len(rows) < 2:
        return None
    own = estimate([score(row) or 0.0 for row in rows], read_facts(tables.folder).validation_images)
    nearest = min(rows, key=lambda row: round(abs((score(row) or 0.0) - own.value), NEAR))["trial"]
    others = tuple(row["trial"] for row in rows if row["trial"] != nearest)
    return Typical(nearest, others, own.value, own.half, len(rows))


def ranked(found: Sequence[Cell]) -> list[Cell]:
    """Those with an accuracy, the highest mean first."""
    return sorted((cell for cell in found if cell.mean), key=lambda cell: -(cell.mean.value if cell.mean else 0))


def ordered(found: Sequence[Cell]) -> list[Cell]:
    """All of them, the highest mean first, those without one last."""
    return [*ranked(found), *(cell for cell in found if not cell.mean)]


def table(found: Sequence[Cell]) -> list[list[str]]:
    """All cells by their columns, in order."""
    return [columns(cell) for cell in ordered(found)]


def said(found: Sequence[Cell], images: int, chance: float) -> list[str]:
    """All that stands under the table."""
    several = any(len(cell.accuracies) > 1 for cell in found)
    return [*([about(images)] if several else []), *sentences(found, images), *at_chance(found, chance)]


def about(images: int) -> str:
    """What the table's intervals are."""
    return (
        f"± is a 95 % interval over seeds, on the same {images:,} validation images. Each pair is compared on its own, "
        f"and the best was chosen for being high."
    )


def at_chance(found: Sequence[Cell], chance: float) -> list[str]:
    """Whether cells learned anything at all."""
    low = [cell.name for cell in ranked(found) if cell.mean and guesses(cell.mean.value, chance)]
    if not low:
        return []
    return [
        f"Hardly better than guessing ({100 * chance:.3g} %), so that differences say nothing: {', '.join(low)}. Give "
        f"them more epochs."
    ]


def plain(tables: Tables, images: int) -> list[dict[str, Any]]:
    """The cells for programs, the highest mean first; accuracies and `half` of the 95 % interval, 0–1."""
    return [
        {
            "trial": cell.trial, "knobs": cell.knobs, "accuracies": cell.accuracies,
            "mean": cell.mean and cell.mean.value, "half": cell.mean and cell.mean.half,
            objective(cell.against).column: cell.amount, objective(cell.against).ratio: cell.ratio,
            "failed": cell.failed, "stopped": cell.stopped,
        }
        for cell in ordered(cells(tables, images))
    ]  # fmt: skip


def sentences(found: Sequence[Cell], images: int) -> list[str]:
    """What the seeds say of the best cell and the others; nothing for fewer than two cells."""
    if len(order := ranked(found)) < 2:
        return []
    if any(len(cell.accuracies) < 2 for cell in order):
        return ["A cell with one seed has no interval: what differs here may be noise (--seeds 3, or more)."]
    best, *others = order
    gaps = [(cell, difference(best.accuracies, cell.accuracies, images)) for cell in others]
    if len(others) < SINGLY:
        return [_sentence(best, cell, gap) for cell, gap in gaps]
    near = [(cell, gap) for cell, gap in gaps if not gap.beyond_noise]
    if not near:
        return [f"{best.name} is the best of {len(order)} cells, beyond noise."]
    some = ", ".join(f"{cell.name} ({gap.points})" for cell, gap in near[:SINGLY])
    more = f", and {len(near) - SINGLY} more" if len(near) > SINGLY else ""
    return [
        f"{best.name} has the highest mean, but {len(near)} of the {len(others)} others cannot be told apart from it "
        f"(difference in points): {some}{more}."
    ]


def _sentence(best: Cell, other: Cell, gap: Estimate) -> str:
    if gap.beyond_noise:
        return f"{best.name} is better than {other.name}: {gap.points} points."
    return f"{best.name} and {other.name} cannot be told apart: {gap.points} points."


def heading(found: Sequence[Cell]) -> tuple[str, ...]:
    """The columns of a table of cells."""
    own = objective(found[0].against if found else None)
    return ("trial", "cell", "accuracy", own.label, own.gain, "seeds")


def columns(cell: Cell) -> list[str]:
    """A cell's columns; accuracy in percent, with its 95 % interval over seeds."""
    return [
        cell.trial,
        cell.name,
        cell.mean.points if cell.mean else "failed" if cell.failed else "stopped" if cell.stopped else "–",
        amount(objective(cell.against), cell.amount),
        f"{cell.ratio:.3g}×",
        f"{len(cell.accuracies)}"
        + "".join(
            f", {count} {word}" for count, word in ((len(cell.failed), "failed"), (cell.stopped, "stopped")) if count
        ),
    ]
