"""Optuna's own record of a search: one line of JSON an event."""

import json
import os
from pathlib import Path

from kdsearch.errors import Refusal


def damaged(path: Path, error: Exception, where: str = "") -> Refusal:
    """What a user is told of a journal that cannot be read."""
    start = f"{where}'{path}'" if where else f"The journal '{path}'"
    said = (str(error).splitlines() or [""])[0][:200]
    return Refusal(
        f"{start} is damaged ({type(error).__name__}: {said}); delete that file: what the search learnt is drawn anew "
        f"from its tables."
    )


def mend(path: Path) -> None:
    """Cut off a last line that a full disk let begin but not end, and open the lock of a process that was killed.

    Only the search's driver may do so. Raises Refusal where a whole line is damaged.
    """
    path.with_name(f"{path.name}.lock").unlink(missing_ok=True)
    if not path.exists():
        return
    whole = path.read_bytes()
    lines = whole.splitlines(keepends=True)
    for number, line in enumerate(lines, start=1):
        try:
            if not line.endswith(b"\n"):
                raise ValueError("it does not end")
            json.loads(line)
        except ValueError as error:
            if number < len(lines):
                raise damaged(path, error, f"Line {number} of ") from None
            os.truncate(path, len(whole) - len(line))
