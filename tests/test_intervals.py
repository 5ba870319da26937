"""The answers of the papers' spaces: what is drawn of a grid, what of the print, and what stands under the picture."""

import importlib
import math
from pathlib import Path
from typing import Any

import pytest
from helpers import FACTS, facts, pipeline

from kdsearch.papers import printed
from kdsearch.results import cells
from kdsearch.results import tables as results_tables
from kdsearch.results.facts import Facts, write_facts
from kdsearch.search import spaces

HINTS = ["labels", "KD", "1→3", "2→6", "3→9"]
KNOBS: dict[str, list[dict[str, Any]]] = {
    "hint_location": [{"hint": name} for name in HINTS],
    "depth": [{"depth": depth} for depth in (3, 6, 9, 12)],
    "multi_hint": [{"hints": name} for name in ("1", "2", "3", "1+2", "2+3", "1+3", "1+2+3")],
    "mnist_basics": [{"taught": name} for name in ("labels", "KD")],
    "alpha_temperature": [{"alpha": a, "T": t} for a in (0.2, 0.4, 0.6, 0.8, 1.0) for t in (2, 4, 6, 8, 10)],
    "data_fraction": [
        {"fraction": share, "taught": name}
        for share in (0.05, 0.1, 0.15, 0.25, 0.5, 0.75, 1.0) for name in ("labels", "KD")
    ],
    "teacher_free": [
        {"teacher": name}
        for name in ("labels", "itself, T 2", "itself, T 4", "itself, T 10", "virtual, 0.99", "virtual, 0.9")
    ],
    "distilled_teacher": [{"generation": number} for number in range(4)],
    "assistant_size": [{"assistant": name} for name in ("labels", "none", "4", "6", "8", "8→6→4")],
}  # fmt: skip
"""The cells of each grid."""
PRINTS = {
    ("hint_location", "cifar10"): {"seed1-table1": HINTS},
    ("hint_location", "cifar100"): {"seed1-table2": HINTS},
    ("depth", "cifar10"): {"seed1-table3": ["1→1", "1→2", "1→3", "1→4"]},
    ("depth", "cifar100"): {"seed1-table4": ["1→1", "1→2", "1→3", "1→4"]},
    ("multi_hint", "digits"): {"seed1-table1": HINTS[2:], "seed1-table5": ["1→3 2→6", "2→6 3→9", "1→3 3→9"]},
    ("multi_hint", "cifar100"): {"seed1-table2": HINTS[2:], "seed1-table6": ["1→3 2→6", "2→6 3→9", "1→3 3→9"]},
    ("mnist_basics", "mnist"): {"seed2-table1": ["labels", "KD"]},
    ("teacher_free", "cifar10"): {"seed2-teacher-free": ["labels", "α=0.4 T=2", "α=0.4 T=4", "α=0.4 T=10"]},
    ("distilled_teacher", "digits"): {"seed2-distilled-teacher": ["labels", "teacher", "α=0.4 T=4"]},
    ("assistant_size", "digits"): {"seed2-table3": ["labels", "KD", "4", "6", "8", "8→6→4"]},
    ("data_fraction", "cifar10"): {"seed2-data-fraction": list(printed.accuracies("seed2-data-fraction"))},
    ("alpha_temperature", "digits"): {
        "seed2-alpha-temperature": [row for row in printed.accuracies("seed2-alpha-temperature") if "T=" in row]
    },
}
"""Rows of the tables that a search of a space on some data shows."""


def analysis(name: str) -> Any:
    return importlib.import_module(f"kdsearch.analysis.{name}")


