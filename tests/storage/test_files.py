"""Whole or not at all."""

import errno
from pathlib import Path

import pytest
from safetensors import SafetensorError

from kdsearch.storage.files import whole


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


@pytest.mark.parametrize("kind", ["copied", "written", "safetensors"])
def test_a_full_disk_is_told_with_the_file_that_was_to_be_written(tmp_path, kind):
    def body(draft: Path) -> None:
        if kind == "copied":  # shutil names the source
            raise OSError(errno.ENOSPC, "No space left on device", "/from/here")
        if kind == "written":
            raise OSError(errno.ENOSPC, "No space left on device")
        raise SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)")

    with pytest.raises(OSError, match="No space left") as raised, whole(tmp_path / "a.bin") as draft:
        body(draft)
    assert (raised.value.errno, raised.value.filename) == (errno.ENOSPC, str(tmp_path / "a.bin"))
    assert list(tmp_path.iterdir()) == []


def test_what_cannot_be_read_meanwhile_keeps_its_own_name(tmp_path):
    with pytest.raises(FileNotFoundError, match="nowhere"), whole(tmp_path / "a.bin"):
        (tmp_path / "nowhere").read_text()
