"""Plain data from outside -> config; what is wrong, in a sentence with its place and value."""

from collections.abc import Mapping
from typing import Any, TypeVar

from pydantic import ValidationError

from kdsearch.config.net import Net, Part, ResNet
from kdsearch.config.pipeline import KD, Data, Fit, Hints, Link, Pair
from kdsearch.errors import Refusal, unknown

Kind = TypeVar("Kind", bound=Part)

NETS: dict[str, type[Part]] = {"plain": Net, "resnet": ResNet}
"""By their kind, which pydantic names in the place of a mistake."""


def parse(kind: type[Kind], value: object, where: str) -> Kind:
    """Check plain data from outside; raises Refusal with the first thing that is wrong, its place and its value."""
    if not isinstance(value, Mapping):
        raise Refusal(f"{where} must hold the keys of a {kind.__name__.lower()}, but got {str(value)[:60]!r}.")
    try:
        return kind.model_validate(dict(value))
    except ValidationError as error:
        raise explain(error, where, kind) from None


def explain(error: ValidationError, where: str, kind: type[Part]) -> Refusal:
    """Pydantic's first complaint as a sentence."""
    first = error.errors(include_url=False)[0]
    path = ".".join(str(step) for step in first["loc"] if step not in NETS)
    if first["type"] == "extra_forbidden":
        fields = _fields(kind, first["loc"][:-1])
        return (
            Refusal(f"{where}: {unknown('key', path.rpartition('.')[2], fields)}")
            if fields
            else Refusal(f"{where}: {path} is not a key that kdsearch knows; take it out.")
        )
    said: Any = first["msg"].removeprefix("Value error, ")
    if first["type"] == "union_tag_invalid":
        return Refusal(f"{where}: {path}.{unknown('kind', str(first.get('ctx', {}).get('tag')), NETS)}")
    place = f"{path}: " if path else ""
    if first["type"] == "value_error":
        return Refusal(f"{where}: {place}{said}")
    if first["type"] == "missing":
        return Refusal(f"{where}: {path} is required, and is missing.")
    return Refusal(f"{where}: {place}{said[0].lower()}{said[1:]}, but got {str(first['input'])[:60]!r}.")


def _fields(kind: type[Part], path: tuple[int | str, ...]) -> list[str]:
    """The keys allowed at a place: links.0.net -> Net's."""
    kinds: dict[str, type[Part]] = {
        "links": Link, "net": Net, **NETS, "fit": Fit, "hints": Hints, "pairs": Pair, "kd": KD, "data": Data,
    }  # fmt: skip
    for step in path:
        if isinstance(step, str):
            if step not in kinds:
                return []
            kind = kinds[step]
    return list(kind.model_fields)
