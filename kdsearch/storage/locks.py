"""Locks on files, by which processes take turns."""

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from filelock import FileLock

from kdsearch.errors import Refusal, first_line


@contextmanager
def lock(path: Path, wait: float = -1, other: str = "let --storage name another folder") -> Iterator[None]:
    """Held by one process at a time, and given back by the system where that dies.

    Raises Timeout after `wait` seconds, and Refusal, with the way out (`other`), where the file system has no locks.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    # First: where there are no locks, filelock makes files that a dead process leaves. To read, too: NFS asks for that.
    with open(path, "a+") as file:
        try:
            _is_taken(file)
        except OSError as error:
            raise Refusal(
                f"Processes take turns by locks on files, but the file system of '{path.parent}' has none "
                f"({first_line(error)}); {other}."
            ) from None
    with FileLock(path, timeout=wait):
        yield


def is_held(path: Path) -> bool:
    """Whether a process holds a lock; asked without a right to write, and without taking it from anybody."""
    try:
        with open(path) as file:
            return _is_taken(file)
    except OSError:  # nobody has taken it, or no file here can be locked
        return False


def _is_taken(file: IO[str]) -> bool:
    """Whether another process has the lock; raises OSError where there are no locks."""
    try:
        fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError):  # the one of most file systems, the other of shares
        return True
    return False
