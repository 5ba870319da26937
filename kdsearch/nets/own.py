"""Networks of a user's own: found by name, made by their factories, filled with their weights."""

import hashlib
import importlib
import importlib.util
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from kdsearch.errors import Refusal, first_line, listed, unknown

PREFIXES = ("module.", "_orig_mod.", "model.")
"""Of names of weights, by those who wrapped a network: DataParallel, torch.compile, trainers."""

INSIDE = ("state_dict", "model_state_dict", "model", "model_ema")
"""Keys under which files of checkpoints hold the weights."""

NAMED = 3
"""So many weights are named where some are missing."""


def source(factory: str) -> str:
    """Hash of the file that a factory lies in and of the modules beside it; empty for a library's."""
    path, _, _ = factory.rpartition(":")
    if not path.endswith(".py"):
        return ""
    folder = Path(path).resolve().parent
    found = hashlib.sha256()
    for file in sorted(folder.glob("*.py")):
        found.update(file.name.encode() + b"\0" + hashlib.sha256(file.read_bytes()).digest())
    return found.hexdigest()[:16]


def made(factory: str, classes: int, arguments: Mapping[str, Any]) -> nn.Module:
    """What a factory gives for so many classes; raises Refusal where it cannot, with what it raised."""
    call = found(factory)
    try:
        net = call(classes, **arguments)
    except Exception as error:  # whatever a user's code raises is told to the user
        raise Refusal(
            f"A factory gives a network for (classes, **arguments), but '{factory}' with classes={classes}, "
            f"{dict(arguments)} raised {type(error).__name__}: {first_line(error)}"
        ) from error
    if not isinstance(net, nn.Module):
        raise Refusal(f"A factory gives a torch.nn.Module, but '{factory}' gave a {type(net).__name__}.")
    return net


def found(factory: str) -> Callable[..., Any]:
    """The function that a name means: FILE.py:FUNCTION, package.module:FUNCTION, timm:NAME or torchvision:NAME.

    Nothing is ever downloaded, unless a timm name ends in @pretrained. Raises Refusal.
    """
    place, _, name = factory.rpartition(":")
    if place == "timm":
        return _of_timm(name)
    if place == "torchvision":
        return _of_torchvision(name)
    if not place or not name.isidentifier():
        raise Refusal(
            f"A network is named FILE.py:FUNCTION, package.module:FUNCTION, timm:NAME or torchvision:NAME, but got "
            f"'{factory}'."
        )
    module = _file(Path(place)) if place.endswith(".py") else _module(place)
    call = getattr(module, name, None)
    if not callable(call):
        there = [own for own, value in vars(module).items() if callable(value) and not own.startswith("_")]
        raise unknown(f"function in '{place}'", name, there)
    return call


def _of_timm(name: str) -> Callable[..., nn.Module]:
    try:
        import timm
    except ImportError:
        raise Refusal(f"timm:{name} needs timm, which is not installed: pip install 'kdsearch[timm]'") from None
    own, _, pretrained = name.partition("@")
    if own not in timm.list_models():
        raise unknown("network of timm", own, timm.list_models())
    return lambda classes, **arguments: timm.create_model(
        own, pretrained=pretrained == "pretrained", num_classes=classes, **arguments
    )


def _of_torchvision(name: str) -> Callable[..., nn.Module]:
    from torchvision import models

    if name not in models.list_models(module=models):
        raise unknown("classifier of torchvision", name, models.list_models(module=models))
    return lambda classes, **arguments: models.get_model(name, weights=None, num_classes=classes, **arguments)


def _file(path: Path) -> ModuleType:
    """A user's file, under a name of its own; meanwhile its folder's modules can be imported by it."""
    if not path.is_file():
        raise Refusal(f"A factory lies in a file, but there is no '{path}'.")
    name = f"kdsearch_own_{hashlib.sha256(str(path.resolve()).encode()).hexdigest()[:12]}_{source(f'{path}:x')}"
    if name in sys.modules:
        return sys.modules[name]
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise Refusal(f"A factory lies in a Python file, but '{path}' is none.")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        with _beside(path.resolve().parent):
            spec.loader.exec_module(module)
    except Exception as error:
        del sys.modules[name]
        raise Refusal(f"The file '{path}' cannot be loaded: {type(error).__name__}: {first_line(error)}") from error
    return module


def _module(name: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise Refusal(f"The module '{name}' cannot be imported ({first_line(error)}); is it installed?") from None


@contextmanager
def _beside(folder: Path) -> Iterator[None]:
    """Last on the path, so that a user's profile.py is not taken for Python's."""
    sys.path.append(str(folder))
    try:
        yield
    finally:
        sys.path.remove(str(folder))


def filled(net: nn.Module, path: Path) -> list[str]:
    """Fill a network with the weights of a file (.safetensors, or .pt by weights_only); what was done to their names, a
    sentence each. Raises Refusal where a weight is missing, is not expected, or has another shape."""
    weights, said = _stripped(_read(path), net)
    own = net.state_dict()
    missing, beyond = [name for name in own if name not in weights], [name for name in weights if name not in own]
    odd = [name for name in own if name in weights and own[name].shape != weights[name].shape]
    if missing or beyond or odd:
        parts = [
            f"{len(names)} {what} ({', '.join(names[:NAMED])}{', …' if len(names) > NAMED else ''})"
            for names, what in ((missing, "missing"), (beyond, "not expected"), (odd, "of another shape"))
            if names
        ]
        near = f" The nearest to '{missing[0]}' there: {_nearest(missing[0], beyond)}." if missing and beyond else ""
        raise Refusal(
            f"A file fills all weights of its network, but of the {len(own)} of '{path}' {listed(parts)}.{near} Name "
            f"the code that these weights were made for."
        )
    net.load_state_dict(weights)
    return said


def _read(path: Path) -> dict[str, Tensor]:
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        told = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # of a pickle that does more than hold tensors, of a file that is damaged or not there
        raise Refusal(
            f"Weights are read from .safetensors, or from what torch.load takes with weights_only=True, but '{path}' "
            f"is neither ({first_line(error)})."
        ) from None
    for key in INSIDE:
        if isinstance(told, Mapping) and isinstance(told.get(key), Mapping):
            told = told[key]
    if not isinstance(told, Mapping) or not all(isinstance(value, Tensor) for value in told.values()):
        raise Refusal(f"Weights are tensors by their names, but '{path}' holds something else; save net.state_dict().")
    return dict(told)


def _stripped(weights: dict[str, Tensor], net: nn.Module) -> tuple[dict[str, Tensor], list[str]]:
    """Without the prefixes that all names share and the network's do not."""
    said, own = [], set(net.state_dict())
    for _ in PREFIXES:
        for prefix in PREFIXES:
            if weights and not own & weights.keys() and all(name.startswith(prefix) for name in weights):
                weights = {name.removeprefix(prefix): value for name, value in weights.items()}
                said.append(f"the names of its weights began with '{prefix}', which was left out")
    return weights, said


def _nearest(name: str, there: list[str]) -> str:
    import difflib

    return next(iter(difflib.get_close_matches(name, there, n=1, cutoff=0.0)), there[0])
