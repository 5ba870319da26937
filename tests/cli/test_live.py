"""The live displays, drawn without a terminal."""

import io
import threading
from types import SimpleNamespace
from typing import Any

import pytest
from helpers import pipeline
from rich.console import Console

from kdsearch.cli import live
from kdsearch.distill.pipeline import Row
from kdsearch.results import tables as results_tables


def screen(terminal: bool) -> tuple[Console, io.StringIO]:
    out = io.StringIO()
    return Console(file=out, force_terminal=terminal, width=100, markup=False, highlight=False), out


def drawn(watch: live.Screen) -> str:
    console, out = screen(terminal=False)
    console.print(watch.picture())
    return out.getvalue()


@pytest.fixture
def search(tmp_path) -> Any:
    tables = results_tables.Tables(tmp_path)
    sizes = {"parameters": 12_345, "compression": 51.88, "training_parameters": 1, "macs": 1, "reference": None}
    for name in ("0", "1", "2", "3"):
        tables.add(name, pipeline().model_dump(mode="json"), sizes, {})
        tables.extend(name, [{"link": 1, "stage": "kd", "epoch": 7, "kd_epoch": 2, "accuracy": 0.5, "seconds": 1.0}], 1)
    return SimpleNamespace(
        tables=tables, total=12, networks={"teacher": {"epoch": 3, "epochs": 4, "accuracy": 0.91}}, doing={},
        stopping=threading.Event(),
    )  # fmt: skip


def test_the_picture_follows_a_search_from_the_data_to_the_trials(search):
    watch = live.Watch(screen(True)[0])
    assert "reading the data" in drawn(watch)
    watch.read("decoding train images", 3, 10)
    assert "decoding train images" in drawn(watch) and "3/10" in drawn(watch)
    watch.show(search)
    assert "teacher" in drawn(watch) and "epoch 3/4  91.0 %" in drawn(watch)


def test_the_picture_counts_trials_by_state(search):
    watch = live.Watch(screen(True)[0])
    watch.show(search)
    for name, state in (("0", "complete"), ("1", "stopped"), ("2", "failed"), ("3", "running")):
        search.tables.mark(name, state)
    watch.show(search)
    watch.trials_begun = watch.begun - 60
    said = drawn(watch)
    assert "1 running · 8 waiting" in said and "1 complete · 1 stopped · 1 failed · best 50.0 % · front 1" in said
    assert "trials/min" in said and "left" in said and "trial 3: epoch 7" in said


def test_the_first_ctrl_c_is_answered_in_a_terminal_and_without_one(search):
    watch, (console, out) = live.Watch(screen(True)[0]), screen(False)
    plain = live.Watch(console)
    for _ in range(2):
        watch.show(search)
        plain.show(search)
    assert "stopping" not in drawn(watch) + out.getvalue()
    search.stopping.set()
    for _ in range(2):
        watch.show(search)
        plain.show(search)
    assert "Ctrl-C again stops at once" in drawn(watch) and out.getvalue().count("Ctrl-C again stops at once") == 1


def test_trials_that_had_ended_before_are_counted_once_and_not_told_again(search):
    search.tables.mark("0", "complete")
    console, out = screen(False)
    watch = live.Watch(console)
    watch.show(search)
    search.tables.mark("1", "stopped")
    watch.trials_begun = watch.begun - 60
    watch.show(search)
    said = out.getvalue()
    assert "going on: ended before: 1" in said and "trial 0:" not in said
    assert "trial 1: stopped" in said and " 1 trials/min" in said


def test_a_trial_that_records_says_so_in_a_terminal_and_without_one(search):
    search.doing["3"] = "recording view 0, 34 %"
    search.tables.mark("3", "running")
    watch = live.Watch(screen(True)[0])
    watch.show(search)
    assert "trial 3: recording view 0, 34 %" in drawn(watch) and "epoch 7" not in drawn(watch)
    console, out = screen(False)
    live.Watch(console).show(search)
    assert "trial 3: recording view 0, 34 %" in out.getvalue()


def test_without_a_terminal_each_end_is_a_line_told_once(search):
    console, out = screen(False)
    with live.Watch(console) as watch:
        watch.show(search)
        search.tables.mark("0", "complete")
        watch.show(search)
        watch.show(search)
    said = out.getvalue()
    assert said.count("trial 0: complete, accuracy 50.0 %, 12,345 parameters (51.9×)") == 1
    assert said.count("teacher: epoch 3/4") == 1


def test_a_terminal_shows_the_picture_and_takes_it_away(search):
    console, out = screen(True)
    with live.Watch(console) as watch:
        watch.show(search)
    assert "teacher" in out.getvalue() and watch.live is not None and not watch.live.is_started


def step(seed: int, accuracy: float, share: float) -> Any:
    row = Row(1, "kd", 4, 4, accuracy, 1.0, {"kd": 1.0}, {"kd": share})
    return SimpleNamespace(seed=seed, row=row, epochs=4, student=object(), test=None)


def test_train_tells_mean_and_deviation_what_was_recorded_and_what_does_not_distil():
    console, out = screen(False)
    with live.SeedWatch(console, (3, 0.5)) as watch:
        watch.show(step(3, 0.5, 0.4))
        watch.show(step(4, 0.6, 0.0001))
    watch.summary()
    said = out.getvalue()
    assert "seed 3: validation accuracy 50.00 % (0.500000), as recorded" in said
    assert "validation accuracy: 55.00 % (0.550000) ± 7.07 over 2 seed(s)" in said
    assert "Warning: seed 4, stage kd: kd" in said and "seed 3, stage kd" not in said


def test_train_says_when_the_recorded_accuracy_is_not_met():
    console, out = screen(False)
    with live.SeedWatch(console, (3, 0.5)) as watch:
        watch.show(step(3, 0.6, 0.4))
    assert "but 50.00 % (0.500000) recorded" in out.getvalue()
