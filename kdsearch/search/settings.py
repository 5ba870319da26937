"""What the command line says of every pipeline of a search, and the pipelines that follow from it."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal

import yaml

from kdsearch.config.datasets import Shape
from kdsearch.config.net import Own
from kdsearch.config.parse import load_yaml, parse
from kdsearch.config.pipeline import Pipeline
from kdsearch.errors import Refusal, unknown


@dataclass(frozen=True)
class Settings:
    """What the command line says of every pipeline of a search; None: as the space says."""

    epochs: int
    teacher_epochs: int
    batch_size: int = 128
    epochs_given: bool = False
    teacher_epochs_given: bool = False
    data: str | None = None
    image_size: int | None = None
    size: tuple[int, int] | None = None
    """Of a folder's images once they were read: it stays."""
    seed: int = 0
    most_views: int = 64
    """Of an image's fixed views, where the space leaves their number to what is usual."""
    teacher: Own | None = None
    """That is given to a space."""
    student: str | None = None
    """The factory of the students that are given to a space."""
    teacher_train: Literal["all", "head"] | None = None
    """What of a given teacher trains, where it does."""
    shape: Shape | None = None
    """Of the images, once they were read; with their classes, what users' own networks are found out about."""
    classes: tuple[str, ...] | None = None
    overrides: tuple[tuple[str, str], ...] = ()
    """Dotted path and YAML value of each --set."""


def resolve(pipeline: Pipeline, settings: Settings) -> Pipeline:
    """A space's pipeline with the budget's epochs, the search's seed and data, and all overrides. Raises Refusal.

    A teacher of the user's own is taken as it is, unless somebody says for how many epochs it trains."""
    plain = pipeline.whole()
    *teachers, student = plain["links"]
    student["seed"] = settings.seed
    student["fit"]["epochs"] = _epochs(student["fit"]["epochs"], settings.epochs, settings.epochs_given)
    for link in plain["links"]:
        link["fit"]["batch_size"] = link["fit"]["batch_size"] or settings.batch_size
    for link in teachers:
        own = link["fit"]["epochs"]
        if own is None:
            untaught = link is teachers[0] or link["taught_by"] == []
            own = 0 if link["net"].get("kind") == "own" and untaught else settings.teacher_epochs
        if settings.teacher_epochs_given:
            own = settings.teacher_epochs
        elif settings.epochs_given:
            own = min(own, settings.epochs)
        link["fit"]["epochs"] = own
    if settings.data:
        plain["data"]["name"] = settings.data
    if settings.image_size:
        plain["data"]["image_size"] = settings.image_size
    for path, value in settings.overrides:
        override(plain, path, value)
    told = " ".join(f"--set {path}={value}" for path, value in settings.overrides)
    resolved = parse(Pipeline, plain, f"the pipeline with {told}" if told else "the pipeline")
    check_chosen(resolved)
    if any(link.fit.epochs is None or link.fit.batch_size is None for link in resolved.links):
        raise Refusal("fit.epochs and fit.batch_size must be numbers in every link, but --set leaves one out.")
    views = resolved.data.views or min(resolved.data.fixed_views, settings.most_views)
    data = resolved.data.model_copy(update={"augment": resolved.data.changes, "views": views})
    if settings.size and data.image_size is None:
        data = data.model_copy(update={"image_size": settings.size})
    return resolved.model_copy(update={"data": data})


def check_chosen(pipeline: Pipeline) -> None:
    """Raises Refusal for a pipeline that would choose by the test images."""
    if pipeline.data.validation == "test":
        raise Refusal(
            "Nothing is chosen by the test images, but data.validation is 'test', as in the papers; give a share of "
            "the training images, such as 0.2, or repeat a paper's table: kdsearch reproduce."
        )


def _epochs(own: int | None, budget: int, given: bool) -> int:
    return budget if given or own is None else own


def override(plain: dict, path: str, value: str) -> list[Any]:
    """Set one value of a plain pipeline by its dotted path; `teacher`, `assistants` and `student` name links.

    Returns the old values: none where this draw lacks the part. Raises Refusal for an unknown path.
    """
    head, *rest = path.split(".")
    links = plain["links"]
    starts: dict[str, list] = {"teacher": links[:1], "assistants": links[1:-1], "student": links[-1:]}
    roots = starts.get(head)
    if roots is None:
        if head not in plain or not rest:
            raise unknown("start of a --set path", head, [*starts, "data.…", "links.0.…"])
        roots = [plain[head]]
    if not rest:
        raise Refusal(f"A --set path names one value, such as student.fit.learning_rate, but got '{path}'.")
    return [old for root in roots for old in _set(root, rest, value, path)]


def _set(node: Any, steps: list[str], value: str, path: str) -> list[Any]:
    for step in steps[:-1]:
        node = _inside(node, step, path)
        if node is None:
            return []
    old = _inside(node, steps[-1], path)
    try:
        new = load_yaml(value)
    except yaml.YAMLError:
        raise Refusal(f"The value of --set {path} must be YAML, but got '{value}'.") from None
    node[int(steps[-1]) if isinstance(node, list) else steps[-1]] = new
    return [old]


def _inside(node: Any, step: str, path: str) -> Any:
    if isinstance(node, list):
        if not re.fullmatch(r"-?[0-9]+", step) or not -len(node) <= int(step) < len(node):
            raise Refusal(f"--set {path}: '{step}' must be a place from 0 to {len(node) - 1}.")
        return node[int(step)]
    if not isinstance(node, dict) or step not in node:
        raise unknown(f"key in --set {path}:", step, node if isinstance(node, dict) else [])
    return node[step]


def pairs_of(words: Iterable[str]) -> tuple[tuple[str, str], ...]:
    """`key=value` words, split; raises Refusal."""
    found = [tuple(word.partition("=")[::2]) for word in words]
    for word, (key, _) in zip(words, found, strict=True):
        if key in ("data.name", "data.image_size"):
            raise Refusal(f"--set leaves the data alone, but got '{word}'; use --data or --image-size.")
        if not key or "=" not in word:
            raise Refusal(f"--set takes key=value, such as student.fit.batch_size=64, but got '{word}'.")
    return tuple((key, value) for key, value in found)


def numbers_of(word: str) -> tuple[int, ...]:
    """`1,3,9`; raises Refusal unless they are whole, rising and at least 1."""
    try:
        found = tuple(int(part) for part in word.split(",")) if word else ()
    except ValueError:
        found = (0,)
    if list(found) != sorted({number for number in found if number > 0}):
        raise Refusal(f"A list of rising whole numbers from 1 on, such as 1,3,9, is needed, but got '{word}'.")
    return found
