"""README and docs/: every command and every block of Python runs, page by page from its first line to its last; tables,
trees, links and pictures are true."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import ray
import torch
import typer
from clusters import SHIPPED
from PIL import Image
from safetensors.torch import save_file
from test_rooms import FLOORS
from test_search_spaces import GRIDS

import kdsearch
from kdsearch import config
from kdsearch.cli import init
from kdsearch.cli.app import app, main
from kdsearch.cluster.session import start_ray
from kdsearch.papers import methods
from kdsearch.results import files
from kdsearch.search import spaces
from kdsearch.storage.code import load

ROOT = Path(__file__).parents[1]
PAGES = {str(path.relative_to(ROOT)): path.read_text() for path in [ROOT / "README.md", *(ROOT / "docs").glob("*.md")]}
README = PAGES["README.md"]
SMALL = ["--trials", "2", "--epochs", "2", "--teacher-epochs", "1"]
FIRST = ["kdsearch", "tune", "depth_vs_hint"]
OWN = ["kdsearch", "tune", "./my_space.py", "--trials", "6"]
METHOD = ["kdsearch", "tune", "./my_method.py", "--seeds", "3"]
NETS = "my_nets.py"
WRITTEN = {"docs/own_space.md": "my_space.py", "docs/methods.md": "my_method.py"}
"""Files that a page has its reader save."""


def steps(page: str) -> list[tuple[str, str]]:
    """(bash, a kdsearch command) and (python, a block) in their order; what installs stays out (.ci/run does it)."""
    found = []
    for language, block in re.findall(r"```(bash|python)\n(.*?)```", PAGES[page], flags=re.DOTALL):
        if language == "python":
            found.append((language, block))
            continue
        lines = [line.partition(" #")[0] for line in block.splitlines() if not line.startswith("#")]
        parts = [part.strip() for line in lines for part in line.split("&&")]
        found += [(language, part) for part in parts if part.startswith("kdsearch ")]
    return found


def commands() -> list[list[str]]:
    return [shlex.split(step) for page in PAGES for language, step in steps(page) if language == "bash"]


def lightened(words: list[str], page: str) -> list[str]:
    """The same command in the time a test has: few small searches, later ones drawn but not trained, no download."""
    if "--cluster" in words:  # needs a live one (tests/cluster/ray_up.sh has it): here its words are parsed, no more
        return [word.replace("cluster.yaml", "absent.yaml") for word in words]
    if words[1] == "reproduce" and words[2:] and "--dry-run" not in words:
        return [*words[:3], "--scale", "tiny", "--data", "digits"]
    if "--int8" in words:  # students of two epochs: there may be nothing to lose
        return [*words, "--int8-loss", "100"]
    if words[1] == "replay":
        return [*words, "--seeds", "2", *(["--budget", "1"] if words[2] == "all" else [])]
    words = ["digits" if word == "cifar10" else word for word in words]
    if words[1] != "tune":
        return words
    if "--seeds" in words and "--resume" in words:  # a search keeps its epochs; one seed more will do
        return [*words[:-2], "2", "--resume"]
    if "--teacher" in words:  # it is taken as it is: trained, it would not be looked at
        return [*words, *SMALL[:4], *(["--dry-run"] if page == "README.md" else [])]
    if "--resume" in words:  # likewise, one trial
        return [*words, "--trials", "3"]
    if words[2:] == ["hint_location", "--seeds", "3"]:
        return [*words[:-1], "1", "--epochs", "2", "--teacher-epochs", "1"]
    if "--rule" in words:  # judged by replay: after the first of several epochs
        return [*words, *SMALL, "--epochs", "4"]
    if words == METHOD:  # its report comes next
        return [*words[:-1], "1", "--epochs", "1", "--teacher-epochs", "1"]
    return [*words, *SMALL] if words == OWN else [*words, *SMALL[2:], "--dry-run"]


@pytest.fixture(scope="module")
def where(tmp_path_factory) -> Any:
    """A user's folder with photos and a space, after the README's first search, which is a process of its own."""
    folder = tmp_path_factory.mktemp("readme")
    for page, name in WRITTEN.items():
        (folder / name).write_text(next(text for _, text in steps(page) if "BUDGET" in text))
    for name in ("cat", "dog"):
        (folder / "photos" / "train" / name).mkdir(parents=True)
        for number in range(20):
            darker = [value // (4 if name == "cat" else 1) for value in range(256)]
            image = Image.effect_noise((12, 12), 40 + number).point(darker)
            image.convert("RGB").save(folder / "photos" / "train" / name / f"{number}.png")
    Image.effect_noise((8, 8), 40).save(folder / "picture.png")
    taught(folder)
    call = [sys.executable, "-m", "kdsearch.cli", *FIRST[1:], *SMALL]
    done = subprocess.run(call, cwd=folder, capture_output=True, text=True, env={**os.environ, "COLUMNS": "100"})
    assert done.returncode == 0, done.stderr
    start_ray()  # once for all: who finds a Ray uses it
    yield folder
    ray.shutdown()


def taught(folder: Path) -> None:
    """What `kdsearch init own` writes, and weights with which its teacher tells dark from bright."""
    (folder / NETS).write_text(init.NETS)
    torch.manual_seed(0)
    net, means = load(folder / NETS).teacher(2).eval(), []
    last, net.fc = net.fc, torch.nn.Identity()
    for name in ("cat", "dog"):
        photos = [Image.open(path).resize((96, 96)) for path in (folder / "photos" / "train" / name).iterdir()]
        pixels = torch.from_numpy(np.stack([np.asarray(photo) for photo in photos])).permute(0, 3, 1, 2) / 255
        with torch.no_grad():
            means.append(net((pixels - 0.45) / 0.225).mean(0))
    own = means[0] - means[1]
    own = 10 * own / own.dot(own)
    last.weight.data = torch.stack([own, -own])
    last.bias.data = -last.weight.data @ (means[0] + means[1]) / 2
    net.fc = last
    save_file(net.state_dict(), folder / "best.safetensors")


@pytest.mark.whole
@pytest.mark.parametrize("page", sorted(page for page in PAGES if steps(page)))
def test_a_page_runs_from_its_first_line_to_its_last(page, where, monkeypatch, capsys):
    monkeypatch.chdir(where)
    monkeypatch.setenv("COLUMNS", "100")
    whole = kdsearch.tune
    small = {"trials": 2, "epochs": 2, "teacher_epochs": 1, "progress": False}
    names: dict[str, Any] = {}
    for language, step in steps(page):
        if language == "bash" and shlex.split(step) != FIRST:
            run(lightened(shlex.split(step), page), monkeypatch, capsys)
        if language == "python" and "BUDGET" not in step:
            with monkeypatch.context() as patch:
                patch.setattr(kdsearch, "tune", lambda space, **options: whole(space, **options | small))
                exec(compile(step, page, "exec"), names)


def run(words: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """A command as the console script calls it, in this process: it need not import torch anew."""
    if "init" in words[1:3]:
        Path(NETS if words[1] == "init" else "cluster.yaml").unlink(missing_ok=True)
    monkeypatch.setattr(sys, "argv", words)
    try:
        main()
        code = 0
    except SystemExit as end:
        code = end.code or 0
    said = capsys.readouterr().err
    if "--cluster" in words:
        assert code == 2 and "The cluster file 'absent.yaml' cannot be read" in said, said
        return
    assert code == 0, (words, said)
    if words[1:] == ["cluster", "init"]:
        Path("cluster.yaml").write_text(SHIPPED)  # the lines that say CHANGE are changed


def test_the_commands_are_all_told():
    assert {words[1] for words in commands()} == set(known())


def known() -> dict[str, set[str]]:
    """Commands and their options."""
    whole: Any = typer.main.get_command(app)
    return {name: {word for one in own.params for word in one.opts} for name, own in whole.commands.items()}


def test_every_option_of_tune_is_told_and_no_other():
    told = section("docs/results.md", "## All that `tune` can be told")
    assert set(re.findall("--[a-z][a-z-]*", told)) - {"--test"} == {
        word for word in known()["tune"] if word[:2] == "--"
    }


def section(page: str, title: str) -> str:
    return PAGES[page].partition(f"\n{title}\n")[2].partition("\n#")[0]


@pytest.mark.parametrize(
    ("title", "names"),
    [
        ("trials.parquet", [*files.TRIALS.names, "knob.<name>"]),
        ("epochs.parquet", [*files.EPOCHS.names, "loss.<term>", "gradient.<term>"]),
        ("verdicts.parquet", files.VERDICTS.names),
        ("confirmed.parquet", files.CONFIRMED.names),
    ],
)
def test_every_column_of_the_tables_is_explained(title, names):
    told = section("docs/tables.md", f"## {title}")
    assert [name for name in names if f"`{name}`" not in told] == []


@pytest.mark.parametrize(
    "kind", ["Pipeline", "Link", "Net", "ResNet", "Own", "Eye", "Fit", "Hints", "Pair", "KD", "Data", "Budget"]
)
def test_every_field_of_a_pipeline_is_told_with_its_default(kind):
    told = PAGES["docs/own_space.md"].partition(f"\n**{kind}**")[2].partition("\n**")[0]
    fields = getattr(config, kind).model_fields
    rows = dict(re.findall(r"^\| `(\w+)` \| ?(.*?) ?\|", told, flags=re.MULTILINE))
    for name, field in fields.items():
        value = "" if field.is_required() else field.default
        value = f"{type(value).__name__}()" if isinstance(value, config.Part) else value
        assert rows.pop(name) == (f"`{value}`" if value != "" else ""), name
    assert not rows


def test_the_table_of_methods_is_that_of_the_code():
    assert methods.table() in PAGES["docs/methods.md"]


def test_every_space_is_in_the_readme_with_its_cells():
    told = re.findall(r"^\| `(\w+)[^`]*` \| .*? \| (\d+)( trials)? \|", README, flags=re.MULTILINE)
    assert {name for name, *_ in told} == set(spaces.names())
    assert {name: int(count) for name, count, trials in told if not trials} == GRIDS
    for name, count, _ in told:
        assert int(count) == (GRIDS.get(name) or spaces.load(spaces.find(name)).budget.trials)


def test_the_tree_shows_every_room_on_its_floor():
    told = dict(re.findall(r"^    (\w+) +(\d+) ", README, flags=re.MULTILINE))
    assert {name: int(floor) for name, floor in told.items()} == FLOORS


def test_the_two_lines_that_set_up_are_the_ones_that_ci_runs():
    ci = (ROOT / ".ci" / "run").read_text()
    assert "pip install -e . && kdsearch tune depth_vs_hint" in README
    assert "pip install -e '.[test]' && pytest" in README and "pip install -q -e '.[test]' && pytest" in ci


def test_the_output_shown_is_that_of_the_command_and_in_its_words():
    shown = README.partition("kdsearch tune depth_vs_hint\n```")[2].partition("```\n")[2].partition("```")[0]
    for words in (
        "Front: fully trained trials",
        *("trial", "accuracy", "parameters", "compression", "seeds"),
        "References: one student, equal budgets",
        "Teacher: accuracy",
    ):
        assert words in shown


def test_every_benchmark_is_there_and_has_its_command():
    told = {name for text in PAGES.values() for name in re.findall(r"^python benchmarks/(\w+\.py)", text, re.MULTILINE)}
    helpers = {"simulation.py", "textbook.py"}
    runnable = {path.name for path in (ROOT / "benchmarks").glob("*.py")} - helpers
    assert told == runnable


def anchors(text: str) -> set[str]:
    """Of a page's headings, as GitHub makes them."""
    heads = re.findall(r"^#+ (.*)$", re.sub(r"```.*?```", "", text, flags=re.DOTALL), flags=re.MULTILINE)
    return {re.sub(r"[^\w -]", "", head.lower()).replace(" ", "-") for head in heads}


@pytest.mark.parametrize("page", sorted(PAGES))
def test_every_link_and_picture_leads_somewhere(page):
    for target in re.findall(r"\]\(([^)\s]+)\)", PAGES[page]):
        name, _, anchor = target.partition("#")
        path = (ROOT / page).parent / name if name else ROOT / page
        assert path.is_file(), target
        assert not anchor or anchor in anchors(path.read_text()), target


def test_every_page_is_in_the_index():
    told = set(re.findall(r"\]\((\w+\.\w+)\)", PAGES["docs/README.md"]))
    assert told == {path.name for path in (ROOT / "docs").iterdir()} - {"README.md"}


def test_the_readme_is_short():
    lines = README.splitlines()
    assert len(lines) <= 160 and max(map(len, lines)) <= 140


@pytest.mark.parametrize("page", sorted(PAGES))
def test_every_file_named_is_there(page):
    for name in re.findall(r"`((?:kdsearch|analysis|benchmarks|tests|search_spaces)/[\w./]*)`", PAGES[page]):
        assert (ROOT / name).exists(), name
