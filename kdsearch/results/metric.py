"""What a search looks at. Pure Python."""

from collections.abc import Mapping
from typing import Any

METRICS = {"accuracy": "accuracy", "balanced": "balanced_accuracy"}
"""By its name, the column in which it stands."""


GUESSING = 0.3
"""Of the way from chance to as much above it (or to 1, if that is nearer): who is not that far has learned nothing."""


def guesses(reached: float, chance: float) -> bool:
    """Whether an accuracy is hardly better than chance."""
    return reached < chance + GUESSING * min(chance, 1 - chance)


def column(metric: str | None) -> str:
    """In which it stands; an older search, which names none, looks at accuracy."""
    return METRICS[metric or "accuracy"]


def words(metric: str | None) -> str:
    """As titles and axes have it."""
    return column(metric).replace("_", " ")


def score(row: Mapping[str, Any]) -> float | None:
    """Of a trial: accuracy, or balanced accuracy, as its search was told."""
    return row[column(row.get("metric"))]
