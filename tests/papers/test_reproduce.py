"""The papers' tables made again as a user does it: narrow networks, few digits, Ray once."""

import json
import os
import shutil
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import ray
from PIL import Image
from unbroken import done

from kdsearch.cli import app
from kdsearch.config.pipeline import Pipeline
from kdsearch.distill.store import key_of, read_facts
from kdsearch.papers import reproduce, tables
from kdsearch.results import facts as results_facts
from kdsearch.results import folder as results_folder
from kdsearch.results import tables as results_tables
from kdsearch.search import progress, trial
from kdsearch.search.work import Orders
from kdsearch.storage import bucket

pytestmark = pytest.mark.whole
Say = Callable[[str], tuple[int, str, str]]
MNIST = "seed2-table1 --scale tiny --data digits --max-concurrent 1"
"""The smallest table: teacher, labels, KD; one process for all."""
WILD = {"optimizer": "sgd", "learning_rate": 100.0, "weight_decay": 1.0}
"""Of a fit whose weights grow a hundredfold at each step, until they are no numbers."""


@pytest.fixture(scope="module")
def shared(tmp_path_factory) -> Iterator[Path]:
    """Where all twelve tables are made, with one store."""
    yield tmp_path_factory.mktemp("tables")
    ray.shutdown()


@pytest.fixture
def say(monkeypatch, capsys) -> Say:
    def said(words: str) -> tuple[int, str, str]:
        monkeypatch.setattr(app.sys, "argv", ["kdsearch", "reproduce", *words.split()])
        with pytest.raises(SystemExit) as end:
            app.main()
        told = capsys.readouterr()
        return int(end.value.code or 0), told.out, told.err

    return said


