"""What a search's files say beyond their types, and all that read them rely on. Imports neither torch nor ray."""

import json
import math
from collections.abc import Iterable, Mapping
from typing import Any

MAY_BE_EMPTY = frozenset(
    ("reference", "replicate_of", "cause", "accuracy", "kd_epoch", "cutoff", "test", "test_images", "seconds")
)
"""Columns that not every row fills; a trial's and an epoch's seconds are always there."""
MORE = {
    "options": dict, "source": str, "resume": str, "study": str, "limits": dict, "networks": dict, "resources": dict,
    "versions": dict, "command": str, "why_ended": str, "teacher": str, "sizes": list, "milestones": list,
    "views": int, "teacher_parameters": int, "seeds": int, "total": int,
}  # fmt: skip
"""Of search.json, what may be there."""


def whole(rows: Iterable[Mapping[str, Any]], names: Iterable[str], filled: Iterable[str] = ()) -> None:
    """Raises ValueError where a row lacks what every row has."""
    needed = (set(names) - MAY_BE_EMPTY) | set(filled)
    for row in rows:
        for name in needed:
            if row.get(name) is None:
                raise ValueError(f"a row without {name}")


def trials(rows: Iterable[Mapping[str, Any]], states: Iterable[str]) -> None:
    """Raises ValueError for a trial that cannot be."""
    states = set(states)
    for row in rows:
        name, accuracy = row["trial"], row["accuracy"]
        if row["state"] not in states:
            raise ValueError(f"trial {name} is '{row['state']}'")
        if not (row["parameters"] > 0 and 0 < row["compression"] < math.inf):
            raise ValueError(f"trial {name} has {row['parameters']} parameters, {row['compression']} times compressed")
        if row["state"] == "complete" and (accuracy is None or not 0 <= accuracy <= 1):
            raise ValueError(f"trial {name} is complete with the accuracy {accuracy}")
        if links(row) < 1:
            raise ValueError(f"the pipeline of trial {name} has no links")


def links(row: Mapping[str, Any]) -> int:
    """How many a trial's pipeline has; raises ValueError where it is none."""
    plain = json.loads(row["pipeline"])
    chain = plain.get("links") if isinstance(plain, dict) else None
    if not (isinstance(chain, list) and all(isinstance(link, dict) for link in chain)):
        raise ValueError(f"the pipeline of trial {row['trial']} is none")
    return len(chain)


def facts(found: Mapping[str, Any]) -> list[str]:
    """What of search.json is there and cannot be."""
    wrong = [name for name, kind in MORE.items() if not isinstance(found.get(name), kind | None)]
    least = {"classes": 2, "images": 1, "validation_images": 1, "views": 1, "teacher_parameters": 1}
    wrong += [name for name, low in least.items() if isinstance(found.get(name), int) and found[name] < low]
    accuracy, sizes = found.get("teacher_accuracy"), found.get("sizes")
    wrong += ["teacher_accuracy"] if accuracy is not None and not 0 <= accuracy <= 1 else []
    wrong += ["networks"] if not _of(found.get("networks"), dict) else []
    wrong += ["knobs"] if not _of(found.get("knobs"), str) else []
    if isinstance(sizes, list):
        counts = [size for size in sizes if isinstance(size, int)]
        wrong += [] if len(sizes) == len(counts) == 2 and 0 < counts[0] <= counts[1] else ["sizes"]
    return list(dict.fromkeys(wrong))


def _of(found: Any, kind: type) -> bool:
    return not isinstance(found, dict) or all(isinstance(value, kind) for value in found.values())