def searched(
    folder: Path, space: str, data: str = "digits", seeds: int = 3, near: float = 0.75, failed: tuple = ()
) -> tuple[results_tables.Tables, Facts]:
    """A grid as tune leaves it, accuracies around `near`; all seeds of the cells `failed` failed."""
    tables = results_tables.Tables(folder)
    for place, knobs in enumerate(KNOBS[space]):
        for seed in range(seeds):
            plain = pipeline().model_dump(mode="json")
            plain["links"][-1]["seed"] = seed
            name, first = f"{place}-{seed}" if seed else str(place), {"replicate_of": str(place)} if seed else {}
            known = {"parameters": 100, "compression": 19.0, "training_parameters": 120, "macs": 9}
            tables.add(name, plain, known | first, knobs)
            accuracy = near + 0.004 * place + 0.001 * seed
            row = {"link": 1, "stage": "kd", "epoch": 1, "kd_epoch": 1, "accuracy": accuracy, "seconds": 1.0}
            if place not in failed:
                tables.extend(name, [row], student=1)
                tables.mark(name, "complete")
            else:
                tables.mark(name, "failed", "Loss became nan")
    told = {
        "space": space, "data": data, "images": 40_000, "validation_images": 10_000, "trials": len(tables.trials),
        "epochs": 20, "sampler": "grid", "rule": "none", "teacher_accuracy": 0.9,
    }  # fmt: skip
    write_facts(folder, FACTS | told)
    tables.write(at_once=True)
    return tables, facts(**told)


def drawn(tmp_path: Path, space: str, *told: Any, **more: Any) -> dict[str, Any]:
    return analysis(space).chart(*searched(tmp_path, space, *told, **more)).to_dict()


def layers(chart: dict[str, Any]) -> list[dict[str, Any]]:
    """Of all panels, each with its data; a panel without layers is one."""
    return [panel | layer for panel in chart["hconcat"] for layer in panel.get("layer", [panel])]


def marks(chart: dict[str, Any], kind: str, **properties: Any) -> list[list[dict[str, Any]]]:
    """The rows of each layer with such a mark."""
    found = [each for each in layers(chart) if each["mark"].items() >= {"type": kind, **properties}.items()]
    return [chart["datasets"][each["data"]["name"]] for each in found]


def caption(chart: dict[str, Any]) -> str:
    assert chart["title"]["orient"] == "bottom"
    return " ".join(" ".join(chart["title"]["text"]).split())


@pytest.mark.parametrize("space, data", PRINTS)
def test_hollow_marks_are_the_printed_numbers_corrected_at_their_places(space, data, tmp_path):
    chart = drawn(tmp_path, space, data)
    (rows,) = marks(chart, "rect" if space == "alpha_temperature" else "point", filled=False)
    asked = PRINTS[space, data]
    expected = [f"{100 * printed.accuracies(table)[row]:.2f}" for table, names in asked.items() for row in names]
    assert [row.get("number", row.get("said", "")).removesuffix(" %") for row in rows] == expected
    knobs = KNOBS[space]
    names = list(knobs[0]) if space == "alpha_temperature" else ["taught", "fraction"] if len(knobs[0]) > 1 else ["arm"]
    places = {tuple(str(cell[name]) for name in names) if len(cell) > 1 else (str(*cell.values()),) for cell in knobs}
    assert {tuple(str(row[name]) for name in names) for row in rows} <= places
    for table in asked:
        assert f"○ printed ({table}): " in caption(chart)


def test_a_corrected_print_is_drawn_as_corrected(tmp_path):
    (rows,) = marks(drawn(tmp_path, "assistant_size"), "point", filled=False)
    assert {row["arm"]: row["said"] for row in rows}["labels"] == "68.66 %"  # the print truncates


def test_a_cell_is_its_mean_with_its_interval_beside_its_seeds(tmp_path):
    tables, own = searched(tmp_path, "hint_location")
    chart = analysis("hint_location").chart(tables, own).to_dict()
    (rules,), (dots,) = marks(chart, "rule"), marks(chart, "circle")
    found = {cell.name: cell.mean for cell in cells.cells(tables, own.validation_images)}
    assert len(rules) == 5 and len(dots) == 5 + 15 and found["KD"]
    level = found["KD"].value  # printed numbers stand beside it, on an axis of points from KD
    for row in rules:
        mean = found[row["arm"]]
        assert mean and mean.half
        points = 100 * (mean.value - level)
        assert (row["accuracy"], row["low"], row["high"]) == pytest.approx(
            (points, points - 100 * mean.half, points + 100 * mean.half)
        )
    assert {row["trial"] for row in dots if row["place"] == "seed"} == set(tables.trials)