@pytest.fixture
def where(shared, tmp_path, monkeypatch) -> Path:
    """A folder for one test alone, in which the smallest table is made."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture(scope="module")
def smallest(shared, tmp_path_factory) -> Path:
    """A folder in which the smallest table is made, once for all that begin with it."""
    folder = tmp_path_factory.mktemp("smallest")
    done(["kdsearch.cli", "reproduce", *MNIST.split()], folder)
    return folder


@pytest.fixture
def made(smallest, where) -> Path:
    """A folder for one test alone, in which the smallest table was made."""
    shutil.copytree(smallest, where, dirs_exist_ok=True)
    return where


def table(where: Path, name: str = "seed2-table1-tiny-digits") -> dict[tuple[str, int], dict]:
    """Trials by row and seed, with their key in the store; without what the rows of others may change."""
    folder = where / "results" / "reproduce" / name
    found, fingerprint = results_tables.read(folder).trials.values(), results_facts.read_facts(folder).fingerprint
    return {(row["knob.row"], row["seed"]): row | {"key": key(row, fingerprint), "front": None} for row in found}


def key(row: dict, fingerprint: str) -> str:
    pipeline = Pipeline.model_validate_json(row["pipeline"])
    return key_of(pipeline, len(pipeline.links) - 1, fingerprint)


@pytest.mark.parametrize("name", tables.TABLES)
def test_every_table_is_made_and_stands_beside_the_print(name, shared, say, monkeypatch):
    monkeypatch.chdir(shared)
    code, out, err = say(f"{name} --scale tiny --data digits --json")
    told = json.loads(out)
    assert code == 0 and not told["comparable"] and told["split"] == "test" and "accuracy" in err
    assert [row["row"] for row in told["rows"]] == list(tables.find(name).rows)
    for row in told["rows"]:
        printed, (seed,) = row["printed"]["accuracy"], row["seeds"]
        right = printed["correct"] or printed["value"]
        assert 0 < row["accuracy"]["value"] <= 1
        assert row["difference"] == pytest.approx(row["accuracy"]["value"] - right)
        assert row["cause"] is None and seed["accuracy"] == row["accuracy"]["value"]
    rows = table(shared, f"{name}-tiny-digits").values()
    assert {row["epochs"] for row in rows} <= {0, 2}  # 0: the store had it
    assert results_facts.read_facts(shared / "results" / "reproduce" / f"{name}-tiny-digits").validation_images == 364


def test_networks_that_tables_have_in_common_were_trained_once(shared):
    keys, cells_of = set(), 0
    for name in tables.TABLES:
        rows = table(shared, f"{name}-tiny-digits").values()
        keys |= {row["key"] for row in rows}
        cells_of += len(rows)
    assert len(keys) < cells_of and keys <= {path.stem for path in (shared / "results" / "store").iterdir()}
    rows = table(shared, "seed2-data-fraction-tiny-digits")
    assert rows["labels 1", 0]["key"] == table(shared, "seed2-teacher-free-tiny-digits")["labels", 0]["key"]


def test_a_row_is_what_its_pipeline_makes_of_itself(where, say, tmp_path):
    say(f"{MNIST} --precision float32")
    row = table(where)["KD", 0]
    other = tmp_path / "other"
    orders = Orders(bucket.at(other), other / "s", Path(), {"cpu": 1, "gpu": 0}, "float32", 10**9)
    work = orders.work(Pipeline.model_validate_json(row["pipeline"]), student=other / "s.safetensors")
    *_, last = trial.student(work, lambda *_: None)
    assert last["accuracy"] == row["accuracy"] and row["seconds"] > 0


def test_again_trains_nothing_and_more_seeds_train_only_these(made, say, monkeypatch):
    before = table(made)
    with monkeypatch.context() as patch:
        patch.setattr(reproduce, "run", None)
        assert say(MNIST)[0] == 0 and table(made) == before
    code, out, _ = say(f"{MNIST} --seeds 2")
    after = table(made)
    assert code == 0 and set(after) == {("teacher", 0), ("labels", 0), ("labels", 1), ("KD", 0), ("KD", 1)}
    assert all(after[place] == row for place, row in before.items())
    assert "labels, seed 1: complete, accuracy" in out and " ± " in out
    links = [Pipeline.model_validate_json(after["KD", seed]["pipeline"]).links for seed in (0, 1)]
    assert links[0][0] == links[1][0] and [link[1].seed for link in links] == [0, 1]
    assert say(MNIST)[0] == 0 and table(made) == after  # what is known stays, whatever is asked for


def test_a_table_that_was_lost_is_written_from_the_store(made, say):
    before, folder = table(made), made / "results" / "reproduce" / "seed2-table1-tiny-digits"
    networks = {path: path.stat().st_mtime_ns for path in (made / "results" / "store").glob("*.safetensors")}
    shutil.rmtree(folder)
    folder.mkdir(parents=True)
    (folder / "entries.parquet").touch()  # of a version before tables were searches: its networks are in the store
    assert say(MNIST)[0] == 0
    assert {place: row["accuracy"] for place, row in table(made).items()} == {
        place: row["accuracy"] for place, row in before.items()
    }
    assert all(path.stat().st_mtime_ns == when for path, when in networks.items())


def test_the_teacher_s_row_is_the_network_that_taught(made):
    rows, store = table(made), made / "results" / "store"
    teacher = read_facts(store / f"{rows['teacher', 0]['key']}.safetensors")
    assert teacher["accuracy"] == rows["teacher", 0]["accuracy"] and len(list(store.glob("*.safetensors"))) == 3


def test_ctrl_c_keeps_the_cells_that_ended_and_the_same_command_goes_on(where, say, monkeypatch):
    show = progress.Watch.show
    signal.signal(signal.SIGINT, signal.default_int_handler)  # whatever a test before left
    pressed: list[bool] = []

    def press(watch: progress.Watch, search: Any) -> None:
        show(watch, search)
        if search.tables.tally()[1] == 1 and not pressed:
            pressed.append(True)
            os.kill(os.getpid(), signal.SIGINT)

    with monkeypatch.context() as patch:
        patch.setattr(progress.Watch, "show", press)
        code, _, err = say(MNIST)
        signal.signal(signal.SIGINT, signal.default_int_handler)  # a command that ends leaves it ignored
    before = table(where)
    assert code == 130 and "interrupted. What was trained is kept; the same command goes on." in err
    ended = {place: row for place, row in before.items() if row["state"] == "complete"}
    assert ended and len(ended) < 3
    assert say(MNIST)[0] == 0 and len(table(where)) == 3
    assert all(table(where)[place] == row for place, row in ended.items())


def changed(row: str, **fit: object) -> tables.Protocol:
    """The smallest table with another fit of a row's last network, wherever it teaches."""
    published = tables.find("seed2-table1")
    own = published.rows[row].student
    other = own.model_copy(update={"fit": own.fit.model_copy(update=fit)})
    rows = {
        name: pipeline.model_copy(update={"links": tuple(other if link == own else link for link in pipeline.links)})
        for name, pipeline in published.rows.items()
    }
    return tables.Protocol(published.title, rows, published.keras)


def test_a_row_that_fails_is_told_with_its_cause_and_the_others_are_made(where, say, monkeypatch):
    monkeypatch.setitem(tables.TABLES, "seed2-table1", changed("labels", **WILD))
    code, out, _ = say(MNIST)
    rows = table(where)
    assert code == 1 and rows["labels", 0]["accuracy"] is None and "failed" in out
    assert f"Failed: labels, seed 0: {rows['labels', 0]['cause']}" in out and "not finite" in out
    assert rows["KD", 0]["accuracy"] is not None
    (trace,) = (where / "results" / "reproduce" / "seed2-table1-tiny-digits" / "failures").iterdir()
    assert trace.stem == rows["labels", 0]["trial"] and "train.Diverged" in trace.read_text()


