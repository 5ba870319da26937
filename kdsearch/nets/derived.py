"""What is made of a network's maps before it is kept: less to record, and as good for the loss that asks for it."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from torch import Tensor

EMBEDDING = 0
"""In the place of a layer's number: what the last linear layer reads, before a dropout in front of it."""


@dataclass(frozen=True)
class Derived:
    """Made of the maps of one or several layers."""

    kind: str
    """attention, flow."""
    layers: tuple[int, ...]
    """From 1."""
    side: tuple[int, int] | None
    """To which maps are brought before, where that is no matter of their own sizes."""
    make: Callable[..., Tensor] = field(compare=False)
    """Of these layers' maps, in float32, in this order: (N, …)."""

    @property
    def name(self) -> str:
        """`attention5`, `flow1+5`."""
        return self.kind + "+".join(map(str, self.layers))


Asked = int | Derived
"""What a teacher is asked for: what shows at a layer (from 1; the logits have the number after the last one, the
embedding 0), or what is made of it."""


def ordered(answers: Iterable[Asked]) -> tuple[Asked, ...]:
    """Each once: layers by their number, then the rest."""
    known = set(answers)
    plain = [one for one in known if isinstance(one, int)]
    made = [one for one in known if isinstance(one, Derived)]
    made.sort(key=lambda one: (one.kind, one.layers, one.side or ()))
    return (*sorted(plain), *made)


def layers_of(answers: Iterable[Asked]) -> set[int]:
    """The layers whose maps show all of these."""
    return {layer for one in answers for layer in (one.layers if isinstance(one, Derived) else (one,))}
