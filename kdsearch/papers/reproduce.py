"""A published table made again: a grid whose cells are the table's rows, on the search's own engine."""

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kdsearch.config.pipeline import Budget, Pipeline
from kdsearch.config.provenance import RECIPE
from kdsearch.data.images import load
from kdsearch.distill.store import Store, key_of, read_facts
from kdsearch.errors import Refusal
from kdsearch.papers import tables
from kdsearch.papers.sizes import sizes_or_cause
from kdsearch.papers.tables import TEACHER, Protocol
from kdsearch.results import facts as results_facts
from kdsearch.results import files
from kdsearch.results import tables as results_tables
from kdsearch.results.facts import Facts
from kdsearch.results.folder import is_running
from kdsearch.results.searches import reading, renew
from kdsearch.search.asked import Asked
from kdsearch.search.driver import Show
from kdsearch.search.look import look
from kdsearch.search.plan import Place, Progress
from kdsearch.search.run import run
from kdsearch.search.spaces import Repeats, Space
from kdsearch.storage.bucket import Storage

BUDGET = Budget(epochs=1, teacher_epochs=1, sampler="grid", rule="none")
"""A table's rows say their epochs themselves."""


@dataclass(frozen=True)
class Table:
    """A table to make: its protocol at its scale, on its data; where it lies, and the command that makes it."""

    name: str
    protocol: Protocol
    storage: Storage
    folder: Path
    command: str


@dataclass(frozen=True)
class Made:
    """A table as far as it was made."""

    sizes: dict[str, dict[str, Any]]
    """Of each row; the `cause` where it cannot be."""
    entries: list[dict[str, Any]]
    """One a row and seed that ended: row, seed, accuracy, cause, seconds, images (that judged)."""


def reproduce(table: Table, asked: Mapping[str, Any], show: Show, progress: Progress) -> Made:
    """Train what is missing, teachers first; `asked`: options of `tune`. Raises Refusal before anything is trained."""
    protocol, folder = table.protocol, table.folder
    images = load(protocol.data, Path(asked["data_dir"]), progress)
    sizes = sizes_or_cause(protocol, images.shape, len(images.classes))
    rows = {name: row for name, row in protocol.rows.items() if "cause" not in sizes[name]}
    space, before = _space(table, rows), _before(table)
    if before and (before.source, before.recipe) != (space.source, RECIPE):
        raise Refusal(
            f"A table goes on with the rows and the recipe that it began with, but those of '{table.name}' have "
            f"changed since; delete '{folder}': what the store holds is not trained again."
        )
    seeds = max(asked["seeds"], before.seeds if before else 1)  # what is known stays, whatever is asked for
    options = Asked(space=table.name, results=table.storage.word, **{**asked, "seeds": seeds})
    if rows and not _done(table, len(rows), seeds):
        run(look(options, space, Place(table.storage, folder, table.command, before, table.command), progress), show)
    entries = _entries(folder) if rows else []
    order = list(protocol.rows)
    return Made(sizes, sorted(entries, key=lambda entry: (order.index(entry["row"]), entry["seed"])))


def _space(table: Table, rows: Mapping[str, Pipeline]) -> Space:
    """The rows as a space with one knob."""

    def draw(trial: Any) -> Pipeline:
        return rows[trial.suggest_categorical("row", list(rows))]

    plain = json.dumps({name: row.model_dump(mode="json") for name, row in rows.items()})
    source = hashlib.sha256(plain.encode()).hexdigest()[:16]
    repeats = Repeats(table.protocol.teacher.net, {"row": TEACHER})
    return Space(table.name, Path(tables.__file__), BUDGET, BUDGET, None, draw, (), source, repeats=repeats)


def _done(table: Table, rows: int, seeds: int) -> bool:
    """Whether nothing is missing, and nothing has failed, which is tried again."""
    if not (table.folder / "trials.parquet").exists():
        return False
    found = results_tables.read(table.folder)
    wanted = rows * seeds - (seeds - 1) * (TEACHER in table.protocol.rows)
    return sum(row["state"] == "complete" for row in found.trials.values()) >= wanted


def _before(table: Table) -> Facts | None:
    """search.json of a table that was begun."""
    storage, folder = table.storage, table.folder
    aside = reading(storage.word)
    if storage.uri and aside.pull(aside.folder / folder.relative_to(storage.folder) / "search.json"):
        folder.mkdir(parents=True, exist_ok=True)
        if not is_running(folder):
            renew(storage, folder)  # another machine may have gone on
    if not (folder / "search.json").exists():
        return None
    return results_facts.read_facts(table.folder)


def _entries(folder: Path) -> list[dict[str, Any]]:
    images, found = results_facts.read_facts(folder).validation_images, results_tables.read(folder)
    return [
        {
            "row": row["knob.row"], "seed": row["seed"], "accuracy": row["accuracy"], "cause": row["cause"],
            "seconds": row["seconds"] or None, "images": images,
        }
        for row in found.trials.values()
        if row["state"] in files.ENDED
    ]  # fmt: skip


def other_precisions(table: Table, asked: str) -> Iterator[str]:
    """In which networks were trained, where they were there before: the store makes nothing twice."""
    if asked == "auto":
        return
    facts, store = results_facts.read_facts(table.folder), Store(table.storage.folder / "store", table.storage)
    for row in results_tables.read(table.folder).trials.values():
        pipeline = Pipeline.model_validate_json(row["pipeline"])
        key = key_of(pipeline, len(pipeline.links) - 1, facts.fingerprint)
        if row["state"] == "complete" and key in store:
            found = read_facts(store.path(key))["precision"]
            if found != asked:
                yield found
