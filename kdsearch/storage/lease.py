"""Who runs a search in a bucket, where no lock on a file exists: a note that its driver keeps fresh."""

import contextlib
import json
import os
import socket
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kdsearch.errors import Refusal
from kdsearch.storage.bucket import Storage

NAME = ".driver.json"

EVERY = 10.0
"""Seconds between refreshments, at least."""

STALE = 60.0
"""Seconds without one after which a driver is taken for dead."""

NOTE = {"host": str, "pid": int, "since": float, "token": str}
"""What every note says; when the last sign was given, the storage knows: no two machines' clocks agree."""

OWN = uuid.uuid4().hex
"""This process's token: in containers many a process has the same number."""


def passing() -> float:
    """Seconds that pass, awake or asleep, whatever time the clock is set to."""
    return time.clock_gettime(time.CLOCK_BOOTTIME) if hasattr(time, "CLOCK_BOOTTIME") else time.monotonic()


@dataclass
class Lease:
    """Held by the process that runs the search; of a folder, nothing: its lock is `results.driver_lock`."""

    storage: Storage
    folder: Path
    """Of the search."""
    clock: Callable[[], float] = passing
    """Seconds that pass; what it begins with does not matter."""
    since: float = 0.0
    """When its driver began, by its own calendar: shown, never compared."""
    refreshed: float = 0.0
    lost: bool = False
    """Another process took the search."""

    def __post_init__(self) -> None:
        self._turn = threading.Lock()

    def refresh(self) -> None:
        """Say again that this process lives, if it is time; raises Refusal where another one took the search."""
        with self._turn:
            self._refresh()

    @contextmanager
    def kept_fresh(self) -> Iterator[None]:
        """Refreshed meanwhile, however long the driver has nothing to tell; who calls refresh hears of a loss."""
        over = threading.Event()

        def keep() -> None:
            while not over.wait(EVERY) and not self.lost:
                with contextlib.suppress(Refusal, OSError):
                    self.refresh()

        threading.Thread(target=keep, daemon=True).start()
        try:
            yield
        finally:
            over.set()

    def _refresh(self) -> None:
        silent = self.clock() - self.refreshed
        if self.storage.uri is None or (silent < EVERY and not self.lost):
            return
        try:
            if not (other := self.other()):
                self.write()
        except Refusal:  # the bucket does not answer
            if silent < STALE:
                return
            raise  # from now on another driver may take it
        if other:
            self.lost = True
            raise Refusal(
                f"A search has one driver, but {_who(other)} took over '{self.folder.name}' while this one gave no "
                f"sign; leave it to that one, or stop it and resume the search here."
            )

    def other(self) -> dict[str, Any] | None:
        """Whose note lies there, if it is another driver's."""
        told = read(self.storage, self.folder)
        return told if told and told["token"] != OWN else None

    def write(self) -> None:
        """Say that this process lives."""
        path = self.folder / NAME
        told = (socket.gethostname(), os.getpid(), self.since, OWN)
        path.parent.mkdir(parents=True, exist_ok=True)
        noted = dict(zip(NOTE, told, strict=True)) | {"processes": _processes(), "time": time.time()}  # for older ones
        path.write_text(json.dumps(noted), encoding="utf-8")
        self.storage.push(path)
        self.refreshed = self.clock()


@contextmanager
def hold(storage: Storage, folder: Path, clock: Callable[[], float] = passing) -> Iterator[Lease]:
    """Hold a search while its driver runs; raises Refusal where another one does, with who and since when."""
    lease = Lease(storage, folder, clock, since=time.time())
    if storage.uri is None:
        yield lease
        return
    if other := holder(storage, folder):
        again = max(STALE - silence(storage, folder), 1)
        raise Refusal(
            f"A search has one driver, but '{folder.name}' is held by {_who(other)}; stop that one, or try again in "
            f"{again:.0f} s, when it will be taken for dead unless it gives another sign."
        )
    lease.write()
    if other := lease.other():
        raise Refusal(f"A search has one driver, but {_who(other)} has just begun to run '{folder.name}'.")
    try:
        with lease.kept_fresh():
            yield lease
    finally:
        with contextlib.suppress(Refusal):  # it goes stale by itself
            if not lease.other():
                storage.remove(folder / NAME)


def holder(storage: Storage, folder: Path) -> dict[str, Any] | None:
    """Who runs a search in a bucket, as far as anyone can tell: its NOTE."""
    told = read(storage, folder) if storage.uri is not None else None
    return told if told and _may_live(told) and silence(storage, folder) < STALE else None


def silence(storage: Storage, folder: Path) -> float:
    """Seconds since the last sign, both ends by the storage's clock."""
    return storage.now(folder) - storage.written(folder / NAME)


def read(storage: Storage, folder: Path) -> dict[str, Any] | None:
    """What the bucket's note says; nothing where there is none or it is no note."""
    if not storage.pull(folder / NAME):
        return None
    try:
        told = json.loads((folder / NAME).read_text(encoding="utf-8"))
        return {"processes": ""} | told | {name: kind(told[name]) for name, kind in NOTE.items()}
    except (ValueError, KeyError, TypeError, OverflowError):
        return None


def _may_live(told: dict[str, Any]) -> bool:
    """Where processes are counted as here, if there is such a process; on another machine, or in another container,
    it may."""
    if told["processes"] != _processes():
        return True
    if told["pid"] == os.getpid():
        return told["token"] == OWN
    try:
        os.kill(told["pid"], 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        pass  # another user's
    return True


def _processes() -> str:
    """Where a process's number means this process: since one start of one machine, in one container."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        return f"{boot}:{os.readlink('/proc/self/ns/pid')}"
    except OSError:
        return f"{socket.gethostname()}:{uuid.getnode()}"


def _who(told: dict[str, Any]) -> str:
    since = time.strftime("%Y-%m-%d %H:%M", time.localtime(told["since"]))
    return f"process {told['pid']} on {told['host']}, since {since}"
