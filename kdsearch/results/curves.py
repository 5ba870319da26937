"""The learning curves of a finished search, whole: what a replay reads."""

import importlib
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from kdsearch.errors import Refusal, Unknown, listed, unknown
from kdsearch.results import folder as results_folder
from kdsearch.results import front, searches
from kdsearch.results import tables as results_tables
from kdsearch.results.facts import Facts, read_facts
from kdsearch.results.front import Point
from kdsearch.storage.bucket import Storage
from kdsearch.storage.files import whole

COLUMNS = pa.schema(
    [
        ("trial", pa.string()), ("parameters", pa.int64()), ("kd_epoch", pa.int64()), ("accuracy", pa.float64()),
        ("epochs_before", pa.int64()), ("seconds", pa.float64()),
    ]
)  # fmt: skip
"""A row an epoch of a student's last stage; its accuracy on the validation images; the student's epochs before that
stage; the epoch's seconds of training."""

KEPT = ("space", "data", "images", "validation_images", "classes", "largest_class", "teacher_parameters", "versions")
"""Of search.json, in the parquet's own metadata: nothing that names a place on the machine."""


@dataclass(frozen=True)
class Curve:
    """A trial that was never stopped."""

    trial: str
    parameters: int
    accuracies: tuple[float, ...]
    """After each epoch of the last stage."""
    before: int
    """Epochs of the student before that stage."""
    seconds: tuple[float, ...]
    """Of each epoch of the last stage."""

    @property
    def epochs(self) -> int:
        """In all."""
        return self.before + len(self.accuracies)

    @cached_property
    def pace(self) -> float:
        """Seconds of an epoch, on average."""
        return max(sum(self.seconds) / len(self.seconds), 1e-9)


