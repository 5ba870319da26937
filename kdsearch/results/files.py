"""The files of a search: their columns, read whole and checked, written whole. Imports neither torch nor ray."""

import json
import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from kdsearch.errors import Refusal, listed
from kdsearch.storage import files

TRIALS = pa.schema(
    [
        ("trial", pa.string()), ("reference", pa.string()), ("replicate_of", pa.string()), ("state", pa.string()),
        ("cause", pa.string()),
        ("accuracy", pa.float64()), ("parameters", pa.int64()), ("compression", pa.float64()),
        ("training_parameters", pa.int64()), ("macs", pa.int64()), ("epochs", pa.int64()), ("kd_epochs", pa.int64()),
        ("seconds", pa.float64()), ("seed", pa.int64()), ("front", pa.bool_()), ("pipeline", pa.string()),
    ]
)  # fmt: skip

EPOCHS = pa.schema(
    [
        ("trial", pa.string()), ("link", pa.int64()), ("stage", pa.string()), ("epoch", pa.int64()),
        ("kd_epoch", pa.int64()), ("accuracy", pa.float64()), ("seconds", pa.float64()),
    ]
)  # fmt: skip

VERDICTS = pa.schema(
    [
        ("trial", pa.string()), ("milestone", pa.int64()), ("accuracy", pa.float64()), ("parameters", pa.int64()),
        ("goes_on", pa.bool_()), ("recorded", pa.int64()), ("better", pa.int64()), ("front", pa.int64()),
        ("rank", pa.int64()), ("stratum", pa.int64()), ("stratum_recorded", pa.int64()),
        ("stratum_better", pa.int64()), ("cutoff", pa.float64()),
    ]
)  # fmt: skip

TABLES = {"trials": TRIALS, "epochs": EPOCHS, "verdicts": VERDICTS}

CONFIRMED = pa.schema(
    [
        ("trial", pa.string()), ("seed", pa.int64()), ("selected", pa.bool_()), ("accuracy", pa.float64()),
        ("test", pa.float64()), ("test_images", pa.int64()), ("seconds", pa.float64()), ("cause", pa.string()),
    ]
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
        typed = table.select(schema.names).cast(schema)
        for name in table.schema.names:
            if name not in schema.names:
                typed = typed.append_column(name, table[name])
        rows = typed.to_pylist()
        whole(rows, schema.names, filled=("seconds",) if schema is EPOCHS else ())
        return rows
    except (OSError, LookupError, TypeError, ValueError, OverflowError, pa.ArrowException) as error:
        raise Refusal(f"The table '{path}' is damaged ({_said(error)}); {mend}.") from None


def _said(error: Exception) -> str:
    """Its kind and its first line."""
    return f"{type(error).__name__}: {(str(error).splitlines() or [''])[0][:200]}"


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
