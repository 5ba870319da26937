"""A search whose only lasting place is a bucket: killed among its trials, it goes on here and on another machine."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from bucket import served
from pyarrow import fs
from unbroken import PATIENCE, done

from kdsearch.results import front, searches, tables
from kdsearch.storage.bucket import at

pytestmark = pytest.mark.kill

SPACE = """
'''Is anything lost in a bucket?'''
from kdsearch.config import *

BUDGET = Budget(trials=3, epochs=6, teacher_epochs=2)
TEACHER = REFERENCE = Net(widths=(4, 4, 4), depth=3, hidden=8)
FIT = Fit(batch_size=64, learning_rate=5e-3)


def space(trial):
    net = Net(widths=(4, 4, 4), depth=3, hidden=trial.suggest_int("hidden", 2, 40))
    kd = KD(weight=trial.suggest_float("weight", 0.1, 0.9))
    return Pipeline(links=(Link(net=TEACHER, fit=FIT), Link(net=net, kd=kd, fit=FIT)))
"""


def call(where: Path, word: str, *more: str) -> list[str]:
    (where / "tiny.py").write_text(SPACE)
    words = ["tune", "./tiny.py", "--name", "s", "--storage", word, "--rule", "none", "--sampler", "random", *more]
    return [sys.executable, "-m", "kdsearch.cli", *words]


def started(where: Path, machine: str, word: str, *more: str) -> subprocess.Popen:
    """The command on a machine, which is known by its cache."""
    words, own = call(where, word, *more), {**os.environ, "KDSEARCH_CACHE": str(where / machine)}
    return subprocess.Popen(
        words, cwd=where, env=own, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, start_new_session=True
    )


def ended(driver: subprocess.Popen) -> None:
    try:
        said = driver.communicate(timeout=PATIENCE)[1]
        assert driver.returncode == 0 and said == "", said
    finally:
        if driver.poll() is None:
            os.killpg(driver.pid, signal.SIGKILL)


def told(folder: Path) -> tuple[dict, list, list]:
    """Trials, students' epochs and the front, without the seconds that they took."""
    found = tables.read(folder)
    trials = {name: {**row, "seconds": None} for name, row in sorted(found.trials.items())}
    rows = [row for row in found.epochs if row["kd_epoch"] is not None]
    rows = [{name: value for name, value in row.items() if name != "seconds"} for row in rows]
    rows.sort(key=lambda row: (row["trial"], row["epoch"]))
    return trials, rows, front.members(found.trials[name] for name in trials)


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> tuple[dict, list, list]:
    """What a search in a folder, with nothing in its way, comes to."""
    where = tmp_path_factory.mktemp("whole")
    done(call(where, "results"), where)
    return told(where / "results" / "s")


@pytest.fixture(scope="module")
def options() -> Iterator[str]:
    with served() as found:
        yield found


def killed(driver: subprocess.Popen, own: Path, after: int) -> dict[str, dict[str, Any]]:
    """Ends a driver when so many trials are complete and others run; the trials as the bucket's tables have them."""
    try:
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            assert driver.poll() is None, driver.communicate()[1]
            states = [row["state"] for row in tables.read(own).trials.values()] if own.is_dir() else []
            if states.count("complete") >= after and {"running", "waiting"} & set(states):
                return {name: dict(row) for name, row in tables.read(own).trials.items()}
            time.sleep(0.1)
        raise AssertionError("no trial ended")
    finally:
        os.killpg(driver.pid, signal.SIGKILL)
        driver.communicate()


@pytest.fixture(scope="module")
def broken(options, tmp_path_factory) -> tuple[Path, dict[str, dict[str, Any]]]:
    """Where a search was killed, and its trials; what its bucket held then lies there twice."""
    where, word = tmp_path_factory.mktemp("broken"), f"s3://searches/here{options}"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("KDSEARCH_CACHE", str(where / "here"))
        there = at(word)
        before = killed(started(where, "here", word), there.folder / "s", after=2)
    fs.copy_files("searches/here", "searches/elsewhere", there._files, there._files)
    return where, before


@pytest.mark.parametrize("second", ["here", "elsewhere"])
def test_a_search_in_a_bucket_that_is_killed_and_goes_on_is_what_an_unbroken_one_in_a_folder_is(
    whole, broken, options, monkeypatch, second
):
    word, (where, before) = f"s3://searches/{second}{options}", broken
    ended(started(where, second, word, "--resume"))
    # Whoever looks from a third machine sees all of it.
    monkeypatch.setenv("KDSEARCH_CACHE", str(where / "third"))
    folder = searches.find("s", searches.reading(word))
    assert told(folder) == whole
    after = tables.read(folder).trials
    finished = [name for name, row in before.items() if row["state"] == "complete"]
    if second == "here":  # nothing of what this machine knew is done again
        assert [after[name]["seconds"] for name in finished] == [before[name]["seconds"] for name in finished]
    there = at(word)
    names = there.names(there.folder / "s")
    assert "optuna.journal" in names and "checkpoints" not in names and "stopping" not in names
    searches.bring_students(searches.reading(word), folder, after)
    assert all((folder / "students" / f"{name}.safetensors").is_file() for name in after)
