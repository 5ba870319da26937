"""What is shown while something is under way: drawn without a terminal, told without one, and never in the way."""

import io
import subprocess
import sys
import threading
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
from helpers import pipeline
from rich.console import Console

from kdsearch.results import tables as results_tables
from kdsearch.search import progress
from kdsearch.search.progress import Display, Step, Steps, Watch


def screen(terminal: bool, width: int = 100) -> tuple[Console, io.StringIO]:
    out = io.StringIO()
    console = Console(file=out, force_terminal=terminal, width=width, markup=False, highlight=False)
    return console, out


def drawn(display: Display) -> str:
    console, out = screen(terminal=False, width=display.out.width)
    console.print(display.get_renderable())
    return out.getvalue()


def places(display: Display) -> list[str]:
    """What stands in each line of a picture, by its first word."""
    return [line.split()[0] for line in drawn(display).splitlines()]


@pytest.fixture
def search(tmp_path) -> Any:
    tables = results_tables.Tables(tmp_path)
    sizes = {"parameters": 12_345, "compression": 51.88, "training_parameters": 1, "macs": 1, "reference": None}
    for name in ("0", "1", "2", "3"):
        tables.add(name, pipeline().model_dump(mode="json"), sizes, {})
        tables.extend(name, [{"link": 1, "stage": "kd", "epoch": 7, "kd_epoch": 2, "accuracy": 0.5, "seconds": 1.0}], 1)
    return SimpleNamespace(
        called=lambda name: f"trial {name}",
        tables=tables, total=12, networks={"teacher": {"epoch": 3, "epochs": 4, "accuracy": 0.91}}, doing={},
        stopping=threading.Event(),
    )  # fmt: skip


def test_the_picture_follows_a_search_from_the_data_to_the_trials(search):
    watch = Watch(screen(True)[0])
    assert "starting …" in drawn(watch)
    watch.read("decoding train images", 3, 10)
    assert "decoding train" in drawn(watch) and "3/10" in drawn(watch) and "starting …" not in drawn(watch)
    watch.show(search)
    assert "teacher" in drawn(watch) and "epoch 3/4, accuracy 91.0 %" in drawn(watch) and "decoding" not in drawn(watch)


def test_the_picture_counts_trials_by_state(search):
    watch = Watch(screen(True)[0])
    watch.show(search)
    for name, state in (("0", "complete"), ("1", "stopped"), ("2", "failed"), ("3", "running")):
        search.tables.mark(name, state)
    watch.begun = (watch.begun or 0) - 60
    watch.show(search)
    said = drawn(watch)
    assert "1 running · 8 waiting" in said and "1 complete · 1 stopped · 1 failed · best 50.0 % · front 1" in said
    assert "trials/min" in said and "left" in said and "trial 3: epoch 7" in said


@pytest.mark.parametrize("width", [60, 100])
def test_a_picture_of_trials_keeps_its_lines_and_its_columns_whatever_there_is_to_say(search, width):
    watch = Watch(screen(True, width)[0])
    watch.show(search)
    before = drawn(watch).splitlines()
    for name in search.tables.trials:
        search.tables.mark(name, "running")
        search.doing[name] = "recording view 0, 34 %"
    watch.begun = (watch.begun or 0) - 60
    watch.before = -1
    watch.show(search)
    after = drawn(watch).splitlines()
    assert len(before) == len(after) == 5 and all(len(line) <= width for line in after)
    at = before[0].index("epoch 3/4")
    assert before[1][at:].startswith("0 running · 12 waiting") and after[1][at:].startswith("4 running · 8 waiting")


def test_the_first_ctrl_c_is_answered_in_a_terminal_and_without_one(search):
    watch, (console, out) = Watch(screen(True)[0]), screen(False)
    plain = Watch(console)
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
    watch = Watch(console)
    watch.show(search)
    search.tables.mark("1", "stopped")
    watch.begun = (watch.begun or 0) - 60
    watch.show(search)
    said = out.getvalue()
    assert "going on: ended before: 1" in said and "trial 0:" not in said
    assert "trial 1: stopped" in said and " 1 trials/min" in said


def test_a_trial_that_records_says_so_in_a_terminal_and_without_one(search):
    search.doing["3"] = "recording view 0, 34 %"
    search.tables.mark("3", "running")
    watch = Watch(screen(True)[0])
    watch.show(search)
    assert "trial 3: recording view 0, 34 %" in drawn(watch) and "epoch 7" not in drawn(watch)
    console, out = screen(False)
    Watch(console).show(search)
    assert "trial 3: recording view 0, 34 %" in out.getvalue()


def test_without_a_terminal_each_end_is_a_line_told_once(search):
    console, out = screen(False)
    with Watch(console) as watch:
        watch.show(search)
        search.tables.mark("0", "complete")
        watch.show(search)
        watch.show(search)
    said = out.getvalue()
    assert said.count("trial 0: complete, accuracy 50.0 %, 12,345 parameters (51.9×)") == 1
    assert said.count("teacher: epoch 3/4") == 1


@pytest.mark.parametrize("soon, said", [(0.0, ["decoding: 1/8", "decoding: 8/8"]), (2.0, [])], ids=["long", "short"])
def test_reading_that_takes_long_is_told_now_and_then_and_at_its_end(monkeypatch, soon, said):
    monkeypatch.setattr(progress, "SOON", soon)
    console, out = screen(False)
    with Display(console) as display:
        for number in range(1, 9):
            display.read("decoding", number, 8)
    assert out.getvalue().splitlines() == said


