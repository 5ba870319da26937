"""A search whose driver dies or whose disk is full goes on, and ends as one that nothing disturbed."""

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import optuna
import pytest
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import TrialState
from unbroken import LONG, PATIENCE, SPACE, assert_equal, call, done, ran

from kdsearch.results import files, tables
from kdsearch.results.facts import read_facts

pytestmark = [pytest.mark.kill, pytest.mark.usefixtures("own_ray")]
KILLS = 3
FEW = SPACE.replace("trials=20, epochs=6", "trials=4, epochs=6")
KDSEARCH = (sys.executable, "-m", "kdsearch.cli")


def states(folder: Path) -> dict[str, tuple[TrialState, list[float] | None]]:
    """What Optuna's journal says of each trial that was drawn."""
    storage = JournalStorage(JournalFileBackend(str(folder / tables.JOURNAL)))
    draws = optuna.load_study(study_name=read_facts(folder).study, storage=storage).get_trials()
    assert len(draws) == len({draw.user_attrs["trial"] for draw in draws})
    return {draw.user_attrs["trial"]: (draw.state, draw.values) for draw in draws}


def complete(folder: Path) -> dict[str, dict]:
    """What stays of a finished trial: later ones may push it from the front, and bring columns that it has not."""
    rows = {name: row for name, row in tables.read(folder).trials.items() if row["state"] == "complete"}
    return {
        name: {key: value for key, value in row.items() if key != "front" and value is not None}
        for name, row in rows.items()
    }


def killed_when(there: Callable[[], object], words: list[str], where: Path, alone: bool = False) -> None:
    """Starts a command and ends all its processes (or it alone) as soon as something is there."""
    driver = subprocess.Popen(words, cwd=where, stdout=subprocess.DEVNULL, start_new_session=True)
    deadline = time.monotonic() + PATIENCE
    while not there():
        assert driver.poll() is None and time.monotonic() < deadline
        time.sleep(0.05)
    if alone:
        driver.kill()
    else:
        os.killpg(driver.pid, signal.SIGKILL)
    driver.wait()


@pytest.fixture(scope="module")
def whole(own_ray, tmp_path_factory) -> Path:
    """The folder of a search of few trials that nothing disturbed."""
    return ran(tmp_path_factory.mktemp("whole"), FEW)


def test_a_search_whose_driver_is_killed_again_and_again_ends_as_one_that_was_not(whole, tmp_path):
    folder, chance, before = tmp_path / "results" / "broken", random.Random(0), {}
    (tmp_path / "lost.py").write_text(FEW)
    for _ in range(KILLS):
        more = ["--resume"] if (folder / "search.json").exists() else []
        epochs = len(tables.read(folder).epochs) + chance.randint(0, 8)
        killed_when(lambda at=epochs: len(tables.read(folder).epochs) > at, call("broken", *more), tmp_path, alone=True)
        now = complete(folder)
        assert {name: now[name] for name in before} == before  # finished trials stay as they are
        before = now
    done(call("broken", "--resume"), tmp_path)
    assert_equal(whole, folder)
    assert states(folder) == states(whole)
    assert not (folder / tables.PENDING).exists() and not (folder / "checkpoints").exists()


def test_a_search_whose_disk_is_full_ends_in_a_sentence_and_goes_on_when_there_is_room(whole, tmp_path):
    (tmp_path / "lost.py").write_text(FEW)
    disk = tmp_path / "small"
    disk.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=100k", "none", str(disk)], capture_output=True).returncode:
        pytest.skip("no right to mount a small disk")
    try:
        words = call("s", "--storage", str(disk))
        full = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True)
        assert full.returncode == 2 and "Traceback" not in full.stderr and len(full.stderr.splitlines()) == 1
        assert "The disk is full" in full.stderr and "Make room, then go on: kdsearch tune" in full.stderr
        subprocess.run(["mount", "-o", "remount,size=50m", str(disk)], check=True)
        done([*words, "--resume"], tmp_path)
        assert_equal(whole, disk / "s")
    finally:
        subprocess.run(["umount", str(disk)], check=True)


def confirmed(folder: Path) -> tuple[list[dict], dict[str, bytes]]:
    """Rows without what they took, and the students."""
    rows = [row | {"seconds": None} for row in files.confirmed(folder)]
    students = {path.name: path.read_bytes() for path in (folder / "confirmed").iterdir()}
    return sorted(rows, key=lambda row: (row["trial"], row["seed"])), students


def test_a_confirmation_that_is_killed_goes_on_where_it_was_and_ends_as_one_that_was_not(tmp_path):
    # A stage's end is kept: with hints, a seed that is in its second stage has a checkpoint.
    whole = ran(tmp_path, LONG.replace('["none", "2"]', '["2"]').replace("trials=2", "trials=1"))
    broken = whole.with_name("broken")
    shutil.copytree(whole, broken)
    words = [*KDSEARCH, "confirm", "broken", "--seeds", "2", "--max-concurrent", "1"]
    for ended in (0, 1):  # in the first seed, and in the second with the first one in the table
        killed_when(lambda n=ended: len(files.confirmed(broken)) == n and kept(broken), words, tmp_path)
        assert len(files.confirmed(broken)) == ended and kept(broken)
    before = files.confirmed(broken)
    for name in ("whole", "broken"):
        done([*words[:4], name, *words[5:]], tmp_path)
    assert before[0] in files.confirmed(broken)  # with the seconds that it took the first time
    assert confirmed(broken) == confirmed(whole) and not kept(broken)


def kept(folder: Path) -> list[Path]:
    """Checkpoints of what is trained."""
    return list((folder / "checkpoints").glob("[!.]*"))


def test_a_paper_s_table_that_is_killed_goes_on_and_ends_as_one_that_was_not(tmp_path):
    words = [*KDSEARCH, "reproduce", "seed2-table1", "--scale", "tiny", "--data", "digits", "--storage"]
    store, table = tmp_path / "broken" / "store", tmp_path / "broken" / "reproduce" / "seed2-table1-tiny-digits"
    killed_when(lambda: list(store.glob("[!.]*.safetensors")), [*words, "broken"], tmp_path)  # the teacher
    killed_when(lambda: complete(table), [*words, "broken"], tmp_path)
    before = complete(table)
    for name in ("whole", "broken"):
        done([*words, name], tmp_path)
    assert {name: complete(table)[name] for name in before} == before
    whole = tmp_path / "whole"
    assert_equal(whole / "reproduce" / table.name, table)
    for path in (whole / "store").glob("*.safetensors"):
        assert (store / path.name).read_bytes() == path.read_bytes()
