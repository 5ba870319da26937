"""The cache on disk: its limit, its least recently used files, its drafts."""

import os
import time
from pathlib import Path

import pytest

from kdsearch.errors import Refusal
from kdsearch.storage import cache
from kdsearch.storage.files import whole


def write(path: Path, size: int, most: int = 10**6, ago: float = 0.0) -> Path:
    with cache.draft(path, size, most) as sketch, open(sketch, "r+b") as file:
        file.write(b"x" * size)
    os.utime(path, (time.time() - ago, time.time() - ago))
    return path


def test_a_draft_becomes_the_file_only_when_it_is_whole(tmp_path):
    path = tmp_path / "t" / "a" / "0.safetensors"
    with cache.draft(path, 100, 1000) as sketch:
        assert not path.exists() and sketch.stat().st_size == 100
    assert path.stat().st_size == 100 and not sketch.exists()


def test_a_draft_that_fails_leaves_nothing(tmp_path):
    path = tmp_path / "t" / "a" / "0.safetensors"
    with pytest.raises(ZeroDivisionError), cache.draft(path, 100, 1000):
        raise ZeroDivisionError
    assert cache.entries(tmp_path) == []


def test_the_least_recently_used_files_make_room_and_no_more_than_needed(tmp_path):
    oldest, used, newest = (
        write(tmp_path / "t" / name / "0.safetensors", 300, ago=ago)
        for name, ago in (("a", 300), ("b", 200), ("c", 100))
    )
    cache.touch(oldest)
    new = write(tmp_path / "t" / "d" / "0.safetensors", 300, most=1000)
    assert [path.exists() for path in (oldest, used, newest, new)] == [True, False, True, True]


def test_what_others_are_writing_counts_and_is_not_deleted(tmp_path):
    first = tmp_path / "t" / "a" / "0.safetensors"
    old = write(tmp_path / "t" / "b" / "0.safetensors", 300, ago=500)
    with cache.draft(first, 400, 1000) as sketch:
        assert old.exists()
        write(tmp_path / "t" / "c" / "0.safetensors", 400, most=1000)
        assert sketch.exists() and not old.exists()
    assert first.exists()


def test_a_draft_that_nobody_writes_is_deleted(tmp_path):
    stale = tmp_path / "t" / "a" / ".0.safetensors"
    stale.parent.mkdir(parents=True)
    stale.write_bytes(b"x" * 100)
    os.utime(stale, (0, 0))
    write(tmp_path / "t" / "b" / "0.safetensors", 10)
    assert not stale.exists()


def test_a_draft_of_images_that_a_killed_process_left_is_cleared_and_one_in_work_is_not(tmp_path):
    path = tmp_path / "images" / "a.safetensors"
    with whole(path) as draft:
        draft.write_bytes(b"x" * 100)
        assert cache.clear(tmp_path) == 0
        os.utime(draft, (0, 0))
        assert cache.clear(tmp_path) == 100 and not draft.exists()
        draft.touch()


def test_a_full_disk_is_told_with_the_ways_out(tmp_path, monkeypatch):
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(cache, "_reserve", full)
    with pytest.raises(Refusal, match=r"no room for 2\.5 GB .*No space left.*KDSEARCH_CACHE_LIMIT"):
        write(tmp_path / "t" / "a" / "0.safetensors", 2_500_000_000, 10**10)


def test_space_is_reserved_before_anything_is_computed(tmp_path):
    with cache.draft(tmp_path / "t" / "a" / "0", 10**6, 10**7) as sketch:
        assert not hasattr(os, "posix_fallocate") or sketch.stat().st_blocks * 512 >= 10**6


def test_clearing_deletes_all_but_what_is_being_written(tmp_path):
    write(tmp_path / "targets" / "a" / "0.safetensors", 300)
    thesis = tmp_path / "targets" / "thesis.txt"
    thesis.write_text("mine")
    (tmp_path / "other.safetensors").write_text("mine too")
    with cache.draft(tmp_path / "targets" / "b" / "0.safetensors", 100, 1000):
        assert cache.clear(tmp_path) == 300
    assert thesis.exists() and (tmp_path / "other.safetensors").exists()
    assert [entry.path.name for entry in cache.entries(tmp_path / "targets")] == ["0.safetensors"]


def test_a_file_that_could_never_fit_drives_no_other_out(tmp_path):
    other = write(tmp_path / "t" / "a" / "0.safetensors", 300)
    write(tmp_path / "t" / "b" / "0.safetensors", 500, most=400)
    assert other.exists()


def test_use_is_noted_without_touching_the_time_of_the_last_change(tmp_path):
    path = write(tmp_path / "t" / "a" / "0.safetensors", 10, ago=1000.123456)
    before = path.stat().st_mtime_ns
    cache.touch(path)
    assert path.stat().st_mtime_ns == before and path.stat().st_atime > time.time() - 100


def test_a_relative_folder_is_meant_from_where_the_command_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("KDSEARCH_CACHE", "here")
    assert cache.folder() == tmp_path / "here"


def test_a_cache_that_cannot_be_written_is_told_before_anything_begins(tmp_path, monkeypatch):
    (tmp_path / "targets").write_text("in the way")
    monkeypatch.setenv("KDSEARCH_CACHE", str(tmp_path))
    with pytest.raises(Refusal, match=r"cannot be written .*let KDSEARCH_CACHE name another"):
        cache.check()


@pytest.mark.parametrize("told, found", [(None, 20e9), ("0.5", 5e8), ("0", 0)])
def test_the_limit_is_told_in_gigabytes(monkeypatch, told, found):
    monkeypatch.delenv("KDSEARCH_CACHE_LIMIT", raising=False)
    if told:
        monkeypatch.setenv("KDSEARCH_CACHE_LIMIT", told)
    assert cache.limit() == found


@pytest.mark.parametrize("told", ["much", "-1", "nan", "inf"])
def test_a_limit_that_is_no_size_is_refused(monkeypatch, told):
    monkeypatch.setenv("KDSEARCH_CACHE_LIMIT", told)
    with pytest.raises(Refusal, match=f"number of GB.*'{told}'"):
        cache.limit()
