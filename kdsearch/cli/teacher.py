"""The command that checks a teacher."""

from pathlib import Path
from typing import Annotated, Any

import typer

import kdsearch
from kdsearch.cli.options import DATA_DIR, DataDir, interruptible


def teacher(
    factory: Annotated[
        str,
        typer.Argument(
            metavar="TEACHER", help="FILE.py:FUNCTION, package.module:FUNCTION, timm:NAME, torchvision:NAME."
        ),
    ],
    data: Annotated[str, typer.Option(metavar="NAME|DIR", help="The images it is to teach from.")] = "digits",
    weights: Annotated[
        Path | None, typer.Option("--teacher-weights", "--weights", metavar="FILE", help=".safetensors or .pt.")
    ] = None,
    eye: Annotated[
        list[str] | None,
        typer.Option("--teacher-eye", "--eye", metavar="KEY=VALUE", help="How it sees, e.g. size=96, order=bgr."),
    ] = None,
    image_size: Annotated[int | None, typer.Option(min=8, max=1024, help="Side of its students' images.")] = None,
    data_dir: DataDir = DATA_DIR,
) -> None:
    """Check a teacher of your own: how it sees, how good it is on these images, and what would make it better."""
    with interruptible():
        found: Any = kdsearch.teacher(
            factory, data, weights=weights, eye=eye or (), image_size=image_size, data_dir=data_dir
        )
    if found.refusal:
        raise typer.Exit(1)