def test_a_teacher_that_cannot_be_trained_fails_what_it_teaches(where, say, monkeypatch):
    monkeypatch.setitem(tables.TABLES, "seed2-table1", changed("teacher", **WILD))
    code, out, _ = say(f"{MNIST} --json")
    rows = {row["row"]: row for row in json.loads(out)["rows"]}
    assert code == 1 and rows["labels"]["accuracy"] is not None and rows["KD"]["accuracy"] is None
    assert rows["KD"]["cause"] == f"its teacher failed: {rows['teacher']['cause']}"


def test_a_cell_that_failed_is_tried_again(made, say):
    before = table(made)
    network = made / "results" / "store" / f"{before['labels', 0]['key']}.safetensors"
    network.write_bytes(network.read_bytes()[:-10])
    shutil.rmtree(made / "results" / "reproduce")
    code, out, _ = say(MNIST)
    assert code == 1 and "is damaged" in table(made)["labels", 0]["cause"] and "Failed: labels" in out
    network.unlink()
    assert say(MNIST)[0] == 0 and table(made)["labels", 0]["accuracy"] == before["labels", 0]["accuracy"]


def test_a_pair_that_cannot_fit_fails_its_row_alone(where, say, monkeypatch):
    published = tables.find("seed2-table1")
    pair = {"hints": {"pairs": [{"hint": 1, "guided": 2}]}}
    plain = published.rows["KD"].model_dump(mode="json")
    plain["links"][1] |= pair
    rows = {**published.rows, "KD": Pipeline.model_validate(plain)}
    monkeypatch.setitem(tables.TABLES, "seed2-table1", tables.Protocol("t", rows))
    code, out, _ = say(MNIST)
    assert code == 1 and "pair 1→2: the student has 1 layers" in out
    assert set(table(where)) == {("teacher", 0), ("labels", 0)}
    assert {row["state"] for row in table(where).values()} == {"complete"}


def test_a_folder_without_test_images_is_judged_by_held_out_ones_and_says_so(where, say):
    for name in ("cat", "dog"):
        (where / "photos" / "train" / name).mkdir(parents=True)
        for number in range(20):
            image = Image.effect_noise((12, 12), 40 + number + 50 * (name == "dog"))
            image.save(where / "photos" / "train" / name / f"{number}.png")
    code, out, _ = say("seed2-table1 --scale tiny --data photos")
    (folder,) = (where / "results" / "reproduce").glob("seed2-table1-tiny-photos-*")  # and a hash of its path
    rows = table(where, folder.name)
    assert code == 0 and "has no folder 'test': 20 % of its training images are held out to judge" in " ".join(
        out.split()
    )
    assert "accuracy on the validation images" in " ".join(out.split())
    assert len(rows) == 3
    assert results_facts.read_facts(where / "results" / "reproduce" / folder.name).validation_images == 8
    shutil.copytree(where / "photos" / "train", where / "photos" / "test")
    code, out, err = say("seed2-table1 --scale tiny --data photos")
    assert code == 2 and "have changed since; delete" in err  # other rows: the test images judge them
    shutil.rmtree(folder)
    code, out, _ = say("seed2-table1 --scale tiny --data photos")
    facts = results_facts.read_facts(where / "results" / "reproduce" / folder.name)
    assert code == 0 and facts.validation_images == 40 and "held out" not in out


def test_a_table_is_made_by_one_process(where, say):
    folder = where / "results" / "reproduce" / "seed2-table1-tiny-digits"
    folder.mkdir(parents=True)
    with results_folder.driver_lock(folder):
        code, _, err = say(MNIST)
    assert code == 2 and "is running already" in err


def test_a_damaged_table_is_refused_with_the_way_out(where, say):
    folder = where / "results" / "reproduce" / "seed2-table1-tiny-digits"
    folder.mkdir(parents=True)
    (folder / "search.json").write_text("nothing")
    code, _, err = say(MNIST)
    assert code == 2 and "search.json' cannot be read" in err


def test_more_than_the_machine_has_is_refused(where, say):
    code, _, err = say(f"{MNIST} --cpus-per-trial 4096")
    assert code == 2 and "lower --cpus-per-trial" in err


def test_precision_of_what_was_there_before_is_told(where, say):
    say(f"{MNIST} --precision float32")
    code, out, _ = say(f"{MNIST} --precision bfloat16")
    assert code == 0 and "were trained in float32, not bfloat16" in out


def test_a_table_in_a_bucket_goes_on_from_another_machine(where, say, options, monkeypatch):
    words = f"{MNIST} --storage s3://searches/tables{options}"
    assert say(words)[0] == 0
    monkeypatch.setenv("KDSEARCH_CACHE", str(where / "elsewhere"))
    bucket._opened.cache_clear()
    monkeypatch.setattr(reproduce, "run", None)
    code, out, _ = say(f"{words} --json")
    assert code == 0 and all(row["accuracy"] for row in json.loads(out)["rows"])
