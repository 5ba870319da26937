"""The files of a search: their columns, read whole and checked, written whole. Imports neither torch nor ray."""

import json
import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from kdsearch.errors import Refusal, cause_of, is_plain
from kdsearch.results.metric import score
from kdsearch.results.objectives import OBJECTIVES, objective
from kdsearch.storage.files import whole

TEXT, COUNT, NUMBER, FLAG = pa.string(), pa.int64(), pa.float64(), pa.bool_()

EMPTY = True
"""Not every row fills the column."""


def _schema(*columns: tuple[Any, ...]) -> pa.Schema:
    return pa.schema([pa.field(name, kind, nullable=bool(empty)) for name, kind, *empty in columns])


TRIALS = _schema(
    ("trial", TEXT), ("reference", TEXT, EMPTY), ("replicate_of", TEXT, EMPTY), ("state", TEXT), ("cause", TEXT, EMPTY),
    ("accuracy", NUMBER, EMPTY), ("balanced_accuracy", NUMBER, EMPTY), ("metric", TEXT, EMPTY), ("parameters", COUNT),
    ("compression", NUMBER), ("training_parameters", COUNT), ("training_macs", COUNT, EMPTY), ("macs", COUNT),
    ("macs_ratio", NUMBER, EMPTY),
    ("bytes", COUNT, EMPTY), ("bytes_ratio", NUMBER, EMPTY), ("latency_us", NUMBER, EMPTY),
    ("latency_ratio", NUMBER, EMPTY), ("against", TEXT, EMPTY), ("epochs", COUNT), ("kd_epochs", COUNT),
    ("seconds", NUMBER), ("seed", COUNT), ("front", FLAG), ("pipeline", TEXT),
)  # fmt: skip

EPOCHS = _schema(
    ("trial", TEXT), ("link", COUNT), ("stage", TEXT), ("epoch", COUNT), ("kd_epoch", COUNT, EMPTY),
    ("accuracy", NUMBER, EMPTY), ("balanced_accuracy", NUMBER, EMPTY), ("seconds", NUMBER),
)  # fmt: skip

VERDICTS = _schema(
    ("trial", TEXT), ("milestone", COUNT), ("accuracy", NUMBER, EMPTY), ("parameters", COUNT), ("goes_on", FLAG),
    ("recorded", COUNT), ("better", COUNT), ("front", COUNT), ("rank", COUNT), ("stratum", COUNT),
    ("stratum_recorded", COUNT), ("stratum_better", COUNT), ("cutoff", NUMBER, EMPTY),
)  # fmt: skip

TABLES = {"trials": TRIALS, "epochs": EPOCHS, "verdicts": VERDICTS}

CONFIRMED = _schema(
    ("trial", TEXT), ("seed", COUNT), ("selected", FLAG), ("accuracy", NUMBER, EMPTY),
    ("balanced_accuracy", NUMBER, EMPTY), ("test", NUMBER, EMPTY), ("test_images", COUNT, EMPTY),
    ("seconds", NUMBER, EMPTY), ("cause", TEXT, EMPTY),
)  # fmt: skip

ENDED = ("complete", "stopped", "failed")

STATES = ("waiting", "running", *ENDED)

NEW = (
    "balanced_accuracy", "metric", "macs_ratio", "bytes", "bytes_ratio", "latency_us", "latency_ratio", "against",
    "training_macs",
)  # fmt: skip
"""Columns that older tables lack."""

IMPOSSIBLE = (
    ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError, pa.ArrowException
)  # fmt: skip
"""Errors that come of a file in which something stands that cannot be."""


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
    with whole(path) as draft:
        pq.write_table(pa.table(columns, names=names), draft)


def confirmed(folder: Path) -> list[dict[str, Any]]:
    """The rows of confirmed.parquet, none where there is no such table; raises Refusal where it is damaged."""
    return read_table(folder / "confirmed.parquet", CONFIRMED, "delete it, and confirm the search again")


def read_table(path: Path, schema: pa.Schema, mend: str) -> list[dict[str, Any]]:
    """A table's rows, none where there is no file; raises Refusal, with the way to mend it, where it is damaged."""
    try:
        table = pq.read_table(path) if path.exists() else schema.empty_table()
        for field in schema:
            if field.name in NEW and field.name not in table.schema.names:
                table = table.append_column(field, pa.nulls(len(table), field.type))
        others = [table.schema.field(name) for name in table.schema.names if name not in schema.names]
        wanted = pa.schema([*schema, *others])
        return table.select(wanted.names).cast(wanted).to_pylist()
    except (OSError, *IMPOSSIBLE) as error:
        raise Refusal(f"The table '{path}' is damaged ({said(error)}); {mend}.") from None


def weights(folder: Path, kind: str, name: str) -> Path:
    """Where weights of a search lie, by their kind (students, confirmed, checkpoints) and a trial's id; raises Refusal
    for an id that would lead elsewhere, since ids are read from tables."""
    if not is_plain(name):
        raise Refusal(
            f"A trial's id is a plain name, but '{folder}/trials.parquet' has {name!r}, which could lead out of the "
            f"search's folder: the table was not written by kdsearch; do not use it, or take the trial out of it."
        )
    return folder / kind / f"{name}.safetensors"


def check_rows(rows: Iterable[Mapping[str, Any]], schema: pa.Schema) -> None:
    """Raises one of IMPOSSIBLE where a row lacks what every row has, or has it of another kind."""
    pa.Table.from_pylist(list(rows), schema).cast(schema)


def check_trials(rows: Iterable[Mapping[str, Any]]) -> None:
    """Raises one of IMPOSSIBLE for a trial that cannot be."""
    for row in rows:
        sized = row["parameters"] > 0 and 0 < row["compression"] < math.inf and links(row) > 0
        judged = row["state"] != "complete" or all(
            value is not None and 0 <= value <= 1 for value in (row["accuracy"], score(row))
        )
        if not (sized and _ratios(row) and judged and row["state"] in STATES):
            raise ValueError(
                f"trial {row['trial']} is {row['state']}, has accuracy {row['accuracy']}, {row['parameters']} "
                f"parameters, {row['compression']} times compressed, and {links(row)} links"
            )


def _ratios(row: Mapping[str, Any]) -> bool:
    """Whether a trial's ratios to its teacher can be, as far as they are known, and there is what it is set against."""
    found = [row.get(own.ratio) for own in (objective(row.get("against")), *OBJECTIVES.values())]
    return all(value is None or 0 < value < math.inf for value in found)


def links(row: Mapping[str, Any]) -> int:
    """How many a trial's pipeline has."""
    return len(json.loads(row["pipeline"])["links"])


def said(error: Exception) -> str:
    """What is wrong with a file, short."""
    return cause_of(error)[:200]
