"""One process at a time."""

import contextlib
import errno
import fcntl
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import pytest
from filelock import Timeout

from kdsearch.errors import Refusal
from kdsearch.storage.locks import is_held, lock

LOCKING = """
import fcntl, sys
from pathlib import Path
from kdsearch.storage.locks import lock
with lock(Path(sys.argv[1])):
    print("held", flush=True)
    input()
"""


@pytest.fixture
def other(tmp_path) -> Iterator[Path]:
    """A lock that another process holds."""
    path = tmp_path / "a" / ".lock"
    words = [sys.executable, "-c", LOCKING, str(path)]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout and process.stdout.readline() == "held\n"
        yield path
        process.kill()


def test_a_lock_is_held_by_one_process_and_free_when_it_dies(other):
    assert is_held(other)
    with pytest.raises(Timeout), lock(other, wait=0.1):
        pass


def test_who_looks_at_a_lock_makes_no_file(tmp_path):
    assert not is_held(tmp_path / "a" / ".lock") and list(tmp_path.iterdir()) == []


def test_a_lock_that_may_only_be_read_is_seen(other):
    other.chmod(0o444)
    other.parent.chmod(0o555)
    assert is_held(other)
    other.parent.chmod(0o755)


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP])
def test_a_file_system_without_locks_is_refused_and_can_be_looked_at(tmp_path, monkeypatch, number):
    def flock(file: object, operation: int) -> None:
        raise OSError(number, os.strerror(number))

    path = tmp_path / "share" / ".lock"
    path.parent.mkdir()
    path.touch()
    monkeypatch.setattr(fcntl, "flock", flock)
    said = rf"take turns by locks.*'{path.parent}' has none \({os.strerror(number)}\); let KDSEARCH_CACHE"
    with pytest.raises(Refusal, match=said), lock(path, other="let KDSEARCH_CACHE name another folder"):
        pass
    assert not is_held(path)


def test_a_lock_is_asked_for_as_shares_allow(tmp_path, monkeypatch):
    """NFS: a shared lock of a file that may be read alone or written alone is none. Some shares: EACCES for taken."""

    def nfs(file: IO, operation: int) -> None:
        if taken:
            raise PermissionError(errno.EACCES, "taken")
        if operation & fcntl.LOCK_SH and not file.readable():
            raise OSError(errno.EBADF, os.strerror(errno.EBADF))

    taken = False
    path = tmp_path / ".lock"
    with monkeypatch.context() as share:
        share.setattr("kdsearch.storage.locks.fcntl.flock", nfs)
        share.setattr("kdsearch.storage.locks.FileLock", lambda *_, **__: contextlib.nullcontext())
        with lock(path):
            assert not is_held(path)
        taken = True
        assert is_held(path)
