"""A front confirmed as a user does it: two tiny students, other seeds, Ray once."""

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from helpers import FACTS, pipeline
from PIL import Image

from kdsearch.cli import app
from kdsearch.cluster.session import start_ray
from kdsearch.config.net import Net
from kdsearch.config.pipeline import Fit, Pipeline
from kdsearch.config.provenance import RECIPE
from kdsearch.data.images import load, silent
from kdsearch.distill.store import read_facts
from kdsearch.results import files
from kdsearch.results import folder as results_folder
from kdsearch.results import tables as results_tables
from kdsearch.results.facts import write_facts
from kdsearch.search import confirm, trial, unconfirmed
from kdsearch.search.work import Orders
from kdsearch.storage.bucket import at

FIT = Fit(epochs=2, batch_size=16, learning_rate=5e-3)
Say = Callable[[str], tuple[int, str, str]]


def draw(folder: Path) -> None:
    for name in ("cat", "dog"):
        (folder / name).mkdir(parents=True)
        for number in range(20):
            Image.effect_noise((12, 12), 40 + number + 50 * (name == "dog")).save(folder / name / f"{number}.png")


def train(where: Path, chosen: Pipeline, path: Path) -> float | None:
    """A student as a worker trains it, into a file; its accuracy."""
    orders = Orders(at(where / "results"), where / "results" / "s", where, {"cpu": 1, "gpu": 0}, "float32", 10**9)
    rows, reached = trial.student(orders.work(chosen, student=str(path)), silent), None
    for row in rows:
        reached = row["accuracy"]
    return reached


@pytest.fixture(scope="module")
def searched(tmp_path_factory) -> Iterator[Path]:
    """A folder with images, none for testing, and a search of two trials, both on the front, as tune leaves it."""
    where = tmp_path_factory.mktemp("confirm")
    draw(where / "photos" / "train")
    folder = where / "results" / "s"
    tables = results_tables.Tables(folder)
    for name, width, accuracy in (("0", 2.0, 0.9), ("1", 1.0, 0.4)):
        chosen = pipeline(net=Net(widths=(4, 4, 4), depth=3, hidden=8, width=width), hints=None, fit=FIT, seed=3)
        data = chosen.data.model_copy(update={"name": str(where / "photos"), "views": 1, "augment": "none"})
        chosen = chosen.model_copy(update={"data": data})
        facts = {"parameters": int(1000 * width), "compression": 10 / width, "reference": None}
        facts |= {"training_parameters": int(1000 * width), "macs": 1000}
        tables.add(name, chosen.model_dump(mode="json"), facts, {})
        train(where, chosen, folder / "students" / f"{name}.safetensors")
        tables.trials[name]["accuracy"] = accuracy
        tables.mark(name, "complete")
    tables.write(at_once=True)
    images = load(data, where)
    told = {"trials": 2, "data": data.name, "fingerprint": images.fingerprint, "classes": 2, "recipe": RECIPE}
    write_facts(folder, FACTS | told | {"images": len(images.train), "validation_images": len(images.validation)})
    start_ray()  # once: who confirms leaves a Ray that runs
    yield where
    unconfirmed.ray.shutdown()


@pytest.fixture
def where(searched, tmp_path) -> Path:
    """The search for one test alone."""
    shutil.copytree(searched / "results", tmp_path / "results")
    return tmp_path


@pytest.fixture
def say(where, monkeypatch, capsys) -> Say:
    def said(words: str) -> tuple[int, str, str]:
        monkeypatch.chdir(where)
        monkeypatch.setattr(app.sys, "argv", ["kdsearch", *words.split()])
        with pytest.raises(SystemExit) as end:
            app.main()
        told = capsys.readouterr()
        return int(end.value.code or 0), told.out, told.err

    return said


def table(where: Path) -> dict[tuple[str, int], dict]:
    return {(row["trial"], row["seed"]): row for row in files.confirmed(where / "results" / "s")}


