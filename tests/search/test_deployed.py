"""Students in use: loaded from an export or a search, with kdsearch and without it, in PyTorch, ONNX and int8."""

import json
import os
import shutil
import subprocess
import sys
import venv
from importlib.metadata import distribution
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from handed import searched
from mine import written
from packaging.requirements import Requirement
from PIL import Image
from safetensors.torch import load_file, save_file

import kdsearch
from kdsearch.config.net import Net, Own, ResNet
from kdsearch.config.pipeline import Data
from kdsearch.data import images as data_images
from kdsearch.errors import Refusal
from kdsearch.nets import onnx
from kdsearch.nets.factory import source
from kdsearch.search import judges, networks
from kdsearch.search.deployed import Deployed
from kdsearch.storage.bucket import Storage
from kdsearch.storage.code import packed

TEACHER = Net(depth=3, widths=(16, 16, 16), hidden=16)
NETS: dict[str, Any] = {
    "0": Net(depth=3, widths=(8, 8, 8), hidden=16, batch_norm=True),
    "1": ResNet(kind="resnet", widths=(8, 16), blocks=1),
}
NUMBERS = "import sys, torch; from model import student; torch.save(student()(torch.load('pixels.pt')), 'logits.pt')"


@pytest.fixture(scope="module")
def digits(tmp_path_factory) -> Any:
    """A search of digits, one of whose students is a user's own; all exported in every format."""
    folder = tmp_path_factory.mktemp("deployed")
    path = written(folder / "mine")
    nets = NETS | {
        "2": Own(kind="own", factory=f"{path}:student", arguments=(("channels", 1),), source=source(f"{path}:student"))
    }
    searched(folder / "results" / "digits", nets, TEACHER, Data(image_size=16))
    shelf = networks.shelf(Storage(folder / "results"))
    shelf.mkdir(parents=True)
    (shelf / f"{nets['2'].source}.zip").write_bytes(packed(path))
    search = kdsearch.open("digits", folder / "results")
    told: dict[str, list[str]] = {}
    out = [
        search.export(name, output=folder / "out", onnx=True, int8=True, int8_loss=100, test=True, progress=False,
                      told=lambda path, said: told.update({path.name: said}))[0]
        for name in nets
    ]  # fmt: skip
    return search, dict(zip(nets, out, strict=True)), told


def some(search: kdsearch.Search, count: int = 100) -> tuple[torch.Tensor, torch.Tensor]:
    """Test images: uint8 (N, C, H, W), and their labels."""
    images = data_images.load(Data(image_size=16), Path("data"))
    rows, labels = data_images.load_test(Data(image_size=16), Path("data"), images)
    return rows[:count].contiguous(), labels[:count]


@pytest.mark.parametrize("name", ["0", "1", "2"])
def test_search_export_and_onnx_give_the_same_logits_and_int8_nearly_the_same_answers(digits, name):
    search, folders, _ = digits
    pixels, _ = some(search)
    student, other = kdsearch.load(folders[name]), search.load(name)
    with torch.no_grad():
        plain = student.whole(pixels)
        assert torch.equal(plain, other.whole(pixels))
        normalised = torch.stack([student.whole.normalised(one[None])[0] for one in pixels])
        torch.testing.assert_close(student(normalised), plain, atol=1e-5, rtol=1e-5)
    given = onnx.Session((folders[name] / "model.onnx").read_bytes()).all(pixels)
    torch.testing.assert_close(given, plain, atol=1e-4, rtol=0)
    assert torch.equal(given.argmax(1), plain.argmax(1))
    coarse = onnx.Session((folders[name] / "model.int8.onnx").read_bytes()).all(pixels)
    assert (coarse.argmax(1) == plain.argmax(1)).float().mean() > 0.8


def bare(folder: Path, *names: str) -> Path:
    """Python with these packages, what they need, and nothing else."""
    venv.create(folder, symlinks=True)
    (there,) = folder.glob("lib/python*/site-packages")
    waiting, found = list(names), set[str]()
    while waiting:
        name = waiting.pop()
        if name in found:
            continue
        found.add(name)
        package = distribution(name)
        for top in {file.parts[0] for file in package.files or () if file.parts[0] not in ("..", "__pycache__")}:
            if not (there / top).exists():
                (there / top).symlink_to(Path(str(package.locate_file(top))))
        needs = [Requirement(line) for line in package.requires or ()]
        waiting += [need.name for need in needs if not need.marker or need.marker.evaluate({"extra": ""})]
    return folder / "bin" / "python"


