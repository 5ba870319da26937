"""One driver for a search in a bucket."""

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from uuid import uuid4

import pytest
from driver import Driver

from kdsearch.errors import Refusal
from kdsearch.search import look
from kdsearch.storage import lease
from kdsearch.storage.bucket import Storage, at
from kdsearch.storage.lease import hold, holder


class Clock:
    """Seconds that pass when told."""

    def __init__(self) -> None:
        self.now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


@dataclass(frozen=True)
class Dated(Storage):
    """A bucket whose clock is the one that is told, and whose files are dated by it."""

    clock: Callable[[], float] = time.time
    dates: dict[str, float] = field(default_factory=dict)

    def push(self, path: Path) -> None:
        super().push(path)
        self.dates[path.name] = self.clock()

    def written(self, path: Path) -> float:
        return self.dates[path.name]


@pytest.fixture
def bucket(options, tmp_path, clock) -> Dated:
    place = at(f"s3://searches/{uuid4().hex}{options}")
    return Dated(tmp_path, place.uri, clock)


@pytest.fixture
def clock() -> Clock:
    return Clock()


def note(bucket: Storage, **told: object) -> Path:
    """A search whose driver left this note."""
    plain = {"host": "elsewhere", "pid": 7, "since": 999_000.0, "token": "other"}
    path = bucket.folder / "search" / lease.NAME
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(plain | told))
    bucket.push(path)
    return path.parent


def test_a_second_driver_is_refused_with_who_holds_it_and_when_to_try_again(bucket, clock):
    folder = bucket.folder / "search"
    with hold(bucket, folder, clock):
        clock.now += 20
        said = rf"'search' is held by process {os.getpid()} on {socket.gethostname()}, since \d.* again in 40 s"
        with pytest.raises(Refusal, match=said), hold(bucket, folder, clock):
            pass
        assert holder(bucket, folder)
    assert holder(bucket, folder) is None
    with hold(bucket, folder, clock):
        pass


def test_a_driver_elsewhere_is_taken_for_dead_after_a_minute_without_a_sign(bucket, clock):
    folder = note(bucket)
    clock.now += 59
    with pytest.raises(Refusal, match="process 7 on elsewhere"), hold(bucket, folder, clock):
        pass
    clock.now += 2
    with hold(bucket, folder, clock):
        assert (holder(bucket, folder) or {})["pid"] == os.getpid()


def test_a_refreshed_lease_is_not_taken_and_is_refreshed_every_ten_seconds_at_most(bucket, clock, monkeypatch):
    folder, pushed = bucket.folder / "search", []
    with hold(bucket, folder, clock) as held:
        push = Storage.push
        monkeypatch.setattr(Storage, "push", lambda self, path: pushed.append(path) or push(self, path))
        for _ in range(90):
            clock.now += 1
            held.refresh()
        assert len(pushed) == 9
        assert holder(bucket, folder)


@pytest.mark.parametrize("own", [False, True])
def test_a_dead_process_of_this_machine_loses_its_lease_at_once(bucket, clock, own):
    """Even if its number is now this process's own, as in containers."""
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    folder = note(bucket, processes=lease._processes(), pid=os.getpid() if own else ended.pid)
    with hold(bucket, folder, clock):
        pass


def test_a_living_process_of_this_machine_keeps_its_lease(bucket, clock):
    folder = note(bucket, processes=lease._processes(), pid=os.getppid())
    with pytest.raises(Refusal, match="has one driver"), hold(bucket, folder, clock):
        pass


def test_a_driver_that_lost_its_search_writes_no_table_over_the_other_s(bucket, clock, tmp_path, monkeypatch):
    monkeypatch.setattr(look, "DRAWS", 30)
    search = Driver(tmp_path, "random", 2, -1).search
    folder = bucket.folder / "search"
    with hold(bucket, folder, clock) as search.lease:
        note(bucket)
        clock.now += 11
        with pytest.raises(Refusal, match="took over"):
            search.changed(at_once=True)
        assert search.lease.lost and not list(tmp_path.rglob("*.parquet"))


def test_a_driver_whose_lease_was_taken_is_told_and_leaves_the_other_s_alone(bucket, clock):
    folder = bucket.folder / "search"
    with hold(bucket, folder, clock) as held:
        note(bucket)
        clock.now += 11
        with pytest.raises(Refusal, match=r"process 7 on elsewhere, since .* took over 'search'"):
            held.refresh()
    assert (holder(bucket, folder) or {})["token"] == "other"