def made(where: Path) -> dict[str, int]:
    """When each confirmed student was written."""
    return {path.name: path.stat().st_mtime_ns for path in (where / "results" / "s" / "confirmed").iterdir()}


def test_every_member_is_trained_with_new_seeds_and_no_test_image_is_read(where, say):
    code, out, err = say("confirm s --seeds 2")  # there are no test images: reading them would be refused
    rows = table(where)
    assert code == 0 and err == "" and set(rows) == {("0", 4), ("0", 5), ("1", 4), ("1", 5)}
    assert all(not row["selected"] and row["test"] is None and row["cause"] is None for row in rows.values())
    assert set(made(where)) == {f"{name}-{seed}.safetensors" for name, seed in rows}
    assert "trial 0, seed 4: accuracy" in out and "Confirmed: 2 seeds" in out and "Selection cost" in out


def test_a_stop_file_that_a_killed_search_left_stops_no_confirmation(where, say):
    (where / "results" / "s" / "stopping").touch()
    assert say("confirm s --seeds 2")[0] == 0
    assert len(table(where)) == 4 and all(row["accuracy"] is not None for row in table(where).values())


def test_a_seed_is_trained_as_a_trial_is(where, say, tmp_path):
    say("confirm s --seeds 2")
    plain = json.loads(results_tables.read(where / "results" / "s").trials["0"]["pipeline"])
    plain["links"][-1]["seed"] = 5
    reached = train(where, Pipeline.model_validate(plain), tmp_path / "again.safetensors")
    own = where / "results" / "s" / "confirmed" / "0-5.safetensors"
    assert table(where)["0", 5]["accuracy"] == reached and table(where)["0", 5]["seconds"] > 0
    assert own.read_bytes() == (tmp_path / "again.safetensors").read_bytes()


def test_again_trains_nothing_and_more_seeds_train_only_these(where, say, monkeypatch):
    say("confirm s --seeds 2")
    before = made(where)
    with monkeypatch.context() as patch:
        patch.setattr(confirm, "start_ray", None)
        code, out, _ = say("confirm s --seeds 2")
        assert code == 0 and "Confirmed: 2 seeds" in out and made(where) == before
    say("confirm s --seeds 3")
    assert len(table(where)) == 6 and before.items() < made(where).items()


def test_a_new_member_alone_is_trained(where, say):
    folder = where / "results" / "s"
    tables = results_tables.read(folder)
    tables.trials["1"]["state"] = "stopped"
    tables.write(at_once=True)
    say("confirm s --seeds 2")
    before = made(where)
    assert set(before) == {"0-4.safetensors", "0-5.safetensors"}
    tables.mark("1", "complete")
    tables.write(at_once=True)
    say("confirm s --seeds 2")
    assert len(made(where)) == 4 and before.items() < made(where).items()


def test_test_images_are_read_once_for_each_student_when_asked(searched, where, say):
    say("confirm s --seeds 2")
    before, photos = made(where), searched / "photos"
    code, _, err = say("confirm s --seeds 3 --test")
    assert code == 2 and "test/<class>/*" in err and made(where) == before  # refused before anything is trained
    draw(photos / "test")
    code, out, _ = say("confirm s --seeds 2 --test")
    shutil.rmtree(photos / "test")
    rows = table(where)
    assert code == 0 and "test accuracy" in out and made(where) == before
    assert {key for key, row in rows.items() if row["selected"]} == {("0", 3), ("1", 3)} and len(rows) == 6
    assert all(0 <= row["test"] <= 1 and row["test_images"] == 40 for row in rows.values())
    code, out, _ = say("confirm s --seeds 2 --test --json")
    told = json.loads(out)["members"][0]
    assert code == 0 and table(where) == rows and told["selected_test"] is not None and len(told["tests"]) == 2
    assert told["accuracies"] == [rows["0", 4]["accuracy"], rows["0", 5]["accuracy"]]