@pytest.mark.parametrize("space", KNOBS)
def test_a_caption_names_the_data_the_images_the_seeds_the_epochs_and_each_protocol(space, tmp_path):
    said = caption(drawn(tmp_path, space))
    assert "● here: digits, 40,000 training and 10,000 validation images, 3 seeds, 20 epochs in every cell" in said
    assert "95 % interval" in said and " test images, " in said and "may be noise" not in said


@pytest.mark.parametrize("space", KNOBS)
def test_one_seed_has_no_interval_and_the_caption_says_so(space, tmp_path):
    chart = drawn(tmp_path, space, seeds=1)
    assert "1 seed, 20 epochs" in caption(chart) and "what differs may be noise" in caption(chart)
    assert all(row["low"] == row["high"] == row["accuracy"] for rows in marks(chart, "rule") for row in rows)
    assert all(row["place"] == "mean" for rows in marks(chart, "circle") for row in rows)


@pytest.mark.parametrize("space", KNOBS)
def test_a_failed_cell_is_named_and_the_others_are_drawn(space, tmp_path):
    tables, own = searched(tmp_path, space, failed=(1,))
    chart = analysis(space).chart(tables, own).to_dict()
    cell = cells.cells(tables, 1)[1]
    name, arm = cell.name, str(next(iter(cell.knobs.values())))
    assert f"failed: {name} (Loss became nan)" in caption(chart)
    shown = marks(chart, "rect" if space == "alpha_temperature" else "circle")[0]
    assert len({row["cell"] for row in shown}) == len(KNOBS[space]) - 1
    if space not in ("alpha_temperature", "data_fraction"):
        axes = [layer["encoding"]["x"]["scale"]["domain"] for layer in layers(chart) if "x" in layer["encoding"]]
        assert arm in axes[0]
        assert marks(chart, "text", text="failed") == [[{"arm": arm, "place": "mean"}]]


def test_a_cell_of_which_one_seed_failed_says_how_many(tmp_path):
    tables, own = searched(tmp_path, "hint_location")
    tables.mark("1-2", "failed", "Loss became nan")
    assert "failed: KD (1 of 3 seeds: Loss became nan)" in caption(
        analysis("hint_location").chart(tables, own).to_dict()
    )


@pytest.mark.parametrize(
    "data, near, panels",
    [("cifar10", 0.75, 1), ("cifar10", 0.40, 2), ("digits", 0.75, 2), ("cifar100", 0.36, 1)],
)
def test_printed_numbers_share_an_axis_where_data_and_height_are_ours(data, near, panels, tmp_path):
    assert len(drawn(tmp_path, "hint_location", data, near=near)["hconcat"]) == panels


@pytest.mark.parametrize("space", sorted(set(spaces.names()) - {"depth_vs_hint", "everything", "own"}))
def test_where_no_trial_has_the_knobs_or_is_trained_a_sentence_says_so(space, tmp_path):
    other = "mnist_basics" if space == "depth" else "depth"
    own = searched(tmp_path, other)[1]
    for tables in (results_tables.read(tmp_path), results_tables.Tables(tmp_path)):
        chart = analysis(space).chart(tables, own).to_dict()
        (row,) = chart["datasets"][chart["data"]["name"]]
        assert "needs" in row["text"]


@pytest.mark.parametrize("space", KNOBS)
def test_a_grid_whose_cells_all_failed_says_so(space, tmp_path):
    chart = drawn(tmp_path, space, failed=tuple(range(25)))
    assert chart["datasets"][chart["data"]["name"]] == [{"text": "No cell is fully trained yet."}]


def landscape(folder: Path, count: int) -> results_tables.Tables:
    """Trials over λ and τ whose accuracy is highest at λ = 0.3, τ = 3."""
    tables = results_tables.Tables(folder)
    for place in range(count):
        share, tau = (place * 0.618) % 1, 20 ** ((place * 0.414) % 1)
        accuracy = 0.9 - 0.2 * (share - 0.3) ** 2 - 0.2 * math.log(tau / 3, 20) ** 2
        known = {"parameters": 100, "compression": 19.0, "training_parameters": 120, "macs": 9}
        tables.add(str(place), pipeline().model_dump(mode="json"), known, {"lambda": share, "tau": tau})
        tables.trials[str(place)] |= {"accuracy": accuracy, "state": "complete"}
    return tables


