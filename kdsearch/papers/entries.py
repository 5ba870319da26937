"""The entries of a table, a row and a seed each: which network it is, its size, what is known of it. No Ray."""

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from kdsearch.config.pipeline import Data, Pipeline
from kdsearch.data.images import Images
from kdsearch.distill.store import key_of
from kdsearch.errors import cause_of
from kdsearch.nets import pairs
from kdsearch.nets import survey as nets_survey
from kdsearch.nets.build import Shape
from kdsearch.papers.tables import TEACHER, Protocol
from kdsearch.results import files

ENTRIES = pa.schema(
    [
        ("row", pa.string()), ("seed", pa.int64()), ("accuracy", pa.float64()), ("cause", pa.string()),
        ("split", pa.string()), ("images", pa.int64()), ("epochs", pa.int64()), ("seconds", pa.float64()),
        ("parameters", pa.int64()), ("training_parameters", pa.int64()), ("counted", pa.int64()),
        ("compression", pa.float64()), ("precision", pa.string()), ("key", pa.string()), ("pipeline", pa.string()),
    ]
)  # fmt: skip

FILLED = pa.schema([field for field in ENTRIES if field.name in ("row", "seed", "split", "images", "key", "pipeline")])
"""Columns that every entry has: one that failed may lack the others."""

Place = tuple[str, int]
"""An entry's row and seed."""


@dataclass(frozen=True)
class Entry:
    """One network to train."""

    row: str
    seed: int
    pipeline: Pipeline
    key: str
    """In the store."""
    facts: dict[str, Any]
    """Its columns, as far as they are known before it is trained."""

    @property
    def place(self) -> Place:
        return self.row, self.seed


def file(folder: Path) -> Path:
    """Where a table's entries are."""
    return folder / "entries.parquet"


def read(folder: Path) -> list[dict[str, Any]]:
    """The entries that ended; none where there is no table; raises Refusal where it is damaged."""
    return files.read_table(file(folder), FILLED, "delete it: what the store holds is not trained again")


def write(folder: Path, rows: Iterable[dict[str, Any]]) -> None:
    """The table, replaced whole."""
    folder.mkdir(parents=True, exist_ok=True)
    files.write_table(file(folder), list(rows), ENTRIES)


def split(data: Data) -> str:
    """Which images judge."""
    return "test" if data.validation == "test" else "validation"


def sizes(protocol: Protocol, row: str, image: Shape, classes: int) -> dict[str, Any]:
    """Of a row's network: deployed, with regressors, as the paper counts; raises Refusal where it cannot be."""
    pipeline = protocol.rows[row]
    pairs.check(pipeline, image, classes)
    survey = nets_survey.survey(pipeline.student.net, image, classes)
    teacher = pipeline.links[-2].net if len(pipeline.links) > 1 else None
    training = pairs.training_parameters(pipeline.student, teacher, image, classes)
    return {
        "parameters": survey.parameters,
        "training_parameters": training,
        "counted": survey.parameters + survey.statistics if protocol.keras else training,
        "compression": nets_survey.survey(protocol.teacher.net, image, classes).parameters / survey.parameters,
    }


def sizes_or_cause(protocol: Protocol, row: str, image: Shape, classes: int) -> dict[str, Any]:
    """The same; the cause where it cannot be."""
    try:
        return sizes(protocol, row, image, classes)
    except Exception as error:  # whatever it is, the other rows go on
        return {"cause": cause_of(error)}


def entries(protocol: Protocol, seeds: int, images: Images, known: Iterable[Mapping[str, Any]]) -> list[Entry]:
    """All that is asked for, the first seed of every row first; and further seeds that are known already."""
    found = [
        entry
        for name in protocol.rows
        for entry in _entries_of(protocol, name, seeds, images, [row for row in known if row["row"] == name])
    ]
    return sorted(found, key=lambda entry: entry.seed)


def _entries_of(
    protocol: Protocol, name: str, seeds: int, images: Images, known: Iterable[Mapping[str, Any]]
) -> Iterator[Entry]:
    row = protocol.rows[name]
    facts = _facts(protocol, name, images)
    ended = {own["seed"]: own for own in known if own.get("accuracy") is not None}
    asked = 1 if name == TEACHER else seeds
    for seed in sorted({*range(asked), *ended}):
        pipeline = row.with_seed(seed)
        key = key_of(pipeline, len(row.links) - 1, images.fingerprint)
        told = {"row": name, "seed": seed, "key": key, "pipeline": json.dumps(pipeline.model_dump(mode="json"))}
        there = ended.get(seed, {})
        if there.get("key") == key:
            yield Entry(name, seed, pipeline, key, {**facts, **there, **told})
        elif seed < asked:
            yield Entry(name, seed, pipeline, key, {**facts, **told})


def _facts(protocol: Protocol, name: str, images: Images) -> dict[str, Any]:
    """What a row's entries have in common."""
    plain: dict[str, Any] = dict.fromkeys(ENTRIES.names) | {
        "split": split(protocol.data), "images": len(images.validation),
        "epochs": protocol.rows[name].student.fit.epochs,
    }  # fmt: skip
    return plain | sizes_or_cause(protocol, name, images.shape, len(images.classes))
