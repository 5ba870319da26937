"""A search whose workers are killed, or that is told to end, goes on, and ends as one that nothing disturbed."""

import contextlib
import os
import signal
import subprocess
import time
from pathlib import Path

import pytest
from unbroken import LONG, PATIENCE, assert_equal, call, done, ran

from kdsearch.results import tables

pytestmark = [pytest.mark.kill, pytest.mark.usefixtures("own_ray")]


@pytest.fixture(scope="module")
def long(own_ray, tmp_path_factory) -> Path:
    """The folder of a search of few trials, of many epochs, that nothing disturbed."""
    return ran(tmp_path_factory.mktemp("long"), LONG)


def ancestors(pid: int) -> list[int]:
    found = []
    while pid > 1:
        pid = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
        found.append(pid)
    return found


def workers(driver: int) -> list[int]:
    """Processes that run a driver's trials."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            if path.read_bytes().startswith(b"ray::ImplicitFunc") and driver in ancestors(int(path.parent.name)):
                found.append(int(path.parent.name))
    return found


def test_a_search_whose_workers_are_killed_ends_as_one_that_was_not(long, tmp_path):
    (tmp_path / "lost.py").write_text(LONG)
    driver = subprocess.Popen(call("hurt"), cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    folder, killed = tmp_path / "results" / "hurt", 0
    deadline = time.monotonic() + PATIENCE
    while killed < 2 and driver.poll() is None and time.monotonic() < deadline:
        running = [row for row in tables.read(folder).trials.values() if row["state"] == "running" and row["epochs"]]
        there = workers(driver.pid) if running else []
        if there:
            os.kill(there[0], signal.SIGKILL)
            killed += 1
            time.sleep(3)
        time.sleep(0.2)
    said, _ = driver.communicate(timeout=PATIENCE)
    assert driver.returncode == 0 and killed == 2, said
    assert "it goes on from its last checkpoint" in said and "Traceback" not in said and "raylet" not in said
    assert_equal(long, folder)


def test_one_interrupt_keeps_what_runs_and_two_end_it_at_once(long, tmp_path):
    (tmp_path / "lost.py").write_text(LONG)
    folder, more = tmp_path / "results" / "s", []
    for presses in (1, 2):
        driver = subprocess.Popen(call("s", *more), cwd=tmp_path, stderr=subprocess.PIPE, stdout=subprocess.PIPE)
        more, before = ["--resume"], len(tables.read(folder).epochs)
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline and len(tables.read(folder).epochs) < before + 12:
            time.sleep(0.2)
        for _ in range(presses):
            driver.send_signal(signal.SIGINT)
            time.sleep(0.2)
        out, said = driver.communicate(timeout=60)
        assert driver.returncode == 130 and b"Traceback" not in said and b"stopping: each trial is kept" in out
        assert b"Go on: kdsearch tune" in said and b"--name s --resume" in said
        if presses == 1:
            rows = tables.read(folder).trials.values()
            kept = [row["trial"] for row in rows if row["epochs"] and row["state"] == "waiting"]
            assert kept and not [row for row in rows if row["state"] == "running"]
            assert all((folder / "checkpoints" / f"{name}.safetensors").exists() for name in kept)
            assert not (folder / "stopping").exists()
    done(call("s", "--resume"), tmp_path)
    assert_equal(long, folder)


def test_a_signal_to_all_processes_of_a_search_ends_it_at_once_and_it_goes_on(long, tmp_path):
    (tmp_path / "lost.py").write_text(LONG)
    folder = tmp_path / "results" / "s"
    driver = subprocess.Popen(call("s"), cwd=tmp_path, stderr=subprocess.PIPE, text=True, start_new_session=True)
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline and not any(row["epochs"] for row in tables.read(folder).trials.values()):
        time.sleep(0.2)
    os.killpg(driver.pid, signal.SIGTERM)
    _, said = driver.communicate(timeout=15)
    assert driver.returncode == 130 and "ended by a signal. Go on: kdsearch tune" in said
    done(call("s", "--resume"), tmp_path)
    assert_equal(long, folder)
