"""Any module cut at its named submodules: what shows there, which of them can give and take hints, and what runs up to
there."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from kdsearch.config.datasets import Shape
from kdsearch.errors import Refusal, listed, unknown


class Reached(BaseException):
    """The last wanted tap has fired; no Exception, so that nothing inside a network catches it."""


def maps(net: nn.Module, images: Tensor, names: Sequence[str]) -> dict[str, Tensor]:
    """What the submodules of these names give, by name; runs no further than the last of them, so that no statistics
    behind it move.

    A layer between two of them may overwrite what the first gave: it works on a copy.
    """
    found: dict[str, Tensor] = {}

    def keep(name: str, gave: Tensor) -> Tensor:
        found[name] = gave
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


def running(net: nn.Module, images: Tensor, names: Sequence[str]) -> list[nn.Module]:
    """The submodules with parameters or buffers of their own that run up to the last of these taps: what a hint
    trains."""
    ran: dict[int, nn.Module] = {}

    def note(module: nn.Module, given: Any) -> None:
        ran[id(module)] = module

    own = [one for one in net.modules() if [*one.parameters(recurse=False), *one.buffers(recurse=False)]]
    handles = [module.register_forward_pre_hook(note) for module in own]
    training = net.training
    try:
        with torch.no_grad():
            maps(net.eval(), images, names)
    finally:
        net.train(training)
        for handle in handles:
            handle.remove()
    return [module for module in own if id(module) in ran]


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

    def why_not(self) -> str:
        """Why it can be no tap; empty where it can."""
        if not self.gave:
            return "does not run"
        if len(self.gave) > 1:
            return f"runs {len(self.gave)} times in a pass"
        gave = self.gave[0]
        if not isinstance(gave, Tensor):
            return f"gives a {type(gave).__name__}, not a tensor"
        if gave.dim() != 4:
            return f"gives {'×'.join(map(str, gave.shape[1:])) or 'a number'}, not a map"
        if gave.shape[1] < gave.shape[3] and gave.shape[3] > 4 * gave.shape[2]:
            return f"gives {'×'.join(map(str, gave.shape[1:]))}, which looks like a map with its channels last"
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
    training = net.training
    try:
        with torch.no_grad():
            net.eval()(images)
    finally:
        net.train(training)
        for handle in handles:
            handle.remove()
    return [found[name] for name in dict.fromkeys([*ended, *found])]


def taps(net: nn.Module, images: Tensor) -> list[Tap]:
    """One a resolution, from the image on: of what shows a map of that size the outermost, at equal depth the last."""
    able = [one for one in heard(net, images) if one.owns and one.name and not one.why_not()]
    chosen: dict[tuple[int, int], _Heard] = {}
    for one in able:
        side = (one.gave[0].shape[2], one.gave[0].shape[3])
        if side not in chosen or one.depth <= chosen[side].depth:
            chosen[side] = one
    place = {one.name: number for number, one in enumerate(able)}
    return [_tap(one) for one in sorted(chosen.values(), key=lambda one: place[one.name])]


def named(net: nn.Module, images: Tensor, names: Sequence[str]) -> list[Tap]:
    """Those of these names; raises Refusal for one that cannot be, with the reason and what would fit."""
    there = {one.name: one for one in heard(net, images)}
    found = []
    for name in names:
        if name not in there:
            raise unknown("submodule", name, [one for one in there if one])
        if why := there[name].why_not():
            fits = [tap.name for tap in taps(net, images)]
            raise Refusal(f"A tap shows one map in every pass, but '{name}' {why}; {listed(fits)} would fit.")
        found.append(_tap(there[name]))
    return found


def _tap(one: _Heard) -> Tap:
    shape = one.gave[0].shape
    return Tap(one.name, (shape[1], shape[2], shape[3]))
