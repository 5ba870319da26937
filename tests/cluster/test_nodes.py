"""What a node said, judged."""

import pytest
from rich.console import Console

from kdsearch.cluster.nodes import Expected, Node, check, judge, runs_trials, table
from kdsearch.errors import Refusal

VERSIONS = {"python": "3.12.1", "ray": "2.60.0", "torch": "2.13.0", "kdsearch": "0.1.0"}
EXPECTED = Expected(VERSIONS, "f00d", "nonce")
WELL = {**VERSIONS, "data": {"fingerprint": "f00d"}, "read": "nonce", "seen": "nonce"}


def judged(**said: object) -> Node:
    node = Node("gpu-1", head=False, trials=True)
    judge(node, {name: value for name, value in (WELL | said).items() if value is not None}, EXPECTED)
    return node


def test_a_node_where_all_is_equal_has_no_problems():
    node = judged()
    assert not node.problems and node.cells["data"] == node.cells["storage"] == "ok"
    check([node])


@pytest.mark.parametrize("name", VERSIONS)
def test_another_version_is_a_problem(name):
    node = judged(**{name: "0.0.0"})
    assert set(node.problems) == {name} and f"{name} is 0.0.0 and here it is {VERSIONS[name]}" in node.problems[name]


def test_a_node_without_kdsearch_is_told_once_and_its_storage_and_data_are_left_open():
    node = judged(kdsearch=None, data=None, read=None, storage="ModuleNotFoundError", **{"no kdsearch": "No module"})
    assert set(node.problems) == {"kdsearch"} and "pip install kdsearch" in node.problems["kdsearch"]
    assert node.cells["kdsearch"] == "missing" and node.cells["storage"] == node.cells["data"] == "–"


@pytest.mark.parametrize(
    "data, said",
    [({"fingerprint": "beef"}, "data differ .fingerprint beef, here f00d"), ({"error": "no such"}, "no such")],
)
def test_other_data_are_a_problem(data, said):
    node = judged(data=data)
    assert set(node.problems) == {"data"}
    with pytest.raises(Refusal, match=said):
        check([node])


@pytest.mark.parametrize("said", [{"storage": "FileNotFoundError"}, {"read": "other"}, {"seen": None}, {"seen": "x"}])
def test_a_storage_that_is_not_shared_is_a_problem(said):
    node = judged(**said)
    assert set(node.problems) == {"storage"} and "s3://bucket/path" in node.problems["storage"]


def test_a_silent_node_is_a_problem():
    node = Node("gpu-1", head=False, trials=True)
    judge(node, {"error": "no answer in 30 s"}, EXPECTED)
    assert set(node.problems) == {"host"} and "no answer in 30 s" in node.problems["host"]


def test_the_refusal_counts_the_nodes_and_names_those_that_are_wrong():
    nodes = [judged(), judged(torch="2.0.0"), judged(data={"error": "x"})]
    with pytest.raises(Refusal, match=r"^2 of 3 nodes cannot run trials: gpu-1: torch is 2.0.0 .*; gpu-1: the data"):
        check(nodes)


def test_the_table_has_a_row_a_node_and_its_wrong_cells_are_red():
    head = Node("head", head=True, trials=False)
    console = Console(width=160, record=True, force_terminal=True, color_system="standard")
    with console.capture() as capture:
        console.print(table([head, judged(torch="2.0.0")]))
    shown = capture.get()
    assert "head, no trials" in shown and "\x1b[31m2.0.0" in shown and "\x1b[31m2.60.0" not in shown


def test_a_node_with_neither_cpus_nor_gpus_runs_no_trials():
    assert not runs_trials({"memory": 1.0, "CPU": 0.0}) and runs_trials({"GPU": 1.0}) and runs_trials({"CPU": 2.0})
