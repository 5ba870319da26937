"""What charts show, and what they leave out and say so."""

import json
from typing import Any

import pandas as pd
import pytest
from ended import FACTS, searched

from kdsearch.results.tables import Tables


def analysis(name: str) -> Any:
    import importlib

    return importlib.import_module(f"kdsearch.analysis.{name}")


def drawn(chart: Any) -> str:
    """The chart with its data, as text."""
    return json.dumps(chart.to_dict(), ensure_ascii=False)


def stopped(tables: Tables, *names: str) -> Tables:
    for name in names:
        tables.mark(name, "stopped", "behind")
    return tables


def test_the_trial_that_was_clicked_has_no_state_s_colour():
    frames = analysis("frames")
    assert frames.CHOSEN not in frames.COLOURS.values()


def test_a_legend_names_only_what_is_drawn(tmp_path):
    tables = searched(tmp_path, ("0", None, 50_000, 0.9), ("1", None, 60_000, 0.92), ("kd", "kd", 55_000, 0.91))
    spec = analysis("pareto").chart(tables, FACTS).to_dict()
    scales = [
        layer["encoding"][channel]["scale"]["domain"]
        for layer in spec["layer"]
        for channel in ("color", "shape")
        if "scale" in layer.get("encoding", {}).get(channel, {}) and "domain" in layer["encoding"][channel]["scale"]
    ]
    assert ["complete"] in scales and ["teacher", "kd"] in scales
    assert all(set(domain) <= {"complete", "teacher", "kd"} for domain in scales)


def test_stopped_trials_far_below_do_not_squeeze_the_front_and_are_counted(tmp_path):
    told = [("0", None, 50_000, 0.90), ("1", None, 60_000, 0.95), ("2", None, 70_000, 0.20), ("3", None, 70_000, 0.88)]
    tables = stopped(searched(tmp_path, *told), "2", "3")
    chart = analysis("pareto").chart(tables, FACTS)
    assert chart.to_dict()["title"]["subtitle"] == ["zoomed in: 1 trials that were not fully trained lie below 83 %"]
    text = drawn(chart)
    assert '"trial": "3"' in text and '"trial": "2"' not in text


def test_where_nothing_is_squeezed_nothing_is_left_out(tmp_path):
    tables = stopped(searched(tmp_path, ("0", None, 50_000, 0.90), ("1", None, 70_000, 0.88)), "1")
    chart = analysis("pareto").chart(tables, FACTS)
    assert "subtitle" not in chart.to_dict()["title"] or not chart.to_dict()["title"]["subtitle"]
    assert '"trial": "1"' in drawn(chart)


def test_references_of_one_size_stand_beside_each_other(tmp_path):
    told = [("0", None, 50_000, 0.9), *((name, name, 55_000, 0.91) for name in ("labels", "kd", "hint+kd"))]
    layers = analysis("pareto").chart(searched(tmp_path, *told), FACTS).to_dict()["layer"]
    asides = [layer["mark"].get("xOffset", 0) for layer in layers if layer["mark"].get("filled")]
    assert sorted(asides) == [-11, 0, 0, 11]  # the teacher has a place of its own


@pytest.mark.parametrize("evil", ["<!--<script>", "</script><b>"])
def test_no_word_of_a_space_ends_the_report_s_script(tmp_path, evil):
    tables = searched(tmp_path, ("0", None, 50_000, 0.9), ("1", None, 60_000, 0.92), word=[evil, "b"])
    text = analysis("report")._embedding({"pareto": analysis("pareto").chart(tables, FACTS)})
    assert evil not in text and "<" not in text.partition("=>")[0]
    assert evil in json.dumps(
        json.JSONDecoder().raw_decode(text.removeprefix("const charts = "))[0], ensure_ascii=False
    )


