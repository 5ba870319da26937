"""A table of pictures: a .csv or .parquet file whose rows name a file, its label and perhaps its part."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from kdsearch.data.listing import PARTS, Listing
from kdsearch.errors import Refusal, first_line, listed, natural

COLUMNS = ("path", "label", "split")
"""Of which the last may be left out: then all rows train."""


@dataclass(frozen=True)
class Table:
    """Rows of files, whose paths begin where the table lies."""

    path: Path

    @cached_property
    def rows(self) -> list[dict[str, str]]:
        """Path and label of each row, and its split as a word of PARTS. Raises Refusal."""
        frame = _read(self.path).rename(columns=lambda name: str(name).strip())
        lacking = [name for name in COLUMNS[:2] if name not in frame.columns]
        if lacking:
            raise Refusal(
                f"A table of pictures has the columns path and label, and split if it likes, but '{self.path}' has no "
                f"{listed(lacking)}, but {listed(frame.columns)}.{_separated(frame.columns)}"
            )
        frame = frame[[name for name in COLUMNS if name in frame.columns]]
        for name in frame.columns:
            empty = frame[name].isna() | (frame[name].astype(str).str.strip() == "")
            if empty.any():
                raise Refusal(
                    f"Every row has a {name}, but of the {len(frame):,} of '{self.path}' {int(empty.sum()):,} have "
                    f"none, such as row {int(empty.argmax()) + 1:,}; fill them in, or leave these rows out."
                )
        found = [{str(name): str(value).strip() for name, value in row.items()} for row in frame.to_dict("records")]
        labels: dict[str, str] = {}
        for row in found:
            if labels.setdefault(row["path"], row["label"]) != row["label"]:
                raise Refusal(
                    f"A picture has one label, but '{row['path']}' has two in '{self.path}': {labels[row['path']]} and "
                    f"{row['label']}; leave one of the rows."
                )
        return [row | {"split": self._part(row["split"]) if "split" in row else "train"} for row in found]

    @property
    def validation(self) -> bool:
        """Whether rows of its own validate."""
        return any(row["split"] == "validation" for row in self.rows)

    def where(self, part: str) -> str:
        """What a part is called."""
        return f"its split {part}"

    def beside(self) -> list[str]:
        """What is no part."""
        return []

    def holds(self, part: str) -> Listing:
        """The files of a part; raises Refusal where it cannot serve."""
        classes = sorted({row["label"] for row in self.rows}, key=natural)
        if len(classes) < 2:
            raise Refusal(f"At least two classes are needed, but the labels of '{self.path}' are {listed(classes)}.")
        own = [row for row in self.rows if row["split"] == part]
        if not own:
            raise Refusal(
                f"For this a table needs rows whose split is {listed(PARTS[part])}, but '{self.path}' has none."
            )
        root, places = self.path.resolve().parent, {name: place for place, name in enumerate(classes)}
        files = tuple(str(root / row["path"]) for row in own)
        return Listing(tuple(classes), files, tuple(places[row["label"]] for row in own))

    def _part(self, word: str) -> str:
        for part, words in PARTS.items():
            if word.casefold() in words:
                return part
        known = [one for words in PARTS.values() for one in words]
        raise Refusal(f"The split of a row is one of {listed(known)}, but in '{self.path}' it is '{word}'.")


def _separated(names: Sequence[str]) -> str:
    """What is wrong where all columns are one."""
    marks = {";": "semicolons", "\t": "tabs", "|": "bars"}
    found = [word for mark, word in marks.items() if len(names) == 1 and mark in names[0]]
    return f" Columns are separated by commas, not by {found[0]}." if found else ""


def _read(path: Path) -> Any:
    import pandas as pd

    # Text as it is: a class may be called NA, and 01 is not 1.
    readers: dict[str, Callable[[], Any]] = {
        ".csv": lambda: pd.read_csv(path, dtype=str, keep_default_na=False),
        ".parquet": lambda: pd.read_parquet(path),
    }
    try:
        return readers[path.suffix.lower()]()
    except Exception as error:  # whatever a reader makes of bytes that are no table
        raise Refusal(
            f"A table of pictures is a .csv or .parquet file, but '{path}' is not read: {first_line(error)}"
        ) from None