@dataclass(frozen=True)
class Curves:
    """Those of a search, and from where its hypervolume counts."""

    name: str
    trials: tuple[Curve, ...]
    largest: float
    """Parameters at compression 1: the teacher's; where it is unknown, the largest student's."""
    chance: float
    """Accuracy of guessing: 1 / classes; where they are unknown, the lowest that was recorded."""
    facts: dict[str, Any]
    """What of search.json is kept beside them."""

    @property
    def length(self) -> float:
        """Epochs of a full-length trial: the longest one's."""
        return max(curve.epochs for curve in self.trials)

    @cached_property
    def members(self) -> list[int]:
        """Places of the curves that end on the front."""
        return front.undominated(self.points(range(len(self.trials))))

    @cached_property
    def hypervolume(self) -> float:
        """Of all curves at their ends."""
        return front.hypervolume(self.points(self.members), self.chance)

    @cached_property
    def thirds(self) -> list[int]:
        """Of each curve: 0 among the smallest third by parameters, 1 in the middle, 2 among the largest."""
        ordered = sorted(curve.parameters for curve in self.trials)
        first, second = (ordered[len(ordered) * part // 3] for part in (1, 2))
        return [(curve.parameters >= first) + (curve.parameters >= second) for curve in self.trials]

    def points(self, places: Sequence[int]) -> list[Point]:
        """(log10 compression, accuracy) of these curves at their ends."""
        chosen = (self.trials[place] for place in places)
        return [(math.log10(self.largest / curve.parameters), curve.accuracies[-1]) for curve in chosen]


def shipped() -> dict[str, Path]:
    """The recorded tables that come with kdsearch, by name."""
    folder = Path(importlib.import_module("kdsearch.tables").__path__[0])
    return {path.stem: path for path in folder.glob("*.parquet")}


def read(word: str, storage: Storage) -> Curves:
    """A parquet of COLUMNS by its path, a search by its name or folder, else a shipped table by its name.

    Raises Refusal.
    """
    path = Path(word)
    if path.suffix == ".parquet" and not path.is_file():
        raise Refusal(f"A table to replay is a search or a .parquet file, but there is no file '{word}'.")
    if path.suffix == ".parquet" or path.is_file():
        return from_parquet(path)
    try:
        return from_search(searches.find(word, storage))
    except Unknown as error:
        tables = shipped()
        if word in tables:
            return from_parquet(tables[word])
        raise Refusal(f"{error} {unknown('recorded table named', word, tables)}") from None


def from_parquet(path: Path) -> Curves:
    """One that `write` wrote, or any with the columns of COLUMNS; raises Refusal."""
    try:
        found = pq.read_table(path)
        absent = listed(name for name in COLUMNS.names if name not in found.schema.names)
        if absent != "nothing":
            raise Refusal(f"A table to replay has the columns {listed(COLUMNS.names)}, but '{path}' lacks {absent}.")
        rows = found.select(COLUMNS.names).cast(COLUMNS).to_pylist()
        facts = json.loads((found.schema.metadata or {}).get(b"kdsearch", b"{}"))
    except (OSError, ValueError, pa.ArrowException) as error:
        raise Refusal(f"The table '{path}' cannot be read ({error}).") from None
    return curves_of(path.stem, rows, facts)


def from_search(folder: Path) -> Curves:
    """Its fully trained draws; raises Refusal where trials were stopped or it has not ended."""
    facts, tables = read_facts(folder), results_tables.read(folder)
    return curves_of(folder.name, rows_of(tables, facts, folder.name), facts.plain())


def rows_of(tables: results_tables.Tables, facts: Facts, name: str) -> list[dict[str, Any]]:
    """A search's epochs as rows of COLUMNS; raises Refusal where they are not whole."""
    stands = results_folder.standing(tables, facts)
    stopped, drawn = stands["states"].get("stopped", 0), {n: r for n, r in tables.trials.items() if not r["reference"]}
    if stopped:
        raise Refusal(
            f"A replay needs every trial's whole curve, but {stopped} of the {len(drawn)} trials of '{name}' were "
            f"stopped early; run it again with --rule none."
        )
    if stands["state"] == "running":
        raise Refusal(f"A replay needs a search that has ended, but '{name}' is running; look again when it is done.")
    whole = {name: row for name, row in drawn.items() if row["state"] == "complete"}
    return [
        {name: row.get(name) for name in COLUMNS.names}
        | {
            "parameters": whole[row["trial"]]["parameters"],
            "epochs_before": whole[row["trial"]]["epochs"] - whole[row["trial"]]["kd_epochs"],
        }
        for row in tables.epochs
        if row["kd_epoch"] is not None and row["trial"] in whole
    ]


def curves_of(name: str, rows: list[dict[str, Any]], facts: dict[str, Any]) -> Curves:
    """Rows of COLUMNS as curves; raises Refusal where a curve is cut off or has numbers that cannot be."""
    own: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        if None in row.values() or not (row["parameters"] > 0 and 0 <= row["accuracy"] <= 1 and row["seconds"] >= 0):
            raise Refusal(
                f"A row of '{name}' cannot be replayed, since something in it is missing or out of range: {row}."
            )
        own.setdefault(row["trial"], []).append(row)
    if not own:
        raise Refusal(f"A replay needs fully trained trials, but '{name}' has none.")
    for curve in own.values():
        curve.sort(key=lambda row: row["kd_epoch"])
    summed = all(_rising([row["seconds"] for row in curve]) for curve in own.values())
    curves = tuple(_curve(name, curve, summed) for curve in own.values())
    _refuse_stopped(name, curves)
    lowest = min(min(curve.accuracies) for curve in curves)
    largest = facts.get("teacher_parameters") or max(curve.parameters for curve in curves)
    chance = (facts.get("largest_class") or 1 / facts["classes"]) if facts.get("classes") else lowest
    kept = {name: facts[name] for name in KEPT if name in facts}
    if "data" in kept:
        kept["data"] = Path(kept["data"]).name
    return Curves(name, curves, largest, chance, kept)


def _rising(seconds: list[float]) -> bool:
    return len(seconds) > 1 and all(one < two for one, two in pairwise(seconds))


def _curve(name: str, rows: list[dict[str, Any]], summed: bool) -> Curve:
    """`summed`: the seconds are those since the trial began, which rise in every curve, and not an epoch's own."""
    first, before = rows[0], rows[0]["epochs_before"]
    if len({(row["parameters"], before, row["epochs_before"]) for row in rows}) > 1 or before < 0:
        raise Refusal(
            f"Trial {first['trial']} of '{name}' needs one size and one number of epochs before, but has more."
        )
    if [row["kd_epoch"] for row in rows] != list(range(1, len(rows) + 1)):
        raise Refusal(f"Trial {first['trial']} of '{name}' needs one row for each KD epoch from 1 on, but has gaps.")
    seconds = [row["seconds"] for row in rows]
    if summed:
        seconds = [seconds[0] / (before + 1), *(two - one for one, two in pairwise(seconds))]
    accuracies = tuple(row["accuracy"] for row in rows)
    return Curve(first["trial"], first["parameters"], accuracies, before, tuple(seconds))


def _refuse_stopped(name: str, curves: tuple[Curve, ...]) -> None:
    """Trials have one length in all, or one in their last stage; whoever is shorter was stopped."""
    whole = [{curve.epochs for curve in curves}, {len(curve.accuracies) for curve in curves}]
    if all(len(lengths) > 1 for lengths in whole):
        longest = max(whole[0])
        short = sum(curve.epochs < longest for curve in curves)
        raise Refusal(
            f"A replay needs every trial's whole curve, but {short} of the {len(curves)} trials of '{name}' have fewer "
            f"than {longest} epochs: they were stopped early, so what they would have come to is unknown. Run it again "
            f"with --rule none."
        )


def write(path: Path, curves: Curves) -> None:
    """As one parquet that `read` reads, its facts in the parquet's metadata."""
    rows = [
        (one.trial, one.parameters, number, accuracy, one.before, seconds)
        for one in curves.trials
        for number, (accuracy, seconds) in enumerate(zip(one.accuracies, one.seconds, strict=True), start=1)
    ]
    table = pa.Table.from_arrays([pa.array(column) for column in zip(*rows, strict=True)], COLUMNS.names).cast(COLUMNS)
    table = table.replace_schema_metadata({"kdsearch": json.dumps(curves.facts)})
    with whole(path) as draft:
        pq.write_table(table, draft, compression="zstd")
