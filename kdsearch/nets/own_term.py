"""A loss of the user's own: a function in a file of theirs, and what it says of itself."""

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from kdsearch.config.methods import OwnTerm
from kdsearch.config.net import AnyNet
from kdsearch.config.part import MOST
from kdsearch.errors import Refusal, first_line, listed, unknown
from kdsearch.nets.derived import EMBEDDING
from kdsearch.storage import code

EXAMPLE = "cosine.reads = cosine.asks = ('embedding',)"

WORDS = ("logits", "embedding", "map")
"""What a function can read and ask for; `map` is the last one, `map 2` and `map 1/2` another."""


@dataclass(frozen=True)
class Formula:
    """The function, and its attributes."""

    call: Callable[..., Tensor]
    """(ours, theirs) or (ours, theirs, labels): dicts by word -> a scalar."""
    reads: tuple[str, ...]
    """Of the student."""
    asks: tuple[str, ...]
    """Of the teacher."""
    weight: float
    labelled: bool
    """It takes the labels."""


def found(term: OwnTerm) -> Formula:
    """The function that a term means, loaded as it was when it was found out about. Raises Refusal."""
    place, _, name = term.term.rpartition(":")
    if not place.endswith(".py") or not name.isidentifier():
        raise Refusal(f"A term of one's own is named FILE.py:FUNCTION, but got '{term.term}'.")
    module = code.load(code.kept(Path(place), term.source))
    call = getattr(module, name, None)
    if not callable(call):
        there = [own for own, value in vars(module).items() if callable(value) and not own.startswith("_")]
        raise unknown(f"function in '{place}'", name, there)
    reads, asks = (_words(call, term, kind) for kind in ("reads", "asks"))
    weight = getattr(call, "weight", 1.0)
    if isinstance(weight, bool) or not isinstance(weight, int | float) or not 0 <= weight <= MOST:
        raise Refusal(f"A term's weight is a number from 0 to {MOST:,.0f}, but that of '{term.called}' is {weight!r}.")
    formula: Any = call
    return Formula(formula, reads, asks, float(weight), len(inspect.signature(call).parameters) > 2)


def _words(call: object, term: OwnTerm, kind: str) -> tuple[str, ...]:
    told = getattr(call, kind, None)
    words = (told,) if isinstance(told, str) else tuple(told or ())
    if not words:
        raise Refusal(
            f"A term says what it {kind}, of {listed(WORDS)}, but '{term.called}' does not: below it, {EXAMPLE}."
        )
    for word in words:
        if word.partition(" ")[0] not in WORDS:
            raise unknown(f"answer that '{term.called}' {kind}", word, WORDS)
    return words


def settled(term: OwnTerm) -> OwnTerm:
    """With its file as every process finds it, its hash and its weight; itself where that is so. Raises Refusal."""
    if term.source:
        return term
    place, colon, name = term.term.rpartition(":")
    if not colon:
        found(term)  # says how it is named
    path = Path(place).expanduser().resolve()
    placed = term.model_copy(update={"term": f"{path}{colon}{name}"})
    formula = found(placed)
    weight = formula.weight if term.weight is None else term.weight
    return placed.model_copy(update={"source": code.source(path), "weight": weight})


def layer(word: str, net: AnyNet) -> int:
    """The number of what a word means in a network: of a map, the logits, the embedding. Raises Refusal."""
    kind, _, which = word.partition(" ")
    if kind == "logits":
        return net.layers + 1
    if kind == "embedding":
        return EMBEDDING
    part, slash, whole = which.partition("/")
    if not all(one.isdecimal() and int(one) for one in ([part, whole] if slash else [part] if part else [])):
        raise Refusal(f"A map is named 'map', 'map 2' or 'map 1/2', but got '{word}'.")
    number = net.layers if not part else max(round(int(part) * net.layers / int(whole)), 1) if slash else int(part)
    if not 1 <= number <= net.layers:
        raise Refusal(f"'{word}' is a map of a network, but this one has {net.layers}.")
    return number


def computed(formula: Formula, called: str, shown: Sequence[dict[str, Tensor]], labels: Tensor) -> Tensor:
    """Its value; raises Refusal where it raises, or gives no single number."""
    try:
        loss = formula.call(*shown, *((labels,) if formula.labelled else ()))
    except Exception as error:  # whatever a user's code raises is told to the user
        raise Refusal(f"The term '{called}' raised {type(error).__name__}: {first_line(error)}") from error
    if not isinstance(loss, Tensor) or loss.dim():
        what = f"a tensor of {'×'.join(map(str, loss.shape))}" if isinstance(loss, Tensor) else f"{loss!r}"[:60]
        raise Refusal(f"A term is one number, a scalar tensor, but '{called}' gave {what}; .mean() would make one.")
    return loss
