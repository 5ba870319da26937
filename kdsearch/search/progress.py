"""What is under way: bars in a terminal and in a notebook, plain lines elsewhere. Imports neither torch nor ray."""

import contextlib
import functools
import math
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ParamSpec

from rich.console import Console, Group
from rich.live import Live
from rich.padding import Padding
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TaskID, TextColumn
from rich.table import Column
from rich.text import Text

from kdsearch.errors import cause_of
from kdsearch.results import files
from kdsearch.results.format import duration, outcome, percent
from kdsearch.results.metric import score
from kdsearch.results.show import Plain

LINE_EVERY = 5.0
"""Seconds between plain lines of one kind."""

SOON = 2.0
"""Seconds after which what comes before the work has its first line."""

NAME, BAR, TEXT = 20, 30, 30
"""Columns of a bar's name, of the bar where there is room, and of the text behind it: fixed, so that nothing moves."""

STOPPING = "stopping: each trial is kept at its next epoch's end; Ctrl-C again stops at once"


@dataclass(frozen=True)
class Step:
    """An epoch of a seed, or of a network that teaches it; or its end."""

    name: str
    done: int = 0
    """Seeds that ended."""
    total: int = 0
    """Of seeds; 0 where they are not counted."""
    epoch: int = 0
    epochs: int = 0
    accuracy: float | None = None
    ended: bool = False
    test: float | None = None
    cause: str | None = None
    stage: str = ""

    @property
    def said(self) -> str:
        """`epoch 3/6 kd  97.2 %`; of an end, what came of it."""
        if self.cause:
            return f"failed ({self.cause})"
        if self.ended:
            test = f", test accuracy {percent(self.test)}" if self.test is not None else ""
            return f"accuracy {percent(self.accuracy)}{test}"
        return f"epoch {self.epoch}/{self.epochs} {self.stage}".rstrip() + f"  {percent(self.accuracy)}"


Told = ParamSpec("Told")


def harmless(draw: Callable[Told, None]) -> Callable[Told, None]:
    """A method of a display: where it fails that is told once, and the work goes on."""

    @functools.wraps(draw)
    def drawn(*told: Told.args, **named: Told.kwargs) -> None:
        display: Any = told[0]
        try:
            draw(*told, **named)
        except Exception as error:
            if not display.failed:
                display.failed = True
                with contextlib.suppress(Exception):
                    print(f"kdsearch: progress cannot be shown ({cause_of(error)}); the work goes on.", file=sys.stderr)

    return drawn


class Said(ProgressColumn):
    """A bar's text; without one, for how long it has been there."""

    def render(self, task: Task) -> Text:
        return Text(task.fields["text"] or duration(task.elapsed or 0))


class Display(Live):
    """A bar for each thing at work; where none can be drawn, a line of each kind now and then."""

    failed = False
    output: Any = None
    """In a notebook."""

    def __init__(self, console: Console) -> None:
        self.notebook = console.is_jupyter
        plain = Plain(jupyter=False)  # whose lines are one output, not one each
        self.out = plain if self.notebook else console
        self.drawn = (console.is_interactive or self.notebook) and not console.quiet
        name = TextColumn("{task.description}", markup=False, table_column=Column(width=NAME, no_wrap=True))
        bar = BarColumn(max(8, min(BAR, console.width - NAME - TEXT - 2)))
        self.bars = Progress(name, bar, Said(), console=console)
        self.rows: dict[str, TaskID] = {}
        self.notes: list[Text] = []
        """Under the bars."""
        self.told = {"epoch": (time.monotonic(), "")}
        """The last line of each kind, and when: nothing is told of epochs where all ends at once."""
        self.wait("starting …")
        # In a notebook rich would take over what is printed, and leave an empty output at its end.
        mute = Console(quiet=True, force_jupyter=False, force_terminal=False)
        super().__init__(console=mute if self.notebook else console, transient=True)

    def get_renderable(self) -> Group:
        """What is drawn now."""
        return Group(self.bars, *self.notes)

    @harmless
    def start(self, refresh: bool = True) -> None:
        """Draw from now on, where that can be."""
        if self.drawn:
            super().start(refresh)

    @harmless
    def stop(self) -> None:
        """Draw the end and no more; a terminal's picture goes away."""
        if self.is_started:
            self.refresh()
            super().stop()

    @harmless
    def refresh(self) -> None:
        """Draw; in a notebook in the same place, without the widgets that rich asks for there."""
        if not self.notebook:
            super().refresh()
        elif self.output is None:
            from IPython.display import display  # pyright: ignore[reportMissingImports]

            self.output = display(Padding(self.get_renderable(), 0), display_id=True)
        else:
            self.output.update(Padding(self.get_renderable(), 0))

    @harmless
    def read(self, doing: str, done: int, total: int) -> None:
        """Progress of what comes before the work."""
        self.wait(doing, done, total)
        _, said = self.told.setdefault(doing, (time.monotonic() - LINE_EVERY + SOON, ""))
        self.line(doing, f"{doing}: {done}/{total}", always=done == total and said != "")

    @harmless
    def wait(self, doing: str | None, done: int = 0, total: int | None = None) -> None:
        """A bar of what comes before the work, or between, and no line of it; None: no more."""
        if "" in self.rows:
            self.bars.remove_task(self.rows.pop(""))
        if doing is not None:
            text = f"{done}/{total}" if total is not None else ""
            self.rows[""] = self.bars.add_task(doing, completed=done, total=total, text=text)

    def bar(self, name: str, done: int, total: int, text: str) -> None:
        """How much of a thing is done."""
        if name not in self.rows:
            self.rows[name] = self.bars.add_task(name, text=text)
        self.bars.update(self.rows[name], description=name, completed=done, total=total, text=text)

    def warn(self, sentence: str) -> None:
        self.out.print(f"Warning: {sentence}", style="yellow", soft_wrap=True)

    def line(self, kind: str, text: str, always: bool = False) -> None:
        """Where nothing is drawn: one line of a kind each LINE_EVERY, or `always`; none twice."""
        when, before = self.told.get(kind, (-math.inf, ""))
        if not self.drawn and text != before and (always or time.monotonic() - when >= LINE_EVERY):
            self.told[kind] = time.monotonic(), text
            self.out.print(text, soft_wrap=True)


