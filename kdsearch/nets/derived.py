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


@dataclass(frozen=True)
class Moved:
    """Images that are moved by what the network says of them, and what it says then: pixels and logits, flat."""

    kind: str
    """boundary10: how."""
    passes: int
    """Forward passes that it takes about as long as."""
    make: Callable[[Callable[[Tensor], Tensor], "Views"], Tensor] = field(compare=False)
    """Of the network and the images: (N, pixels + classes)."""


@dataclass(frozen=True)
class Views:
    """Images as a network sees them."""

    pixels: Tensor
    """(N, C, H, W), normalised."""
    samples: Tensor
    """int64 (N,): the number of each image in its view, that of no other one."""
    bounds: tuple[Tensor, Tensor]
    """The least and the largest value of a pixel, of each channel."""


Asked = int | Derived | Moved
"""What a teacher is asked for: what shows at a layer (from 1; the logits have the number after the last one, the
embedding 0), what is made of it, or moved images."""


def ordered(answers: Iterable[Asked]) -> tuple[Asked, ...]:
    """Each once: layers by their number, then the rest."""
    known = set(answers)
    plain = [one for one in known if isinstance(one, int)]
    made = [one for one in known if isinstance(one, Derived)]
    made.sort(key=lambda one: (one.kind, one.layers, one.side or ()))
    moved = sorted((one for one in known if isinstance(one, Moved)), key=lambda one: one.kind)
    return (*sorted(plain), *made, *moved)


def layers_of(answers: Iterable[Asked]) -> set[int]:
    """The layers whose maps show all of these; moved images are shown by the network alone."""
    shown = (one for one in answers if not isinstance(one, Moved))
    return {layer for one in shown for layer in (one.layers if isinstance(one, Derived) else (one,))}
