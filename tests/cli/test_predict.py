"""The command that asks an exported student about pictures."""

import json
import re
import sys
from pathlib import Path
from typing import Any

import pytest
from handed import searched
from PIL import Image

import kdsearch
from kdsearch.cli.app import main
from kdsearch.config.net import Net
from kdsearch.config.pipeline import Data
from kdsearch.data import images as data_images

NET = Net(depth=3, widths=(8, 8, 8), hidden=16)


@pytest.fixture(scope="module")
def there(tmp_path_factory) -> Path:
    """An export, and the test images of the digits as pictures in folders of their classes."""
    folder = tmp_path_factory.mktemp("predict")
    searched(folder / "results" / "digits", {"0": NET}, NET, Data())
    search = kdsearch.open("digits", folder / "results")
    search.export("0", output=folder / "out", test=True, progress=False)
    images = data_images.load(Data(), Path("data"))
    rows, labels = data_images.load_test(Data(), Path("data"), images)
    for number, (pixels, label) in enumerate(zip(rows[:364], labels, strict=True)):
        path = folder / "test" / images.classes[int(label)] / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels[0].contiguous().numpy()).save(path)
    return folder


@pytest.fixture
def say(there, monkeypatch, capsys) -> Any:
    monkeypatch.chdir(there)

    def said(*words: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["kdsearch", "predict", *words])
        try:
            main()
        except SystemExit as end:
            return int(end.code or 0), *capsys.readouterr()
        return 0, *capsys.readouterr()

    return said


def test_of_a_folder_of_classes_the_accuracy_is_the_float32_test_accuracy_of_the_card(there, say):
    code, out, _ = say("out/digits/0", "test")
    card = json.loads((there / "out" / "digits" / "0" / "card.json").read_text())
    (one,) = (one for one in card["accuracies"] if one["part"] == "test")
    assert one["precision"] == "float32" and one["of"] == 364
    assert code == 0 and f"Right: {one['right']} of 364 pictures" in out and f"({one['accuracy']:.6f})" in out


def test_a_line_a_picture_and_with_json_an_object_a_line(say):
    _, out, _ = say("out/digits/0", "test/0", "test/1/1.png", "--top", "3", "--json")
    rows = [json.loads(line) for line in out.splitlines()]
    assert rows[-1]["picture"] == "test/1/1.png" and all(len(row["predictions"]) == 3 for row in rows)
    shares = [one["probability"] for one in rows[-1]["predictions"]]
    assert shares == sorted(shares, reverse=True)
    _, out, _ = say("out/digits/0", "test/1/1.png", "--top", "2")
    first = rows[-1]["predictions"][0]
    assert out.startswith(f"test/1/1.png  {first['class']} {100 * first['probability']:.1f} %  ")


@pytest.mark.parametrize(
    "words, told",
    [
        (["nowhere", "test/1/1.png"], "has no config.yaml"),
        (["out/digits/0", "nowhere.png"], "'nowhere.png' is none that can be read (No such file or directory)"),
        (["out/digits/0", "out"], "A folder to predict holds pictures (*.png, *.jpg, *.webp, …), but 'out' has none"),
        (["out/digits/0", "out/digits/0/CARD.md"], "is none that can be read (Pillow knows no such format)"),
        (["out/digits/0", "colour.png"], "in colour (3 channels), but this network reads grey pictures"),
    ],
)
def test_what_cannot_be_is_a_sentence_and_exit_code_2(there, say, words, told):
    Image.effect_noise((8, 8), 50).convert("RGB").point(lambda value: value).save(there / "colour.png")
    image = Image.open(there / "colour.png")
    image.putpixel((0, 0), (255, 0, 0))
    image.save(there / "colour.png")
    code, out, err = say(*words)
    assert code == 2 and told in err and err.startswith("kdsearch: ") and err.count("\n") == 1, (out, err)


def test_what_was_answered_before_a_broken_picture_stays(there, say, tmp_path):
    (tmp_path / "broken.png").write_bytes(b"no")
    code, out, err = say("out/digits/0", str(there / "test" / "0"), str(tmp_path / "broken.png"))
    count = len(list((there / "test" / "0").iterdir()))
    assert code == 2 and "broken.png" in err and len(out.splitlines()) == count > 30


def test_a_picture_s_class_is_the_first_folder_below_what_was_asked_for(there, say, tmp_path):
    (tmp_path / "3" / "9").mkdir(parents=True)
    (tmp_path / "linked").symlink_to(there / "test" / "1")
    for place in (tmp_path / "3" / "9" / "x.png", tmp_path / "3" / "y.png"):
        Image.effect_noise((8, 8), 50).save(place)
    _, out, _ = say("out/digits/0", str(tmp_path))
    table = out.partition("By class")[2]
    assert re.search(r"\n 3 +2 ", table) and not re.search(r"\n 9 ", table)
    _, out, _ = say("out/digits/0", str(tmp_path / "3"))
    assert re.search(r"\n 3 +2 ", out.partition("By class")[2])
    code, out, _ = say("out/digits/0", str(tmp_path / "linked"))
    assert code == 0 and len(out.splitlines()) > 30
