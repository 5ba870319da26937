"""Images of a user's own code: FILE.py:NAME."""

from pathlib import Path

import numpy as np
import pytest
import torch

from kdsearch.config.net import Eye
from kdsearch.config.pipeline import Data
from kdsearch.data import images as data_images
from kdsearch.data import sources
from kdsearch.data.folder import placed
from kdsearch.data.sight import seen
from kdsearch.errors import Refusal

HERE = Path("nowhere")

CODE = '''
import numpy as np
from pathlib import Path

from PIL import Image

from shades import shade


class Photos:
    """Pictures of one grey, as Pillow's or as arrays."""

    def __init__(self, count, first=0, words=("cat", "dog")):
        self.count, self.first, self.words = count, first, words

    def __len__(self):
        return self.count

    def __getitem__(self, place):
        if not 0 <= place < self.count:
            raise IndexError(place)
        pixels = np.full((9, 12, 3), shade(place + self.first), dtype=np.uint8)
        return Image.fromarray(pixels) if place % 2 else pixels, self.words[place % 2]


train = Photos(12)
'''


@pytest.fixture
def mine(tmp_path) -> Path:
    """A file of one's own that imports one beside it."""
    (tmp_path / "shades.py").write_text("def shade(number):\n    return 5 * number\n")
    (tmp_path / "mine.py").write_text(CODE)
    return tmp_path / "mine.py"


def more(mine: Path, code: str) -> None:
    mine.write_text(mine.read_text() + code)


def load(mine: Path, name: str = "train", **data: object) -> data_images.Images:
    return data_images.load(Data.model_validate({"name": f"{mine}:{name}", **data}), HERE)


def shades(found: data_images.Images) -> list[tuple[int, int]]:
    """Number and label of each image."""
    pixels, labels = torch.cat([found.train[:], found.validation[:]]), [*found.labels, *found.validation_labels]
    return sorted((int(one[0, 0, 0]) // 5, int(label)) for one, label in zip(pixels, labels, strict=True))


def test_whatever_has_a_length_and_gives_pictures_and_labels_is_read(mine):
    found = load(mine)
    assert shades(found) == [(number, number % 2) for number in range(12)]
    assert found.classes == ("cat", "dog") and found.shape == (3, 9, 12)
    assert found.account.startswith("mine.py:train: 12 images of 2 classes (6 each), 12×9; 2 kept for validation")


def test_a_function_that_gives_it_is_called(mine):
    more(mine, "\ndef made():\n    import shades\n    return Photos(8, words=(3, 11))\n")
    found = load(mine, "made")
    assert len(shades(found)) == 8 and found.classes == ("3", "11")


def test_names_beside_it_validate_and_test(mine):
    more(mine, "\nvalidation = Photos(4, 20)\n\ndef test():\n    return Photos(6, 30)\n")
    found = load(mine)
    assert shades(found)[12:] == [(20, 0), (21, 1), (22, 0), (23, 1)] and len(found.validation) == 4
    assert "validated by the 4 of its validation" in found.account
    pixels, labels = data_images.load_test(found.origin.data, HERE, found)
    assert (pixels[:][:, 0, 0, 0] // 5).tolist() == list(range(30, 36)) and labels.tolist() == [0, 1] * 3


def test_grey_arrays_numbers_and_names_of_classes_are_taken(mine):
    more(
        mine,
        """
class Grey(Photos):
    classes = ["no", "yes", "perhaps"]
    def __getitem__(self, place):
        return np.full((9, 12, 1)[: 2 + place % 2], 9 * place, np.uint8), np.int64(place % 3)

grey = Grey(15)
""",
    )
    found = load(mine, "grey")
    assert found.shape == (1, 9, 12) and found.classes == ("no", "yes", "perhaps")
    assert {(int(one[0, 0, 0]) // 9) % 3 for one in found.train[:][found.labels == 2]} == {2}


def test_it_is_read_once_until_the_code_or_the_length_changes(mine, monkeypatch):
    more(mine, "\ndef made():\n    return Photos(int(Path(__file__ + '.txt').read_text()))\n")
    count = Path(f"{mine}.txt")
    count.write_text("8")
    first = load(mine, "made")
    with monkeypatch.context() as patched:
        patched.setattr(sources, "read", None)
        assert load(mine, "made").fingerprint == first.fingerprint
    count.write_text("10")
    second = load(mine, "made")
    assert second.fingerprint != first.fingerprint
    (mine.parent / "shades.py").write_text("def shade(number):\n    return 6 * number + 3\n")
    assert load(mine, "made").fingerprint != second.fingerprint


def test_an_eye_sees_it_from_the_original(mine):
    more(
        mine,
        """
class Noise(Photos):
    def __getitem__(self, place):
        return np.random.default_rng(place).integers(0, 256, (64, 64, 3), dtype=np.uint8), place % 2

noise = Noise(10)
""",
    )
    small = load(mine, "noise", image_size=16)
    for place, image in zip(small.train.places.tolist(), seen(small, Eye(size=64)).train[:], strict=True):
        expected = np.random.default_rng(place).integers(0, 256, (64, 64, 3), dtype=np.uint8)
        assert np.array_equal(image.permute(1, 2, 0).numpy(), expected)


def test_its_place_is_made_absolute(mine, monkeypatch):
    monkeypatch.chdir(mine.parent)
    assert placed("mine.py:train") == placed("./mine.py:train") == f"{mine}:train"


@pytest.mark.parametrize(
    "code, said",
    [
        ("train = 3", r"mine.py:train' raised TypeError: object of type 'int' has no len"),
        ("def train():\n    raise OSError('no disk')", r"mine.py:train' raised OSError: no disk"),
        ("train = []", "but 'mine.py:train' has none"),
        (
            "train = Photos(12, words=(1, 1))",
            "At least two classes are needed, but the labels of 'mine.py:train' are 1",
        ),
        ("train = Photos(12, words=('a', 1))", "all numbers or all words, but of 'mine.py:train' they are 1 and 'a'"),
        (
            "train = [(np.zeros((9, 9)), 'a')] * 4",
            r"4 of 4 are not, .*train\[0\]: .*an array float64 of 9×9",
        ),
        ("train = [(train[0][0], place) for place in (1, 2, None)]", r"1 of 3 are not, .*train\[2\]: .*it is None"),
        ("train = [*train, 5]", r"1 of 13 are not, .*train\[12\]: .*is .picture, label., but it is a int"),
        ("train = [(np.zeros((3, 20, 20), np.uint8), 'a')] * 4", r"4 of 4 are not, .*an array uint8 of 3×20×20"),
        ("train = train[0", "cannot be loaded: SyntaxError"),
    ],
)
def test_code_that_cannot_serve_is_refused_with_what_it_did(mine, code, said):
    more(mine, "\n" + code)
    with pytest.raises(Refusal, match=said):
        load(mine)


def test_a_name_or_a_file_that_is_not_there_is_refused(mine):
    with pytest.raises(
        Refusal, match=r"There is no name in '.*mine.py' 'trian'; there is .*Photos, shade, train. Did you mean 't"
    ):
        load(mine, "trian")
    with pytest.raises(Refusal, match=r"no name in '.*mine.py' 'test'"):
        data_images.load_test(Data(name=f"{mine}:train"), HERE, load(mine))
    with pytest.raises(Refusal, match=r"A data set may be a file, but there is no '.*gone.py'"):
        placed(f"{mine.parent}/gone.py:train")
    with pytest.raises(Refusal, match=r"are FILE.py:NAME, but got '.*mine.py'"):
        placed(str(mine))
