"""Where an export may write, and what it may hand out."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from helpers import FACTS, MADE, pipeline

from kdsearch.data.sources import silent
from kdsearch.distill.store import save_net
from kdsearch.errors import Refusal
from kdsearch.nets import latency
from kdsearch.nets.build import build
from kdsearch.results import facts as results_facts
from kdsearch.results import files, students
from kdsearch.results import tables as results_tables
from kdsearch.search import export, recipe
from kdsearch.storage.bucket import Storage

SIZES = {"parameters": 10, "compression": 2.0, "training_parameters": 12, "macs": 5, "reference": None}


def searched(folder: Path, seed: int = 0, trial: str = "2") -> results_tables.Tables:
    """A search of one finished trial."""
    chosen = pipeline(hints=None)
    tables = results_tables.Tables(folder)
    tables.add(trial, chosen.model_dump(mode="json"), SIZES, {})
    row = {"link": 1, "stage": "kd", "epoch": 4, "kd_epoch": 4, "accuracy": 0.5, "seconds": 1.0}
    tables.extend(trial, [row], student=1)
    tables.mark(trial, "complete")
    tables.write(at_once=True)
    torch.manual_seed(seed)
    save_net(folder / "students" / f"{trial}.safetensors", build(chosen.student.net, (1, 8, 8), 2), MADE)
    results_facts.write_facts(folder, FACTS)
    return tables


@pytest.fixture(autouse=True)
def measured(monkeypatch):
    """No network is measured here."""
    monkeypatch.setattr(latency, "beside", lambda *told: latency.Latency(10.0, 2.0, 20.0, 5.0, 2.0))


def handed(folder: Path, tables: results_tables.Tables, trials: list[str], output: Path, **more: object) -> list[Path]:
    """The folders that an export writes."""
    wanted = export.Wanted(output, **more)  # pyright: ignore[reportArgumentType]
    return [path for path, _ in export.export(folder, Storage(folder.resolve().parent), tables, trials, wanted, silent)]


def test_two_searches_are_exported_side_by_side_and_what_others_wrote_stays(tmp_path):
    tables = {name: searched(tmp_path / name, seed) for seed, name in enumerate(("first", "second"))}
    out = tmp_path / "exports"
    (first,) = handed(tmp_path / "first", tables["first"], ["2"], out)
    before = {path.name: path.read_bytes() for path in first.iterdir()}
    (first / "NOTES.txt").write_text("mine")
    (first / "seed-3").mkdir()
    (second,) = handed(tmp_path / "second", tables["second"], ["2"], out)
    assert (first, second) == (out / "first" / "2", out / "second" / "2")
    handed(tmp_path / "first", tables["first"], ["2"], out)  # again
    assert {path.name: path.read_bytes() for path in first.iterdir() if path.name in export.FILES} == before
    assert (first / "NOTES.txt").read_text() == "mine" and (first / "seed-3").is_dir()


def test_a_file_that_was_changed_since_is_not_replaced(tmp_path):
    tables = searched(tmp_path / "s")
    (there,) = handed(tmp_path / "s", tables, ["2"], tmp_path / "out")
    (there / "config.yaml").write_text("links: []  # tried something")
    with pytest.raises(Refusal, match=r"config.yaml there changed since: '.*out/s/2'; move it away, or let --output"):
        handed(tmp_path / "s", tables, ["2"], tmp_path / "out")
    assert "tried something" in (there / "config.yaml").read_text()


def test_another_student_s_export_is_not_replaced(tmp_path):
    handed(tmp_path / "s", searched(tmp_path / "s"), ["2"], tmp_path / "out")
    shutil.rmtree(tmp_path / "s")
    with pytest.raises(Refusal, match="what lies there is of another student"):
        handed(tmp_path / "s", searched(tmp_path / "s", seed=1), ["2"], tmp_path / "out")


def test_a_student_whose_weights_are_not_those_that_were_written_is_not_handed_out(tmp_path):
    tables, path = searched(tmp_path / "s"), tmp_path / "s" / "students" / "2.safetensors"
    raw = bytearray(path.read_bytes())
    raw[-9] ^= 0x40
    path.write_bytes(raw)
    with pytest.raises(Refusal, match=r"its weights are not those that were written.*the search must be run again"):
        handed(tmp_path / "s", tables, ["2"], tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("name", ["../src", "/src", "..", ".hidden", "a\\b", "a\x1b[2J", ""])
def test_a_trial_s_id_leads_nowhere_else_and_is_only_shown(name, tmp_path):
    tables = searched(tmp_path / "s")
    tables.trials[name] = tables.trials.pop("2") | {"trial": name}
    tables.epochs.clear()
    tables.write(at_once=True)
    read = results_tables.read(tmp_path / "s")
    assert name in read.trials and students.made(tmp_path / "s", name) is None
    with pytest.raises(
        Refusal, match=r"A trial's id is a plain name, but .* do not use it, or take the trial out of it"
    ):
        handed(tmp_path / "s", read, [name], tmp_path / "out")
    for kind in ("students", "confirmed", "checkpoints"):
        with pytest.raises(Refusal, match="plain name"):
            files.weights(tmp_path / "s", kind, name)


@pytest.mark.parametrize("there", [["student.safetensors"], ["student.safetensors", "config.yaml"]])
def test_an_export_that_was_cut_short_is_made_whole(tmp_path, there):
    tables = searched(tmp_path / "s")
    (out,) = handed(tmp_path / "s", tables, ["2"], tmp_path / "out")
    before = {path.name: path.read_bytes() for path in out.iterdir()}
    for name in set(export.FILES) - set(there):
        (out / name).unlink(missing_ok=True)
    handed(tmp_path / "s", tables, ["2"], tmp_path / "out")
    assert {path.name: path.read_bytes() for path in out.iterdir()} == before


def test_what_a_user_wrote_under_a_card_stays_and_a_change_above_it_is_kept_from_being_replaced(tmp_path):
    tables = searched(tmp_path / "s")
    (there,) = handed(tmp_path / "s", tables, ["2"], tmp_path / "out")
    page = there / "CARD.md"
    page.write_text(page.read_text().replace("(yours to fill in)", "CC0", 1))
    handed(tmp_path / "s", tables, ["2"], tmp_path / "out")
    assert "- of this network: CC0" in page.read_text()
    page.write_text("mine\n" + page.read_text())
    with pytest.raises(Refusal, match=r"CARD.md there changed since"):
        handed(tmp_path / "s", tables, ["2"], tmp_path / "out")


def test_of_a_cell_the_seed_nearest_its_mean_is_handed_over_unless_another_is_asked_for(tmp_path):
    tables = searched(tmp_path / "s")
    for name, accuracy in (("3", 0.9), ("4", 0.72)):
        tables.trials[name] = tables.trials["2"] | {"trial": name, "replicate_of": "2", "accuracy": accuracy}
        shutil.copy(tmp_path / "s" / "students" / "2.safetensors", tmp_path / "s" / "students" / f"{name}.safetensors")
    assert export.chosen(tables, "2", None, False) == ["4"] == export.chosen(tables, None, "accuracy", False)
    assert export.chosen(tables, "3", None, False) == ["3"]
    (there,) = handed(tmp_path / "s", tables, ["4"], tmp_path / "out")
    told = json.loads((there / "metrics.json").read_text())["seeds"]
    assert told["others"] == ["2", "3"] and told["mean"] == pytest.approx(0.7067, abs=1e-4) and told["half"] > 0
    assert "trial 4 is the nearest to the mean; the others: 2, 3." in (there / "CARD.md").read_text()
    (other,) = handed(tmp_path / "s", tables, ["3"], tmp_path / "out")
    assert "seeds" not in json.loads((other / "metrics.json").read_text())


def test_an_export_of_the_folder_one_is_in_has_the_search_s_name(tmp_path, monkeypatch):
    tables = searched(tmp_path / "s")
    monkeypatch.chdir(tmp_path / "s")
    assert handed(Path("."), tables, ["2"], tmp_path / "out") == [tmp_path / "out" / "s" / "2"]
    monkeypatch.chdir(tmp_path / "s" / "students")
    assert handed(Path(".."), tables, ["2"], tmp_path / "out") == [tmp_path / "out" / "s" / "2"]


def test_a_config_has_no_table_of_who_was_taken_for_whom(tmp_path):
    counted = MADE | {"confusion": [[0, 1, 3]]}
    assert "confusion" not in recipe.config_text({}, counted, "t")
