"""Any module cut at its named submodules: what shows there, which of them can give and take hints, and what runs up to
there."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from kdsearch.config.datasets import Shape
from kdsearch.errors import Refusal, listed, nobody, unknown

EARLY = 0.1
"""A network's only map before this share of its layers is an embedding, such as a transformer's patches: no hint."""


class Reached(BaseException):
    """The last wanted tap has fired; no Exception, so that nothing inside a network catches it."""


def maps(
    net: nn.Module, images: Tensor, names: Sequence[str], told: Callable[[str], None] = nobody
) -> dict[str, Tensor]:
    """What the submodules of these names give, by name; runs no further than the last of them, so that no statistics
    behind it move. The network itself has the name "". `told` hears of each as it gives.

    A layer between two of them may overwrite what the first gave: it works on a copy.
    """
    found: dict[str, Tensor] = {}

    def keep(name: str, gave: Tensor) -> Tensor:
        found[name] = gave
        told(name)
        if len(found) == len(names):
            raise Reached
        return gave.clone()

    with _heard(net, names, keep):
        try:
            net(images)
        except Reached:
            return found
    lost = [name for name in names if name not in found]
    raise Refusal(f"A tap is a submodule that runs in every pass, but {listed(lost)} did not; name others.")


def reached(net: nn.Module, images: Tensor, names: Sequence[str]) -> list[nn.Parameter]:
    """The parameters on which these maps depend, in the network's order; one pass in evaluation mode."""
    weights = [weight for weight in net.parameters() if weight.requires_grad]
    with as_it_was(net), torch.enable_grad():
        total = torch.stack([found.float().sum() for found in maps(net.eval(), images, names).values()]).sum()
    if not total.requires_grad:
        return []
    found = torch.autograd.grad(total, weights, allow_unused=True)
    return [weight for weight, own in zip(weights, found, strict=True) if own is not None]