@pytest.mark.parametrize("name", ["0", "1", "2"])
def test_model_py_gives_the_same_logits_where_there_is_no_kdsearch(digits, name, tmp_path_factory):
    search, folders, _ = digits
    place = tmp_path_factory.getbasetemp() / "bare"
    python = place / "bin" / "python" if place.exists() else bare(place, "torch", "safetensors")
    env = {"PATH": os.environ["PATH"], "PYTHONPATH": str(folders[name])}

    def run(code: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run([python, "-c", code], cwd=folders[name], env=env, capture_output=True, text=True)

    assert "No module named 'kdsearch'" in run("import kdsearch").stderr
    assert "No module named 'torchvision'" in run("import torchvision").stderr
    pixels, _ = some(search)
    torch.save(pixels, folders[name] / "pixels.pt")
    done = run(NUMBERS)
    assert done.returncode == 0, done.stderr
    logits = torch.load(folders[name] / "logits.pt")
    with torch.no_grad():
        plain = kdsearch.load(folders[name]).whole(pixels)
    torch.testing.assert_close(logits, plain, atol=1e-4, rtol=0)
    assert torch.equal(logits.argmax(1), plain.argmax(1))


def test_a_picture_is_read_as_the_images_were_that_trained_it(digits):
    search, folders, _ = digits
    student = kdsearch.load(folders["0"])
    pixels, _ = some(search, 5)
    small = data_images.load_test(Data(), Path("data"), data_images.load(Data(), Path("data")))[0][:5]
    for own, large in zip(small, pixels, strict=True):
        array = own[0].numpy()
        forms = [array, array[..., None], np.repeat(array[..., None], 3, 2), Image.fromarray(array)]
        assert all(torch.equal(student.pixels(form), large) for form in forms)
        torch.testing.assert_close(student.preprocess(array), student.whole.normalised(large[None])[0])
    with torch.no_grad():
        shares = student.whole(pixels[:1]).double().softmax(1)[0]
    found = student.predict(small[0, 0].numpy())
    assert [name for name, _ in found] == [student.classes[place] for place in shares.argsort(descending=True)]
    assert sum(share for _, share in found) == pytest.approx(1) and not student.training


def test_the_card_tells_what_was_found(digits):
    search, folders, told = digits
    card = kdsearch.load(folders["1"]).card
    by = {(one["format"], one["part"]): one for one in card["accuracies"]}
    assert {name for name, _ in by} == {"search", "student.safetensors", "model.onnx", "model.int8.onnx"}
    assert by["model.int8.onnx", "test"]["precision"] == "int8" and by["model.onnx", "test"]["same"] == 364
    pixels, labels = some(search, 364)
    with torch.no_grad():
        right = int((search.load("1").whole(pixels).argmax(1) == labels).sum())
    assert by["student.safetensors", "test"]["right"] == right
    for one in card["accuracies"]:
        assert one["low"] < one["accuracy"] < one["high"] or one["accuracy"] == 1
    assert {one["format"] for one in card["speeds"]} == {"student.safetensors", "model.onnx", "model.int8.onnx"}
    assert card["bytes"]["model.onnx"] == (folders["1"] / "model.onnx").stat().st_size
    page = (folders["1"] / "CARD.md").read_text()
    assert "## Licence" in page and f"{by['model.int8.onnx', 'test']['same']:,}/364" in page
    slow = [one for one in told["1"] if one.startswith("int8 is slower")]
    assert all(one in page for one in slow)


@pytest.mark.parametrize("change", ["weights", "config", "card", "list", "gone", "another", "archive", "nothing"])
def test_a_damaged_export_is_refused_with_the_way_to_mend_it(digits, tmp_path, change):
    there = tmp_path / "there"
    shutil.copytree(digits[1]["0"], there)
    file = there / {"weights": "student.safetensors", "config": "config.yaml", "card": "card.json"}.get(change, "")
    if change == "weights":
        raw = bytearray(file.read_bytes())
        raw[-9] ^= 0x40
        file.write_bytes(raw)
    elif change in ("config", "card"):
        file.write_text("{")
    elif change == "list":
        (there / "card.json").write_text("[1]")
    elif change == "another":  # of the same shapes
        net = load_file(there / "student.safetensors")
        save_file({name: one + 1 for name, one in net.items()}, there / "student.safetensors")
    elif change == "archive":
        (there / "code").mkdir()
        (there / "code" / "0.zip").write_text("no")
    elif change == "gone":
        (there / "student.safetensors").unlink()
    else:
        shutil.rmtree(there)
    with pytest.raises(Refusal, match=r"xport it again|; export again|has no config.yaml"):
        kdsearch.load(there)


def picture(folder: Path, mode: str = "L", size: tuple[int, int] = (8, 8)) -> Path:
    Image.effect_noise(size, 90).convert(mode).save(folder / "x.png")
    return folder / "x.png"


@pytest.fixture
def student(digits) -> Deployed:
    return kdsearch.load(digits[1]["0"])


def test_other_pictures_than_the_network_reads_are_refused(student, tmp_path):
    colour = Image.fromarray(np.random.default_rng(0).integers(0, 256, (8, 8, 3), np.uint8))
    with pytest.raises(Refusal, match=r"in colour \(3 channels\).*reads grey pictures \(1 channel\); convert it"):
        student.predict(colour)
    deep = Image.fromarray((np.arange(64).reshape(8, 8) * 500).astype(np.uint16))
    with pytest.raises(Refusal, match="more than 8 bits a value, but this network learned from pictures of 8 bits"):
        student.predict(deep)
    with pytest.raises(Refusal, match="The picture has no pixels"):
        student.predict(np.zeros((0, 0), np.uint8))
    for odd, said in ((np.zeros((8, 8)), "an array float64 of 8×8"), (np.zeros((8, 8, 2), np.uint8), "uint8 of 8×8×2"),
                      (7, "got int")):  # fmt: skip
        with pytest.raises(Refusal, match=f"A picture is a path, one of Pillow's, or an array uint8 .*{said}"):
            student.predict(odd)
    (tmp_path / "no.png").write_text("no picture")
    with pytest.raises(Refusal, match=r"'.*no.png' is none that can be read \(Pillow knows no such format\)"):
        student.predict(tmp_path / "no.png")
    with pytest.raises(Refusal, match=r"'.*nowhere.png' is none that can be read \(No such file"):
        student.predict(str(tmp_path / "nowhere.png"))
    assert len(student.predict(picture(tmp_path, "RGB"))) == 10  # its colours are greys
    assert len(student.predict(picture(tmp_path, size=(31, 20)))) == 10


def test_a_prediction_is_the_same_whatever_mode_the_module_is_in(student, tmp_path):
    image = picture(tmp_path)
    before = student.predict(image)
    student.train()
    assert student.predict(image) == before and student.training
    state = {name: value.clone() for name, value in student.state_dict().items()}
    student.predict(image)
    assert all(torch.equal(state[name], value) for name, value in student.state_dict().items())


def test_int8_that_loses_more_than_is_allowed_is_refused_with_the_number(digits, tmp_path, monkeypatch):
    search, _, _ = digits
    rights = iter([280, 280, 251])  # PyTorch's, ONNX's, int8's
    monkeypatch.setattr(judges.Part, "right", lambda part, logits: next(rights))
    with pytest.raises(
        Refusal, match=r"may lose 1 points \(--int8-loss\), but it loses 10.10: 251 right instead of 280"
    ):
        search.export("0", output=tmp_path, int8=True, progress=False)
    assert not list(tmp_path.rglob("*.safetensors"))


def test_the_images_that_judge_are_those_of_the_search(digits, tmp_path):
    search, _, _ = digits
    facts = json.loads((search.folder / "search.json").read_text())
    for name in ("a", "b"):
        for part in range(4):
            (tmp_path / "other" / name).mkdir(parents=True, exist_ok=True)
            picture(tmp_path / "other" / name).rename(tmp_path / "other" / name / f"{part}.png")
    with pytest.raises(Refusal, match=rf"others by now \(fingerprint {facts['fingerprint']} then"):
        search.export("0", output=tmp_path / "out", onnx=True, data=str(tmp_path / "other"), progress=False)


def test_status_and_tables_need_no_torch():
    code = "import sys, kdsearch; kdsearch.open; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
