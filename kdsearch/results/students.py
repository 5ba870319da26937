"""What stands beside a trained student's weights. Imports neither torch nor ray."""

import json
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
