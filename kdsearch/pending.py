"""What happened in a search since its tables were last written, a line of JSON an event: a kill loses nothing."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Pending:
    """A file that grows by one line an event, and goes once the tables say the same."""

    path: Path

    def note(self, *event: Any) -> None:
        """An event, in the hands of the operating system before anything is done about it."""
        with open(self.path, "a", encoding="utf-8") as file:
            file.write(json.dumps(event) + "\n")

    def clear(self) -> None:
        """The tables hold all of it."""
        self.path.unlink(missing_ok=True)

    def events(self) -> Iterator[list[Any]]:
        """All that were noted whole: a full disk may have let the last one begin but not end."""
        if not self.path.exists():
            return
        for line in self.path.read_text(encoding="utf-8", errors="replace").splitlines(keepends=True):
            try:
                event = json.loads(line) if line.endswith("\n") else None
            except ValueError:
                return
            if not isinstance(event, list):
                return
            yield event
