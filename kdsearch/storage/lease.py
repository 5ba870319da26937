"""Who runs a search in a bucket, where no lock on a file exists: a note that its driver keeps fresh."""

import contextlib
import json
import os
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import uuid4

from kdsearch.errors import Refusal
from kdsearch.storage.bucket import Storage

NAME = ".driver.json"

EVERY = 10.0
"""Seconds between refreshments, at least."""

STALE = 60.0
"""Seconds without one after which a driver is taken for dead."""

_HELD: set[str] = set()
"""Tokens of this process."""


@dataclass
class Lease:
    """Held by the process that runs the search; of a folder, nothing: its lock is `results.driver_lock`."""

    storage: Storage
    folder: Path
    """Of the search."""
    clock: Callable[[], float] = time.time
    token: str = field(default_factory=lambda: uuid4().hex)
    since: float = 0.0
    refreshed: float = 0.0
    lost: bool = False
    """Another process took the search."""

    def refresh(self) -> None:
        """Say again that this process lives, if it is time; raises Refusal where another one took the search."""
        if self.storage.uri is None or self.clock() - self.refreshed < EVERY:
            return
        try:
            told = read(self.storage, self.folder)
            if told and told["token"] != self.token:
                self.lost = True
                raise Refusal(
                    f"A search has one driver, but {_who(told)} took over '{self.folder.name}' while this one gave no "
                    f"sign; leave it to that one, or stop it and resume the search here."
                )
            self._write()
        except _Unanswered:
            if self.clock() - self.refreshed >= STALE:  # from now on another driver may take it
                raise

    def release(self) -> None:
        """Another process may run the search."""
        if self.storage.uri is None or self.token not in _HELD:
            return
        _HELD.discard(self.token)
        told = read(self.storage, self.folder)
        if told and told["token"] == self.token:
            self.storage.remove(self.folder / NAME)

    def _take(self) -> None:
        told = holder(self.storage, self.folder, self.clock)
        if told:
            again = max(STALE - (self.clock() - told["time"]), 1)
            raise Refusal(
                f"A search has one driver, but '{self.folder.name}' is held by {_who(told)}; stop that one, or try "
                f"again in {again:.0f} s, when it will be taken for dead unless it gives another sign."
            )
        self.since = self.clock()
        self._write()
        _HELD.add(self.token)
        told = read(self.storage, self.folder)
        if told and told["token"] != self.token:
            _HELD.discard(self.token)
            raise Refusal(f"A search has one driver, but {_who(told)} has just begun to run '{self.folder.name}'.")

    def _write(self) -> None:
        now = self.clock()
        told = {
            "host": socket.gethostname(), "pid": os.getpid(), "since": self.since, "time": now, "token": self.token,
        }  # fmt: skip
        path = self.folder / NAME
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(told), encoding="utf-8")
        with _noted():
            self.storage.push(path)
        self.refreshed = now


class _Unanswered(Refusal):
    """The bucket did not answer."""


@contextmanager
def _noted() -> Iterator[None]:
    try:
        yield
    except Refusal as error:
        raise _Unanswered(*error.args) from error


@contextmanager
def hold(storage: Storage, folder: Path, clock: Callable[[], float] = time.time) -> Iterator[Lease]:
    """Hold a search while its driver runs; raises Refusal where another one does, with who and since when."""
    lease = Lease(storage, folder, clock)
    if storage.uri is not None:
        lease._take()
    try:
        yield lease
    finally:
        with contextlib.suppress(Refusal):  # it goes stale by itself
            lease.release()


def holder(storage: Storage, folder: Path, clock: Callable[[], float] = time.time) -> dict[str, Any] | None:
    """Who runs a search in a bucket, as far as anyone can tell: host, pid, since, time (of its last sign), token."""
    told = read(storage, folder) if storage.uri is not None else None
    return told if told and clock() - told["time"] < STALE and _may_live(told) else None


def read(storage: Storage, folder: Path) -> dict[str, Any] | None:
    """What the bucket's note says; nothing where there is none or it is no note."""
    path = folder / NAME
    with _noted():
        there = storage.pull(path)
    if not there:
        return None
    try:
        told = json.loads(path.read_text(encoding="utf-8"))
        kinds = {"host": str, "pid": int, "since": (int, float), "time": (int, float), "token": str}
        return told if all(isinstance(told[name], kind) for name, kind in kinds.items()) else None
    except (ValueError, KeyError, TypeError):
        return None


def _may_live(told: dict[str, Any]) -> bool:
    """On another machine it may; on this one, if there is such a process."""
    if told["host"] != socket.gethostname():
        return True
    if told["pid"] == os.getpid():
        return told["token"] in _HELD
    try:
        os.kill(told["pid"], 0)
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):
        pass
    return True


def _who(told: dict[str, Any]) -> str:
    since = time.strftime("%Y-%m-%d %H:%M", time.localtime(told["since"]))
    return f"process {told['pid']} on {told['host']}, since {since}"