@contextmanager
def read_last(net: nn.Module) -> Iterator[list[Tensor]]:
    """What the last linear layer of a pass reads, before a dropout in front of it, is the last of the list by then."""
    asked: dict[nn.Module, Tensor] = {}
    passed: list[tuple[Tensor, Tensor]] = []
    read: list[Tensor] = []

    def keep(module: Any, given: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        asked[module] = given[0]
        return (given[0].clone(), *given[1:]) if module.inplace else given  # it would overwrite what is kept

    def note(module: nn.Module, given: Any, gave: Tensor) -> None:
        passed[:] = [(gave, asked[module])]

    def hear(module: nn.Module, given: tuple[Tensor, ...]) -> None:
        read[:] = [passed[0][1] if passed and passed[0][0] is given[0] else given[0]]

    handles = []
    for module in net.modules():
        if isinstance(module, nn.Dropout):
            handles += [module.register_forward_pre_hook(keep), module.register_forward_hook(note)]
        elif isinstance(module, nn.Linear):
            handles.append(module.register_forward_pre_hook(hear))
    try:
        yield read
    finally:
        for handle in handles:
            handle.remove()


def embedding(net: nn.Module, images: Tensor) -> int | None:
    """The width of what its last linear layer reads; None where no such layer reads one row an image. One pass in
    evaluation mode."""
    with as_it_was(net), torch.no_grad(), read_last(net) as read:
        net.eval()(images)
    return int(read[-1].shape[1]) if read and read[-1].dim() == 2 and len(read[-1]) == len(images) else None


@contextmanager
def as_it_was(net: nn.Module) -> Iterator[None]:
    """Each module's mode is put back: a user's own may be mixed."""
    modes = [(module, module.training) for module in net.modules()]
    try:
        yield
    finally:
        for module, training in modes:
            module.training = training


@contextmanager
def _heard(net: nn.Module, names: Sequence[str], keep: Callable[[str, Tensor], Tensor]) -> Iterator[None]:
    known = dict(net.named_modules())
    if lost := [name for name in names if name not in known]:
        raise unknown("submodule", lost[0], known)

    def hook(name: str) -> Any:
        return lambda module, given, gave: keep(name, gave)

    handles = [known[name].register_forward_hook(hook(name)) for name in names]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


@dataclass(frozen=True)
class Tap:
    """A submodule that shows a map, once in a pass."""

    name: str
    shape: Shape


@dataclass
class _Heard:
    """What a submodule did in one pass."""

    name: str
    depth: int
    """0 for the network itself."""
    owns: bool
    """Whether it has parameters."""
    gave: list[Any] = field(default_factory=list)
    versions: list[int] = field(default_factory=list)

    def why_not(self, square: bool) -> str:
        """Why it can be no tap; empty where it can. `square`: the image was."""
        if not self.gave:
            return "does not run"
        if len(self.gave) > 1:
            return f"runs {len(self.gave)} times in a pass"
        gave = self.gave[0]
        if not isinstance(gave, Tensor):
            return f"gives a {type(gave).__name__}, not a tensor"
        if gave.dim() != 4:
            return f"gives {'×'.join(map(str, gave.shape[1:])) or 'a number'}, not a map"
        if square and gave.shape[2] != gave.shape[3]:
            return f"gives {'×'.join(map(str, gave.shape[1:]))} of a square image: its channels may stand last"
        if min(gave.shape[2:]) == 1:
            return f"gives a map of {gave.shape[2]}×{gave.shape[3]}"
        if gave._version != self.versions[0]:
            return "is overwritten in place by a later layer"
        return ""


def heard(net: nn.Module, images: Tensor) -> list[_Heard]:
    """All submodules, in the order in which they end, and those that did not run; one pass in evaluation mode."""
    found = {
        name: _Heard(name, name.count(".") + 1 if name else 0, any(True for _ in module.parameters()))
        for name, module in net.named_modules()
    }
    ended: list[str] = []

    def hook(name: str) -> Any:
        def note(module: nn.Module, given: Any, gave: Any) -> None:
            found[name].gave.append(gave)
            found[name].versions.append(gave._version if isinstance(gave, Tensor) else 0)
            ended.append(name)

        return note

    handles = [module.register_forward_hook(hook(name)) for name, module in net.named_modules()]
    try:
        with as_it_was(net), torch.no_grad():
            net.eval()(images)
    finally:
        for handle in handles:
            handle.remove()
    return [found[name] for name in dict.fromkeys([*ended, *found])]


def taps(net: nn.Module, images: Tensor, names: Sequence[str] = ()) -> list[Tap]:
    """One a resolution, in the order in which they run: of what shows a map of that size the outermost, at equal depth
    the last; none of an embedding alone; and those of these names beside them. Raises Refusal for a name that can be
    none, with the reason and what would fit."""
    square, told = images.shape[2] == images.shape[3], heard(net, images)
    able = [one for one in told if one.owns and one.name and not one.why_not(square)]
    chosen: dict[tuple[int, int], _Heard] = {}
    for one in able:
        side = (one.gave[0].shape[2], one.gave[0].shape[3])
        if side not in chosen or one.depth <= chosen[side].depth:
            chosen[side] = one
    fits = {one.name for one in chosen.values()}
    layers = [one.name for one in told if one.owns and one.gave]
    if len(fits) == 1 and layers.index(min(fits)) + 1 < EARLY * len(layers):
        fits = set()
    there = {one.name: one for one in told if one.name}
    for name in names:
        if name not in there:
            raise unknown("submodule", name, there)
        if why := there[name].why_not(square):
            others = f"{listed(sorted(fits))} would fit" if fits else "no other would fit, so it teaches by answers"
            raise Refusal(f"A tap shows one map in every pass, but '{name}' {why}; {others}.")
    return [_tap(one) for one in told if one.name in fits | set(names)]


def _tap(one: _Heard) -> Tap:
    shape = one.gave[0].shape
    return Tap(one.name, (shape[1], shape[2], shape[3]))