def test_a_driver_outlives_a_bucket_that_is_silent_for_less_than_a_minute(bucket, clock, monkeypatch):
    def silent(self: Storage, path: Path) -> None:
        raise Refusal("no answer")

    with hold(bucket, bucket.folder / "search", clock) as held:
        monkeypatch.setattr(Storage, "pull", silent)
        clock.now += 50
        held.refresh()
        clock.now += 11
        with pytest.raises(Refusal, match="no answer"):
            held.refresh()


@pytest.mark.parametrize("text", ["", "{", "[]", '{"host": 1}', "null"])
def test_a_note_that_is_none_stops_nobody(bucket, clock, text):
    folder = note(bucket)
    (folder / lease.NAME).write_text(text)
    bucket.push(folder / lease.NAME)
    with hold(bucket, folder, clock):
        pass


def test_a_folder_needs_no_lease(tmp_path, clock):
    with hold(at(tmp_path), tmp_path / "search", clock) as held:
        clock.now += 100
        held.refresh()
        assert not (tmp_path / "search").exists() and holder(at(tmp_path), tmp_path) is None


@pytest.mark.parametrize("skew", [30, -30, 120, -120, -3600, 10**7])
def test_a_clock_that_goes_wrong_takes_no_living_search_and_frees_a_dead_one_in_time(bucket, clock, skew, monkeypatch):
    """Of a machine whose calendar is `skew` seconds ahead of the driver's and of the bucket's."""
    folder, there = bucket.folder / "search", replace(bucket, folder=bucket.folder / "there")
    with monkeypatch.context() as elsewhere:
        elsewhere.setattr(lease, "OWN", "the driver")
        elsewhere.setattr(lease, "_processes", lambda: "its machine")
        held = lease.Lease(bucket, folder, clock)
        held.write()
        clock.now += 11
        held.refresh()
    monkeypatch.setattr(time, "time", lambda: clock.now + skew)
    with pytest.raises(Refusal, match="has one driver"), hold(there, there.folder / "search", lambda: skew):
        pass
    clock.now += lease.STALE - 1
    with pytest.raises(Refusal, match="try again in 1 s"), hold(there, there.folder / "search", lambda: skew):
        pass
    clock.now += 2
    with (
        hold(there, there.folder / "search", lambda: skew),
        monkeypatch.context() as elsewhere,
        pytest.raises(Refusal, match="took over"),
    ):
        elsewhere.setattr(lease, "OWN", "the driver")
        held.refresh()


def test_equal_process_numbers_in_two_containers_are_two_processes(bucket, clock, monkeypatch):
    """Which may share a host's name: one that does not exist here lives there."""
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    for pid in (ended.pid, os.getpid()):
        folder = note(bucket, host=socket.gethostname(), pid=pid, processes="another container")
        with pytest.raises(Refusal, match="has one driver"), hold(bucket, folder, clock):
            pass


def test_the_storage_s_clock_is_read_where_files_can_be_written_and_leaves_none(options, tmp_path):
    bucket = replace(at(f"s3://searches/{uuid4().hex}{options}"), folder=tmp_path)
    assert abs(bucket.now(tmp_path / "search") - time.time()) < 60  # moto's clock is this machine's
    assert bucket.names(tmp_path / "search") == [] and list((tmp_path / "search").iterdir()) == []


def test_who_may_only_look_compares_with_this_machine_s_clock(options, tmp_path, monkeypatch):
    bucket = replace(at(f"s3://searches/{uuid4().hex}{options}"), folder=tmp_path)

    def forbidden(self: Storage, path: Path) -> None:
        raise Refusal("ACCESS_DENIED")

    monkeypatch.setattr(Storage, "push", forbidden)
    monkeypatch.setattr(time, "time", lambda: 7.0)
    assert bucket.now(tmp_path) == 7


def test_a_driver_that_has_nothing_to_tell_for_long_is_refreshed_all_the_same(bucket, clock, monkeypatch):
    monkeypatch.setattr(lease, "EVERY", 0.01)
    with hold(bucket, bucket.folder / "search", clock):
        first = bucket.dates[lease.NAME]
        clock.now += 11
        for _ in range(500):
            if bucket.dates[lease.NAME] > first:
                break
            time.sleep(0.01)
        assert bucket.dates[lease.NAME] == clock.now


def test_a_loss_that_was_noticed_meanwhile_is_told_to_who_asks_next(bucket, clock, monkeypatch):
    monkeypatch.setattr(lease, "EVERY", 0.01)
    with hold(bucket, bucket.folder / "search", clock) as held:
        with monkeypatch.context() as elsewhere:
            elsewhere.setattr(lease, "OWN", "another")
            lease.Lease(bucket, bucket.folder / "search", clock).write()
        clock.now += 11
        for _ in range(500):
            if held.lost:
                break
            time.sleep(0.01)
        assert held.lost
        with pytest.raises(Refusal, match="took over"):
            held.refresh()
