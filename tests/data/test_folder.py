"""What people's folders hold: read, or said to be passed over."""

import warnings
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from kdsearch.config.pipeline import Data
from kdsearch.data import folder as data_folder
from kdsearch.data import images as data_images
from kdsearch.data import known, pictures, sources
from kdsearch.data.look import Look, Style
from kdsearch.errors import Refusal

HERE = Path("nowhere")
GREY = Style(grey=True)


def picture(path: Path, number: int = 0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (10, 10), (20 * number % 256, 0, 255)).save(path)
    return path


@pytest.fixture
def root(tmp_path) -> Path:
    """Two classes of six pictures, with a space in its name."""
    where = tmp_path / "my photos"
    for place, name in enumerate(("cat", "dog")):
        for number in range(6):
            picture(where / "train" / name / f"{number}.png", 6 * place + number)
    return where


def load(root: Path, **data: object) -> data_images.Images:
    return data_images.load(Data.model_validate({"name": str(root), **data}), HERE)


def count(found: data_images.Images) -> int:
    return len(found.train) + len(found.validation)


def test_pictures_in_folders_of_a_class_are_the_class_s(root):
    picture(root / "train" / "cat" / "2023" / "may" / "0.png")
    assert count(load(root)) == 13
    for name in ("cat", "dog"):  # as Tiny ImageNet has them
        (root / "train" / name / "images").mkdir()
        for path in (root / "train" / name).glob("*.png"):
            path.rename(path.parent / "images" / path.name)
    assert count(load(root)) == 13


def test_a_link_that_leads_back_is_followed_once(root):
    (root / "train" / "cat" / "self").symlink_to(root / "train" / "cat")
    assert count(load(root)) == 12


@pytest.mark.parametrize("ending", ["jfif", "jp2", "avif", "tga", "JPG", "webp"])
def test_whatever_pillow_opens_is_read(root, ending):
    if f".{ending.lower()}" not in data_folder.endings():
        pytest.skip("this Pillow was built without it")
    picture(root / "train" / "cat" / f"new.{ending}")
    assert count(load(root)) == 13


def test_what_is_passed_over_is_named(root):
    for path in ("cat/a.heic", "cat/b.heic", "dog/notes.txt", "dog/README"):
        (root / "train" / path).write_bytes(b"")
    picture(root / "train" / "stray.png")
    picture(root / "extra" / "x.png")
    said = load(root).account
    assert said.startswith("my photos: 12 images of 2 classes (6 each), 10×10; 2 kept for validation; passed over: ")
    for word in ("2 *.heic", "1 *.txt", "1 without an ending", "1 file in train/ itself (1 *.png)", "extra/"):
        assert word in said


def test_names_that_begin_with_a_dot_are_nobody_s(root):
    (root / "train" / "cat" / "._0.png").write_bytes(b"\0\5\26\7Mac OS X")
    (root / "train" / ".thumbs").mkdir()
    picture(root / "train" / "cat" / ".old" / "0.png")
    found = load(root)
    assert count(found) == 12 and "passed over" not in found.account


@pytest.mark.parametrize("name", [*data_folder.PARTS["validation"], "Val", "VALID"])
def test_a_validation_folder_is_the_validation_set(root, name):
    alone = load(root)
    for place, label in enumerate(("cat", "dog")):
        for number in range(3):
            picture(root / name / label / f"{number}.png", 40 + 3 * place + number)
    found = load(root)
    assert (len(found.train), len(found.validation)) == (12, 6)
    assert f"validated by the 6 of {name}/" in found.account and found.fingerprint != alone.fingerprint
    picture(root / name / "cat" / "more.png")
    assert load(root).fingerprint != found.fingerprint
    (root / name / "cat").rename(root / name / "cow")
    with pytest.raises(Refusal, match="same in train and validation: cat, dog, but in validation cow, dog"):
        load(root)


def test_two_validation_folders_are_refused(root):
    for name in ("val", "valid"):
        (root / name).mkdir()
    with pytest.raises(Refusal, match="there are val, valid; keep one"):
        load(root)


def test_class_folders_without_a_folder_train_are_taken_as_if_they_lay_in_one(root):
    before = load(root)
    for path in (root / "train").iterdir():
        path.rename(root / path.name)
    (root / "train").rmdir()
    picture(root / "test" / "cat" / "0.png")
    assert load(root).fingerprint == before.fingerprint


def test_all_broken_files_and_dead_links_are_told_at_once(root):
    for number, cut in enumerate((20, 20, 2000)):  # in the head, and among the pixels
        path = root / "train" / "cat" / f"{number}.png"
        Image.effect_noise((64, 64), 90).save(path)
        path.write_bytes(path.read_bytes()[:cut])
    for number in range(4):
        (root / "train" / "dog" / f"link{number}.png").symlink_to("/nowhere")
    with pytest.raises(Refusal) as refused:
        load(root)
    said = str(refused.value)
    assert "7 of 16 are not" in said and said.endswith("; mend or remove them.") and "2 more" in said
    assert "a link to a file that is not there" in said and "Truncated File Read" in said


