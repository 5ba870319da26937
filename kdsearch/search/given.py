"""Networks that a search is given on its command line: its teacher, how that sees, the family of its students."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import yaml

from kdsearch.config.net import Eye, Own
from kdsearch.config.parse import load_yaml, parse
from kdsearch.errors import Refusal, unknown
from kdsearch.nets.factory import placed
from kdsearch.search.asked import Asked

EXAMPLE = (
    "kdsearch tune {space} --data ./photos --teacher my_nets.py:teacher --teacher-weights best.safetensors "
    "--student my_nets.py:student (kdsearch init own writes my_nets.py)"
)


def check(asked: Asked, space: str, takes: bool) -> None:
    """Raises Refusal where a space that takes networks is given none, or one that takes none is given some."""
    names = {"--teacher": asked.teacher, "--student": asked.student}
    if takes and (lacking := [name for name, value in names.items() if value is None]):
        missing = f"{' and '.join(lacking)} {'are' if len(lacking) > 1 else 'is'} missing"
        raise Refusal(
            f"The space '{space}' searches for a teacher and a family of students that are given, but {missing}; for "
            f"example: {EXAMPLE.format(space=space)}"
        )
    told = {
        **names, "--teacher-weights": asked.teacher_weights, "--teacher-eye": asked.teacher_eye,
        "--teacher-train": asked.teacher_train,
    }  # fmt: skip
    if asked.teacher_weights and not Path(asked.teacher_weights).expanduser().is_file():
        raise Refusal(f"--teacher-weights is a file, but '{asked.teacher_weights}' is none.")
    if not takes and (given := [name for name, value in told.items() if value is not None]):
        raise Refusal(
            f"The space '{space}' has its own teacher and students, but got {given[0]}; 'own' takes yours, or a space "
            f"of your own with space(trial, teacher, student)."
        )


def teacher(asked: Asked) -> Own | None:
    """The given teacher; raises Refusal for an eye that cannot be."""
    if asked.teacher is None:
        return None
    return placed(
        Own(kind="own", factory=asked.teacher, weights=asked.teacher_weights, eye=eye(asked.teacher_eye or ()))
    )


def files(asked: Asked) -> dict[str, str | None]:
    """The given networks' options, their files as every process finds them."""
    named = {
        name: placed(Own(kind="own", factory=factory)).factory if factory else None
        for name, factory in (("teacher", asked.teacher), ("student", asked.student))
    }
    weights = asked.teacher_weights
    return named | {"teacher_weights": weights and str(Path(weights).expanduser().resolve())}


def eye(words: Iterable[str]) -> Eye:
    """`size=96 mean=0.5,0.5,0.5`; raises Refusal."""
    plain: dict[str, Any] = {}
    for word in words:
        name, sign, value = word.partition("=")
        if name not in Eye.model_fields:
            raise unknown("part of a teacher's eye", name, Eye.model_fields)
        if not sign:
            raise Refusal(f"--teacher-eye takes KEY=VALUE, such as size=96, but got '{word}'.")
        listed = name in ("mean", "std", "classes") or "," in value
        try:
            plain[name] = load_yaml(f"[{value}]" if listed and not value.startswith("[") else value)
        except yaml.YAMLError:
            raise Refusal(f"The value of --teacher-eye {name} must be YAML, but got '{value}'.") from None
    return parse(Eye, plain, "--teacher-eye")
