"""Numbers as a person reads them; a trial as columns. Imports neither torch nor ray."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from kdsearch.config.pipeline import Pipeline
from kdsearch.results import objectives
from kdsearch.results.front import ratio
from kdsearch.results.metric import score, words
from kdsearch.results.objectives import Objective, objective
from kdsearch.results.seeds import Member, members
from kdsearch.results.tables import Tables, knobs


def percent(value: float | None) -> str:
    """0.9312 -> 93.1 %."""
    return "–" if value is None else f"{100 * value:.1f} %"


def duration(seconds: float) -> str:
    """75 -> 1 min 15 s."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s" if minutes else f"{rest} s"


def size(count: float) -> str:
    """2_621_440_000 -> 2.6 GB."""
    unit, name = (1e9, "GB") if count >= 1e9 else (1e6, "MB") if count >= 1e6 else (1e3, "kB")
    return f"{count / unit:.1f} {name}"


def times(value: float) -> str:
    """1778.6 -> 1,779×; 29.53 -> 29.5×."""
    return f"{value:,.0f}×" if value >= 1000 else f"{value:.3g}×"


def amount(own: Objective, value: float) -> str:
    """Of an objective: 33,574, 134.3 kB, 21.4 µs."""
    if own.name == "bytes":
        return size(value)
    return f"{value:,.1f} µs" if own.measured else f"{value:,}"


def with_unit(own: Objective, value: float) -> str:
    """33,574 parameters, 134.3 kB."""
    return amount(own, value) + ("" if own.unit else f" {own.label}")


def outcome(row: Mapping[str, Any]) -> str:
    """`complete, accuracy 97.9 %, 33,574 parameters (52×)`."""
    reached, own = score(row), objective(row.get("against"))
    accuracy = f", {words(row.get('metric'))} {percent(reached)}" if reached is not None else ""
    return f"{row['state']}{accuracy}, {with_unit(own, row[own.column])} ({times(ratio(row))})"


TAUGHT = ("pairs", "λ", "τ")
"""How a student was taught; λ is the labels' share of the loss."""


def listing(rows: Sequence[Mapping[str, Any]], tables: Tables, images: int) -> tuple[list[str], list[list[str]]]:
    """Columns of some trials, and their lines, most important first: what the search chose, or, of references, how they
    were taught. Of a confirmed trial the accuracy is the mean over its new seeds, and `selected` the run that was
    chosen by its height."""
    known = {member.trial: member for member in members(tables, images)}
    confirmed = any(row["trial"] in known for row in rows)
    chosen = _chosen(tables) if any(row["reference"] is None for row in rows) else ()
    metric, own = next((row.get("metric") for row in rows), None), objectives.of(rows)
    names = ["trial", words(metric), own.label, own.gain, *(["selected"] if confirmed else [])]
    names += [*(chosen or TAUGHT), "epochs", "seeds"]
    return names, [_line(row, known.get(row["trial"]), confirmed, chosen) for row in rows]


def _chosen(tables: Tables) -> tuple[str, ...]:
    """Knobs that are not the same in all drawn trials."""
    drawn = [knobs(row) for row in tables.draws.values()]
    names = dict.fromkeys(name for own in drawn for name in own)
    return tuple(name for name in names if len({repr(own.get(name)) for own in drawn}) > 1)


def _line(row: Mapping[str, Any], member: Member | None, confirmed: bool, chosen: Sequence[str]) -> list[str]:
    own = percent(score(row))
    found = [row["trial"], f"{member.confirmed.points} %" if member else own]
    looked_at = objective(row.get("against"))
    found += [amount(looked_at, row[looked_at.column]), times(ratio(row)), *([own] if confirmed else [])]
    found += [value(knobs(row).get(name)) for name in chosen] or _taught(row)
    return [*found, str(row["epochs"]), str(len(member.accuracies) if member else 1)]


def _taught(row: Mapping[str, Any]) -> list[str]:
    student = Pipeline.model_validate(json.loads(row["pipeline"])).student
    kd, labels = student.kd, student.labels_weight
    return [student.pairs, f"{labels:.2f}" if kd or labels != 1 else "1", f"{kd.temperature:.1f}" if kd else "–"]


def value(knob: Any) -> str:
    """0.123456 -> 0.123; of a draw that lacks a knob, –."""
    return "–" if knob is None else f"{knob:.3g}" if isinstance(knob, float) else str(knob)
