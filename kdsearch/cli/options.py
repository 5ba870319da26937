"""Options that several commands share, and how their words are read."""

import contextlib
import shlex
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated, Any

import typer

Results = Annotated[
    str,
    typer.Option(
        "--results",
        "--storage",
        envvar="KDSEARCH_STORAGE",
        metavar="DIR|URI",
        help="Where all searches are: a folder (on a cluster one that all nodes see), s3://bucket/path or gs://…",
    ),
]

SearchName = Annotated[str, typer.Argument(metavar="SEARCH", help="A search's name in --storage, or its path.")]

RESULTS = "results"


ClusterFile = Annotated[
    Path | None,
    typer.Option("--cluster", metavar="FILE", help="There, instead of here: the file that `ray up` was given."),
]


def asked(context: typer.Context) -> list[str]:
    """The words of the command that runs, without --cluster: only what was typed, no defaults."""
    words = [str(context.info_name)]
    for parameter in context.command.params:
        source = context.get_parameter_source(str(parameter.name))
        if parameter.name != "cluster" and source is not None and source.name == "COMMANDLINE":
            words += _typed(parameter, context.params[str(parameter.name)])
    return words


def _typed(parameter: Any, value: Any) -> list[str]:
    if parameter.param_type_name == "argument":
        return [str(value)]
    option = parameter.opts[0]
    if isinstance(value, bool):
        return [option] if value else []
    return [word for one in (value if isinstance(value, (list, tuple)) else [value]) for word in (option, str(one))]


DataDir = Annotated[Path, typer.Option("--data-dir", help="Where torchvision's data sets lie.", metavar="DIR")]

DATA_DIR = Path("data")


def name_of(folder: Path, results: str = RESULTS) -> str:
    """What a user types for a search, quoted: its name in the default place; in a bucket, that too; else its path."""
    from kdsearch.results.searches import in_bucket
    from kdsearch.storage.bucket import at

    if in_bucket(folder, at(results)):
        return f"{shlex.quote(folder.name)} --storage {shlex.quote(results)}"
    return shlex.quote(folder.name if folder.parent == Path(RESULTS) else str(folder))


@contextlib.contextmanager
def interruptible(said: Callable[[], str] = str) -> Iterator[None]:
    """Ctrl-C ends a command with exit code 130 and a word on what there is: the interrupt's own, or what is `said`."""
    try:
        yield
    except KeyboardInterrupt as stop:
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGINT, signal.SIG_IGN)  # a third one would only disturb Ray's own end
        print(f"kdsearch: interrupted. {stop.args[0] if stop.args else said()}", file=sys.stderr)
        raise typer.Exit(130) from None
