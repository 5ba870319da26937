"""A small search that nothing disturbs, and what another one must share with it."""

import os
import signal
import sys
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from kdsearch.cli import app

SPACE = """
'''Is anything lost?'''
from kdsearch.config import *

BUDGET = Budget(trials=20, epochs=6, teacher_epochs=3)
TEACHER = Net(widths=(8, 8, 8), depth=3, hidden=16)
REFERENCE = Net(widths=(4, 4, 4), depth=3, hidden=8)
FIT = Fit(batch_size=16, learning_rate=5e-3)


def space(trial):
    net = Net(widths=(4, 4, 4), depth=3, hidden=8, width=trial.suggest_float("width", 0.5, 8.0))
    hints = Hints(pairs=(Pair(hint=2, guided=2),)) if trial.suggest_categorical("hint", ["none", "2"]) == "2" else None
    return Pipeline(links=(Link(net=TEACHER, fit=FIT), Link(net=net, hints=hints, kd=KD(), fit=FIT)))
"""
LONG = SPACE.replace("trials=20, epochs=6", "trials=2, epochs=18")
PATIENCE = 600
"""Seconds in which anything comes to pass, however much else this machine does."""


def call(name: str, *more: str) -> list[str]:
    """The command of a search that does not learn and stops nobody: its trials do not depend on who ends first."""
    words = ["tune", "./lost.py", "--name", name, "--sampler", "random", "--rule", "none", *more]
    return [sys.executable, "-m", "kdsearch.cli", *words]


def done(words: list[str], where: Path) -> None:
    """A command that ends well, in this process: it has torch, and may have a Ray, already."""
    before, heard = os.getcwd(), signal.getsignal(signal.SIGINT)
    os.chdir(where)
    try:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(app.sys, "argv", ["kdsearch", *words[words.index("kdsearch.cli") + 1 :]])
            with pytest.raises(SystemExit) as end:
                app.main()
    finally:
        signal.signal(signal.SIGINT, heard)  # a command that ends leaves it ignored, and processes inherit that
        os.chdir(before)
    assert not end.value.code


def ran(where: Path, text: str = SPACE, *more: str) -> Path:
    """The folder of a search that nothing disturbed, one trial after the other."""
    (where / "lost.py").write_text(text)
    done(call("whole", "--max-concurrent", "1", *more), where)
    return where / "results" / "whole"


def assert_equal(whole: Path, other: Path) -> None:
    """Both have the same trials and epochs, to the bit; only what they took may differ."""
    one, two = (pd.read_parquet(folder / "trials.parquet").set_index("trial").sort_index() for folder in (whole, other))
    pd.testing.assert_frame_equal(one.drop(columns="seconds"), two.drop(columns="seconds"))
    one, two = (_epochs(folder) for folder in (whole, other))
    pd.testing.assert_frame_equal(one, two[one.columns])


def _epochs(folder: Path) -> Any:
    """Of the trials: a process that outlives its driver may train the teacher to its end, and tell nobody."""
    rows = pd.read_parquet(folder / "epochs.parquet").drop(columns="seconds")
    rows = rows.query("stage != 'record' and trial != 'teacher'")
    assert not rows.duplicated(["trial", "link", "epoch"]).any()
    return rows.sort_values(["trial", "link", "epoch"]).reset_index(drop=True)
