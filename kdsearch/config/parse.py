"""Plain data from outside -> config; what is wrong, in a sentence with its place and value."""

import math
from collections.abc import Iterator, Mapping
from typing import Any, TypeVar, get_args

import yaml
from pydantic import ValidationError

from kdsearch.config.companions import COMPANIONS
from kdsearch.config.methods import TERMS
from kdsearch.config.net import NETS
from kdsearch.config.part import Part, Ramp
from kdsearch.errors import Refusal, unknown

Kind = TypeVar("Kind", bound=Part)

KINDS: dict[str, type[Part]] = {**TERMS, **COMPANIONS, **NETS, "ramp": Ramp}
"""Parts by the word that tells them from others of their place, which pydantic names in the place of a mistake."""

MOST = 100_000
"""Values that the aliases of a YAML file add."""


def parse(kind: type[Kind], value: object, where: str) -> Kind:
    """Check plain data from outside; raises Refusal with the first thing that is wrong, its place and its value."""
    if not isinstance(value, Mapping):
        raise Refusal(f"{where} must hold the keys of a {kind.__name__.lower()}, but got {str(value)[:60]!r}.")
    try:
        return kind.model_validate(dict(value))
    except ValidationError as error:
        raise explain(error, where, kind) from None


def load_yaml(text: str) -> Any:
    """YAML by the safe loader; raises yaml.YAMLError, for whatever is wrong: also where a few aliases stand for more
    than MOST values."""
    loader = yaml.SafeLoader(text)
    try:
        node = loader.get_single_node()
        known: dict[int, float] = {}
        if node is not None and _size(node, known) - len(known) > MOST:
            raise yaml.YAMLError(f"its aliases stand for more than {MOST:,} values")
        return None if node is None else loader.construct_document(node)
    except RecursionError:
        raise yaml.YAMLError("it is nested too deeply") from None
    except ValueError as error:  # a date that is none, a number of too many digits
        raise yaml.YAMLError(str(error)) from None
    finally:
        loader.dispose()


def _size(node: yaml.Node, known: dict[int, float]) -> float:
    """Values that a node stands for, with all that its aliases repeat; infinite where it holds itself."""
    if id(node) not in known:
        known[id(node)] = math.inf
        entries = node.value if isinstance(node, yaml.CollectionNode) else []
        parts = [part for entry in entries for part in (entry if isinstance(entry, tuple) else (entry,))]
        known[id(node)] = 1 + sum(_size(part, known) for part in parts)
    return known[id(node)]


def explain(error: ValidationError, where: str, kind: type[Part]) -> Refusal:
    """Pydantic's first complaint as a sentence."""
    first = error.errors(include_url=False)[0]
    path = ".".join(str(step) for step in first["loc"] if step not in KINDS and not _is_type(step))
    if first["type"] == "extra_forbidden":
        fields = _at(kind, first["loc"][:-1]).model_fields
        return Refusal(f"{where}: {unknown('key', path.rpartition('.')[2], fields)}")
    said: Any = first["msg"].removeprefix("Value error, ")
    if first["type"] == "union_tag_invalid":
        places = {"terms": ("method", TERMS), "companions": ("method", COMPANIONS)}
        word, known = next((places[step] for step in first["loc"] if step in places), ("kind", NETS))
        return Refusal(f"{where}: {path}: {unknown(word, str(first.get('ctx', {}).get('tag')), known)}")
    place = f"{path}: " if path else ""
    if first["type"] == "value_error":
        return Refusal(f"{where}: {place}{said}")
    if first["type"] == "missing":
        return Refusal(f"{where}: {path} is required, and is missing.")
    return Refusal(f"{where}: {place}{said[0].lower()}{said[1:]}, but got {str(first['input'])[:60]!r}.")


def _is_type(step: int | str) -> bool:
    """Whether pydantic names a kind of value, not a place: `constrained-int`, `tuple[int, int]`."""
    return isinstance(step, str) and (not step.isidentifier() or step in ("int", "float", "bool", "str"))


def _at(kind: type[Part], path: tuple[int | str, ...]) -> type[Part]:
    """What stands at a place: links.0.net.plain -> Net."""
    for step in path:
        if isinstance(step, str):
            kind = KINDS[step] if step in KINDS else next(_named(kind.model_fields[step].annotation))
    return kind


def _named(annotation: object) -> Iterator[type[Part]]:
    """The parts that an annotation names: tuple[Link, ...] -> Link."""
    inner = get_args(annotation)
    if not inner and isinstance(annotation, type) and issubclass(annotation, Part):
        yield annotation
    for own in inner:
        yield from _named(own)
