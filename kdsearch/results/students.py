"""What stands beside a trained student's weights. Imports neither torch nor ray."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from kdsearch.errors import Refusal
from kdsearch.results import files


def made(folder: Path, trial: str) -> dict[str, Any] | None:
    """A trial's config.provenance.Made as plain data, from the header of its student's file (safetensors: eight bytes
    that tell the length of a JSON object); None where there is none."""
    try:
        path = files.weights(folder, "students", trial)
        with open(path, "rb") as file:
            head = json.loads(file.read(int.from_bytes(file.read(8), "little")))
        found = json.loads(head["__metadata__"]["facts"])
    except (OSError, ValueError, LookupError, TypeError, OverflowError, MemoryError, Refusal):
        return None
    return found if isinstance(found, dict) else None


def per_class(made: Mapping[str, Any]) -> dict[str, Any]:
    """balanced_accuracy; class_accuracy by class, and confusion: of the validation images of a class, how many were
    taken for which. Empty where an older version did not count."""
    classes, counts = made["classes"], made.get("confusion") or ()
    if not counts:
        return {}
    rows: dict[str, dict[str, int]] = {name: {} for name in classes}
    for one, other, count in counts:
        rows[classes[one]][classes[other]] = count
    right = {name: row.get(name, 0) / sum(row.values()) for name, row in rows.items() if row}
    return {"balanced_accuracy": made["balanced_accuracy"], "class_accuracy": right, "confusion": rows}
