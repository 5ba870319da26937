"""Which layers of two networks a term compares, where nobody tells it."""

from collections.abc import Sequence

from kdsearch.config.methods import AT, FSP, SP, Pair
from kdsearch.config.net import AnyNet


def compared(term: AT | FSP | SP, teacher: AnyNet, student: AnyNet) -> tuple[Pair, ...]:
    """The pairs of a term, in the order of the student's layers: those told, else its usual ones, paired by depth."""
    if term.pairs:
        return tuple(sorted(term.pairs, key=lambda pair: pair.layers[::-1]))
    if isinstance(term, SP):
        return (Pair(hint=teacher.layers, guided=student.layers),) if teacher.layers and student.layers else ()
    first = {1} if isinstance(term, FSP) else set()
    hints, guided = (sorted({*net.ends} | first if net.ends else ()) for net in (teacher, student))
    count = min(len(hints), len(guided))
    return tuple(
        Pair(hint=one, guided=other) for one, other in zip(_some(hints, count), _some(guided, count), strict=True)
    )


def _some(layers: Sequence[int], count: int) -> list[int]:
    """So many of them, evenly, the last one among them."""
    return [layers[round(number * len(layers) / count) - 1] for number in range(1, count + 1)]
