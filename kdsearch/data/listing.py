"""The files of a part of a data set, and what they are called."""

import hashlib
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace

PARTS = {
    "train": ("train", "training"),
    "validation": ("val", "valid", "validation", "dev"),
    "test": ("test", "testing"),
}
"""Words for a part, in capitals or not."""

TABLES = (".csv", ".parquet")
"""Endings of files that name files."""


@dataclass(frozen=True)
class Listing:
    """The files of one part, class by class."""

    classes: tuple[str, ...]
    files: tuple[str, ...]
    labels: tuple[int, ...]
    """Of each file: the place of its class."""
    passed: tuple[str, ...] = ()
    """What lies there and is not read: `3 *.heic`."""

    def key(self) -> str:
        """Changes whenever a class comes or goes, or a file is another or of another time."""
        stats = [(file, label, *_stat(file)) for file, label in zip(self.files, self.labels, strict=True)]
        return hashlib.sha256(json.dumps([self.classes, stats]).encode()).hexdigest()

    def some(self, places: Sequence[int]) -> "Listing":
        """Of these files alone."""
        files, labels = ([all_of[place] for place in places] for all_of in (self.files, self.labels))
        return replace(self, files=tuple(files), labels=tuple(labels))


def _stat(file: str) -> tuple[int, int]:
    try:
        found = os.stat(file)
    except OSError:  # a link to nothing is told when it is opened
        return 0, 0
    return found.st_size, found.st_mtime_ns
