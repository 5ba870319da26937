"""Did distillation help? What a search's front says beside its references and its teacher. Neither torch nor ray."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from kdsearch.results import front, seeds
from kdsearch.results.facts import Facts
from kdsearch.results.format import percent, with_unit
from kdsearch.results.metric import guesses, score
from kdsearch.results.objectives import objective, size
from kdsearch.results.tables import Tables

Row = Mapping[str, Any]

NEAR = 1e-9
"""Means of the same counts, taken in another order, differ by less."""


def sentences(tables: Tables, facts: Facts) -> list[str]:
    """All that stands under a front; nothing where there is none."""
    rows = [tables.trials[name] for name in front.members(tables.trials.values())]
    if not rows:
        return []
    references = [row for row in tables.trials.values() if row["reference"] and row["state"] == "complete"]
    labels = next((row for row in references if row["reference"] == "labels"), None)
    known = {member.trial: member for member in seeds.members(tables, facts.validation_images)}
    found = [_helped(rows, labels, known)] if labels else []
    return [*found, *_guessing(rows, facts), *_dominated(rows, references), *_outgrown(rows, facts)]


def _helped(rows: Sequence[Row], labels: Row, known: Mapping[str, seeds.Member]) -> str:
    own = objective(labels.get("against"))
    small = [row for row in rows if size(row) <= size(labels)]
    sized = with_unit(own, labels[own.column])
    if not small:
        return (
            f"Whether distillation helped is open: no fully trained student is as {own.small} as labels alone had, "
            f"{sized}."
        )
    row = small[0]  # a front's most accurate one comes first
    member, alone = known.get(row["trial"]), score(labels) or 0.0
    reached = member.confirmed.value if member else score(row) or 0.0
    said = f"At ≤ {sized}: {percent(reached)} against {percent(alone)} with labels alone"
    if member is None:
        return f"{said}: one seed each, not told apart; kdsearch confirm would tell."
    count = len(member.accuracies)
    # One more seed of the confirmed student would lie so near to their mean (Student's t): labels have but one.
    near = (member.confirmed.half or math.inf) * math.sqrt(count + 1)
    told = "told apart, if both spread alike" if abs(reached - alone) > near else "not told apart"
    return f"{said}: {count} seeds against one, {told}."


def _guessing(rows: Sequence[Row], facts: Facts) -> list[str]:
    low = [row["trial"] for row in rows if guesses(score(row) or 0.0, facts.chance)]
    if not low:
        return []
    return [
        f"Hardly better than guessing ({100 * facts.chance:.3g} %), so that they say nothing: trial {', '.join(low)}. "
        f"Give more epochs (--epochs), or more images."
    ]


def _dominated(rows: Sequence[Row], references: Sequence[Row]) -> list[str]:
    found = []
    small = objective(rows[0].get("against")).small
    for one in references:
        below = [row["trial"] for row in rows if _dominates(one, row)]
        if below:
            found.append(
                f"The reference {one['reference']} is as {small} and as accurate as {len(below)} of the {len(rows)} "
                f"students on the front, or better: trial {', '.join(below)}."
            )
    return found


def _dominates(one: Row, other: Row) -> bool:
    better = (front.ratio(one) - front.ratio(other), (score(one) or 0.0) - (score(other) or 0.0))
    return min(better) >= 0 and max(better) > 0


def _outgrown(rows: Sequence[Row], facts: Facts) -> list[str]:
    teacher = facts.teacher_accuracy
    above = [row for row in rows if teacher is not None and (score(row) or 0.0) > teacher + NEAR]
    if not above:
        return []
    return [
        f"The teacher ({percent(teacher)}) is less accurate than {len(above)} of the {len(rows)} students on the front:"
        f" trained longer, it may teach more."
    ]