class Steps(Display):
    """Networks made side by side: a bar for all of them and one for each at work, a line for each that ended."""

    def __init__(self, console: Console, counted: str = "seeds") -> None:
        super().__init__(console)
        self.counted = counted
        """What the first bar counts."""

    @harmless
    def show(self, step: Step | str) -> None:
        """An epoch of a network, or its end; or a warning."""
        if isinstance(step, str):
            return self.warn(step)
        self.wait(None)
        count = f"{step.done}/{step.total}"
        if step.total:
            self.bar(self.counted, step.done, step.total, count)
        if step.ended:
            if step.name in self.rows:
                self.bar(step.name, 1, 1, step.said)
            style = "red" if step.cause else None
            self.out.print(f"{step.name}: {step.said}; {count}", style=style, soft_wrap=True)
        else:
            self._take_place(step.name)
            self.bar(step.name, step.epoch, step.epochs, step.said)
            self.line("epoch", f"{step.name}: {step.said}")

    def _take_place(self, name: str) -> None:
        """A new bar stands where one is full, so that the others do not move."""
        full = {task.description for task in self.bars.tasks if task.completed == task.total} - {self.counted}
        before = next((other for other in self.rows if other in full), None)
        if name not in self.rows and before is not None:
            self.rows[name] = self.rows.pop(before)


class Watch(Display):
    """A search: a bar for the teacher and each assistant, one for its trials."""

    def __init__(self, console: Console) -> None:
        super().__init__(console)
        self.begun: float | None = None
        """When this process saw the first trial."""
        self.ended: set[str] = set()
        self.before = 0
        """Trials that had ended by then."""

    @harmless
    def show(self, search: Any) -> None:
        """Something changed; of a search its tables, networks, doing, total and stopping and called() are read."""
        ended = [row for row in list(search.tables.trials.values()) if row["state"] in files.ENDED]
        if self.begun is None and search.tables.trials:
            self.begun, self.before, self.ended = time.monotonic(), len(ended), {row["trial"] for row in ended}
            if ended:
                self.line("goes on", f"going on: ended before: {len(ended)}", always=True)
        if search.stopping.is_set():
            self.line("stopping", STOPPING, always=True)
        for name, net in list(search.networks.items()):
            text = f"epoch {net['epoch']}/{net['epochs']}, accuracy {percent(net['accuracy'])}"
            self.bar(name, net["epoch"], net["epochs"], text)
            if net["epoch"]:
                self.line(name, f"{name}: {text}", always=net["epoch"] == net["epochs"])
        for name, doing in list(search.doing.items()):
            if doing:
                self.line(f"{name} doing", f"{search.called(name)}: {doing}")
        for row in () if self.drawn else ended:
            if row["trial"] not in self.ended:
                self.ended.add(row["trial"])
                why, pace = f" ({row['cause']})" if row["cause"] else "", " · ".join(filter(None, self._pace(search)))
                called = search.called(row["trial"])
                self.line(called, f"{called}: {outcome(row)}{why}; {pace}", always=True)
        if self.drawn:
            self._draw(search)

    def _draw(self, search: Any) -> None:
        """The trials' bar, and under it three lines, however much there is to say."""
        networks, rows = search.networks.values(), search.tables.trials.values()
        trained = networks and all(net["epoch"] == net["epochs"] for net in networks)
        self.wait("starting …" if not networks else "starting trials …" if trained and not rows else None)
        said: list[str] = []
        if rows:
            states, over = search.tables.tally()
            waiting = search.total - over - states["running"]
            self.bar("trials", over, search.total, f"{states['running']} running · {waiting} waiting")
            busy = [row for row in rows if row["state"] == "running"][:4]
            doing = {
                search.called(row["trial"]): search.doing.get(row["trial"]) or f"epoch {row['epochs']}" for row in busy
            }
            said = [*self._pace(search), "   ".join(f"{name}: {what}" for name, what in doing.items())]
        stopping = [Text(STOPPING, "yellow")] if search.stopping.is_set() else []
        self.notes = [Text(f"  {text}", "dim", no_wrap=True, overflow="ellipsis") for text in said] + stopping

    def _pace(self, search: Any) -> tuple[str, str]:
        """How trials ended; how fast, and how long the others will take, once that can be told."""
        rows = list(search.tables.trials.values())
        states, over = search.tables.tally()
        accuracies = [score(row) or 0.0 for row in rows if row["state"] == "complete" and row["reference"] is None]
        failed = f" · {states['failed']} failed" if states["failed"] else ""
        counts = f"{states['complete']} complete · {states['stopped']} stopped{failed}"
        counts += f" · best {percent(max(accuracies, default=None))} · front {sum(row['front'] for row in rows)}"
        own, passed = over - self.before, time.monotonic() - (self.begun or time.monotonic())
        if not own or passed <= 1:
            return counts, ""
        return counts, f"{60 * own / passed:.0f} trials/min · {duration((search.total - over) * passed / own)} left"