def test_a_seed_that_fails_is_recorded_with_its_cause_and_the_others_go_on(where, say):
    in_the_way = where / "results" / "s" / "confirmed" / "0-4.safetensors"
    in_the_way.mkdir(parents=True)
    code, out, _ = say("confirm s --seeds 2")
    rows = table(where)
    assert code == 0 and rows["0", 4]["accuracy"] is None and rows["0", 4]["cause"].startswith("IsADirectoryError")
    assert "Failed: trial 0, seed 4: IsADirectoryError" in out and "each needs two seeds" in out
    assert "Traceback" in (where / "results" / "s" / "failures" / "0-4.txt").read_text()
    assert sum(row["accuracy"] is not None for row in rows.values()) == 3
    in_the_way.rmdir()
    assert "Failed" not in say("confirm s --seeds 2")[1] and table(where)["0", 4]["cause"] is None


def test_a_network_that_the_store_lost_is_trained_as_it_was(where, say):
    say("confirm s --seeds 2")
    before = table(where)
    shutil.rmtree(where / "results" / "store")
    shutil.rmtree(where / "results" / "s" / "confirmed")
    (where / "results" / "s" / "confirmed.parquet").unlink()
    code, out, _ = say("confirm s --seeds 2 --max-concurrent 1")
    assert code == 0 and "network " in out and "Warning" not in out
    assert {key: row["accuracy"] for key, row in table(where).items()} == {
        key: row["accuracy"] for key, row in before.items()
    }


def test_other_weights_than_the_selected_student_s_teacher_had_are_warned_of(where, say):
    store = where / "results" / "store"
    (path,) = store.glob("*.safetensors")
    digest = read_facts(path)["digest"].encode()
    path.write_bytes(path.read_bytes().replace(digest, b"0" * len(digest)))
    assert "has other weights than when it taught trial 0." in say("confirm s --seeds 2")[1]


def test_a_running_search_is_not_confirmed(where, say):
    with results_folder.driver_lock(where / "results" / "s"):
        code, _, err = say("confirm s")
    assert code == 2 and "is running; wait for its end" in err


def test_a_search_without_a_fully_trained_trial_is_not_confirmed(where, say):
    tables = results_tables.read(where / "results" / "s")
    for row in tables.trials.values():
        row["state"] = "stopped"
    tables.write(at_once=True)
    code, _, err = say("confirm s")
    assert code == 2 and "this search has none yet" in err


def test_cells_that_have_their_seeds_are_not_confirmed_with_the_same_ones(where, say):
    tables = results_tables.read(where / "results" / "s")
    first = next(name for name, row in tables.trials.items() if row["reference"] is None)
    tables.trials[f"{first}-1"] = tables.trials[first] | {"trial": f"{first}-1", "replicate_of": first, "seed": 1}
    tables.write(at_once=True)
    code, _, err = say("confirm s")
    assert code == 2 and "would count them twice" in err and "--name s --resume --seeds N" in err


def test_images_that_changed_since_the_search_are_refused(searched, where, say):
    extra = searched / "photos" / "train" / "cat" / "more.png"
    Image.effect_noise((12, 12), 9).save(extra)
    code, _, err = say("confirm s")
    extra.unlink()
    assert code == 2 and "have changed since" in err and not (where / "results" / "s" / "confirmed").exists()


def test_a_selected_student_whose_file_is_damaged_is_refused(where, say):
    path = where / "results" / "s" / "students" / "1.safetensors"
    path.write_bytes(path.read_bytes()[:-10])
    code, _, err = say("confirm s")
    assert code == 2 and "1.safetensors' is damaged" in err and not (where / "results" / "s" / "confirmed").exists()


def test_other_versions_than_the_search_s_are_warned_of(where, say):
    ours = f'kdsearch\\": \\"{app.__version__}\\"'.encode()
    for path in (where / "results" / "s" / "students").iterdir():
        path.write_bytes(path.read_bytes().replace(ours, ours[:-5] + b'9.9\\"'))
    code, out, _ = say("confirm s --seeds 2")
    assert code == 0 and f"9.9 in the search and is {app.__version__} here; accuracies may differ." in out
