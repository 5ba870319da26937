"""Tables of pictures: rows that name a file, its label and its part."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from kdsearch.config.pipeline import Data
from kdsearch.data import images as data_images
from kdsearch.data import sources
from kdsearch.data.folder import placed
from kdsearch.errors import Refusal

HERE = Path("nowhere")


@pytest.fixture
def rows(tmp_path) -> pd.DataFrame:
    """Of 12 pictures of two classes, in a folder beside the table."""
    (tmp_path / "files").mkdir()
    found = []
    for number in range(12):
        Image.new("RGB", (10, 8), (20 * number, 0, 255)).save(tmp_path / "files" / f"{number}.png")
        found.append({"path": f"files/{number}.png", "label": "cat" if number % 2 else "dog"})
    return pd.DataFrame(found)


def load(path: Path, rows: pd.DataFrame, **data: object) -> data_images.Images:
    rows.to_parquet(path) if path.suffix == ".parquet" else rows.to_csv(path, index=False)
    return data_images.load(Data.model_validate({"name": str(path), **data}), HERE)


@pytest.mark.parametrize("name", ["photos.csv", "photos.parquet", "PHOTOS.CSV"])
def test_a_table_s_files_are_read_with_its_labels(tmp_path, rows, name):
    found = load(tmp_path / name, rows)
    assert found.classes == ("cat", "dog") and found.shape == (3, 8, 10)
    reds = torch.cat([found.train[:], found.validation[:]])[:, 0, 0, 0]
    labels = torch.cat([found.labels, found.validation_labels])
    assert {(int(red) // 20, int(label)) for red, label in zip(reds, labels, strict=True)} == {
        (number, 0 if number % 2 else 1) for number in range(12)
    }
    assert found.account.startswith(f"{name}: 12 images of 2 classes (6 each), 10×8; 2 kept for validation")


def test_a_split_says_who_trains_who_validates_and_who_tests(tmp_path, rows):
    rows["split"] = ["train"] * 6 + ["Val"] * 4 + ["test"] * 2
    found = load(tmp_path / "t.csv", rows)
    assert (len(found.train), len(found.validation)) == (6, 4)
    assert "validated by the 4 of its split validation" in found.account
    pixels, labels = data_images.load_test(found.origin.data, HERE, found)
    assert (pixels[:][:, 0, 0, 0] // 20).tolist() == [10, 11] and labels.tolist() == [1, 0]


def test_labels_of_numbers_are_in_their_order_and_words_that_look_like_nothing_are_words(tmp_path, rows):
    rows["label"] = [1, 2, 10] * 4
    for name in ("n.csv", "n.parquet"):
        assert load(tmp_path / name, rows).classes == ("1", "2", "10")
    rows["label"] = ["NA", "null"] * 6
    assert load(tmp_path / "t.csv", rows).classes == ("NA", "null")


def test_a_table_is_read_once_until_a_file_or_a_label_changes(tmp_path, rows, monkeypatch):
    first = load(tmp_path / "t.csv", rows)
    with monkeypatch.context() as patched:
        patched.setattr(sources, "read", None)
        assert load(tmp_path / "t.csv", rows).fingerprint == first.fingerprint
    Image.new("RGB", (10, 8), (1, 2, 3)).save(tmp_path / "files" / "0.png")
    second = load(tmp_path / "t.csv", rows)
    assert second.fingerprint != first.fingerprint
    rows.loc[0, "label"] = "cat"
    assert load(tmp_path / "t.csv", rows).fingerprint != second.fingerprint


def test_a_table_s_place_is_made_absolute(tmp_path, rows, monkeypatch):
    rows.to_csv(tmp_path / "t.csv", index=False)
    monkeypatch.chdir(tmp_path)
    assert placed("t.csv") == placed("./t.csv") == str(tmp_path / "t.csv")
    (tmp_path / "d.csv").mkdir()  # a folder is a folder, whatever its name
    with pytest.raises(Refusal, match="has no folder 'train'"):
        placed("d.csv")


def without_label(rows: pd.DataFrame) -> None:
    rows["label"] = rows["label"].mask(rows.index == 3)


@pytest.mark.parametrize(
    "change, said",
    [
        (lambda rows: rows.insert(1, "class", rows.pop("label")), "has no label, but path, class"),
        (without_label, r"Every row has a label, but of the 12 of .* 1 have none, such as row 4; fill"),
        (lambda rows: rows.insert(2, "split", ["train"] * 11 + ["trian"]), "it is 'trian'"),
        (lambda rows: rows.insert(2, "split", ["test"] * 12), "rows whose split is train, training, but"),
        (
            lambda rows: rows.__setitem__("label", "cat"),
            "At least two classes are needed, but the labels of .* are cat",
        ),
        (
            lambda rows: rows.__setitem__("path", rows["path"].replace("files/3.png", "gone.png")),
            "gone.png' .it is gone",
        ),
    ],
)
@pytest.mark.parametrize("ending", ["csv", "parquet"])
def test_a_table_that_cannot_serve_is_refused_with_what_it_lacks(tmp_path, rows, change, said, ending):
    change(rows)
    with pytest.raises(Refusal, match=said):
        load(tmp_path / f"t.{ending}", rows)


def test_a_picture_of_two_labels_is_refused_and_blanks_around_names_are_none(tmp_path, rows):
    rows.loc[1, "path"] = rows.loc[0, "path"]
    rows["label"] = ["cat", "dog"] * (len(rows) // 2)
    with pytest.raises(Refusal, match=r"A picture has one label, but '.*' has two in .*: cat and dog; leave one"):
        load(tmp_path / "t.csv", rows)
    rows.loc[1, "label"] = "cat"
    load(tmp_path / "t.csv", rows.rename(columns=lambda name: f" {name}"))


def test_other_separators_are_named(tmp_path, rows):
    (tmp_path / "t.csv").write_text(rows.to_csv(index=False, sep=";"))
    with pytest.raises(Refusal, match=r"Columns are separated by commas, not by semicolons"):
        data_images.load(Data(name=str(tmp_path / "t.csv")), HERE)


def test_a_table_that_is_none_or_is_not_there_is_refused(tmp_path):
    (tmp_path / "t.parquet").write_bytes(b"none")
    with pytest.raises(Refusal, match=r"t.parquet' is not read: "):
        data_images.load(Data(name=str(tmp_path / "t.parquet")), HERE)
    with pytest.raises(Refusal, match=r"A data set may be a file, but there is no '.*gone.csv'"):
        placed(str(tmp_path / "gone.csv"))


def test_broken_pictures_of_a_table_are_told_at_once(tmp_path, rows):
    for number in (2, 5):
        (tmp_path / "files" / f"{number}.png").write_bytes(np.arange(50, dtype=np.uint8).tobytes())
    with pytest.raises(Refusal, match=r"2 of 12 are not: .*2\.png.*5\.png"):
        load(tmp_path / "t.csv", rows)
