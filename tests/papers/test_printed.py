"""What the papers printed is on file, as printed, with what the print got wrong."""

import csv

import pytest

from kdsearch.config import papers
from kdsearch.config.net import Net
from kdsearch.config.pipeline import Hints, Link, Pair
from kdsearch.errors import Refusal
from kdsearch.nets import survey
from kdsearch.papers import printed


@pytest.mark.parametrize("table", printed.names())
def test_a_file_is_its_table_row_by_row_with_numbers_that_can_be(table):
    with (printed.folder() / f"{table}.csv").open(encoding="utf-8", newline="") as file:
        lines = list(csv.DictReader(file))
    assert list(lines[0]) == ["table", "row", "quantity", "printed", "correct", "note"]
    assert {line["table"] for line in lines} == {table}
    found = printed.read(table)
    assert len({(line.row, line.quantity) for line in found}) == len(found)
    for line in found:
        assert line.quantity in ("accuracy", "parameters", "compression") and line.printed > 0
        assert line.quantity != "accuracy" or line.printed < 100
        assert line.correct is None or (line.correct != line.printed and line.note)


def test_all_twelve_tables_are_there():
    assert len(printed.names()) == 12


def test_an_unknown_table_is_refused_with_the_nearest_one():
    with pytest.raises(Refusal, match=r"Did you mean 'seed1-table1'"):
        printed.read("seed1-table11")


@pytest.mark.parametrize("table, classes", [("seed1-table1", 10), ("seed1-table2", 100)])
def test_seed_1_s_counts_are_those_of_its_networks_with_regressors(table, classes):
    student, found = Net(depth=9), {}
    for block, row in enumerate(("1→3", "2→6", "3→9"), start=1):
        link = Link(net=student, hints=Hints(pairs=(Pair(hint=block, guided=3 * block),)))
        found[row] = survey.training_parameters(link, papers.HINTING, (3, 32, 32), classes)
    found["labels"] = survey.survey(student, (3, 32, 32), classes).parameters
    found["teacher"] = survey.survey(papers.HINTING, (3, 32, 32), classes).parameters
    told = {line.row: line.correct or line.printed for line in printed.read(table) if line.quantity == "parameters"}
    assert {row: told[row] for row in found} == found


def test_a_wrong_print_is_corrected_where_it_is_drawn():
    lines = {(line.row, line.quantity): line for line in printed.read("seed1-table6")}
    wrong = lines["1→3 2→6", "parameters"]
    assert (wrong.printed, wrong.correct) == (170_548, 273_432) and "hint 1 alone" in wrong.note
    assert printed.accuracies("seed1-table1")["teacher"] == pytest.approx(0.7722)
