"""A search's folder: found, named, locked, and how the search in it stands."""

from collections.abc import Collection, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

from kdsearch.errors import Refusal, listed, unknown
from kdsearch.results.facts import Facts
from kdsearch.results.files import IMPOSSIBLE, STATES, said
from kdsearch.results.tables import Tables
from kdsearch.storage.locks import is_held, lock

RUN = ".run"
"""Holds the `run` of search.json in the folder that its driver wrote, and in no copy of it."""

LOCK = ".driver.lock"

OTHERS = ("store", "reproduce")
"""Folders beside those of searches."""


def find(word: str, results: Path) -> Path:
    """The folder of a search, by name under `results` or by path; raises Refusal."""
    for path in (results / word, Path(word)):
        if (path / "search.json").is_file():
            return path
    if (results / word).is_dir() or Path(word).is_dir():
        raise Refusal(f"A search's folder holds a search.json, but '{word}' does not. Start one: kdsearch tune SPACE")
    there = [path.parent.name for path in results.glob("*/search.json")]
    raise unknown(f"search in '{results}' named", word, there)


@contextmanager
def readable(folder: Path) -> Iterator[None]:
    """Where a search's files, each whole by itself, contradict each other or their types: Refusal."""
    try:
        yield
    except IMPOSSIBLE as error:
        raise Refusal(
            f"The files of '{folder}' contradict each other ({said(error)}): one of them is damaged, or another "
            f"version of kdsearch wrote it. --debug shows where; bring it back, or run the search again."
        ) from error


def driver_lock(folder: Path) -> AbstractContextManager[None]:
    """Held by the process that runs the search; raises Timeout where another one does."""
    return lock(folder / LOCK, wait=1)  # who looks holds it for a moment


def is_running(folder: Path) -> bool:
    return is_held(folder / LOCK)


def standing(tables: Tables, facts: Facts) -> dict[str, Any]:
    """state (running, finished, interrupted), trials that ended, their total, and how many are in each state."""
    (states, ended), total = tables.tally(), facts.all_trials
    state = "running" if is_running(tables.folder) else "finished" if ended >= total else "interrupted"
    return {"state": state, "ended": ended, "total": total, "states": {n: states[n] for n in STATES if states[n]}}


def taken(folder: Path) -> Refusal:
    """Two drivers would draw the same trials."""
    return Refusal(
        f"A search has one driver, but '{folder}' is running already; look at it with kdsearch status {folder}, or end "
        f"the other one first."
    )


def check_name(name: str) -> None:
    """Raises Refusal for what is no search's name."""
    if not name or Path(name).name != name or name.startswith(".") or name in OTHERS:
        raise Refusal(f"A search's name is that of a folder (and not {listed(OTHERS)}), but got '{name}'.")


def folder_for(results: Path, space: str, name: str | None, taken: Collection[str]) -> Path:
    """A new search's folder: its name, else the space's, else with a number behind. Raises Refusal if it is taken."""
    if name is not None:
        check_name(name)
        if name in taken:
            raise Refusal(
                f"A new search needs a new name, but '{results / name}' exists; choose another --name, or go on with "
                f"that one: --resume."
            )
        return results / name
    number, folder = 1, results / space
    while folder.name in taken or folder.name in OTHERS:
        number += 1
        folder = results / f"{space}-{number}"
    return folder


def keep_trace(folder: Path, name: str, trace: str) -> Path:
    """Write a failure's traceback beside the tables of `folder`; returns the file."""
    path = folder / "failures" / f"{name}.txt"
    path.parent.mkdir(exist_ok=True)
    path.write_text(trace, encoding="utf-8")
    return path
