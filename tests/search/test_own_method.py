"""A loss of the user's own in a whole search: on workers that lack its file, killed and going on, exported."""

import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.datasets import load_digits
from test_going_on import killed_when
from test_own_search import moved, trained
from unbroken import assert_equal, done

import kdsearch
from kdsearch.config import Fit, Link, Net, OwnTerm, Pipeline
from kdsearch.nets.settle import settled
from kdsearch.results import tables
from kdsearch.search import networks
from kdsearch.storage import code
from kdsearch.storage.bucket import Storage

PAGE = (Path(__file__).parents[2] / "docs" / "methods.md").read_text()
SPACE = next(text for text in re.findall(r"```python\n(.*?)```", PAGE, flags=re.DOTALL) if "BUDGET" in text)
"""The worked example, space and term in one file."""
FIT = Fit(epochs=2, batch_size=64)


def call(*more: str) -> list[str]:
    words = ["tune", "./my_method.py", "--name", "s", "--rule", "none", *more]
    return [sys.executable, "-m", "kdsearch.cli", *words]


def written(folder: Path) -> Path:
    folder.mkdir()
    (folder / "my_method.py").write_text(SPACE)
    return folder


def test_a_worker_without_a_term_s_file_takes_it_from_the_storage_and_comes_to_the_same(tmp_path, images, monkeypatch):
    monkeypatch.setattr(code, "SHELVES", [])
    file = written(tmp_path / "files") / "my_method.py"
    net = Net(widths=(4, 4), depth=2, hidden=8)
    links = (Link(net=net, fit=FIT), Link(net=net, fit=FIT, terms=(OwnTerm(term=f"{file}:spread"),)))
    found = settled(Pipeline(links=links), images.shape, images.classes)
    here, there = trained(found, tmp_path / "here"), moved(found, str(file.parent))
    assert "there is no file '/nowhere/my_method.py'" in trained(there, tmp_path / "bare")[-1]["cause"]
    networks.send([found], Storage(tmp_path / "there"))
    again = trained(there, tmp_path / "there")
    one, two = (
        [said["row"]["loss.spread"] for said in told if "loss.spread" in said.get("row", {})] for told in (here, again)
    )
    assert again[-1] == here[-1] and one == two and one


@pytest.mark.kill
def test_a_search_with_a_term_of_one_s_own_goes_on_after_a_kill_and_its_export_needs_the_file_no_more(
    own_ray, tmp_path
):
    whole, broken = written(tmp_path / "whole"), written(tmp_path / "broken")
    done(call("--max-concurrent", "1"), whole)
    folder = broken / "results" / "s"
    killed_when(lambda: len(tables.read(folder).epochs) > 12, call("--max-concurrent", "1"), broken)
    (broken / "my_method.py").write_text(SPACE.replace("norm(dim=1)", "square().sum(1)"))
    other = subprocess.run(call("--resume"), cwd=broken, capture_output=True, text=True)
    assert other.returncode == 2 and "has changed since" in other.stderr
    (broken / "my_method.py").write_text(SPACE)
    done(call("--resume"), broken)
    for place in (whole, broken):  # where the file lies is no part of what it is
        path = place / "results" / "s" / "trials.parquet"
        rows = pd.read_parquet(path)
        rows["pipeline"] = rows["pipeline"].str.replace(str(place), "", regex=False)
        rows.to_parquet(path)
    assert_equal(whole / "results" / "s", folder)

    rows = pd.read_parquet(broken / "results" / "s" / "trials.parquet").set_index("trial")
    trial = str(rows.index[rows["knob.spread weight"] == 100][0])
    done([sys.executable, "-m", "kdsearch.cli", "export", "s", "--trial", trial], broken)
    export = tmp_path / "elsewhere"
    shutil.move(broken / "exports" / "s" / trial, export)
    (broken / "my_method.py").unlink()
    done([sys.executable, "-m", "kdsearch.cli", "train", str(export / "config.yaml")], tmp_path)
    digits: Any = load_digits()
    image = (digits.images[0] * 255 / 16).astype(np.uint8)
    assert kdsearch.load(export).predict(image)
