"""The README's commands run, in its order; its tables and its tree are true."""

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from clusters import SHIPPED
from PIL import Image
from test_rooms import FLOORS

from kdsearch.papers import entries
from kdsearch.results import files
from kdsearch.results.format import COLUMNS

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
SMALL = ["--trials", "2", "--epochs", "2", "--teacher-epochs", "1"]


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, flags=re.DOTALL)


def commands() -> list[list[str]]:
    """Every kdsearch command of the README, as words; what installs stays out (.ci/run does it)."""
    lines = [line.partition(" #")[0] for block in blocks("bash") for line in block.splitlines()]
    parts = [part.strip() for line in lines if not line.startswith("#") for part in line.split("&&")]
    return [shlex.split(part) for part in parts if part.startswith("kdsearch ")]


def lightened(words: list[str]) -> list[str]:
    """The same command in the time a test has: a small search once, later ones drawn but not trained, no download."""
    if "--cluster" in words:  # needs a live one (tests/cluster/ray_up.sh has it): here its words are parsed, no more
        return [word.replace("cluster.yaml", "absent.yaml") for word in words]
    if words[1] == "reproduce" and words[2:] and "--dry-run" not in words:
        return [*words[:3], "--scale", "tiny", "--data", "digits"]
    words = ["digits" if word == "cifar10" else word for word in words]
    if words[:2] != ["kdsearch", "tune"]:
        return words
    if "--seeds" in words and "--resume" in words:  # a search keeps its epochs; one seed more will do
        return [*words[:-2], "2", "--resume"]
    if "--resume" in words:  # likewise, one trial
        return [*words, "--trials", "3"]
    if words[2:] == ["hint_location", "--seeds", "3"]:
        return [*words[:-1], "1", "--epochs", "2", "--teacher-epochs", "1"]
    trained = words[2:] in (["depth_vs_hint"], ["./my_space.py", "--trials", "6"])
    return [*words, *SMALL] if trained else [*words, *SMALL[2:], "--dry-run"]


@pytest.fixture(scope="module")
def where(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("readme")
    (folder / "cluster.yaml").write_text(SHIPPED)
    shutil.copytree(ROOT / "benchmarks" / "tables", folder / "benchmarks" / "tables")
    (folder / "my_space.py").write_text(next(block for block in blocks("python") if "BUDGET" in block))
    for name in ("cat", "dog"):
        (folder / "photos" / "train" / name).mkdir(parents=True)
        for number in range(10):
            image = Image.effect_noise((12, 12), 40 + number)
            image.save(folder / "photos" / "train" / name / f"{number}.png")
    return folder


def test_every_command_of_the_readme_runs_in_its_order(where):
    found = commands()
    assert {words[1] for words in found} == {
        "tune",
        "report",
        "export",
        "train",
        "status",
        "spaces",
        "cache",
        "cluster",
        "confirm",
        "replay",
        "reproduce",
    }
    for words in found:
        run(lightened(words), where)


def run(words: list[str], where: Path) -> None:
    call = [sys.executable, "-m", "kdsearch.cli", *words[1:]]
    done = subprocess.run(call, cwd=where, capture_output=True, text=True, env={**os.environ, "COLUMNS": "100"})
    if "--cluster" in words:
        assert done.returncode == 2 and "The cluster file 'absent.yaml' cannot be read" in done.stderr, done.stderr
        return
    assert done.returncode == 0, (words, done.stderr)


def test_every_column_of_the_tables_is_explained():
    told = README.partition("## The tables")[2].partition("## How it is built")[0]
    for name in {
        *files.TRIALS.names,
        *files.EPOCHS.names,
        *files.VERDICTS.names,
        "knob.<name>",
        "loss.<term>",
        "gradient.<term>",
    }:
        assert f"`{name}`" in told
    told = told.partition("`confirmed.parquet`, a row")[2]
    assert all(f"`{name}`" in told for name in files.CONFIRMED.names)
    told = told.partition("entries.parquet`, a row")[2]
    assert all(f"`{name}`" in told for name in entries.ENTRIES.names)


def test_the_tree_shows_every_room_on_its_floor():
    told = dict(re.findall(r"^    (\w+) +(\d+) ", README, flags=re.MULTILINE))
    assert {name: int(floor) for name, floor in told.items()} == FLOORS


def test_the_two_lines_that_set_up_are_the_ones_that_ci_runs():
    ci = (Path(__file__).parents[1] / ".ci" / "run").read_text()
    assert "pip install -e . && kdsearch tune depth_vs_hint" in README
    assert "pip install -e '.[test]' && pytest" in README and "pip install -q -e '.[test]' && pytest" in ci


def test_the_output_shown_is_that_of_the_command_and_in_its_words():
    shown = README.partition("kdsearch tune depth_vs_hint\n```")[2].partition("```\n")[2].partition("```")[0]
    for words in (
        "Front: fully trained trials",
        *COLUMNS,
        "References: one student, equal budgets",
        "Teacher: accuracy",
    ):
        assert words in shown


def test_every_benchmark_is_there_and_has_its_command():
    told = set(re.findall(r"^python benchmarks/(\w+\.py)", README, flags=re.MULTILINE))
    helpers = {"simulation.py", "textbook.py"}
    runnable = {path.name for path in (ROOT / "benchmarks").glob("*.py")} - helpers
    assert told == runnable


def test_every_picture_is_there():
    pictures = re.findall(r"!\[[^\]]*\]\(([^)]+)\)", README)
    assert pictures and all((Path(__file__).parents[1] / path).is_file() for path in pictures)
