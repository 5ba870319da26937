"""What a search has spent, on tables small enough to add up by hand."""

import json
import math

import pytest
from helpers import facts

from kdsearch.results import costs
from kdsearch.results import tables as results_tables

FACTS = facts(networks={"teacher": {"macs": 1_000}})


def row(trial: str, stage: str = "kd", link: int = 1, seconds: float = 1.0, epoch: int = 1) -> dict:
    return {"trial": trial, "link": link, "stage": stage, "epoch": epoch, "seconds": seconds}


def tables(folder, *epochs: dict) -> results_tables.Tables:
    """Draws 0 and 1 fully trained, 2 stopped, 3 running; one reference. 0 lies on chance + 0.5 at a compression of
    100, 1 on chance + 0.8 at a compression of 10."""
    found = results_tables.Tables(folder, epochs=list(epochs))
    told = {
        "0": ("complete", None, 0.6, 100.0, 10), "1": ("complete", None, 0.9, 10.0, 100),
        "2": ("stopped", None, 0.99, 50.0, 20), "3": ("running", None, 0.99, 50.0, 20),
        "kd": ("complete", "kd", 0.99, 1000.0, 7),
    }  # fmt: skip
    pipeline = json.dumps({"links": [{}, {}]})
    for name, (state, reference, accuracy, compression, macs) in told.items():
        found.trials[name] = {
            "trial": name, "state": state, "reference": reference, "accuracy": accuracy, "compression": compression,
            "macs": macs, "pipeline": pipeline,
        }  # fmt: skip
    return found


@pytest.fixture
def whole(tmp_path) -> results_tables.Tables:
    """The teacher, then trials whose epochs come in between one another."""
    return tables(
        tmp_path,
        row("teacher", "labels", 0, 5.0), row("teacher", "labels", 0, 5.0),
        row("1", "record", 0, 8.0), row("kd", seconds=3.0),
        row("1", "hint", seconds=2.0), row("2"), row("1", seconds=2.0),
        row("0"), row("3"), row("0"), row("2"),
    )  # fmt: skip


def test_epochs_are_booked_to_students_references_teachers_or_recording(whole):
    spent = costs.spent(whole, FACTS)
    assert tuple(spent) == costs.KINDS
    assert spent["students"] == {
        "count": 4, "epochs": 7, "weighted_epochs": 2 * 10 + 2 * 100 + 2 * 20 + 20, "seconds": 9.0,
    }  # fmt: skip
    assert spent["references"] == {"count": 1, "epochs": 1, "weighted_epochs": 7, "seconds": 3.0}
    assert spent["teachers"] == {"count": 1, "epochs": 2, "weighted_epochs": 2_000, "seconds": 10.0}
    assert spent["recording"] == {"count": 1, "epochs": 1, "weighted_epochs": None, "seconds": 8.0}


def test_a_teacher_from_the_store_costs_nothing(tmp_path):
    nothing = {"count": 0, "epochs": 0, "weighted_epochs": 0, "seconds": 0}
    spent = costs.spent(tables(tmp_path, row("0")), FACTS)
    assert spent["teachers"] == spent["recording"] == nothing and spent["students"]["epochs"] == 1


def test_an_assistant_that_a_trial_had_to_train_itself_is_booked_to_the_teachers(tmp_path):
    found = tables(tmp_path, row("0", link=1), row("0", link=2))
    found.trials["0"]["pipeline"] = json.dumps({"links": [{}, {}, {}]})
    spent = costs.spent(found, FACTS)
    assert spent["students"]["epochs"] == 1 and spent["students"]["weighted_epochs"] == 10
    assert spent["teachers"] == {"count": 1, "epochs": 1, "weighted_epochs": None, "seconds": 1.0}


def test_a_search_that_did_not_write_its_teacher_s_macs_has_no_weighted_epochs_of_it(whole):
    spent = costs.spent(whole, facts(networks={"teacher": {}}))
    assert spent["teachers"]["weighted_epochs"] is None and spent["teachers"]["epochs"] == 2


def test_the_hypervolume_grows_as_draws_are_completed_over_the_cost_of_all_draws_by_then(whole):
    first, second = costs.growth(whole, FACTS)
    assert [(at["trial"], at["completed"]) for at in (first, second)] == [("1", 1), ("0", 2)]
    # By the end of 1: two of its epochs, one of the trial that was stopped. References and the teacher cost nothing.
    assert [first[name] for name in costs.COSTS] == [3, 2 * 100 + 20, 5.0]
    assert [second[name] for name in costs.COSTS] == [6, 2 * 100 + 2 * 20 + 2 * 10, 8.0]
    assert math.isclose(first["hypervolume"], 1 * (0.9 - 0.1))
    assert math.isclose(second["hypervolume"], 2 * (0.6 - 0.1) + 1 * (0.9 - 0.6))


def test_a_dominated_draw_costs_and_adds_nothing(whole):
    whole.trials["0"] |= {"accuracy": 0.85, "compression": 9.0}
    first, second = costs.growth(whole, FACTS)
    assert second["hypervolume"] == first["hypervolume"] and second["epochs"] > first["epochs"]


def test_without_a_completed_draw_nothing_has_grown(tmp_path):
    assert costs.growth(tables(tmp_path, row("2"), row("3"), row("kd")), FACTS) == []
