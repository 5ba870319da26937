"""A confirmed front as columns and sentences."""

from collections.abc import Sequence

from kdsearch.results import seeds as results_seeds
from kdsearch.results.format import amount, with_unit
from kdsearch.results.objectives import Objective, objective
from kdsearch.results.seeds import Member, Neighbours

COLUMNS = ("selected", "confirmed", "cost")
"""Of a table of confirmed members, behind what they cost; accuracies on the validation images."""

TESTED = ("test, selected", "test, confirmed")
"""Columns more, where test images were read."""


def heading(found: Sequence[Member]) -> str:
    """What a table of these members shows: `Confirmed: 5 seeds, …`, or the fewest and the most."""
    counts = sorted({len(member.accuracies) for member in found})
    seeds = " to ".join(str(count) for count in dict.fromkeys((counts[0], counts[-1])))
    return f"Confirmed: {seeds} seeds, mean ± 95 % interval over them, in percent"


def columns(found: Sequence[Member]) -> tuple[str, ...]:
    """What they cost, COLUMNS; TESTED where test images were read; `seeds` where members have not equally many."""
    uneven = len({len(member.accuracies) for member in found}) > 1
    tested = any(member.test for member in found)
    own = _objective(found)
    return ("trial", own.label, own.gain, *COLUMNS) + (TESTED if tested else ()) + (("seeds",) if uneven else ())


def gain(found: Sequence[Member]) -> str:
    """The column that says how much less than the teacher they have."""
    return _objective(found).gain


def _objective(found: Sequence[Member]) -> Objective:
    return objective(found[0].against if found else None)


def cells(member: Member, names: Sequence[str]) -> list[str]:
    """A member's columns, by name."""
    own = objective(member.against)
    told = {
        "trial": member.trial,
        own.label: amount(own, member.amount),
        own.gain: f"{member.ratio:.3g}×",
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
    said = [_sentence(pair) for pair in results_seeds.neighbours(found, images)]
    plural = "s" if len(found) > 1 else ""
    cost = f"Selection cost {100 * results_seeds.cost(found):.1f} points on average over {len(found)} member{plural}"
    return [*said, f"{cost}: accuracy when selected, minus the mean when confirmed."]


def _sentence(pair: Neighbours) -> str:
    names = f"{pair.larger.trial} and {pair.smaller.trial}"
    own = objective(pair.smaller.against)
    smaller = f"the {own.smaller} ({with_unit(own, pair.smaller.amount)})"
    if pair.difference.half is None:
        return f"{names} cannot be compared: each needs two seeds."
    if not pair.differ:
        return f"{names} cannot be told apart: {pair.difference.points} points; {smaller} may be as good."
    better = f"; {smaller} is better" if pair.difference.value < 0 else ""
    return f"{names} differ: {pair.difference.points} points{better}."
