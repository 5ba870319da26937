"""The files of a search: their columns, read whole and checked, written whole. Imports neither torch nor ray."""

import json
import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from kdsearch.errors import Refusal, cause_of, listed
from kdsearch.storage import files

TEXT, COUNT, NUMBER, FLAG = pa.string(), pa.int64(), pa.float64(), pa.bool_()

EMPTY = True
"""Not every row fills the column."""


def _schema(*columns: tuple[Any, ...]) -> pa.Schema:
    return pa.schema([pa.field(name, kind, nullable=bool(empty)) for name, kind, *empty in columns])


TRIALS = _schema(
    ("trial", TEXT), ("reference", TEXT, EMPTY), ("replicate_of", TEXT, EMPTY), ("state", TEXT), ("cause", TEXT, EMPTY),
    ("accuracy", NUMBER, EMPTY), ("parameters", COUNT), ("compression", NUMBER), ("training_parameters", COUNT),
    ("macs", COUNT), ("epochs", COUNT), ("kd_epochs", COUNT), ("seconds", NUMBER), ("seed", COUNT), ("front", FLAG),
    ("pipeline", TEXT),
)  # fmt: skip

EPOCHS = _schema(
    ("trial", TEXT), ("link", COUNT), ("stage", TEXT), ("epoch", COUNT), ("kd_epoch", COUNT, EMPTY),
    ("accuracy", NUMBER, EMPTY), ("seconds", NUMBER),
)  # fmt: skip

VERDICTS = _schema(
    ("trial", TEXT), ("milestone", COUNT), ("accuracy", NUMBER, EMPTY), ("parameters", COUNT), ("goes_on", FLAG),
    ("recorded", COUNT), ("better", COUNT), ("front", COUNT), ("rank", COUNT), ("stratum", COUNT),
    ("stratum_recorded", COUNT), ("stratum_better", COUNT), ("cutoff", NUMBER, EMPTY),
)  # fmt: skip

TABLES = {"trials": TRIALS, "epochs": EPOCHS, "verdicts": VERDICTS}

CONFIRMED = _schema(
    ("trial", TEXT), ("seed", COUNT), ("selected", FLAG), ("accuracy", NUMBER, EMPTY), ("test", NUMBER, EMPTY),
    ("test_images", COUNT, EMPTY), ("seconds", NUMBER, EMPTY), ("cause", TEXT, EMPTY),
)  # fmt: skip

FACTS: dict[str, type | tuple[type, ...]] = {
    "space": str, "command": str, "trials": int, "seed": int, "data": str, "fingerprint": str, "images": int,
    "validation_images": int, "classes": int, "knobs": dict, "teacher_accuracy": (float, type(None)),
}  # fmt: skip
"""Of search.json, what its readers rely on."""

ENDED = ("complete", "stopped", "failed")

STATES = ("waiting", "running", *ENDED)


def write_table(path: Path, rows: list[dict], schema: pa.Schema) -> None:
    """The schema's columns first, then every other one that a row has; the file is replaced whole."""
    names = list(dict.fromkeys([*schema.names, *(name for row in rows for name in row)]))
    columns = []
    for name in names:
        values = [row.get(name) for row in rows]
        if name in schema.names:
            columns.append(pa.array(values, schema.field(name).type))
        else:
            kinds = {type(value) for value in values if value is not None}
            if len(kinds) > 1 and kinds != {int, float}:  # a knob that is now a number, now a word
                values = [None if value is None else str(value) for value in values]
            columns.append(pa.array(values, pa.float64() if kinds == {int, float} else None))
    with files.whole(path) as draft:
        pq.write_table(pa.table(columns, names=names), draft)


def read_facts(folder: Path) -> dict[str, Any]:
    """search.json; raises Refusal."""
    try:
        found = json.loads((folder / "search.json").read_text(encoding="utf-8"))
        wrong = [name for name, kind in FACTS.items() if not isinstance(found.get(name), kind)] or facts(found)
        if wrong:
            raise ValueError(f"without a proper {listed(wrong)}")
        return found
    except (OSError, ValueError, AttributeError, RecursionError) as error:
        raise Refusal(f"'{folder / 'search.json'}' cannot be read ({error}); the search must be run again.") from None


def write_facts(folder: Path, facts: Mapping[str, Any]) -> None:
    with files.whole(folder / "search.json") as draft:
        draft.write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")


def confirmed(folder: Path) -> list[dict[str, Any]]:
    """The rows of confirmed.parquet, none where there is no such table; raises Refusal where it is damaged."""
    return read_table(folder / "confirmed.parquet", CONFIRMED, "delete it, and confirm the search again")


def read_table(path: Path, schema: pa.Schema, mend: str) -> list[dict[str, Any]]:
    """A table's rows, none where there is no file; raises Refusal, with the way to mend it, where it is damaged."""
    try:
        table = pq.read_table(path) if path.exists() else schema.empty_table()
        others = [table.schema.field(name) for name in table.schema.names if name not in schema.names]
        whole = pa.schema([*schema, *others])
        return table.select(whole.names).cast(whole).to_pylist()
    except (OSError, LookupError, TypeError, ValueError, OverflowError, pa.ArrowException) as error:
        raise Refusal(f"The table '{path}' is damaged ({said(error)}); {mend}.") from None


def check_rows(rows: Iterable[Mapping[str, Any]], schema: pa.Schema) -> None:
    """Raises an error of Arrow's, TypeError or ValueError where a row lacks what every row has, or has another kind."""
    pa.Table.from_pylist(list(rows), schema).cast(schema)


def check_trials(rows: Iterable[Mapping[str, Any]]) -> None:
    """Raises LookupError, TypeError or ValueError for a trial that cannot be."""
    for row in rows:
        sized = row["parameters"] > 0 and 0 < row["compression"] < math.inf and links(row) > 0
        judged = row["state"] != "complete" or (row["accuracy"] is not None and 0 <= row["accuracy"] <= 1)
        if not (sized and judged and row["state"] in STATES):
            raise ValueError(
                f"trial {row['trial']} is {row['state']}, has accuracy {row['accuracy']}, {row['parameters']} "
                f"parameters, {row['compression']} times compressed, and {links(row)} links"
            )


def links(row: Mapping[str, Any]) -> int:
    """How many a trial's pipeline has."""
    return len(json.loads(row["pipeline"])["links"])


def said(error: Exception) -> str:
    """What is wrong with a file, short."""
    return cause_of(error)[:200]


MORE = {
    "options": dict, "source": str, "resume": str, "study": str, "limits": dict, "networks": dict, "resources": dict,
    "versions": dict, "command": str, "why_ended": str, "teacher": str, "sizes": list, "milestones": list,
    "views": int, "teacher_parameters": int, "seeds": int, "total": int,
}  # fmt: skip
"""Of search.json, what may be there."""


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