def test_confusion_is_read_from_what_stands_beside_the_students(tmp_path):
    import torch

    from kdsearch.distill.store import save_net

    tables = searched(tmp_path, ("0", None, 50_000, 0.9), ("1", None, 60_000, 0.92))
    told = {"classes": ["cat", "dog"], "confusion": [[0, 0, 7], [0, 1, 1], [1, 1, 4]]}
    save_net(tmp_path / "students" / "0.safetensors", torch.nn.Linear(2, 2), told)
    confusion = analysis("confusion")
    assert list(confusion.members(tables)) == ["0"]
    found = confusion.frame(confusion.members(tables)).to_dict("records")
    assert found[1] == {"trial": "0", "class": "cat", "taken for": "dog", "images": 1, "of": 8, "share": 0.125}
    assert "dog" in drawn(confusion.chart(tables, FACTS))


@pytest.mark.parametrize("text", [b"", b"\xff" * 40, b"\x02\0\0\0\0\0\0\0{}", b"\x04\0\0\0\0\0\0\0null"])
def test_a_student_that_is_damaged_has_no_panel(tmp_path, text):
    from kdsearch.results.students import made

    (tmp_path / "students").mkdir()
    (tmp_path / "students" / "0.safetensors").write_bytes(text)
    assert made(tmp_path, "0") is None and made(tmp_path, "1") is None


def test_a_grid_s_curves_are_coloured_by_cell(tmp_path):
    tables = searched(tmp_path, ("0", None, 50_000, 0.9), ("1", None, 60_000, 0.92), width=["a", "b"])
    for name in "01":
        row = {"link": 1, "stage": "kd", "epoch": 1, "kd_epoch": 1, "accuracy": 0.5, "balanced_accuracy": 0.5}
        tables.epochs.append({"trial": name, **row, "seconds": 1.0})
    grid = FACTS.model_copy(update={"sampler": "grid"})
    assert '"field": "cell"' in drawn(analysis("curves").chart(tables, grid))
    assert '"field": "cell"' not in drawn(analysis("curves").chart(tables, FACTS))


def test_where_there_is_no_landscape_no_best_point_is_named(tmp_path, monkeypatch):
    import pandas as pd

    lambda_tau = analysis("lambda_tau")
    points = pd.DataFrame({"lambda": [0.1 * n for n in range(9)], "tau": [2.0] * 9, "accuracy": [0.9] * 9})
    points = points.assign(
        trial=[str(n) for n in range(9)], compression=1.0, parameters=1, pairs="none", kind="complete"
    )
    monkeypatch.setattr(lambda_tau, "points", lambda tables: points)
    for span, said in ((0.001, "There is no landscape to see"), (0.2, "The surface is highest at λ = 0.50")):
        surface = pd.DataFrame(
            {"lambda": [0.1, 0.5], "tau": [2.0, 4.0], "accuracy": [0.9, 0.9 + span], "error": [0.01, 0.01],
             "left": [0.0, 0.4], "right": [0.2, 0.6], "low": [1.5, 3.0], "high": [2.5, 5.0]}
        )  # fmt: skip
        monkeypatch.setattr(lambda_tau, "landscape", lambda trials, surface=surface: (surface, 0.01))
        text = drawn(lambda_tau.chart(Tables(tmp_path), FACTS))
        assert said in text.replace("\u00a0", " ") and (span > 0.01) == ("The surface is highest" in text)


def test_what_was_printed_and_what_is_here_are_points_on_axes_of_one_length():
    cell = {"place": "mean", "low": 0.9, "high": 0.92, "said": "–"}
    shown = pd.DataFrame([cell | {"arm": "KD", "accuracy": 0.91}, cell | {"arm": "1→3", "accuracy": 0.94}])
    published = pd.DataFrame([{"arm": "KD", "accuracy": 0.7}, {"arm": "1→3", "accuracy": 0.69}])
    intervals = analysis("intervals")
    here, there, left, right = intervals.aligned(shown, published, ["1→3", "KD"])
    assert here["accuracy"].round(6).tolist() == [0, 3] and here["low"].round(6).tolist() == [-1, -1]
    assert there["accuracy"].round(6).tolist() == [0, -1]
    assert left.title == "points from KD (validation)" and right.title == "points from KD (test, printed)"
    assert left.domain == right.domain and left.domain[0] < -1 and left.domain[1] > 3
    other = published.assign(arm=["a", "b"])
    assert intervals.aligned(shown, other, ["a", "b"])[2:] == (intervals.HERE, intervals.PRINTED)


