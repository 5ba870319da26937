"""What lies on this machine's disk for the next process: images, recorded targets, latencies; it can be made again."""

import contextlib
import os
import platform
import re
import tempfile
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path

from kdsearch.errors import Refusal, first_line
from kdsearch.storage import locks
from kdsearch.storage.files import whole

LIMIT = 20.0
"""GB (10⁹ bytes) of recorded targets, unless $KDSEARCH_CACHE_LIMIT says otherwise."""

KINDS = ("images", "targets", "latency")
"""Its folders."""

OURS = re.compile(r".*\.(safetensors|json)|\..*\.(safetensors|json)\..*")
"""Names of its files and of their drafts."""

ABANDONED = 3600.0
"""Seconds without a write after which a draft is nobody's."""


def folder() -> Path:
    """$KDSEARCH_CACHE, else kdsearch/ in the user's cache folder."""
    try:
        if chosen := os.environ.get("KDSEARCH_CACHE"):
            return Path(chosen).expanduser().resolve()
        base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
        return (Path(base) / "kdsearch").resolve()
    except RuntimeError as error:
        raise Refusal(
            f"The cache lies in the user's home, but there is none ({error}); let KDSEARCH_CACHE name a folder."
        ) from None


def machine() -> str:
    """This machine's processor, as far as the system tells: what is measured, and which sums come out, is its own."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        return next(line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def check() -> None:
    """Raises Refusal where the cache cannot be written."""
    try:
        for name in KINDS:
            (folder() / name).mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=folder() / name), lock(folder() / name / ".lock"):
                pass
    except OSError as error:
        said = f"The cache '{folder()}' cannot be written ({first_line(error)})"
        raise Refusal(f"{said}; let KDSEARCH_CACHE name another folder.") from None


def lock(path: Path) -> AbstractContextManager[None]:
    """Held by one process of this machine at a time; raises Refusal where the cache's file system has no locks."""
    return locks.lock(path, other="let KDSEARCH_CACHE name a folder on this machine's own disk")


def limit() -> int:
    """Bytes that recorded targets may fill; raises Refusal."""
    told = os.environ.get("KDSEARCH_CACHE_LIMIT")
    try:
        size = float(told) if told else LIMIT
    except ValueError:
        size = -1.0
    if not 0 <= size < 1e9:
        raise Refusal(f"KDSEARCH_CACHE_LIMIT is a number of GB, such as 50 (0: no targets), but got '{told}'.")
    return int(size * 1e9)


@dataclass(frozen=True)
class Entry:
    """A file of the cache."""

    path: Path
    bytes: int
    used: float
    """Seconds since the epoch when it was last opened or written."""


def entries(root: Path) -> list[Entry]:
    """Our files under a folder, the least recently used first; drafts are among them."""
    found = []
    for path in root.rglob("*"):
        try:
            stat = path.stat()
        except FileNotFoundError:  # another process was faster
            continue
        if path.is_file() and OURS.fullmatch(path.name):
            found.append(Entry(path, stat.st_size, max(stat.st_atime, stat.st_mtime)))
    return sorted(found, key=lambda entry: entry.used)


def touch(path: Path) -> None:
    """Note that a file is used now: many disks are mounted so that reading does not."""
    with contextlib.suppress(PermissionError):  # another user's file
        os.utime(path, ns=(time.time_ns(), path.stat().st_mtime_ns))


@contextmanager
def draft(path: Path, size: int, most: int) -> Iterator[Path]:
    """A new file of `size` bytes that becomes `path` at the end, whole; the least recently used ones make room.

    The folder two levels up then holds at most `most` bytes, unless files in work or this one alone are more.
    """
    root = path.parent.parent
    with whole(path) as sketch:
        with lock(root / ".lock"):
            _make_room(root, size, most)
            try:
                _reserve(sketch, size)
            except OSError as error:
                raise Refusal(
                    f"The disk of '{root}' has no room for {size / 1e9:.2g} GB of recorded targets ({first_line(error)}"
                    f"). Make room, let KDSEARCH_CACHE name another disk, or search with KDSEARCH_CACHE_LIMIT=0."
                ) from error
        yield sketch


def _reserve(path: Path, size: int) -> None:
    with open(path, "wb") as file:
        if hasattr(os, "posix_fallocate"):
            os.posix_fallocate(file.fileno(), 0, size)
        else:
            file.truncate(size)


def _make_room(root: Path, size: int, most: int) -> None:
    there = entries(root)
    filled = sum(entry.bytes for entry in there)
    for entry in there:
        if _in_work(entry):
            continue
        if entry.path.name.startswith(".") or filled + size > most >= size:
            entry.path.unlink(missing_ok=True)  # who has it open reads on
            filled -= entry.bytes


def clear(root: Path) -> int:
    """Delete decoded images and recorded targets, except what is being written; returns the bytes."""
    freed = 0
    for entry in [entry for name in KINDS for entry in entries(root / name)]:
        if not _in_work(entry):
            entry.path.unlink(missing_ok=True)
            freed += entry.bytes
    return freed


def _in_work(entry: Entry) -> bool:
    return entry.path.name.startswith(".") and time.time() - entry.used < ABANDONED
