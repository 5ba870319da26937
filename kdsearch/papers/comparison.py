"""What `reproduce` shows: a table beside the printed one, with what the print got wrong. Neither torch nor ray."""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from rich.console import Console

from kdsearch.papers import printed as papers_printed
from kdsearch.papers.printed import Printed
from kdsearch.papers.tables import Protocol
from kdsearch.results import seeds, show
from kdsearch.results.format import times
from kdsearch.results.seeds import Estimate

MADE = ("row", "printed", "ours", "difference", "paper's count", "deployed", "compression")
"""Columns of a table that was made; accuracies in percent; parameters as the paper counts them, and as deployed."""

PLANNED = ("row", "epochs", "paper's count", "printed", "deployed", "compression")
"""Of one that was not."""

SIZES = ("parameters", "compression")
"""Printed quantities that need no training."""


@dataclass(frozen=True)
class Line:
    """A row of a table: what the paper printed, what came of it here."""

    row: str
    printed: dict[str, Printed]
    """By quantity."""
    sizes: Mapping[str, Any]
    """parameters, training_parameters, counted, compression; less where the network cannot be."""
    entries: tuple[Mapping[str, Any], ...] = ()
    """One a seed that ended."""

    @property
    def accuracies(self) -> list[float]:
        return [entry["accuracy"] for entry in self.entries if entry["accuracy"] is not None]

    @property
    def cause(self) -> str | None:
        """Why seeds failed, the first of them."""
        return next((entry["cause"] for entry in self.entries if entry["cause"]), self.sizes.get("cause"))

    @property
    def ours(self) -> Estimate | None:
        return seeds.estimate(self.accuracies, self.entries[0]["images"]) if self.accuracies else None

    @property
    def difference(self) -> float | None:
        """Ours minus the printed accuracy, or what is right instead, 0–1."""
        told, ours = self.printed.get("accuracy"), self.ours
        if told is None or ours is None:
            return None
        return ours.value - told.right / 100


def lines(
    table: str, protocol: Protocol, sizes: Mapping[str, Mapping[str, Any]], entries: Sequence[Mapping[str, Any]] = ()
) -> list[Line]:
    """All rows of a table, in its order."""
    told = papers_printed.read(table)
    return [
        Line(
            name, {line.quantity: line for line in told if line.row == name}, sizes.get(name, {}),
            tuple(entry for entry in entries if entry["row"] == name),
        )
        for name in protocol.rows
    ]  # fmt: skip


def made(found: Iterable[Line], same: bool) -> show.Columns:
    """A table that was made, beside the printed one; `same`: on the paper's data, else there is no difference."""
    rows = []
    for line in found:
        ours = line.ours.percent(2) if line.ours else "failed" if line.cause else "–"
        difference = "–" if line.difference is None or not same else f"{100 * line.difference:+.2f}"
        rows.append([line.row, _told(line, "accuracy"), ours, difference, *_sizes(line)])
    return show.table(None, MADE, rows, left=("row",), folded=(*MADE[3:], "printed"))


def planned(protocol: Protocol, found: Iterable[Line]) -> show.Columns:
    """A table before it is made."""
    rows = []
    for line in found:
        counted, *rest = _sizes(line)
        epochs = str(protocol.rows[line.row].student.fit.epochs)
        rows.append([line.row, epochs, counted, _told(line, "parameters"), *rest])
    return show.table(None, PLANNED, rows, left=("row",), folded=PLANNED[1:])


def _sizes(line: Line) -> list[str]:
    """As the paper counts, as deployed, and its compression."""
    if line.sizes.get("parameters") is None:
        return ["–", "–", "–"]
    return [f"{line.sizes['counted']:,}", f"{line.sizes['parameters']:,}", times(line.sizes["compression"])]


def _told(line: Line, quantity: str) -> str:
    told = line.printed.get(quantity)
    if told is None:
        return "–"
    return f"{told.printed:.2f}" if quantity == "accuracy" else f"{told.printed:,.0f}"


def _plain(told: Printed) -> dict[str, Any]:
    return {"value": _number(told, told.printed), "correct": _number(told, told.correct), "note": told.note}


def _number(told: Printed, value: float | None) -> float | None:
    """A printed number in the unit of ours."""
    if value is None:
        return None
    return round(value / 100, 6) if told.quantity == "accuracy" else int(value) if value == int(value) else value


def notes(found: Iterable[Line], quantities: Collection[str]) -> Iterator[str]:
    """What the print got wrong, or its reader must know: a sentence for all rows of which the same is said."""
    same: dict[tuple[str, str], list[str]] = {}
    for line in found:
        for told in line.printed.values():
            if told.note and told.quantity in quantities:
                right = (
                    f"printed {told.printed:,.10g}, right is {told.correct:,.10g}: " if told.correct is not None else ""
                )
                same.setdefault((told.quantity, right + told.note), []).append(line.row)
    for (quantity, text), rows in same.items():
        yield f"{', '.join(rows)}: {quantity}: {text}"


def failures(found: Iterable[Line]) -> Iterator[str]:
    """Of every entry that failed, or row that cannot be."""
    for line in found:
        for entry in line.entries:
            if entry["cause"]:
                yield f"Failed: {line.row}, seed {entry['seed']}: {entry['cause']}"
        if not line.entries and line.cause:
            yield f"Cannot be: {line.row}: {line.cause}"


def under(
    found: Sequence[Line],
    quantities: Collection[str],
    remarks: Iterable[str],
    sentences: Iterable[str],
    console: Console,
) -> None:
    """What stands under a table; `quantities`: those whose print it is beside."""
    for text in failures(found):
        console.print(text, style="red", soft_wrap=True)
    for title, texts in (("Of the print", notes(found, quantities)), ("Of the protocol", remarks)):
        texts = list(texts)
        if texts:
            console.print(f"{title}:", style="bold")
        for text in texts:
            console.print(f"- {text}", soft_wrap=True)
    for text in sentences:
        console.print(text, soft_wrap=True)


def plain(found: Iterable[Line]) -> list[dict[str, Any]]:
    """The rows for programs; accuracies 0–1, printed ones too."""
    names = ("counted", "parameters", "training_parameters", "compression")
    return [
        {
            "row": line.row,
            "printed": {quantity: _plain(told) for quantity, told in line.printed.items()},
            **{name: line.sizes.get(name) for name in names},
            "accuracy": asdict(line.ours) if line.ours else None,
            "difference": line.difference,
            "seeds": [
                {name: entry[name] for name in ("seed", "accuracy", "seconds", "cause")} for entry in line.entries
            ],
            "cause": line.cause,
        }
        for line in found
    ]
