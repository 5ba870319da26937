"""Rooms stand on floors: a file imports only from lower floors or its own room, never in a circle; heavy packages stay
where they belong. README draws the same picture."""

import ast
import subprocess
import sys
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "kdsearch"
FLOORS = {
    "errors": 1, "interrupts": 1, "config": 2, "storage": 2, "nets": 3, "data": 3, "results": 3, "distill": 4,
    "cluster": 4, "search": 5, "papers": 6, "cli": 7,
}  # fmt: skip
"""Rooms, and the two ground files, which count as rooms."""
RAY = {"cluster", "search"}
OPTUNA = {"search"}
TORCH = {"nets", "data", "distill", "search", "papers"}
"""Rooms whose files may import torch when they are imported themselves; of the others, inside a function at most."""
LONGEST = 11
"""Files in a row, each importing the next."""
PAIRS = 52
"""Of rooms, one of which imports the other."""
LINES = 300


def dotted(path: Path) -> str:
    """kdsearch/nets/build.py -> kdsearch.nets.build; a package's __init__ is the package."""
    parts = ("kdsearch", *path.relative_to(PACKAGE).with_suffix("").parts)
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


FILES = {dotted(path): path for path in sorted(PACKAGE.rglob("*.py"))}


def imported(text: str, top_level: bool = False) -> set[str]:
    """Dotted names that a file imports: anywhere, or (top_level) when it is itself imported."""
    tree = ast.parse(text)
    found: set[str] = set()
    for node in tree.body if top_level else ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= names if names <= set(FILES) else {node.module, *names}
    return found


def room(name: str) -> str:
    """kdsearch.nets.build -> nets; `python -m kdsearch` is the command line's."""
    return name.split(".")[1].replace("__main__", "cli")


def own(text: str) -> set[str]:
    """The files of kdsearch that a file imports; the package itself, which everybody may ask for its version, aside."""
    return (imported(text) & set(FILES)) - {"kdsearch"}


def wrong(name: str, text: str) -> list[str]:
    """What a file imports that it must not."""
    here = room(name)
    found = [
        f"{name} imports {other}" for other in own(text) if room(other) != here and FLOORS[room(other)] >= FLOORS[here]
    ]
    outside = {other.split(".")[0] for other in imported(text)}
    found += [f"{name} imports ray" for _ in {"ray"} & outside if here not in RAY]
    found += [f"{name} imports optuna" for _ in {"optuna"} & outside if here not in OPTUNA]
    found += [f"{name} imports {other}" for other in {"altair", "analysis", "search_spaces"} & outside]
    early = {other.split(".")[0] for other in imported(text, top_level=True)}
    heavy = {"torch", "torchvision"} - ({"torch", "torchvision"} if here in TORCH else set())
    return found + [f"{name} imports {other} early" for other in heavy & early]


def circle(graph: Mapping[str, Iterable[str]]) -> list[str]:
    """Names each of which imports the next, and the last the first; none where there is no such circle."""
    done: set[str] = set()

    def walk(name: str, trail: list[str]) -> list[str]:
        if name in trail:
            return trail[trail.index(name) :]
        if name not in done:
            for other in graph[name]:
                if found := walk(other, [*trail, name]):
                    return found
            done.add(name)
        return []

    return next((found for name in graph if (found := walk(name, []))), [])


def graph() -> dict[str, set[str]]:
    """Which file imports which; a room's __init__ that only names its files' words is where those files are."""
    return {name: own(path.read_text()) - {name} for name, path in FILES.items() if name != "kdsearch"}


def test_every_file_is_in_a_room():
    assert {room(name) for name in FILES if name != "kdsearch"} == set(FLOORS)
    assert len(set(FLOORS.values())) == 7


@pytest.mark.parametrize("name", [name for name in FILES if name != "kdsearch"])
def test_a_file_imports_only_from_lower_floors_and_its_own_room(name):
    assert wrong(name, FILES[name].read_text()) == []


@pytest.mark.parametrize(
    "name, text",
    [
        ("kdsearch.nets.build", "from kdsearch.search import run"),
        ("kdsearch.data.images", "from kdsearch.nets.build import build"),
        ("kdsearch.distill.pipeline", "def f():\n    import ray"),
        ("kdsearch.results.tables", "import torch"),
        ("kdsearch.papers.tables", "import ray"),
        ("kdsearch.distill.train", "import optuna"),
        ("kdsearch.cluster.session", "import torch"),
        ("kdsearch.cli.report", "import altair"),
        ("kdsearch.cli.report", "from analysis import report"),
    ],
)
def test_the_guard_can_fail(name, text):
    assert wrong(name, text)


def test_no_file_imports_itself_by_way_of_others():
    assert circle(graph()) == []


def test_an_import_turned_round_is_a_circle():
    turned = graph()
    one = next(name for name, others in turned.items() if any(room(other) == room(name) for other in others))
    other = next(other for other in turned[one] if room(other) == room(one))
    turned[other].add(one)
    assert set(circle(turned)) >= {one, other}


def test_the_house_is_low():
    files = graph()

    @cache
    def height(name: str) -> int:
        return 1 + max((height(other) for other in files[name]), default=0)

    assert max(height(name) for name in files) <= LONGEST
    pairs = {(room(name), room(other)) for name, others in files.items() for other in others} - {
        (one, one) for one in FLOORS
    }
    assert len(pairs) <= PAIRS


@pytest.mark.parametrize("name", FILES)
def test_a_file_fits_a_sitting(name):
    assert len(FILES[name].read_text().splitlines()) <= LINES


@pytest.mark.parametrize("words", ["--help", "spaces", "status --help", "status", "cluster check --help", "reproduce"])
def test_quick_commands_import_neither_torch_nor_ray(words):
    code = (
        f"import sys; sys.argv = ['kdsearch', *{words.split()!r}]\n"
        "from kdsearch.cli import main\n"
        "try:\n    main()\nexcept SystemExit as end:\n    assert not end.code\n"
        "heavy = {'torch', 'ray', 'altair', 'sklearn'} & set(sys.modules)\nassert not heavy, heavy\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)


def test_charts_and_status_need_no_torch():
    code = "import sys, kdsearch.analysis.report, kdsearch.cli.tables\nassert not {'torch', 'ray'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