def test_two_grids_colours_reach_equally_far():
    said = {"alpha": 0.2, "T": 2, "number": "–"}
    alpha_temperature = analysis("alpha_temperature")
    grid = alpha_temperature.points(pd.DataFrame([said | {"accuracy": 0.9}, said | {"accuracy": 0.94}]))
    assert grid["points"].round(6).tolist() == [-2, 2]
    drawn = alpha_temperature.printed_grid(grid, 7.0).to_dict()
    assert drawn["layer"][0]["encoding"]["stroke"]["scale"]["domain"] == [-7.0, 7.0]


def by_method(folder, **accuracies: tuple[float, ...]) -> Tables:
    """A grid over methods, two seeds a cell; an epoch of AT takes three of labels, and its term does nothing."""
    told = [(method, accuracy) for method, own in accuracies.items() for accuracy in own]
    rows = [(str(place), None, 50_000, accuracy) for place, (_, accuracy) in enumerate(told)]
    tables = searched(folder, *rows, method=[method for method, _ in told])
    firsts = {method: next(place for place, own in enumerate(told) if own[0] == method) for method in accuracies}
    for place, (method, _) in enumerate(told):
        name = str(place)
        tables.trials[name]["replicate_of"] = None if place == firsts[method] else str(firsts[method])
        shares = {"gradient.ce": 0.9999, "gradient.at": 0.0001} if method == "AT" else {"gradient.ce": 1.0}
        row = {"link": 1, "stage": "kd", "kd_epoch": 1, "accuracy": 0.5, "balanced_accuracy": 0.5, **shares}
        tables.epochs.append({"trial": name, "epoch": 1, "seconds": 3.0 if method == "AT" else 1.0, **row})
    return tables


def test_methods_are_told_by_what_they_add_to_labels_and_what_they_cost(tmp_path):
    methods = analysis("methods")
    tables = by_method(tmp_path, labels=(0.80, 0.82), AT=(0.90, 0.92), KD=(0.79, 0.84))
    own = {str(cell.knobs["method"]): cell for cell in analysis("intervals").found(tables, FACTS)}
    gains = methods.gained(own, own["labels"], FACTS).set_index("method")
    assert dict(gains["gain"]) == pytest.approx({"AT": 10.0, "KD": 0.5})
    assert gains["low"]["AT"] > 0 and gains["low"]["KD"] < 0 < gains["high"]["KD"]
    assert "not told apart" in gains["said"]["KD"] and "not told apart" not in gains["said"]["AT"]
    shown = methods.shown(tables, own, ["AT", "KD"])
    assert dict(shown.drop_duplicates("method").set_index("method")["cost"]) == {"AT": 3.0, "KD": 1.0}
    assert "so that it does nothing: at of AT" in drawn(methods.chart(tables, FACTS))


def test_without_labels_there_is_nothing_to_count_methods_from(tmp_path):
    said = drawn(analysis("methods").chart(by_method(tmp_path, AT=(0.9, 0.9)), FACTS))
    assert "counts from 'labels', which no trial here" in said


def test_a_method_s_weight_is_told_in_units_of_the_published_one(tmp_path):
    own = [{"method": "AT", "AT weight": 100.0}, {"method": "KD", "KD weight": 0.9, "tau": 4.0}]
    tables = searched(tmp_path, ("0", None, 50_000, 0.9), ("1", None, 50_000, 0.8))
    for name, knobs in enumerate(own):
        tables.trials[str(name)] |= {f"knob.{key}": value for key, value in knobs.items()}
    points = analysis("method_weights").weighed(tables).set_index("method")
    assert dict(points["times"]) == pytest.approx({"AT": 0.1, "KD": 1.0})
    assert analysis("method_weights").chart(tables, FACTS).to_dict()