def test_the_landscape_is_highest_near_the_best_trials(tmp_path):
    surface, noise = analysis("lambda_tau").landscape(analysis("lambda_tau").points(landscape(tmp_path, 40)))
    top = surface.loc[surface["accuracy"].idxmax()]
    assert abs(top["lambda"] - 0.3) < 0.1 and 2.2 < top["tau"] < 4 and noise < 0.005
    assert top["accuracy"] == pytest.approx(0.9, abs=0.01)


def test_the_landscape_is_less_certain_where_no_trial_was(tmp_path):
    points = analysis("lambda_tau").points(landscape(tmp_path, 40))
    surface, _ = analysis("lambda_tau").landscape(points[points["lambda"] < 0.5])
    assert surface[surface["lambda"] > 0.8]["error"].mean() > 3 * surface[surface["lambda"] < 0.5]["error"].mean()


def test_the_landscape_shows_the_trials_on_one_scale_with_it_and_seed_1_s_point(tmp_path):
    chart = analysis("lambda_tau").chart(landscape(tmp_path, 12), facts(epochs=12)).to_dict()
    (dots,) = [rows for rows in marks(chart, "circle") if rows and "trial" in rows[0]]
    (mark,) = marks(chart, "point", filled=False)
    assert len(dots) == 12
    assert [(row["lambda"], row["tau"], row["accuracy"]) for row in mark] == [(0.75, 2.0, pytest.approx(0.7464))]
    assert "12 fully trained trials, 12 epochs each" in caption(chart) and "noise between trials" in caption(chart)
    other = analysis("lambda_tau").chart(landscape(tmp_path, 12), facts(data="cifar100")).to_dict()
    assert marks(other, "point", filled=False)[0][0]["accuracy"] == pytest.approx(0.3574)


def test_seven_trials_are_no_landscape(tmp_path):
    chart = analysis("lambda_tau").chart(landscape(tmp_path, 7), facts()).to_dict()
    (row,) = chart["datasets"][chart["data"]["name"]]
    assert row["text"] == "A landscape needs 8 fully trained trials with λ and τ; here are 7."


def test_every_printed_table_is_told_by_its_data_and_how_it_was_made():
    captions = analysis("captions")
    assert set(captions.PROTOCOLS) == set(printed.names())
    assert {captions.dataset(name) for name in printed.names()} == set(captions.TITLES)
    said = captions.told("seed1-table6")
    assert said.startswith("○ printed (seed1-table6): CIFAR-100 test images, one unseeded run, 15 epochs without")


@pytest.mark.parametrize("space", ["hint_location", "alpha_temperature", "data_fraction"])
def test_the_report_of_a_grid_has_its_answer_its_cells_and_what_they_tell_apart(space, tmp_path):
    tables, own = searched(tmp_path, space, failed=(1,))
    written = analysis("report").write(tmp_path, tmp_path / "r.html", ["png"])
    # One size, nobody stopped: neither a front nor milestones.
    assert [path.name for path in written] == ["r.html", f"r-{space}.png", "r-curves.png"]
    text = (tmp_path / "r.html").read_text()
    assert "The front:" not in text and "<h2>References" not in text
    table = text.partition("<h2>Cells")[2].partition("<h2>")[0]
    found = cells.cells(tables, own.validation_images)
    assert table.count("<tr>") == 1 + len(found) and "0, 3 failed" in table
    assert all(sentence in table for sentence in cells.sentences(found, own.validation_images))


def test_a_grid_over_sizes_shows_its_front_too(tmp_path):
    tables, _ = searched(tmp_path, "depth")
    for place, row in enumerate(tables.trials.values()):
        row["compression"] = 40.0 - place // 3
    tables.write(at_once=True)
    assert list(analysis("report").charts(tmp_path)) == ["depth", "pareto", "curves"]
