"""A search whose process is killed: what it had written is still there to be asked about."""

import os
import signal
import subprocess
import sys
import time

import pytest
from unbroken import PATIENCE, done

from kdsearch.results import front, tables

pytestmark = pytest.mark.kill


def test_status_report_and_export_work_on_a_search_that_runs_and_on_one_that_was_killed(tmp_path, capsys):
    def kdsearch(*words: str) -> str:
        done(["kdsearch.cli", *words], tmp_path)
        return capsys.readouterr().out

    words = ["tune", "depth_vs_hint", "--epochs", "3", "--teacher-epochs", "1", "--trials", "500"]
    call = [sys.executable, "-m", "kdsearch.cli", *words]
    driver = subprocess.Popen(call, cwd=tmp_path, stdout=subprocess.DEVNULL, start_new_session=True)
    folder = tmp_path / "results" / "depth_vs_hint"
    try:
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline and len(front.members(tables.read(folder).trials.values())) < 2:
            assert driver.poll() is None
            time.sleep(0.2)
        assert "running" in kdsearch("status", "depth_vs_hint")
        kdsearch("report", "depth_vs_hint")
    finally:
        os.killpg(driver.pid, signal.SIGKILL)
        driver.wait()
    assert "interrupted" in kdsearch("status", "depth_vs_hint")
    kdsearch("report", "depth_vs_hint")
    members = front.members(tables.read(folder).trials.values())
    exported = kdsearch("export", "depth_vs_hint", "--front").split()
    assert sorted(exported) == sorted(f"exports/depth_vs_hint/{name}" for name in members)


def test_an_interrupt_before_the_first_trial_leaves_a_search_that_goes_on(tmp_path):
    call = [sys.executable, "-m", "kdsearch.cli", "tune", "depth_vs_hint", "--epochs", "3", "--teacher-epochs", "1"]
    driver = subprocess.Popen(call, cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    folder = tmp_path / "results" / "depth_vs_hint"
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline and not folder.exists():
        time.sleep(0.2)
    time.sleep(1)
    driver.send_signal(signal.SIGINT)
    _, said = driver.communicate(timeout=60)
    assert (
        driver.returncode == 130
        and "kdsearch: interrupted. All that was trained is kept." in said
        and "Traceback" not in said
    )
    assert not tables.read(folder).trials
    done([*call, "--resume", "--trials", "1"], tmp_path)
    assert len(tables.read(folder).trials) == 4


def test_a_search_that_has_no_trial_yet_leaves_no_folder(tmp_path):
    space = tmp_path / "broken.py"
    space.write_text(
        "from kdsearch.config import *\n"
        "BUDGET = Budget(trials=1, epochs=2, teacher_epochs=9)\n"
        "REFERENCE = Net(widths=(2, 2), depth=2, hidden=4)\n"
        "WILD = Fit(optimizer='sgd', learning_rate=100, weight_decay=1)\n"
        "def space(trial):\n"
        "    return Pipeline(links=(Link(net=REFERENCE, fit=WILD), Link(net=REFERENCE, kd=KD())))\n"
    )
    call = [sys.executable, "-m", "kdsearch.cli", "tune", str(space)]
    ended = subprocess.run(call, cwd=tmp_path, capture_output=True, text=True)
    assert ended.returncode == 2 and "The teacher could not be trained: Diverged" in ended.stderr
    assert not (tmp_path / "results" / "broken").exists()
