"""Networks of a user's own, in a file as a user writes it."""

from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import nn

from kdsearch.config.net import Own
from kdsearch.config.pipeline import KD, Fit, Hints, Link, Pair, Pipeline
from kdsearch.nets import factory

FILE = '''
"""Small networks."""

import torch
from beside import WIDTH
from torch import nn


def block(inputs, width, stride):
    return nn.Conv2d(inputs, width, 3, stride, 1), nn.BatchNorm2d(width)


class Small(nn.Module):
    """Three maps, of images of 16×16: 16×16, 8×8 and 4×4."""

    def __init__(self, classes, width, channels):
        super().__init__()
        self.stem = nn.Sequential(*block(channels, width, 1), nn.ReLU(inplace=True))
        self.down = nn.Sequential(*block(width, 2 * width, 2), nn.ReLU(inplace=True))
        self.last = nn.Sequential(*block(2 * width, 2 * width, 2), nn.ReLU())
        self.head = nn.Linear(2 * width, classes)

    def forward(self, images):
        return self.head(self.last(self.down(self.stem(images))).mean((2, 3)))


def teacher(classes, width=2 * WIDTH, channels=3):
    return Small(classes, width, channels)


def student(classes, width=WIDTH, channels=3):
    return Small(classes, width, channels)


def drawn(classes, trial):
    return Small(classes, trial.suggest_int("width", 2, 8), trial.suggest_categorical("channels", [1, 3]))


def probable(classes, width=2 * WIDTH, channels=3):
    return nn.Sequential(Small(classes, width, channels), nn.Softmax(1))


def restless(classes, width=2 * WIDTH, channels=3):
    """Its buffers move, whatever its mode."""
    net = Small(classes, width, channels)
    net.register_buffer("calls", torch.zeros(()))
    net.register_forward_hook(lambda module, given, gave: module.calls.add_(1) and None)
    return net


class Large(Small):
    """It sees nothing in images of less than 20 pixels."""

    def forward(self, images):
        return super().forward(images * (images.shape[3] >= 20))


def large(classes, width=2 * WIDTH, channels=3):
    return Large(classes, width, channels)


class Strict(Small):
    """It refuses images of more than 24 pixels."""

    def forward(self, images):
        assert images.shape[3] <= 24
        return super().forward(images)


def strict(classes, width=2 * WIDTH, channels=3):
    return Strict(classes, width, channels)


def flat(classes):
    """It shows no map."""
    return nn.Sequential(nn.Flatten(), nn.Linear(3 * 16 * 16, 8), nn.ReLU(), nn.Linear(8, classes))


def other(classes):
    """Of other code, for images of any size."""
    return nn.Sequential(nn.Conv2d(3, 6, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(6, classes))


def broken(classes):
    raise RuntimeError("no such luck")


def leaving(classes):
    raise SystemExit(3)


def number(classes):
    return 7


constant = nn.Sequential(nn.Flatten(), nn.Linear(3 * 16 * 16, 10))
'''


def written(folder: Path) -> Path:
    """The user's file, and what it imports, in a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "my_nets.py").write_text(FILE)
    (folder / "beside.py").write_text("WIDTH = 4\n")
    return folder / "my_nets.py"


def own(file: Path, name: str, **more: Any) -> Own:
    """The network that a function of this file makes, not yet found out about."""
    return Own(kind="own", factory=f"{file}:{name}", **more)


def made(file: Path, name: str, classes: int = 10, **arguments: Any) -> nn.Module:
    return factory.made(f"{file}:{name}", classes, arguments)


def saved(net: nn.Module, path: Path) -> str:
    """Its weights in a file, whose name is given back."""
    save_file({name: value.contiguous() for name, value in net.state_dict().items()}, path)
    return str(path)


def weights(file: Path, name: str, path: Path, seed: int = 0, classes: int = 10) -> str:
    """A file of weights as they are drawn by a seed."""
    torch.manual_seed(seed)
    return saved(made(file, name, classes), path)


def chain(teacher: Own, student: Any, **more: Any) -> Pipeline:
    """A teacher that is taken as it is, and a student with a hint by names; keywords change the student's link."""
    told = {
        "net": student, "hints": Hints(pairs=(Pair(hint="down", guided="down"),)), "kd": KD(),
        "fit": Fit(epochs=4, batch_size=64, learning_rate=5e-3), **more,
    }  # fmt: skip
    return Pipeline(links=(Link(net=teacher, fit=Fit(epochs=0)), Link.model_validate(told)))
