"""The command that hands over trained students."""

import sys
from pathlib import Path
from typing import Annotated

import typer

import kdsearch
from kdsearch.cli.options import DATA_DIR, RESULTS, DataDir, Results, SearchName, interruptible


def export(
    search: SearchName,
    trial: Annotated[str | None, typer.Option(metavar="ID", help="One trial.")] = None,
    best: Annotated[str | None, typer.Option(metavar="accuracy|knee", help="The best trial by this.")] = None,
    front: Annotated[bool, typer.Option("--front", help="All trials of the front.")] = False,
    output: Annotated[Path, typer.Option(metavar="DIR", help="In it a folder a search, and there one a trial.")] = Path(
        "exports"
    ),
    onnx: Annotated[bool, typer.Option("--onnx", help="And as ONNX (pip install 'kdsearch[deploy]').")] = False,
    int8: Annotated[bool, typer.Option("--int8", help="And as ONNX in int8, beside float32.")] = False,
    int8_loss: Annotated[float, typer.Option(metavar="POINTS", help="Of accuracy, that int8 may lose.")] = 1.0,
    test: Annotated[bool, typer.Option("--test", help="Read the test images, once, for the card.")] = False,
    data: Annotated[str | None, typer.Option(metavar="DIR", help="Where the folder of images lies now.")] = None,
    data_dir: DataDir = DATA_DIR,
    results: Results = RESULTS,
) -> None:
    """Write a trial's weights, code, config and card: ready to use, with kdsearch or without it."""
    from kdsearch.search.recipe import changed

    def told(path: Path, sentences: list[str]) -> None:
        print(path)
        for sentence in (changed(path), *sentences):
            if sentence:
                print(f"{path.name}: {sentence}", file=sys.stderr)

    with interruptible(lambda: "The students that were finished are above."):
        kdsearch.open(search, results).export(
            trial, best=best, front=front, output=output, onnx=onnx, int8=int8, int8_loss=int8_loss, test=test,
            data=data, data_dir=data_dir, told=told,
        )  # fmt: skip