def test_warnings_of_libraries_stay_where_they_are(root):
    cat = root / "train" / "cat"
    image = Image.new("P", (16, 16))
    image.putpalette([0, 0, 0] * 256)
    image.save(cat / "p.png", transparency=bytes(range(256)))
    Image.new("L", (12_000, 9_000)).save(cat / "scan.png")
    Image.new("RGB", (16, 16)).save(cat / "e.jpg")
    whole, broken = (cat / "e.jpg").read_bytes(), b"Exif\0\0II*\0\xff\xff\xff\xff"
    (cat / "e.jpg").write_bytes(whole[:2] + b"\xff\xe1" + (len(broken) + 2).to_bytes(2, "big") + broken + whole[2:])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert count(load(root)) == 15


def test_a_class_folder_that_comes_or_goes_is_noticed(root):
    before = load(root)
    (root / "train" / "cow").mkdir()
    with pytest.raises(Refusal, match="cow' holds none"):
        load(root)
    (root / "train" / "cow").rmdir()
    assert load(root).fingerprint == before.fingerprint


def test_a_split_that_leaves_a_class_without_training_images_is_refused(tmp_path):
    for label in range(40):
        for number in range(3):
            picture(tmp_path / "train" / f"c{label:02}" / f"{number}.png", 3 * label + number)
    with pytest.raises(Refusal, match="of its 40 classes have none among them; take more"):
        load(tmp_path, images=40)
    found = load(tmp_path)
    assert np.unique(found.validation_labels.numpy()).size == 24 and "(24 of 40 classes have any)" in found.account


def test_who_is_validated_is_no_matter_of_the_alphabet(tmp_path):
    for label in range(20):
        for number in range(3):
            picture(tmp_path / "train" / f"c{label:02}" / f"{number}.png", 3 * label + number)
    drawn = {frozenset(load(tmp_path, split_seed=seed).validation_labels.tolist()) for seed in range(4)}
    assert len(drawn) == 4


@pytest.mark.parametrize("train, test", [("Training", "Testing"), ("TRAIN", "Test"), ("training", "testing")])
def test_a_part_is_a_part_however_its_name_is_written(root, train, test):
    before = load(root)
    (root / "train").rename(root / train)
    picture(root / test / "cat" / "0.png", 30)
    assert load(root).fingerprint == before.fingerprint
    there = data_folder.folder(str(root))
    assert there and there.part("test") == root / test


def test_two_folders_of_one_part_are_refused(root):
    (root / "Training").mkdir()
    with pytest.raises(Refusal, match=r"One folder holds the train images, but in .* Training, train; keep one"):
        load(root)


def test_what_lies_beside_is_named_once_with_its_kinds_the_most_frequent_first(root):
    for number in range(3):
        (root / "train" / f"{number}.csv").write_text("x")
    picture(root / "train" / "stray.png")
    (root / "README.txt").write_text("x")
    (root / "extra").mkdir()
    for place, name in enumerate(("cat", "dog")):
        picture(root / "val" / name / "0.png", 40 + place)
    for number, count in enumerate((1, 4, 7, 10, 2, 3, 5, 6)):
        for one in range(count):
            (root / "train" / "cat" / f"{one}.k{number}").write_text("x")
    said = load(root).account.partition("passed over: ")[2]
    assert said.count("extra/") == 1 and "4 files in train/ itself (3 *.csv, 1 *.png)" in said
    assert "1 file in my photos/ itself (1 *.txt)" in said
    assert "10 *.k3, 7 *.k2, 6 *.k7, 5 *.k6, 4 *.k1, 3 *.k5, 3 other files" in said


def test_a_folder_that_may_not_be_read_is_refused_and_not_passed_over(root, monkeypatch):
    real = data_folder.os.scandir

    def scandir(path):
        if str(path).endswith("secret"):
            raise PermissionError(13, "Permission denied", str(path))
        return real(path)

    (root / "train" / "cat" / "secret").mkdir()
    monkeypatch.setattr(data_folder.os, "scandir", scandir)
    with pytest.raises(Refusal, match=r"secret' is not .Permission denied.*; give the right to read it"):
        load(root)


@pytest.mark.parametrize("error", [RuntimeError("invalid AV1"), MemoryError(), OverflowError("x")])
def test_whatever_a_decoder_raises_the_file_is_named(root, monkeypatch, error):
    def broken(image):
        raise error

    monkeypatch.setattr(pictures, "head", broken)
    with pytest.raises(Refusal, match=r"12 of 12 are not: .*0\.png"):
        load(root)


def test_a_known_set_that_would_not_fit_is_refused_before_it_is_enlarged(monkeypatch):
    free = type("Free", (), {"free": 10_000_000})
    monkeypatch.setattr(sources.shutil, "disk_usage", lambda path: free)
    with pytest.raises(Refusal, match=r"1,433 of 1000×1000 take .* are free .*; --image-size \d+ would fit"):
        data_images.load(Data(name="digits", image_size=1000), HERE)
    monkeypatch.undo()
    small = data_images.load(Data(name="digits", image_size=16), HERE)
    again = known.seen(data_images.load(Data(name="digits"), HERE).train[:].permute(0, 2, 3, 1), Look((16, 16), GREY))
    assert small.train[:].permute(0, 2, 3, 1).equal(again)
