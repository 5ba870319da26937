"""Factories of networks: found by name, in a user's file, a package, timm or torchvision; and called."""

import copy
import importlib
import inspect
import traceback
from collections.abc import Callable, Iterable, Mapping
from contextlib import nullcontext
from pathlib import Path
from types import ModuleType
from typing import Any

from torch import nn

from kdsearch.config.net import Own
from kdsearch.errors import Refusal, first_line, unknown
from kdsearch.storage import code

TRIAL = "trial"
"""Name of a factory's parameter that draws its knobs."""


class Unmade(Refusal):
    """A factory, or what it drew, cannot be."""


class Told:
    """Stands for Optuna's trial where the knobs are known."""

    def __init__(self, params: Mapping[str, Any]) -> None:
        self.params = dict(params)

    def _told(self, name: str, *ranges: Any, **more: Any) -> Any:
        if name not in self.params:
            raise Refusal(f"A factory makes a network of its arguments again, but '{name}' is none of {self.params}.")
        value = self.params[name]
        return list(value) if isinstance(value, tuple) else value

    suggest_int = suggest_float = suggest_categorical = _told


class Noted:
    """Optuna's trial, of which is noted what it is asked; what is `taken` has a meaning already, and is refused."""

    def __init__(self, trial: Any, taken: Iterable[str] = ()) -> None:
        self._trial, self.taken, self.arguments = trial, set(taken), dict[str, Any]()

    def __getattr__(self, name: str) -> Any:
        asked = getattr(self._trial, name)
        if not name.startswith("suggest_"):
            return asked

        def suggest(knob: str, *ranges: Any, **more: Any) -> Any:
            if knob in self.taken:
                raise Unmade(
                    f"A knob has one meaning, but '{knob}' of the student is one of the space's, too; rename it."
                )
            value = self.arguments[knob] = asked(knob, *ranges, **more)
            return value

        return suggest


def source(factory: str) -> str:
    """Hash of the file that a factory lies in and of what it imports beside it; of a library its version."""
    place, _, _ = factory.rpartition(":")
    return code.source(Path(place)) if place.endswith(".py") else _version(place.partition(".")[0])


def _version(package: str) -> str:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return f"{package} {version(package)}"
    except PackageNotFoundError:  # a module on the path, of no distribution
        return package


def placed(net: Own) -> Own:
    """With its files as every process finds them."""
    place, colon, name = net.factory.rpartition(":")
    if place.endswith(".py"):
        place = str(Path(place).expanduser().resolve())
    weights = net.weights and str(Path(net.weights).expanduser().resolve())
    return net.model_copy(update={"factory": place + colon + name, "weights": weights})


def raw(net: Own, classes: int) -> nn.Module:
    """A user's module as its factory gives it."""
    return made(net.factory, len(net.eye.classes or ()) or classes, dict(net.arguments), net.source)


def made(factory: str, classes: int, arguments: Mapping[str, Any], source: str = "") -> nn.Module:
    """What a factory gives for so many classes; raises Refusal where it cannot, with what it raised.

    `source`: what its hash must be."""
    call = found(factory, source)
    if isinstance(call, nn.Module):
        return copy.deepcopy(call)
    if draws(call):
        return _module_of(factory, call, classes, Told(arguments))
    return _module_of(factory, call, *(() if alone(call) else (classes,)), **plain(arguments.items()))


def alone(call: Callable[..., Any]) -> bool:
    """Whether a factory is not told the number of classes."""
    return _parameters(call) == []


def plain(arguments: Iterable[tuple[str, Any]]) -> dict[str, Any]:
    """Arguments as they are called with: lists, where the config has tuples."""
    return {name: _list(value) for name, value in arguments}


def drawn(factory: str, classes: int, trial: Any) -> dict[str, Any]:
    """The arguments that a factory draws by Optuna's trial; none where it takes no trial. Raises Refusal."""
    call = found(factory)
    if not draws(call):
        return {}
    noted = Noted(trial, trial.params)
    _module_of(factory, call, classes, noted)
    return noted.arguments


def draws(call: Callable[..., Any]) -> bool:
    """Whether a factory takes (classes, trial)."""
    return not isinstance(call, nn.Module) and TRIAL in (_parameters(call) or ())


def _parameters(call: Callable[..., Any]) -> list[str] | None:
    try:
        return list(inspect.signature(call).parameters)
    except (TypeError, ValueError):  # of what is written in C
        return None


def _list(value: Any) -> Any:
    return [_list(one) for one in value] if isinstance(value, tuple) else value


def _module_of(factory: str, call: Callable[..., Any], *told: Any, **named: Any) -> nn.Module:
    place, _, _ = factory.rpartition(":")
    try:
        with code.beside(Path(place).resolve().parent) if place.endswith(".py") else nullcontext():
            net = call(*told, **named)
    except Refusal:
        raise
    except (Exception, SystemExit) as error:  # whatever a user's code raises is told to the user
        given = ["trial" if isinstance(one, Told | Noted) else f"classes={one}" for one in told]
        raise Unmade(
            f"A factory gives a network for (classes, **arguments) or (classes, trial), but '{factory}' with "
            f"({', '.join([*given, *(f'{name}={value!r}' for name, value in named.items())])}) raised "
            f"{type(error).__name__}: {first_line(error)}{_line(error, Path(place))}"
        ) from error
    net = getattr(net, "_orig_mod", net)  # of torch.compile, whose graph passes by what a tap would hear
    if isinstance(net, nn.DataParallel):
        net = net.module
    if not isinstance(net, nn.Module):
        raise Refusal(f"A factory gives a torch.nn.Module, but '{factory}' gave a {type(net).__name__}.")
    return net


def _line(error: BaseException, file: Path) -> str:
    """Where it happened in a user's file, as deep as its frames go there."""
    frames = traceback.extract_tb(error.__traceback__)
    lines = [frame.lineno for frame in frames if Path(frame.filename).name == file.name]
    return f" ({file.name}, line {lines[-1]})" if file.suffix == ".py" and lines else ""


def found(factory: str, source: str = "") -> Callable[..., Any]:
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
    module = code.load(code.kept(Path(place), source)) if place.endswith(".py") else _module(place)
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


def _module(name: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise Refusal(f"The module '{name}' cannot be imported ({first_line(error)}); is it installed?") from None
