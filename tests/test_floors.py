"""A file imports only from lower floors; heavy packages stay where they belong. README draws the same picture."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

FLOORS = {
    "architecture": 0, "errors": 0, "fronts": 0, "interrupts": 0, "losses": 0, "patience": 0, "pending": 0, "sound": 0,
    "views": 0, "address": 1, "cache": 1, "cluster": 1, "config": 1, "front": 1, "grid": 1, "head": 1, "journal": 1,
    "limits": 1, "nodes": 1, "printed": 1, "rungs": 1, "device": 2, "lints": 2, "papers": 2, "parsing": 2, "remote": 2,
    "results": 2, "sections": 2, "seeded": 2, "sources": 2, "storage": 2, "curves": 3, "decoded": 3, "lease": 3,
    "ledger": 3, "nets": 3, "noise": 3, "protocols": 3, "resuming": 3, "settings": 3, "store": 3, "cells": 4, "data": 4,
    "made": 4, "replay": 4, "scales": 4, "searches": 4, "spaces": 4, "answers": 5, "comparison": 5, "export": 5,
    "missing": 5, "plan": 5, "preflight": 5, "train": 5, "words": 5, "checkpoints": 6, "display": 6, "sampler": 6,
    "targets": 6, "confirming": 7, "looking": 7, "pipeline": 7, "scout": 7, "replicate": 8, "reproducing": 8,
    "trial": 8, "entries": 9, "networks": 9, "tasks": 9, "tuner": 9, "search": 10, "confirm": 11, "reproduce": 12,
    "working": 12, "repeating": 13, "tuning": 13, "cli": 14,
}  # fmt: skip
RAY = {"cluster", "preflight", "trial", "networks", "tasks", "sampler", "tuner", "search", "confirm"}
OPTUNA = {"grid", "spaces", "sampler", "search", "seeded"}
TORCHLESS = {
    "errors",
    "config",
    "architecture",
    "papers",
    "printed",
    "cells",
    "parsing",
    "made",
    "front",
    "rungs",
    "results",
    "settings",
    "spaces",
    "words",
}
TORCHLESS |= {"cache", "looking", "working", "display", "cli", "export", "noise", "confirming"}
TORCHLESS |= {"address", "lease", "nodes", "patience", "searches", "storage"}
TORCHLESS |= {
    "cluster",
    "head",
    "lints",
    "remote",
    "resuming",
    "pending",
    "limits",
    "fronts",
    "tuning",
    "curves",
    "replay",
    "comparison",
    "grid",
    "sound",
    "protocols",
    "scales",
    "reproducing",
    "repeating",
}
PACKAGE = Path(__file__).parents[1] / "kdsearch"


def imported(text: str, top_level: bool = False) -> set[str]:
    """Dotted names that a file imports: anywhere, or when it is itself imported."""
    tree = ast.parse(text)
    found: set[str] = set()
    for node in tree.body if top_level else ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return found


def own(names: set[str]) -> set[str]:
    parts = {name.split(".")[1] for name in names if name.startswith("kdsearch.")}
    return {part for part in parts if (PACKAGE / f"{part}.py").exists()}


def wrong(stem: str, text: str) -> list[str]:
    """What a file imports that it must not."""
    found = [f"{stem} imports {name}" for name in own(imported(text)) if FLOORS[name] >= FLOORS[stem]]
    outside = {name.split(".")[0] for name in imported(text)}
    found += [f"{stem} imports ray" for _ in {"ray"} & outside if stem not in RAY]
    found += [f"{stem} imports optuna" for _ in {"optuna"} & outside if stem not in OPTUNA]
    found += [f"{stem} imports {name}" for name in {"altair", "analysis", "search_spaces"} & outside]
    early = {name.split(".")[0] for name in imported(text, top_level=True)}
    found += [f"{stem} imports {name} early" for name in {"torch", "torchvision", "ray"} & early if stem in TORCHLESS]
    return found


def test_every_file_has_a_floor():
    assert {path.stem for path in PACKAGE.glob("*.py")} - {"__init__"} == set(FLOORS)


@pytest.mark.parametrize("stem", FLOORS)
def test_a_file_imports_only_from_lower_floors(stem):
    assert wrong(stem, (PACKAGE / f"{stem}.py").read_text()) == []


@pytest.mark.parametrize(
    "stem, text",
    [
        ("nets", "from kdsearch import search"),
        ("data", "from kdsearch.train import train"),
        ("pipeline", "def f():\n    import ray"),
        ("results", "import torch"),
        ("cluster", "import ray"),
        ("train", "import optuna"),
        ("cli", "import altair"),
        ("cli", "from analysis import report"),
    ],
)
def test_the_guard_can_fail(stem, text):
    assert wrong(stem, text)


@pytest.mark.parametrize("words", ["--help", "spaces", "status --help", "cluster check --help"])
def test_quick_commands_import_neither_torch_nor_ray(words):
    code = (
        f"import sys; sys.argv = ['kdsearch', *{words.split()!r}]\n"
        "from kdsearch.cli import main\n"
        "try:\n    main()\nexcept SystemExit as end:\n    assert not end.code\n"
        "heavy = {'torch', 'ray', 'altair', 'sklearn'} & set(sys.modules)\nassert not heavy, heavy\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)


def test_charts_and_status_need_no_torch():
    code = "import sys, kdsearch.analysis.report, kdsearch.words\nassert not {'torch', 'ray'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
