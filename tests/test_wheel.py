"""A plain install works without the checkout: an environment of its own, which sees torch and Ray of this one but not
its kdsearch."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from clusters import ours
from test_analysis import written

from kdsearch.cluster import file

pytestmark = pytest.mark.whole
ROOT = Path(__file__).parents[1]
PARTS = ("kdsearch", "analysis", "search_spaces", "benchmarks", "pyproject.toml", "README.md")
EVERY_MODULE = """
import importlib, pkgutil, kdsearch
for found in pkgutil.walk_packages(kdsearch.__path__, "kdsearch."):
    if not found.name.endswith("__main__"):
        print(importlib.import_module(found.name).__file__)
"""


def call(*words: object, **more: Any) -> str:
    done = subprocess.run([str(word) for word in words], capture_output=True, text=True, **more)
    assert done.returncode == 0, (words, done.stdout, done.stderr)
    return done.stdout


@pytest.fixture(scope="module")
def venv(tmp_path_factory) -> Path:
    """Built from a copy, since setuptools leaves a build folder in what it builds from; the copy is then removed."""
    folder = tmp_path_factory.mktemp("wheel")
    source, found = folder / "source", folder / "venv"
    source.mkdir()
    for part in PARTS:
        (shutil.copytree if (ROOT / part).is_dir() else shutil.copy)(ROOT / part, source / part)
    pip = (sys.executable, "-m", "pip", "-q")
    call(*pip, "wheel", "--no-deps", "-w", folder, source)
    shutil.rmtree(source)
    call(sys.executable, "-m", "venv", "--without-pip", found)
    call(*pip, "--python", found / "bin" / "python", "install", "--no-deps", *folder.glob("kdsearch-*.whl"))
    # The lines of a .pth file are folders, whose own .pth files are not read: none leads to the kdsearch of here.
    here = [path for path in sys.path if path.endswith("-packages")]
    (packages(found) / "heavy.pth").write_text("\n".join(here))
    return found


def packages(venv: Path) -> Path:
    return next(venv.glob("lib/python*/site-packages"))


@pytest.fixture
def plain(venv, tmp_path) -> Callable[..., str]:
    """What a program of that environment says, run in an empty folder."""
    env = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "KDSEARCH_STORAGE")}
    return lambda program, *words: call(venv / "bin" / program, *words, cwd=tmp_path, env=env)


def test_every_module_can_be_imported_from_the_wheel_alone(plain, venv):
    found = plain("python", "-c", EVERY_MODULE).split()
    assert all(Path(path).is_relative_to(packages(venv) / "kdsearch") for path in found)
    names = {str(Path(path).relative_to(packages(venv) / "kdsearch")) for path in found}
    repository = {str(path.relative_to(ROOT / "kdsearch")) for path in (ROOT / "kdsearch").rglob("*.py")}
    assert repository - names == {"__init__.py", "__main__.py", "cli/__main__.py"}
    assert {"search_spaces/depth_vs_hint.py", "analysis/depth_vs_hint.py", "tables/__init__.py"} <= names


def test_type_checkers_are_told_and_published_numbers_travel(venv):
    assert all((packages(venv) / "kdsearch" / name).is_file() for name in ("py.typed", "__init__.pyi"))
    travelled = {path.name for path in (packages(venv) / "kdsearch" / "analysis" / "published").iterdir()}
    assert travelled == {path.name for path in (ROOT / "analysis" / "published").glob("*.csv")} != set()


def test_a_search_is_looked_at_before_it_begins(plain):
    assert "Dry run: nothing was trained" in plain("kdsearch", "tune", "depth_vs_hint", "--dry-run")


def test_a_report_is_written(plain, tmp_path):
    (tmp_path / "results" / "s").mkdir(parents=True)
    written(tmp_path / "results" / "s")
    assert plain("kdsearch", "report", "s") == "results/s/report.html\n"
    assert "<html" in (tmp_path / "results" / "s" / "report.html").read_text()


def test_the_recorded_tables_travel(plain):
    assert plain("kdsearch", "replay", "digits", "--seeds", "1").startswith("digits: 320 trials")
    assert plain("kdsearch", "replay", "cifar10", "--seeds", "1").startswith("cifar10: ")


def test_the_cluster_file_travels_and_is_what_init_writes(plain, tmp_path):
    assert "kdsearch cluster check 'my cluster.yaml'" in plain("kdsearch", "cluster", "init", "my cluster.yaml")
    path = tmp_path / "my cluster.yaml"
    assert path.read_bytes() == file.SHIPPED.read_bytes()
    path.write_text(ours(path.read_text()))
    assert "9 nodes at most, 1 GPU each worker: looks right" in plain("kdsearch", "cluster", "check", path.name)
