"""What is printed: numbers as a person reads them, and text as it is."""

import io
import math

import pytest
from helpers import facts, pipeline

from kdsearch.cli import tables as cli_tables
from kdsearch.results import files, format, show
from kdsearch.results import tables as results_tables


def printed(tables: results_tables.Tables) -> str:
    out = io.StringIO()
    console = show.console()
    console.file, console.width = out, 100
    cli_tables.summary(tables, facts(teacher_accuracy=0.991), console)
    return out.getvalue()


@pytest.fixture
def tables(tmp_path) -> results_tables.Tables:
    found = results_tables.Tables(tmp_path)
    sizes = {"parameters": 12_345, "compression": 51.88, "training_parameters": 1, "macs": 1}
    for name, reference in (("labels", "labels"), ("0", None), ("1", None)):
        found.add(name, pipeline().model_dump(mode="json"), sizes | {"reference": reference}, {})
        found.extend(
            name, [{"link": 1, "stage": "kd", "epoch": 4, "kd_epoch": 2, "accuracy": 0.9876, "seconds": 1.0}], 1
        )
    found.mark("labels", "complete")
    return found


def test_numbers_are_read_at_a_glance():
    assert [format.percent(value) for value in (0.98765, 1.0, None)] == ["98.8 %", "100.0 %", "–"]
    assert [format.duration(value) for value in (9, 75, 3_700)] == ["9 s", "1 min 15 s", "1 h 1 min"]


def test_the_front_the_references_and_the_teacher_are_shown(tables):
    assert "there is no front" in printed(tables)
    tables.mark("0", "complete")
    said = printed(tables)
    assert "98.8 %" in said and "12,345" in said and "51.9×" in said and "2→4" in said
    assert "References" in said and "Teacher: accuracy 99.1 %" in said


def test_how_many_epochs_and_seeds_stand_behind_a_point_is_shown(tables):
    tables.mark("0", "complete")
    line = next(line for line in printed(tables).splitlines() if line.split()[:1] == ["0"])
    assert line.split()[-2:] == ["4", "1"]
    seeds = [
        {"trial": "0", "seed": seed, "selected": seed == 0, "accuracy": None if seed == 3 else 0.9} for seed in range(4)
    ]
    files.write_table(tables.folder / "confirmed.parquet", seeds, files.CONFIRMED)
    line = next(line for line in printed(tables).splitlines() if line.split()[:1] == ["0"])
    assert line.split()[-2:] == ["4", "2"]


def test_the_front_s_hypervolume_and_what_it_took_are_shown(tables):
    tables.mark("0", "complete")
    area = math.log10(51.88) * (0.9876 - 0.1)
    assert f"Hypervolume {area:.3f} (decades of compression × accuracy above chance) after 8 epochs" in printed(tables)


def test_why_a_search_ended_early_is_told(tables):
    out = io.StringIO()
    console = show.console()
    console.file = out
    cli_tables.summary(tables, facts(trials=9, why_ended="every cell of 's' was drawn"), console)
    assert "Ended after 9 draws: every cell of 's' was drawn." in out.getvalue()


def test_a_trial_that_is_not_distilling_is_warned_of(tables):
    tables.epochs.append({"trial": "0", "stage": "kd", "gradient.kd": 0.0002})
    assert "trial 0: the loss kd had under 0.1 % of the gradient in all of stage kd" in printed(tables)


def test_a_cause_in_brackets_is_printed_as_it_is(tables):
    tables.mark("1", "failed", "OSError: [Errno 28] no room [/left]")
    assert "Failed: trial 1: OSError: [Errno 28] no room [/left]" in printed(tables)
