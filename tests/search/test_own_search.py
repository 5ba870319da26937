"""A search with a teacher and students of the user's own: killed and going on, where its files are not, refused."""

import shutil
import subprocess
from pathlib import Path

import brought
import pandas as pd
import pytest
from test_going_on import killed_when
from unbroken import assert_equal, done

import kdsearch
from kdsearch.config import KD, Fit, Hints, Link, Pair, Pipeline
from kdsearch.data import images as data_images
from kdsearch.errors import Refusal
from kdsearch.nets.settle import settled
from kdsearch.results import tables
from kdsearch.search import networks
from kdsearch.search.plan import Plan
from kdsearch.search.trial import task
from kdsearch.search.work import Orders
from kdsearch.storage import code
from kdsearch.storage.bucket import Storage

FIT = Fit(epochs=2, batch_size=64)


def pipeline(file: Path, images: data_images.Images) -> Pipeline:
    hints = Hints(pairs=(Pair(hint="2/3", guided="1/2"),), regressor="conv1x1")
    links = (
        Link(net=brought.teacher(file), fit=Fit(epochs=0, batch_size=64)),
        Link(net=brought.student(file), fit=FIT, hints=hints, kd=KD()),
    )
    return settled(Pipeline(links=links), images.shape, images.classes)


def trained(found: Pipeline, folder: Path) -> list[dict]:
    """What a worker's task says that trains a student."""
    (folder / "s").mkdir(parents=True, exist_ok=True)
    orders = Orders(Storage(folder), folder / "s", folder, {"cpu": 1, "gpu": 0}, "float32", 10**9)
    work = orders.work(found, student=folder / "s" / "student.safetensors")
    return list(task(work.model_dump(mode="json")))


def moved(found: Pipeline, place: str) -> Pipeline:
    """As another machine has it, where the files are not."""
    text = found.model_dump_json()
    return Pipeline.model_validate_json(text.replace(place, "/nowhere"))


def test_a_worker_without_the_files_takes_them_from_the_storage_and_comes_to_the_same(tmp_path, images, monkeypatch):
    monkeypatch.setattr(code, "SHELVES", [])
    file = brought.written(tmp_path)
    found = pipeline(file, images)
    here = trained(found, tmp_path / "here")
    there = moved(found, str(tmp_path))
    assert "there is no file '/nowhere/my_nets.py'" in trained(there, tmp_path / "bare")[-1]["cause"]
    networks.send([found], Storage(tmp_path / "there"))
    again = trained(there, tmp_path / "there")
    assert again[-1] == here[-1] and "accuracy" in again[-1]
    one, two = ([said["row"]["loss.kd"] for said in told[:-1] if "loss.kd" in said["row"]] for told in (here, again))
    assert one == two and one


def test_a_space_that_takes_networks_is_refused_without_them_and_another_one_with_them(tmp_path):
    with pytest.raises(Refusal, match=r"--teacher and --student are missing; for example: kdsearch tune own --data"):
        kdsearch.tune("own", results=str(tmp_path), progress=False)
    with pytest.raises(Refusal, match="'depth' has its own teacher and students, but got --teacher"):
        kdsearch.tune("depth", teacher="timm:resnet18", results=str(tmp_path), progress=False)


SHARING = """

def sharing(classes, trial):
    trial.suggest_float("tau", 2, 9, log=True)
    return student(classes, trial)


def odd(classes, trial):
    return trial.sugest_int("width", 2, 6)
"""


def test_a_knob_of_the_student_that_the_space_has_is_refused_and_its_own_faults_have_its_lines(tmp_path):
    file = brought.written(tmp_path)
    file.write_text(file.read_text() + SHARING)
    told = {"teacher": f"{file}:teacher", "results": tmp_path / "r", "progress": False, "dry_run": True}
    line = file.read_text().splitlines().index('    return trial.sugest_int("width", 2, 6)') + 1
    for wrong, said in (
        (
            {"student": f"{file}:sharing"},
            r"^A knob has one meaning, but 'tau' of the student is one of the space's, too",
        ),
        ({"student": f"{file}:odd"}, rf"^A factory gives .*:odd' with \(classes=10, trial\) raised .*line {line}\)$"),
        ({"teacher_train": "all"}, r"--teacher-train says what .* trains, but 'my_nets.py:teacher' is taken as it"),
        ({"teacher_weights": f"{tmp_path}/none.pt"}, r"--teacher-weights is a file, but '.*none.pt' is none"),
    ):
        with pytest.raises(Refusal, match=said):
            kdsearch.tune("own", **{"student": f"{file}:student", **told, **wrong})


BLIND = """

class Blind(nn.Module):
    def __init__(self, classes):
        super().__init__()
        self.flat, self.head = nn.Flatten(), nn.Linear(64, classes)

    def forward(self, images):
        return self.head(0 * self.flat(images))


def blind(classes):
    return Blind(classes)
"""


def test_a_teacher_that_trains_in_vain_is_refused_before_anybody_learns_and_without_maps_there_is_no_hint(tmp_path):
    file = brought.written(tmp_path)
    file.write_text(file.read_text() + BLIND)
    told = {"teacher": f"{file}:blind", "student": f"{file}:student", "results": tmp_path / "r", "progress": False}
    told |= {"teacher_epochs": 1, "trials": 2, "epochs": 2, "image_size": 8}
    plan = kdsearch.tune("own", dry_run=True, **told)
    assert isinstance(plan, Plan) and list(plan.references) == ["labels", "kd"] and plan.total == 4
    with pytest.raises(
        Refusal, match=r"of 'my_nets.py:blind': it answers at chance after an epoch of training the whole"
    ):
        kdsearch.tune("own", **told)
    assert not [*(tmp_path / "r").rglob("students/*"), *(tmp_path / "r").rglob("trials.parquet")]


@pytest.mark.kill
def test_a_search_of_own_networks_that_is_killed_goes_on_to_equal_numbers_but_not_with_another_file(own_ray, tmp_path):
    for name in ("whole", "broken"):
        (tmp_path / name).mkdir()
        brought.written(tmp_path / name)
    done(brought.call("s"), tmp_path / "whole")
    broken = tmp_path / "broken"
    folder = broken / "results" / "s"
    killed_when(lambda: len(tables.read(folder).epochs) > 12, brought.call("s"), broken)
    shutil.copy(broken / "parts.py", broken / "kept")
    (broken / "parts.py").write_text(brought.PARTS.replace("nn.ReLU", "nn.SiLU"))
    other = subprocess.run(brought.call("s", "--resume"), cwd=broken, capture_output=True, text=True)
    assert other.returncode == 2 and "or a file beside it, has changed since" in other.stderr
    shutil.copy(broken / "kept", broken / "parts.py")
    done(brought.call("s", "--resume"), broken)
    for place in (tmp_path / "whole", broken):  # where they lie is no part of what they are
        path = place / "results" / "s" / "trials.parquet"
        rows = pd.read_parquet(path)
        rows["pipeline"] = rows["pipeline"].str.replace(str(place), "", regex=False)
        rows.to_parquet(path)
    assert_equal(tmp_path / "whole" / "results" / "s", folder)
