"""Searches found in their storage; what a command needs of one in a bucket is brought here first."""

import re
import shutil
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from filelock import Timeout

from kdsearch.errors import Refusal, listed, unknown
from kdsearch.results import files, front
from kdsearch.results import folder as results_folder
from kdsearch.results import tables as results_tables
from kdsearch.results.facts import Facts, read_facts
from kdsearch.results.folder import taken
from kdsearch.results.metric import score
from kdsearch.storage.bucket import Storage, at
from kdsearch.storage.lease import Lease, hold, holder

TABLES = (".json", ".parquet", ".journal")

Send = Callable[[], None]


def reading(word: str) -> Storage:
    """A storage for commands that only look: what they bring never lands on the files of a driver on this machine."""
    storage = at(word)
    if storage.uri is None:
        return storage
    return replace(storage, folder=storage.folder.with_name(f"read-{storage.folder.name}"))


def in_bucket(folder: Path, storage: Storage) -> bool:
    """Whether a search's folder here is a copy: a path may name one on this machine whatever the storage."""
    return storage.uri is not None and folder.parent == storage.folder


def names_taken(storage: Storage) -> list[str]:
    """Names of searches; of a folder that a killed process left with nothing in it but its lock, not."""
    names = storage.names(storage.folder)
    return [name for name in names if storage.uri or not _is_abandoned(storage.folder / name)]


def only(space: str, storage: Storage) -> str:
    """The name of a space's search that was given none; raises Refusal where there are several."""
    names = [name for name in names_taken(storage) if re.fullmatch(rf"{re.escape(space)}(-[0-9]+)?", name)]
    if len(names) > 1:
        raise Refusal(f"There are several searches of '{space}': {listed(names)}. Say with --name which one goes on.")
    return names[0] if names else space


def _is_abandoned(folder: Path) -> bool:
    return folder.is_dir() and not [path for path in folder.iterdir() if path.name != results_folder.LOCK]


def find(search: str, storage: Storage) -> Path:
    """A search's folder here, with its tables, by its name in the storage or its path; raises Refusal."""
    folder = named(search, storage)
    if in_bucket(folder, storage):
        _bring(storage, folder)
    return folder


@contextmanager
def driven(search: str, storage: Storage) -> Iterator[tuple[Path, Lease, Send]]:
    """A search's folder for who changes it: held, its tables here; what is written is sent when told and at the end."""
    folder = named(search, storage)
    if not in_bucket(folder, storage):
        yield folder, Lease(Storage(folder.parent), folder), lambda: None
        return
    with hold(storage, folder) as lease:
        renew(storage, folder)
        with sent(storage, folder, storage.folder / "store") as send:
            yield folder, lease, send


def resumed(name: str, storage: Storage) -> Path:
    """The folder here of a search that goes on, with its newest tables; raises Refusal where it runs here, or cannot be
    locked, before anything is read for it."""
    folder = storage.folder / name
    if storage.uri is not None:
        _their_run(storage, named(name, storage))
        folder.mkdir(parents=True, exist_ok=True)
    elif not folder.is_dir():
        return folder
    try:
        with results_folder.driver_lock(folder):
            renew(storage, folder)
    except Timeout:
        raise taken(folder) from None
    return folder


def renew(storage: Storage, folder: Path) -> None:
    """A search's newest tables: those that its last driver left here, since it wrote before it sent; else the bucket's.

    The search must be held, by its lock or its lease.
    """
    if storage.uri is None:
        return
    own = folder / results_folder.RUN
    if own.is_file() and own.read_text(encoding="utf-8") == _their_run(storage, folder):
        storage.pull(folder / "confirmed.parquet")  # another machine may have confirmed it since
        return
    for path in folder.glob("[!.]*"):
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    own.unlink(missing_ok=True)
    _bring(storage, folder)


def _their_run(storage: Storage, folder: Path) -> str | None:
    """Whose tables the bucket has; raises Refusal where it has no such search."""
    aside = reading(storage.word)
    there = aside.folder / folder.relative_to(storage.folder)
    _bring_facts(aside, there)
    return read_facts(there).run