def test_a_terminal_shows_the_picture_and_takes_it_away(search):
    console, out = screen(True)
    with Watch(console) as watch:
        watch.show(search)
    _, wiped, after = out.getvalue().rpartition("\x1b[2K")
    assert "teacher" in out.getvalue() and not watch.is_started and wiped and "teacher" not in after


def test_who_asks_for_no_progress_gets_none(search):
    out = io.StringIO()
    with Watch(Console(file=out, force_terminal=True, quiet=True)) as watch:
        watch.show(search)
        assert not watch.is_started
    assert out.getvalue() == ""


def test_seeds_have_a_bar_each_and_an_end_is_a_line():
    console, out = screen(True)
    steps = Steps(console)
    for name, epoch in (("trial 0, seed 1", 2), ("trial 0, seed 2", 6)):
        steps.show(Step(name, 0, 4, epoch, 6, 0.5))
    assert places(steps) == ["seeds", "trial", "trial"] and "epoch 2/6  50.0 %" in drawn(steps)
    steps.show(Step("trial 0, seed 2", 1, 4, accuracy=0.75, ended=True, test=0.5))
    steps.show(Step("trial 0, seed 1", 2, 4, ended=True, cause="OSError: [Errno 5]"))
    said = out.getvalue()
    assert "trial 0, seed 2: accuracy 75.0 %, test accuracy 50.0 %; 1/4" in said
    assert "trial 0, seed 1: failed (OSError: [Errno 5]); 2/4" in said


def test_a_new_seed_stands_where_one_has_ended_so_that_nothing_moves():
    steps = Steps(screen(True)[0], "entries")
    steps.show(Step("first", 0, 4, 2, 6, 0.5))
    steps.show(Step("second", 0, 4, 2, 6, 0.5))
    steps.show(Step("first", 1, 4, accuracy=0.75, ended=True))
    assert places(steps) == ["entries", "first", "second"]
    steps.show(Step("third", 1, 4, 1, 6, 0.5))
    assert places(steps) == ["entries", "third", "second"]
    steps.show(Step("second", 4, 4, ended=True, cause="full"))
    steps.show(Step("fourth", 4, 4, 1, 6, 0.5))
    assert places(steps) == ["entries", "third", "fourth"]


def test_a_stage_is_named_and_what_is_not_counted_has_no_bar():
    steps = Steps(screen(True)[0])
    steps.show(Step("link 1, seed 3", epoch=4, epochs=4, accuracy=0.972, stage="kd"))
    assert places(steps) == ["link"] and "epoch 4/4 kd  97.2 %" in drawn(steps)


def test_a_warning_is_said_in_a_terminal_and_without_one():
    for terminal in (True, False):
        console, out = screen(terminal)
        Steps(console).show("torch was 1 and is 2 here.")
        assert "Warning: torch was 1 and is 2 here." in out.getvalue()


def test_what_all_ends_at_once_has_no_lines_of_its_epochs(monkeypatch):
    console, out = screen(False)
    steps = Steps(console)
    steps.show(Step("first", 0, 4, 1, 6, 0.5))
    assert out.getvalue() == ""
    now = progress.time.monotonic()
    monkeypatch.setattr(progress.time, "monotonic", lambda: now + progress.LINE_EVERY)
    steps.show(Step("first", 0, 4, 2, 6, 0.5))
    steps.show(Step("second", 0, 4, 2, 6, 0.5))
    assert out.getvalue() == "first: epoch 2/6  50.0 %\n"


class Broken(io.StringIO):
    """An output whose other end is gone."""

    def write(self, text: str) -> int:
        raise BrokenPipeError(32, "Broken pipe")


@pytest.mark.parametrize("terminal", [True, False])
def test_a_display_that_fails_is_told_of_once_and_ends_nothing(search, capsys, terminal):
    with Watch(Console(file=Broken(), force_terminal=terminal)) as watch:
        search.tables.mark("0", "complete")
        for _ in range(3):
            watch.show(search)
            search.tables.trials["1"]["front"] = None  # no number any more
            watch.read("decoding", 1, 2)
            watch.refresh()
    said = capsys.readouterr().err
    assert said.count("progress cannot be shown") == 1 and "the work goes on" in said


def test_ctrl_c_in_a_display_is_no_failure_of_it(search, monkeypatch):
    def pressed(*_: object, always: bool) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Watch, "line", pressed)
    with pytest.raises(KeyboardInterrupt):
        Watch(screen(False)[0]).show(search)


def test_a_notebook_has_one_output_that_is_replaced(search, monkeypatch, capsys):
    class Output:
        def __init__(self, shown: Any) -> None:
            self.seen = [shown]

        def update(self, shown: Any) -> None:
            self.seen.append(shown)

    outputs: list[Output] = []

    def display(shown: Any, display_id: bool) -> Output:
        assert display_id
        outputs.append(Output(shown))
        return outputs[-1]

    ipython, inside = ModuleType("IPython"), ModuleType("IPython.display")
    inside.display = display  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "IPython", ipython)
    monkeypatch.setitem(sys.modules, "IPython.display", inside)
    monkeypatch.setenv("FORCE_COLOR", "1")  # as a notebook's kernel does
    before = sys.stdout
    with Watch(Console(force_jupyter=True)) as watch:
        watch.show(search)
        assert sys.stdout is before
    with Steps(Console(force_jupyter=True)) as steps:
        steps.show("torch was 1 and is 2 here.")
    one, _ = outputs
    assert "Warning: torch was 1" in capsys.readouterr().out
    assert len(one.seen) > 1 and "teacher" in one.seen[-1]._repr_mimebundle_([], [])["text/html"]
    assert not watch.failed


def test_progress_needs_neither_torch_nor_ray():
    code = "import sys, kdsearch.search.progress\nassert not {'torch', 'ray', 'optuna'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
