"""Networks of a user's own, as small as can be: a file with a module beside it, and weights."""

import sys
from pathlib import Path

import torch
from safetensors.torch import save_file

from kdsearch.config.net import Own
from kdsearch.nets import factory

NETS = """
from parts import block
from torch import nn

from kdsearch import Eye


def teacher(classes):
    return nn.Sequential(
        block(3, 8, 1), block(8, 12, 2), block(12, 16, 2), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, classes)
    )


teacher.eye = Eye(size=16, channels=3)


def student(classes, trial):
    width = trial.suggest_int("width", 2, 6)
    blocks = block(1, width, 1), block(width, 2 * width, 2)
    return nn.Sequential(*blocks, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(2 * width, classes))
"""
PARTS = """
from torch import nn


def block(before, after, stride):
    return nn.Sequential(nn.Conv2d(before, after, 3, stride, 1, bias=False), nn.BatchNorm2d(after), nn.ReLU())
"""


def written(folder: Path) -> Path:
    """my_nets.py there, parts.py beside it, and the teacher's weights, drawn by seed 0, in weights.safetensors."""
    (folder / "my_nets.py").write_text(NETS)
    (folder / "parts.py").write_text(PARTS)
    torch.manual_seed(0)
    save_file(factory.made(f"{folder}/my_nets.py:teacher", 10, {}).state_dict(), folder / "weights.safetensors")
    return folder / "my_nets.py"


def teacher(file: Path) -> Own:
    return Own(kind="own", factory=f"{file}:teacher", weights=str(file.parent / "weights.safetensors"))


def student(file: Path, width: int = 4) -> Own:
    return Own(kind="own", factory=f"{file}:student", arguments=(("width", width),))


def call(name: str, *more: str) -> list[str]:
    """The command of a search that does not learn and stops nobody; its teacher knows nothing yet."""
    words = ["tune", "own", "--teacher", "my_nets.py:teacher", "--teacher-weights", "weights.safetensors"]
    words += ["--student", "my_nets.py:student", "--teacher-anyway", "--name", name, "--epochs", "6", "--trials", "3"]
    return [sys.executable, "-m", "kdsearch.cli", *words, "--sampler", "random", "--rule", "none", *more]