@contextmanager
def sent(storage: Storage, *folders: Path) -> Iterator[Send]:
    """Whatever files are written in the folders meanwhile go to the bucket when told, and at the end."""
    watched = folders if storage.uri else ()
    known = _written(watched)

    def send() -> None:
        for path, when in _written(watched).items():
            if known.get(path) != when:
                storage.push(path)
                known[path] = when

    try:
        yield send
    finally:
        send()


def bring_students(storage: Storage, folder: Path, trials: Iterable[str]) -> None:
    """The trained students of these trials, as far as there are any."""
    for trial in trials if in_bucket(folder, storage) else ():
        storage.pull(files.weights(folder, "students", trial))


def bring_networks(storage: Storage, keys: Iterable[str]) -> None:
    """Networks that teach, which are not here yet: one key is always one network."""
    for path in (storage.folder / "store" / f"{key}.safetensors" for key in set(keys)):
        if storage.uri and not path.exists():
            storage.pull(path)


def standing(storage: Storage, tables: results_tables.Tables, facts: Facts) -> dict[str, Any]:
    """results.standing, where the driver may run on another machine."""
    stands = results_folder.standing(tables, facts)
    if stands["state"] == "interrupted" and in_bucket(tables.folder, storage) and holder(storage, tables.folder):
        stands["state"] = "running"
    return stands


def overview(storage: Storage) -> Iterator[dict[str, Any]]:
    """How each search of a storage stands, by name; of one that cannot be read, why."""
    for name in storage.names(storage.folder):
        folder = storage.folder / name
        if any(storage.pull(folder / file) for file in ("search.json", "trials.parquet")):
            try:
                yield {"name": name, **_outline(storage, folder)}
            except (Refusal, OSError) as error:
                yield {"name": name, "state": "damaged", "cause": str(error)}


def _outline(storage: Storage, folder: Path) -> dict[str, Any]:
    """standing; the best accuracy (or what it looks at) of a complete draw, the front's size, when it was last written.
    Raises Refusal."""
    if storage.uri:
        _bring(storage, folder)
    with results_folder.readable(folder):
        tables = results_tables.read(folder)
        rows = tables.trials.values()
        own = [score(row) or 0.0 for row in rows if row["state"] == "complete" and row["reference"] is None]
        there = [folder / name for name in ("search.json", "trials.parquet", "confirmed.parquet")]
        written = max(storage.written(path) for path in there if path.exists())
        return standing(storage, tables, read_facts(folder)) | {
            "accuracy": max(own, default=None),
            "front": len(front.members(rows)),
            "written": datetime.fromtimestamp(written, timezone.utc).isoformat(timespec="seconds"),
        }


def named(search: str, storage: Storage) -> Path:
    """A search's folder here; one in a bucket is known by its name alone: a path with folders means this machine."""
    if not storage.uri or Path(search).name != search:
        return results_folder.find(search, storage.folder)
    names = [name for name in storage.names(storage.folder) if name != "store"]
    if search not in names:
        raise unknown(f"search in '{storage.uri}' named", search, names)
    return storage.folder / search


def _bring(storage: Storage, folder: Path) -> None:
    _bring_facts(storage, folder)
    storage.pull_folder(folder, TABLES)


def _bring_facts(storage: Storage, folder: Path) -> None:
    if not storage.pull(folder / "search.json"):
        raise Refusal(
            f"A search's folder holds a search.json, but '{folder.name}' in '{storage.uri}' does not (yet); look again "
            f"in a moment, or start one: kdsearch tune SPACE"
        )


def _written(folders: Iterable[Path]) -> dict[Path, int]:
    """Files and when they were last written; those that begin with a dot are drafts or locks."""
    found = (path for folder in folders for path in folder.rglob("*") if path.is_file())
    return {path: path.stat().st_mtime_ns for path in found if not path.name.startswith(".")}
