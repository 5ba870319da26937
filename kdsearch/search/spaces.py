"""Spaces: found by name or path, loaded, and drawn from."""

import ast
import hashlib
import importlib.util
import inspect
import traceback
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, cast

from pydantic import ValidationError

from kdsearch import config
from kdsearch.config.net import NETS, AnyNet
from kdsearch.config.parse import explain
from kdsearch.config.part import Part
from kdsearch.config.pipeline import Budget, Link, Pipeline
from kdsearch.errors import Refusal, listed, unknown
from kdsearch.interrupts import Late, at_most

SAMPLERS = ("tpe", "random", "grid")
"""Who chooses the knobs: Optuna's tree-structured Parzen estimator, chance, or all combinations in turn."""

UNLEARNED = ("random", "grid")
"""Of these, whose draws do not depend on how others end."""

REFERENCES = ("labels", "kd", "hint+kd")
"""What teaches a space's one reference student, beside the draws; its trials' names."""

PARTS: Mapping[str, type[Part]] = {
    name: kind for name, kind in vars(config).items() if isinstance(kind, type) and issubclass(kind, Part)
}
"""What a space's file makes pipelines of, by name."""

NETWORKS = {"teacher", "student"}
"""Parameters of a space that is given networks, beside the trial."""

MIDDLE = "middle"
"""Of the students drawn, by their parameters: such a space's reference."""

PATIENCE = 60.0
"""Seconds that a space's file may take to load, and to draw."""


@dataclass(frozen=True)
class Repeats:
    """Of a paper's table: its pipelines are as they are, its networks go through the store, one that fails does not
    end it."""

    net: AnyNet
    """What compression is counted from."""
    once: dict[str, Any]
    """Knobs of the teacher's row, which has one seed."""


@dataclass(frozen=True)
class Space:
    """A question: what one file of search_spaces/ says."""

    name: str
    path: Path
    budget: Budget
    """For the embedded data set."""
    full_budget: Budget
    """For any other data set."""
    reference: AnyNet | Literal["middle"] | None
    """The student of the equal-budget references; middle: the one in the middle of those drawn, by size; None: there
    are none."""
    draw: Callable[..., Pipeline]
    published: tuple[dict[str, Any], ...]
    """Knobs of settings that others published: a search draws them first."""
    source: str
    """Hash of what makes its pipelines: a search goes on with the same."""
    takes_networks: bool = False
    """Its draw is given a teacher and a family of students: space(trial, teacher, student)."""
    repeats: Repeats | None = None
    """It is no question of ours, but a published table."""


@dataclass(frozen=True)
class Draw:
    """A drawn pipeline and the knobs that made it."""

    knobs: dict[str, Any]
    pipeline: Pipeline
    ranges: dict[str, str]
    """Optuna's distribution of each knob, as its JSON."""


def own_folder() -> Path:
    """Where the spaces that come with kdsearch lie."""
    return Path(importlib.import_module("kdsearch.search_spaces").__path__[0])


def names() -> dict[str, str]:
    """The spaces that come with kdsearch and their questions; runs none of them."""
    files = sorted(path for path in own_folder().glob("*.py") if path.stem != "__init__")
    return {path.stem: question(path) for path in files}


def question(path: Path) -> str:
    """The first line of a space's docstring."""
    found = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
    return found.partition("\n")[0]


def source(path: Path) -> str:
    """Hash of what a space's file does: its docstring, comments and layout do not count."""
    plain = path.read_bytes()
    try:
        tree = ast.parse(plain)
        if ast.get_docstring(tree) is not None:
            tree.body.pop(0)
        plain = ast.unparse(tree).encode()
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        pass  # no Python, or too deep for its own parser: every byte counts
    return hashlib.sha256(plain).hexdigest()[:16]


def find(word: str) -> Path:
    """A space's file, by name or by path; raises Refusal."""
    if word.endswith(".py") or "/" in word:
        path = Path(word).expanduser().resolve()
        if not path.is_file():
            raise Refusal(f"A space is a name or the path of a Python file, but there is no file '{word}'.")
        return path
    path = own_folder() / f"{word}.py"
    if word == "__init__" or not path.is_file():
        raise unknown("space", word, names())
    return path


def load(path: Path) -> Space:
    """Run a space's file and check what it defines; raises Refusal."""
    spec = importlib.util.spec_from_file_location(f"kdsearch_space_{path.stem}", path)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    try:
        with at_most(PATIENCE):
            spec.loader.exec_module(module)
    except (Exception, SystemExit, Late) as error:  # whatever a user's file raises is told to the user
        raise Refusal(f"The space file '{path}' cannot be loaded: {said_of(error, path)}") from error
    budget, reference, draw = (getattr(module, name, None) for name in ("BUDGET", "REFERENCE", "space"))
    full = getattr(module, "FULL_BUDGET", budget)
    known = reference == MIDDLE or isinstance(reference, (*NETS.values(), type(None)))
    right = hasattr(module, "REFERENCE") and known and callable(draw)
    if not (isinstance(budget, Budget) and isinstance(full, Budget) and right):
        lacking = [name for name in ("BUDGET", "REFERENCE", "space") if not hasattr(module, name)]
        wrong = f"'{path}' lacks {listed(lacking)}" if lacking else f"in '{path}' one is of another kind"
        raise Refusal(
            f"A space file defines BUDGET = Budget(…), REFERENCE = Net(…) (or None: no references) and space(trial) -> "
            f"Pipeline (FULL_BUDGET = Budget(…) may join), but {wrong}."
        )
    published = getattr(module, "PUBLISHED", ())
    if not (isinstance(published, tuple | list) and all(isinstance(point, dict) for point in published)):
        raise Refusal(f"PUBLISHED is a tuple of knobs by name, such as ({{'width': 1.0}},), but in '{path}' it is not.")
    drawn_by, given = (
        cast(Callable[..., Pipeline], draw),
        set(inspect.signature(cast(Any, draw)).parameters) >= NETWORKS,
    )
    return Space(path.stem, path, budget, full, reference, drawn_by, tuple(published), source(path), given)


def said_of(error: BaseException, path: Path) -> str:
    """What a space's file raised, and at which of its lines."""
    own = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == str(path)]
    line = error.lineno if isinstance(error, SyntaxError) else own[-1] if own else None
    where = f" (line {line})" if line else ""
    if isinstance(error, Refusal):
        return f"{error}{where}"
    if isinstance(error, ValidationError):  # of the part that was made there
        return f"{explain(error, error.title, PARTS.get(error.title, Pipeline))}{where}"
    return f"{type(error).__name__}: {getattr(error, 'msg', None) or error}{where}"


def commonest_teacher(drawn: list[Draw]) -> Link:
    """The first link of most draws: of all, unless a space draws its teacher."""
    return Counter(draw.pipeline.links[0] for draw in drawn).most_common(1)[0][0]
