"""What a search looks at: accuracy, or its mean over classes."""

import math

import pytest

from kdsearch.errors import Refusal
from kdsearch.results import files, front
from kdsearch.results.facts import Facts
from kdsearch.results.metric import guesses, score, words
from kdsearch.search import unconfirmed

PLAIN = {
    "space": "s", "command": "c", "trials": 1, "seed": 0, "data": "d", "fingerprint": "f", "images": 9,
    "validation_images": 10, "classes": 4, "knobs": {},
}  # fmt: skip


def row(trial: str, accuracy: float, balanced: float | None, metric: str | None, compression: float = 10.0) -> dict:
    return {
        "trial": trial, "reference": None, "replicate_of": None, "state": "complete", "accuracy": accuracy,
        "balanced_accuracy": balanced, "metric": metric, "compression": compression,
    }  # fmt: skip


def test_the_front_is_of_what_the_search_was_told_to_look_at():
    for metric, best in (("accuracy", "0"), ("balanced", "1"), (None, "0")):
        rows = [row("0", 0.9, 0.5, metric), row("1", 0.8, 0.7, metric)]
        assert front.members(rows) == [best]
        assert front.best({own["trial"]: own for own in rows}, "accuracy") == best


def test_an_older_trial_without_a_metric_counts_by_its_accuracy():
    old = row("0", 0.9, None, None)
    del old["metric"]
    assert score(old) == 0.9


def test_chance_is_the_commonest_class_and_for_the_mean_over_classes_any():
    assert Facts(**PLAIN).chance == 0.25
    assert Facts(**PLAIN, largest_class=0.7).chance == 0.7
    assert Facts(**PLAIN, largest_class=0.7, metric="balanced").chance == 0.25


def test_a_search_that_is_no_better_than_the_commonest_class_dominates_nothing():
    rows = [row("0", 0.7, 0.25, None)]
    assert front.reached(rows, Facts(**PLAIN, largest_class=0.7).chance) == 0
    assert front.reached(rows, 0.25) == pytest.approx(math.log10(10.0) * 0.45)


def test_an_older_table_lacks_the_new_columns_and_is_read(tmp_path):
    told = {"trial": "0", "link": 0, "stage": "kd", "epoch": 1, "kd_epoch": 1, "accuracy": 0.5, "seconds": 1.0}
    files.write_table(tmp_path / "epochs.parquet", [told], files.EPOCHS)
    import pyarrow.parquet as pq

    table = pq.read_table(tmp_path / "epochs.parquet").drop_columns(["balanced_accuracy"])
    pq.write_table(table, tmp_path / "epochs.parquet")
    assert files.read_table(tmp_path / "epochs.parquet", files.EPOCHS, "") == [told | {"balanced_accuracy": None}]
    pq.write_table(table.drop_columns(["kd_epoch"]), tmp_path / "epochs.parquet")
    with pytest.raises(Refusal, match="damaged"):
        files.read_table(tmp_path / "epochs.parquet", files.EPOCHS, "")


@pytest.mark.parametrize("metric, balanced", [("balanced", None), ("loss", 0.5), ("balanced", 1.5)])
def test_a_finished_trial_without_what_its_search_looks_at_is_damaged(metric, balanced):
    told = row("0", 0.9, balanced, metric) | {"parameters": 5, "pipeline": '{"links": [1]}'}
    with pytest.raises(files.IMPOSSIBLE):
        files.check_trials([told])
    files.check_trials([told | {"metric": "accuracy", "balanced_accuracy": 0.5}])


def test_chance_of_the_mean_over_classes_is_of_those_that_judge():
    assert Facts(**PLAIN, judged_classes=2, metric="balanced").chance == 0.5


def test_charts_and_titles_are_of_what_the_search_looks_at(tmp_path):
    import importlib

    from ended import FACTS, searched

    tables = searched(tmp_path, ("0", None, 50_000, 0.9), ("1", None, 60_000, 0.95))
    for one, balanced in zip(tables.trials.values(), (0.8, 0.6), strict=True):
        one |= {"metric": "balanced", "balanced_accuracy": balanced}
    facts = FACTS.model_copy(update={"metric": "balanced"})
    frames, pareto = (importlib.import_module(f"kdsearch.analysis.{name}") for name in ("frames", "pareto"))
    assert frames.trials(tables)["accuracy"].tolist() == [0.8, 0.6]
    text = str(pareto.chart(tables, facts).to_dict())
    assert "balanced accuracy (validation)" in text and words(None) == "accuracy"


def test_the_selected_run_of_a_balanced_search_keeps_its_place_among_confirmed_seeds():
    trial = {"trial": "1", "accuracy": 0.95, "balanced_accuracy": 0.6, "seconds": 2.0}
    known = unconfirmed._row(trial, 5, selected=True)
    assert (known["accuracy"], known["balanced_accuracy"], known["seconds"]) == (0.95, 0.6, 2.0)
    assert unconfirmed._row(trial, 5, selected=False)["balanced_accuracy"] is None


def test_who_guesses_is_told_from_who_learns_however_likely_the_commonest_class_is():
    assert guesses(0.12, 0.1) and not guesses(0.14, 0.1)
    assert guesses(0.85, 0.8) and not guesses(0.87, 0.8)
