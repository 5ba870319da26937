"""Words to functions; the only place that exits with an error."""

import importlib
import io
import os
import sys
import traceback
from collections.abc import Sequence
from typing import Annotated

import typer

from kdsearch import __version__
from kdsearch.cli import cluster
from kdsearch.errors import Refusal, first_line, visible

app = typer.Typer(
    help="Find the best small network for a given teacher, by searching over how its knowledge is distilled.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.callback(invoke_without_command=True)
def _root(
    version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
) -> None:
    if version:
        print(__version__)
        raise typer.Exit


COMMANDS = (
    "spaces", "init", "teacher", "tune", "status", "confirm", "report", "export", "predict", "replay", "train",
    "reproduce", "cache",
)  # fmt: skip
"""Each the function of its name in the file of its name."""

for name in COMMANDS:
    app.command(name)(getattr(importlib.import_module(f"kdsearch.cli.{name}"), name))

clusters = typer.Typer(help="Clusters: their files, as `ray up` takes them.", no_args_is_help=True)

clusters.command("init")(cluster.init)
clusters.command("check")(cluster.check)

app.add_typer(clusters, name="cluster")


def _check_words(words: Sequence[str]) -> None:
    """Raises Refusal for names that are no UTF-8: they can be no part of a search's record."""
    for word in words:
        try:
            word.encode()
        except UnicodeEncodeError:
            raise Refusal(
                f"Names and folders are UTF-8, but '{word}' is not; rename it (convmv does), or link to it."
            ) from None


def main() -> None:
    """The command line: every error that a user can mend is a sentence and exit code 2; a traceback with --debug."""
    words = [word for word in sys.argv[1:] if word != "--debug"]
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="spelled")  # a terminal that has no λ
    try:
        _check_words([*words, os.getcwd()])
        app(words, prog_name="kdsearch")
    except Refusal as error:
        if len(words) < len(sys.argv) - 1:
            traceback.print_exc()
        print(f"kdsearch: {error}", file=sys.stderr)
        sys.exit(2)
    except OSError as error:  # a folder that cannot be written, a full disk
        if len(words) < len(sys.argv) - 1:
            traceback.print_exc()
        where = f": '{error.filename}'" if error.filename is not None else ""
        print(visible(f"kdsearch: {first_line(error).rstrip('.')}{where}."), file=sys.stderr)
        sys.exit(2)


if __name__ == "__main__":
    main()
