"""Whole or not at all."""

import errno
import fcntl
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from filelock import Timeout

from kdsearch.errors import Refusal
from kdsearch.storage.files import is_held, lock, whole


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_draft_becomes_the_file_at_the_end_in_a_folder_that_need_not_be_there(tmp_path):
    path = tmp_path / "new" / "t.parquet"
    with whole(path) as draft:
        draft.write_text("rows")
        assert not path.exists() and draft.parent == path.parent
    assert path.read_text() == "rows" and names(path.parent) == ["t.parquet"]


@pytest.mark.parametrize("end", [OSError(28, "No space left on device"), KeyboardInterrupt()])
def test_what_fails_or_is_interrupted_leaves_the_old_file_and_no_draft(tmp_path, end):
    path = tmp_path / "t.parquet"
    path.write_text("old")
    with pytest.raises(type(end)), whole(path) as draft:
        draft.write_text("half")
        raise end
    assert path.read_text() == "old" and names(tmp_path) == ["t.parquet"]


def test_nobody_who_writes_at_the_same_time_has_the_same_draft(tmp_path):
    path = tmp_path / "t.parquet"
    with whole(path) as one, whole(path) as other:
        one.write_text("one")
        other.write_text("other")
        assert one != other
    assert path.read_text() == "one" and names(tmp_path) == ["t.parquet"]


def test_a_folder_replaces_the_one_that_was_there(tmp_path):
    path = tmp_path / "0"
    path.mkdir()
    (path / "old").touch()
    with whole(path) as draft:
        draft.mkdir()
        (draft / "new").touch()
        assert names(path) == ["old"]
    assert names(path) == ["new"] and names(tmp_path) == ["0"]


def test_a_folder_that_fails_leaves_the_old_one_and_no_draft(tmp_path):
    path = tmp_path / "0"
    path.mkdir()
    (path / "old").touch()
    with pytest.raises(ZeroDivisionError), whole(path) as draft:
        draft.mkdir()
        (draft / "new").touch()
        raise ZeroDivisionError
    assert names(path) == ["old"] and names(tmp_path) == ["0"]


LOCKING = """
import fcntl, sys
from pathlib import Path
from kdsearch.storage.files import lock
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
