"""What is printed: one kind of console, of table, of list."""

import contextlib
import os
import sys
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from rich.box import HEAVY_HEAD, SIMPLE_HEAD
from rich.console import Console, ConsoleOptions, RenderableType
from rich.measure import Measurement
from rich.segment import Segment
from rich.table import Table

from kdsearch.errors import visible


class Plain(Console):
    """Prints text as it is: a cause or a path in brackets is no markup, numbers have no colours, control characters are
    shown and not obeyed; into a file, plain lines, whatever FORCE_COLOR says."""

    def __init__(self, stderr: bool = False, quiet: bool = False, jupyter: bool | None = None) -> None:
        terminal = (sys.stderr if stderr else sys.stdout).isatty()
        super().__init__(
            markup=False,
            emoji=False,
            highlight=False,
            stderr=stderr,
            quiet=quiet,
            force_jupyter=jupyter,
            force_terminal=terminal,
        )

    def on_broken_pipe(self) -> None:
        """Whoever reads has gone: nothing more is said, and the work goes on."""
        self.quiet = True
        with contextlib.suppress(OSError):  # no file
            os.dup2(os.open(os.devnull, os.O_WRONLY), self.file.fileno())  # what Python still holds back goes there

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterator[Segment]:
        """What is drawn, without the control characters of those who named things."""
        for segment in super().render(renderable, options):
            yield segment if segment.control else Segment(visible(segment.text), segment.style)


def console(stderr: bool = False, quiet: bool = False) -> Plain:
    """Where a person reads: the terminal, or a file."""
    return Plain(stderr, quiet)


@dataclass(frozen=True)
class Columns:
    """A table whose columns stand in the order of their importance: where there is no room, the last ones go first."""

    title: str | None
    columns: Sequence[str]
    rows: Sequence[Sequence[RenderableType]]
    left: Container[str] = ()
    """Columns of words."""
    folded: Container[str] = ()
    """Those that take several lines before a column goes."""
    boxed: bool = False

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[Table]:
        """The most columns for which there is room; at least two, if there are."""
        free = options.update(max_width=10_000)  # else a table says that it fits, with its words cut off
        least = min(2, len(self.columns))
        for count in range(len(self.columns), least - 1, -1):
            found = self._table(count)
            if count == least or Measurement.get(console, free, found).minimum <= options.max_width:
                yield found
                return

    def _table(self, count: int) -> Table:
        box, edge, padding = (HEAVY_HEAD, True, (0, 1)) if self.boxed else (SIMPLE_HEAD, False, (0, 1, 0, 0))
        found = Table(
            title=self.title, title_justify="left", title_style="bold", header_style="bold", box=box, pad_edge=edge,
            padding=padding,
        )  # fmt: skip
        for name in self.columns[:count]:
            found.add_column(name, justify="left" if name in self.left else "right", no_wrap=name not in self.folded)
        for row in self.rows:
            found.add_row(*row[:count])
        return found


def table(
    title: str | None, columns: Sequence[str], rows: Iterable[Sequence[RenderableType]],
    left: Container[str] = (), folded: Container[str] = (), boxed: bool = False,
) -> Columns:  # fmt: skip
    """Numbers in columns; `left`: columns of words; `folded`: those that take several lines first."""
    return Columns(title, columns, list(rows), left, folded, boxed)


def listing(sentences: Mapping[str, str]) -> Table:
    """Names, and what is said of each."""
    found = Table.grid(padding=(0, 2))
    found.add_column(style="bold", no_wrap=True)
    for name, sentence in sentences.items():
        found.add_row(name, sentence)
    return found
