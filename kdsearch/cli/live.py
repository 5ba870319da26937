"""The live displays. Imports neither torch nor ray."""

import statistics
import time
from collections.abc import Iterable, Mapping
from typing import Any, TypeVar

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from kdsearch.results import files, tables
from kdsearch.results.format import duration, outcome, percent

NAME = 20
"""Columns of a bar's name, so that bars stand below each other."""


Kind = TypeVar("Kind", bound="Screen")


class Screen:
    """One live picture in a terminal; elsewhere its owner prints lines instead."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self.live: Live | None = None

    def __enter__(self: Kind) -> Kind:
        if self.console.is_terminal:
            self.live = Live(get_renderable=self.picture, console=self.console, refresh_per_second=4, transient=True)
            self.live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self.live:
            self.live.stop()

    def picture(self) -> RenderableType:
        """What the terminal shows now."""
        raise NotImplementedError


class ConfirmWatch(Screen):
    """Shows `confirm`: a bar for all seeds and one for each at work, a line for each that ended."""

    counted = "seeds"
    """What the first bar counts."""

    def __init__(self, console: Console) -> None:
        super().__init__(console)
        self.bars: dict[str, Table] = {}
        self.whole: Table | None = None
        self.told = time.monotonic()

    def picture(self) -> Group:
        """The live display."""
        bars = [*self.bars.values(), *([self.whole] if self.whole else [])]
        return Group(*(bars or [Text("starting …")]))

    def read(self, doing: str, done: int, total: int) -> None:
        """Progress of reading the data."""
        self.bars[""] = bar(doing, done, total, f"{done}/{total}")

    def warn(self, text: str) -> None:
        """Why the seeds may not be replicates of what was selected."""
        self.console.print(f"Warning: {text}", style="yellow", soft_wrap=True)

    def hear(self, said: Any) -> None:
        """A step, or a warning."""
        self.warn(said) if isinstance(said, str) else self.show(said)

    def show(self, step: Any) -> None:
        """An epoch of a seed, or its end."""
        self.bars.pop("", None)
        self.whole = bar(self.counted.ljust(NAME), step.done, step.total, f"{step.done}/{step.total}")
        text = f"epoch {step.epoch}/{step.epochs}  {percent(step.accuracy)}"
        if step.ended:
            self.bars.pop(step.name, None)
            style = "red" if step.cause else None
            self.console.print(f"{step.name}: {_ended(step)}; {step.done}/{step.total}", style=style, soft_wrap=True)
            return
        self.bars[step.name] = bar(step.name.ljust(NAME), step.epoch, step.epochs, text)
        if not self.console.is_terminal and time.monotonic() - self.told > LINE_EVERY:
            self.told = time.monotonic()
            self.console.print(f"{step.name}: {text}", soft_wrap=True)


def _ended(step: Any) -> str:
    if step.cause:
        return f"failed ({step.cause})"
    test = f", test accuracy {percent(step.test)}" if step.test is not None else ""
    return f"accuracy {percent(step.accuracy)}{test}"


class TableWatch(ConfirmWatch):
    """Shows a table while it is made."""

    counted = "entries"


LINE_EVERY = 5.0
"""Seconds between plain lines of one kind, where the output is no terminal."""


STOPPING = "stopping: each trial is kept at its next epoch's end; Ctrl-C again stops at once"


class Watch(Screen):
    """Shows a search while it runs."""

    def __init__(self, console: Console) -> None:
        super().__init__(console)
        self.search: Any = None
        self.reading: tuple[str, int, int] | None = None
        self.begun = time.monotonic()
        self.trials_begun: float | None = None
        self.told: dict[str, float] = {}
        self.ended: set[str] = set()
        self.before = 0
        """Trials that had ended when this process began."""

    def read(self, doing: str, done: int, total: int) -> None:
        """Progress of reading the data."""
        self.reading = (doing, done, total)
        self._line(doing, f"{doing}: {done}/{total}", always=done == total)

    def show(self, search: Any) -> None:
        """Something of the search changed."""
        self.search, self.reading = search, None
        if self.trials_begun is None and search.tables.trials:
            self.trials_begun = time.monotonic()
            rows = search.tables.trials.values()
            self.ended = {row["trial"] for row in rows if row["state"] in files.ENDED}
            self.before = len(self.ended)
            if self.before:
                self._line("goes on", f"going on: ended before: {self.before}", always=True)
        if search.stopping.is_set() and "stopping" not in self.told:
            self._line("stopping", STOPPING, always=True)
        if self.console.is_terminal:
            return
        for name, net in search.networks.items():
            if net["epoch"]:
                done = net["epoch"] == net["epochs"]
                key = f"{name} done" if done else name
                if not (done and key in self.told):
                    text = f"{name}: epoch {net['epoch']}/{net['epochs']}, accuracy {percent(net['accuracy'])}"
                    self._line(key, text, always=done)
        for name, doing in list(search.doing.items()):
            if doing:
                self._line(f"trial {name} doing", f"trial {name}: {doing}")
        for name, row in list(search.tables.trials.items()):
            if row["state"] in files.ENDED and name not in self.ended:
                self.ended.add(name)
                why = f" ({row['cause']})" if row["cause"] else ""
                self._line(f"trial {name}", f"trial {name}: {outcome(row)}{why}; {self._pace(search)}", always=True)

    def _line(self, kind: str, text: str, always: bool = False) -> None:
        if not self.console.is_terminal and (always or time.monotonic() - self.told.get(kind, -1e9) >= LINE_EVERY):
            self.told[kind] = time.monotonic()
            self.console.print(text, soft_wrap=True)

    def picture(self) -> Group | Text:
        """The live display."""
        if self.reading:
            doing, done, total = self.reading
            return Group(bar(doing, done, total, f"{done}/{total}"))
        if self.search is None:
            return Text("drawing pipelines, reading the data …")
        lines: list[Any] = [Text(STOPPING, style="yellow")] if self.search.stopping.is_set() else []
        lines += [
            bar(name, net["epoch"], net["epochs"], f"epoch {net['epoch']}/{net['epochs']}  {percent(net['accuracy'])}")
            for name, net in list(self.search.networks.items())
        ]
        if not lines:
            return Text(f"starting Ray …  {duration(time.monotonic() - self.begun)}")
        rows = list(self.search.tables.trials.values())
        states, over = self.search.tables.tally()
        total = self.search.total
        if rows:
            counts = f"{states['running']} running · {total - over - states['running']} waiting"
            lines.append(bar("trials", over, total, counts))
            lines.append(Text(f"           {self._pace(self.search)}"))
            lines.append(Text(f"           {self._running(rows, self.search.doing)}", style="dim"))
        else:
            trained = all(net["epoch"] == net["epochs"] for net in self.search.networks.values())
            lines.append(Text("starting the first trials …" if trained else ""))
        return Group(*lines)

    def _pace(self, search: Any) -> str:
        rows = list(search.tables.trials.values())
        states, over = search.tables.tally()
        total = search.total
        passed = time.monotonic() - (self.trials_begun or time.monotonic())
        accuracies = [row["accuracy"] for row in rows if row["state"] == "complete" and row["reference"] is None]
        failed = f" · {states['failed']} failed" if states["failed"] else ""
        text = f"{states['complete']} complete · {states['stopped']} stopped{failed}"
        text += f" · best {percent(max(accuracies, default=None))} · front {sum(row['front'] for row in rows)}"
        own = over - self.before
        if own and passed > 1:
            text += f" · {60 * own / passed:.0f} trials/min · {duration((total - over) * passed / own)} left"
        return text

    @staticmethod
    def _running(rows: Iterable[Mapping[str, Any]], doing: Mapping[str, str]) -> str:
        busy = [row for row in rows if row["state"] == "running"]
        return "   ".join(
            f"trial {row['trial']}: {doing.get(row['trial']) or 'epoch ' + str(row['epochs'])}" for row in busy[:4]
        )


class SeedWatch(Screen):
    """Shows `train`: a bar for each link of the seed at work, a line for each seed that ended."""

    def __init__(self, console: Console, recorded: tuple[int, float] | None) -> None:
        super().__init__(console)
        self.recorded = recorded
        """The seed and the accuracy of an exported config."""
        self.ends: list[Any] = []
        self.shares: dict[tuple[int, str], float] = {}
        """The highest of each seed's stage and term."""
        self.bars: dict[int, Table] = {}
        self.told = time.monotonic()

    def picture(self) -> Group:
        """The live display."""
        bars = [self.bars[number] for number in sorted(self.bars)]
        return Group(*(bars or [Text("reading the data …")]))

    def read(self, doing: str, done: int, total: int) -> None:
        """Progress of reading the data."""
        self.bars[-1] = bar(doing, done, total, f"{done}/{total}")

    def warn(self, text: str) -> None:
        """Why the number may differ from the recorded one."""
        text = f"Warning: {text}; the accuracy may differ."
        self.console.print(text, style="yellow", soft_wrap=True)

    def show(self, step: Any) -> None:
        """An epoch, or a seed's end."""
        row = step.row
        self.bars.pop(-1, None)
        text = f"epoch {row.epoch}/{step.epochs} {row.stage}  {percent(row.accuracy)}"
        self.bars[row.link] = bar(f"link {row.link}, seed {step.seed}", row.epoch, step.epochs, text)
        if step.student:
            self.ends.append(step)
            test = f", test accuracy {_exact(step.test)}" if step.test is not None else ""
            self.console.print(f"seed {step.seed}: validation accuracy {_exact(row.accuracy)}{self._met(step)}{test}")
        elif not self.console.is_terminal and time.monotonic() - self.told > LINE_EVERY:
            self.told = time.monotonic()
            self.console.print(f"link {row.link}, seed {step.seed}: {text}")
        for name, share in row.shares.items():
            place = (step.seed, f"{row.stage}: {name}")
            self.shares[place] = max(self.shares.get(place, 0.0), share)

    def _met(self, step: Any) -> str:
        if self.recorded is None or self.recorded[0] != step.seed:
            return ""
        return (
            ", as recorded" if self.recorded[1] == step.row.accuracy else f", but {_exact(self.recorded[1])} recorded"
        )

    def summary(self) -> None:
        """Mean ± standard deviation over the seeds, and what deserves a warning."""
        for (seed, place), share in self.shares.items():
            if share < tables.FAINT:
                self.console.print(
                    f"Warning: seed {seed}, stage {place}: under 0.1 % of the gradient: this trial is not distilling.",
                    style="yellow", soft_wrap=True,
                )  # fmt: skip
        for name, values in (
            ("validation", [step.row.accuracy for step in self.ends]),
            ("test", [step.test for step in self.ends if step.test is not None]),
        ):
            if values:
                spread = statistics.stdev(values) if len(values) > 1 else None
                text = f"{_exact(statistics.mean(values))}" + (f" ± {100 * spread:.2f}" if spread is not None else "")
                self.console.print(f"{name} accuracy: {text} over {len(values)} seed(s)")


def _exact(value: float) -> str:
    return f"{100 * value:.2f} % ({value:.6f})"


def bar(name: str, done: int, total: int, text: str) -> Table:
    """A line of a picture: a name, how much of it is done, a text."""
    grid = Table.grid(padding=(0, 1))
    grid.add_column(width=max(10, len(name)))
    grid.add_column(width=30)
    grid.add_column()
    grid.add_row(name, ProgressBar(total=total or 1, completed=done, width=30), text)
    return grid
