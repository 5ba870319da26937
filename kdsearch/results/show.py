"""What is printed: one kind of table, one kind of list. Imports no other file of kdsearch."""

from collections.abc import Container, Iterable, Mapping, Sequence

from rich.box import HEAVY_HEAD, SIMPLE_HEAD
from rich.console import Console, RenderableType
from rich.table import Table


def console(stderr: bool = False) -> Console:
    """Prints text as it is: a cause or a path in brackets is no markup, numbers have no colours."""
    return Console(markup=False, highlight=False, stderr=stderr)


def table(
    title: str | None, columns: Sequence[str], rows: Iterable[Sequence[RenderableType]],
    left: Container[str] = (), folded: Container[str] = (), boxed: bool = False,
) -> Table:  # fmt: skip
    """Numbers in columns; `left`: columns of words; `folded`: those that give way where the terminal is narrow."""
    box, edge, padding = (HEAVY_HEAD, True, (0, 1)) if boxed else (SIMPLE_HEAD, False, (0, 1, 0, 0))
    found = Table(
        title=title, title_justify="left", title_style="bold", header_style="bold", box=box, pad_edge=edge,
        padding=padding,
    )  # fmt: skip
    for name in columns:
        found.add_column(name, justify="left" if name in left else "right", no_wrap=name not in folded)
    for row in rows:
        found.add_row(*row)
    return found


def listing(sentences: Mapping[str, str]) -> Table:
    """Names, and what is said of each."""
    found = Table.grid(padding=(0, 2))
    found.add_column(style="bold", no_wrap=True)
    for name, sentence in sentences.items():
        found.add_row(name, sentence)
    return found
