"""The command that writes a beginning."""

import shlex
from pathlib import Path
from typing import Annotated, Literal

import typer

from kdsearch.errors import Refusal

NETS = '''"""My networks: kdsearch tune own --data ./photos --teacher my_nets.py:teacher --student my_nets.py:student"""

from torch import nn
from torchvision import models

from kdsearch import Eye


def teacher(classes):
    """Any torch.nn.Module that gives a number a class. Its weights: --teacher-weights FILE, .safetensors or .pt."""
    return models.resnet18(num_classes=classes)


# How it was trained to see; what is left out is as the images are. Wrong values cost many points without a word:
# kdsearch teacher my_nets.py:teacher … measures, and tells of better ones.
teacher.eye = Eye(size=96, mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225))
# If it knows other classes than the folders' names, or in another order, name all of its outputs:
# teacher.eye = Eye(size=96, classes=("cat", "dog", "horse"))


def student(classes, trial):
    """A family of students: what is drawn here is searched. Its layers are found, and hints joined, by themselves."""
    width = trial.suggest_int("width", 8, 48, log=True)
    blocks = trial.suggest_int("blocks", 1, 3)
    layers, channels = [], 3
    for stage in range(3):
        for block in range(blocks):
            layers.append(
                nn.Sequential(
                    nn.Conv2d(channels, width * 2**stage, 3, 2 if block == 0 else 1, padding=1, bias=False),
                    nn.BatchNorm2d(width * 2**stage),
                    nn.ReLU(),
                )
            )
            channels = width * 2**stage
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, classes))
'''
"""What is written for the space own."""


def init(
    what: Annotated[Literal["own"], typer.Argument(metavar="own", help="Networks of your own, for the space own.")],
    file: Annotated[Path, typer.Argument(metavar="[FILE]", help="Where to write it.")] = Path("my_nets.py"),
) -> None:
    """Write my_nets.py: a teacher and a family of students to begin with, with comments."""
    if not file.parent.is_dir():
        raise Refusal(f"A file is written into a folder, but there is no '{file.parent}'; make it first.")
    try:
        with file.open("x", encoding="utf-8") as new:
            new.write(NETS)
    except FileExistsError:
        raise Refusal(f"A new file overwrites nothing, but '{file}' exists; name another.") from None
    print(f"Written: {file}. Put your networks there, then:")
    print(f"  kdsearch teacher {shlex.quote(f'{file}:teacher')} --data ./photos")
