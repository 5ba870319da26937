"""A given teacher looked at: what is silently wrong with it is found, and said with what would mend it."""

import dataclasses
import re
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from mine import made, own, saved, written
from safetensors.torch import load_file
from torch import nn

import kdsearch
from kdsearch.cli.init import init
from kdsearch.config.net import Eye
from kdsearch.config.pipeline import Data, Fit, Link, Pipeline
from kdsearch.data import images as data_images
from kdsearch.data.memory import Images
from kdsearch.data.rows import Rows
from kdsearch.data.sight import seen
from kdsearch.distill import given
from kdsearch.errors import Refusal
from kdsearch.nets.settle import settled
from kdsearch.search import checked, worth
from kdsearch.search.worth import Checked

EYE = Eye(size=24, mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225))
"""As the teacher sees."""


@pytest.fixture(scope="module")
def images() -> Images:
    return data_images.load(Data(image_size=8, channels=3), Path("nowhere"))


@pytest.fixture(scope="module")
def mine(tmp_path_factory) -> Path:
    return written(tmp_path_factory.mktemp("mine"))


def fitted(file: Path, images: Images, eye: Eye, epochs: int) -> nn.Module:
    """A teacher trained on the images as an eye sees them."""
    torch.manual_seed(0)
    net, sight = made(file, "teacher"), seen(images, eye)
    steps, pixels = torch.optim.Adam(net.parameters(), 1e-2), sight.prepare(sight.train[:])
    for _ in range(epochs):
        for some in torch.randperm(len(pixels)).split(64):
            loss = F.cross_entropy(net(pixels[some]), images.labels[some])
            steps.zero_grad()
            loss.backward()
            steps.step()
    return net.eval()


@pytest.fixture(scope="module")
def taught(mine, images, tmp_path_factory) -> str:
    """The weights of a good teacher."""
    return saved(fitted(mine, images, EYE, 12), tmp_path_factory.mktemp("weights") / "w.safetensors")


def check(file: Path, images: Images, weights: str, name: str = "teacher", **eye: object) -> Checked:
    """A function's network with these weights, as it sees but for what is told."""
    net = own(file, name, weights=weights, eye=Eye.model_validate(EYE.model_dump() | eye))
    pipeline = Pipeline(links=(Link(net=net, fit=Fit(epochs=0)),), data=images.origin.data)
    return checked.check(settled(pipeline, images.shape, images.classes), (), images)


def changed(taught: str, path: Path, places: torch.Tensor) -> str:
    """The same weights with another order of outputs."""
    told = load_file(taught)
    return saved_as({n: v[places] if n.startswith("head.") else v for n, v in told.items()}, path)


def saved_as(told: dict[str, torch.Tensor], path: Path) -> str:
    torch.save(told, path)
    return str(path)


def test_a_good_teacher_is_described_and_neither_warned_of_nor_refused(mine, images, taught):
    found = check(mine, images, taught)
    assert found.accuracy and found.accuracy > 0.8 and not found.warnings and not found.refusal
    said = "; ".join(found.facts)
    assert "my_nets.py:teacher, 3,962 parameters" in said and "sees 24×24, mean 0.485, 0.456, 0.406" in said
    assert f"{100 * found.accuracy:.1f} % of 287 validation images" in said.replace("\u202f", " ")


def test_another_scale_is_warned_of_with_both_numbers_and_the_options(mine, images, taught):
    found = check(mine, images, taught, mean=(0.5,) * 3, std=(0.4,) * 3)
    assert not found.refusal and len(found.warnings) == 1
    assert (
        "scaled by ImageNet's: --teacher-eye mean=0.485,0.456,0.406 --teacher-eye std=0.229,0.224,0.225"
        in (found.warnings[0])
    )
    better, now = (float(number) for number in re.findall(r"([\d.]+).%", found.warnings[0])[:2])
    assert better > now > 10


def test_a_scale_that_costs_few_points_is_warned_of_where_enough_images_tell(mine, images, taught):
    validation = dataclasses.replace(images.validation, places=images.validation.places.repeat(6))
    many = dataclasses.replace(images, validation=validation, validation_labels=images.validation_labels.repeat(6))
    wrong: dict[str, Any] = {"mean": (0.5,) * 3, "std": (0.27,) * 3}
    assert not check(mine, images, taught, **wrong).warnings
    found = check(mine, many, taught, **wrong)
    assert "(of 1,722 images) scaled by ImageNet's" in found.warnings[0]
    better, now = (float(number) for number in re.findall(r"([\d.]+).%", found.warnings[0])[:2])
    assert 0 < better - now < 6


def test_a_teacher_at_chance_by_its_scale_is_refused_with_the_one_that_would_do(mine, images, taught):
    found = check(mine, images, taught, mean=(0.0,) * 3, std=(1 / 255,) * 3)
    assert "it answers at chance" in found.refusal and "scaled by ImageNet's it would be 9" in found.refusal
    with pytest.raises(Refusal, match=r"of 'my_nets.py:teacher': it answers at chance .*--teacher-anyway takes it"):
        worth.judge(found, False, pytest.fail)


def test_a_teacher_at_chance_by_its_size_is_refused_with_the_one_that_would_do(mine, images, taught):
    found = check(mine, images, taught, name="large", size=None)
    assert "it answers at chance" in found.refusal and "; at 24×24 it would be 9" in found.refusal
    assert found.refusal.endswith("--teacher-eye size=24")


def test_a_teacher_that_no_size_is_told_of_is_tried_at_others_though_it_is_better_than_chance(mine, images, taught):
    found = check(mine, images, taught, size=None)
    assert not found.refusal and found.accuracy and 0.1 < found.accuracy < 0.4
    assert "at 24×24: --teacher-eye size=24" in found.warnings[0]
    assert not check(mine, images, taught, size=16).warnings  # who tells a size means it


def test_a_teacher_that_takes_one_size_alone_is_tried_at_others_without_harm(mine, images, taught):
    assert "at 24×24" in check(mine, images, taught, name="strict", size=None).warnings[0]


def test_a_teacher_that_knows_nothing_is_refused_however_it_sees(mine, images, tmp_path):
    torch.manual_seed(1)
    found = check(mine, images, saved(made(mine, "teacher"), tmp_path / "w.safetensors"))
    assert (
        "at chance" in found.refusal and "however it sees; are these its weights (--teacher-weights)" in found.refusal
    )


def test_blue_before_red_is_warned_of(mine, images, tmp_path):
    colours = torch.tensor([[255, 200, 150], [150, 200, 255]])[torch.arange(10) % 2]

    def painted(rows: Rows, labels: torch.Tensor) -> Rows:
        found = (rows[:].float() * colours[labels].view(-1, 3, 1, 1) / 255).to(torch.uint8)
        return Rows(found.permute(0, 2, 3, 1).contiguous(), torch.arange(len(labels)))

    coloured = dataclasses.replace(
        images, train=painted(images.train, images.labels),
        validation=painted(images.validation, images.validation_labels),
    )  # fmt: skip
    plain: dict[str, Any] = {"size": None, "mean": None, "std": None}
    weights = saved(fitted(mine, coloured, Eye(), 8), tmp_path / "w.safetensors")
    assert not check(mine, coloured, weights, **plain).warnings
    found = check(mine, coloured, weights, **plain, order="bgr")
    said = found.refusal + "".join(found.warnings)
    assert "its channels RGB" in said and "--teacher-eye order=rgb" in said


@pytest.mark.parametrize(
    "places, said",
    [
        ([3, 1, 2, 0, 4, 5, 6, 7, 8, 9], ["its '0' is your '3', its '3' is your '0'"]),
        ([9, 0, 1, 2, 3, 4, 5, 6, 7, 8], ["its '0' is your '9', its '1' is your '0'", "and 4 more"]),
        ([4, 7, 1, 9, 0, 2, 8, 3, 5, 6], ["its '0' is your '4', its '1' is your '7'", "and 4 more"]),
    ],
    ids=["swapped", "shifted", "permuted"],
)
def test_classes_in_another_order_are_refused_with_their_names_and_the_option(
    mine, images, taught, tmp_path, places, said
):
    weights = changed(taught, tmp_path / "w.pt", torch.tensor(places))
    found = check(mine, images, weights)
    assert "if its classes were renamed" in found.refusal and all(one in found.refusal for one in said)
    option = f"--teacher-eye classes={','.join(map(str, places))}"
    assert found.refusal.endswith(option)
    mended = check(mine, images, weights, classes=tuple(map(str, places)))
    assert not mended.refusal and mended.accuracy == check(mine, images, taught).accuracy


def test_probabilities_are_noticed_and_taken_as_such(mine, images, taught, tmp_path):
    weights = saved_as({f"0.{name}": value for name, value in load_file(taught).items()}, tmp_path / "w.pt")
    found = check(mine, images, weights, name="probable")
    assert found.refusal.endswith("not logits: --teacher-eye outputs=probabilities")
    mended = check(mine, images, weights, name="probable", outputs="probabilities")
    assert not mended.refusal and mended.accuracy == found.accuracy


def test_outputs_that_are_no_numbers_are_refused_at_once_with_the_weights_that_are_none(mine, images, taught, tmp_path):
    told = load_file(taught)
    told["head.bias"][2] = float("nan")
    found = check(mine, images, saved_as(told, tmp_path / "w.pt"))
    assert found.refusal.endswith("no finite numbers (NaN or infinite); its weights hold some, too: head.bias")


@pytest.mark.parametrize("mean", [(0.1, 0.9), (0.1,) * 4])
def test_a_mean_of_another_number_of_channels_is_refused(mine, images, taught, mean):
    with pytest.raises(Refusal, match=r"or one for all, but images of 3 channels were told 0.1"):
        check(mine, images, taught, mean=mean)


def test_a_teacher_that_changes_while_it_answers_is_refused(mine, images, taught, tmp_path):
    weights = saved_as(load_file(taught) | {"calls": torch.zeros(())}, tmp_path / "w.pt")
    assert "its buffers move in evaluation mode" in check(mine, images, weights, name="restless").refusal


def test_a_prefix_of_its_weights_is_left_out_and_said(mine, images, taught, tmp_path):
    weights = saved_as({f"module.{name}": value for name, value in load_file(taught).items()}, tmp_path / "w.pt")
    found = check(mine, images, weights)
    assert "the names of its weights began with 'module.', which was left out" in found.facts and not found.refusal


def test_weights_of_other_code_are_refused_with_counts_and_the_nearest(mine, images, taught):
    with pytest.raises(Refusal, match=r"of the 4 of .* 4 missing .* not expected .*nearest to '0.weight' there: "):
        check(mine, images, taught, name="other")


def test_weights_that_lack_some_are_refused_with_their_names(mine, images, taught, tmp_path):
    told = {name: value for name, value in load_file(taught).items() if not name.startswith("down.1")}
    with pytest.raises(Refusal, match=r"5 missing \(down.1.weight, down.1.bias, down.1.running_mean, …\)"):
        check(mine, images, saved_as(told, tmp_path / "w.pt"))


def test_another_number_of_classes_trains_a_head_first(mine, images, taught):
    few = dataclasses.replace(images, classes=("0", "1", "2"))
    net = own(mine, "teacher", weights=taught, eye=EYE)
    link = Link(net=settled(Pipeline(links=(Link(net=net),)), few.shape, few.classes).links[0].net)
    fit = Fit(epochs=3, trains="head")
    found = checked.check(Pipeline(links=(link.model_copy(update={"fit": fit}),)), (), few)
    assert found.facts[-1] == "its head alone, drawn anew, trains for 3 epochs first" and found.accuracy is None


def test_a_head_that_was_trained_in_vain_is_refused_and_a_good_one_described(mine, images):
    link = Link(net=own(mine, "teacher"), fit=Fit(epochs=3, trains="head"))
    assert worth.trained(link, 0.5, images).facts[0].startswith("after 3 epochs of training its head alone, 50.0")
    assert not worth.trained(link, 0.5, images).refusal
    lost = worth.trained(link, 0.11, images)
    with pytest.raises(
        Refusal, match=r"of 'my_nets.py:teacher': it answers at chance after 3 epochs of training its head alone, 11.0"
    ):
        worth.judge(lost, False, pytest.fail)
    said: list[str] = []
    worth.judge(lost, True, said.append)
    assert said[0].startswith("of the teacher, taken anyway: it answers at chance after 3 epochs")


def test_a_renaming_by_chance_is_none():
    labels = torch.arange(200) % 10
    taken = torch.randint(0, 10, (200,), generator=torch.Generator().manual_seed(0))
    assert given.renamed(given.Heard(taken == labels, taken, labels, False, 1.0), tuple("0123456789")) is None


def test_better_is_beyond_chance():
    right = torch.zeros(300, dtype=torch.bool)
    few, many = right.clone(), right.clone()
    few[:8], many[:40] = True, True
    assert given.better(many, right) and not given.better(few, right)
    assert not given.better(right, many) and not given.better(right, right)


def test_the_command_tells_what_recording_would_take_and_init_names_a_file_that_a_shell_takes(
    mine, taught, tmp_path, monkeypatch, capsys
):
    eye = ["size=24", "channels=3", "mean=0.485,0.456,0.406", "std=0.229,0.224,0.225"]
    found = kdsearch.teacher(f"{mine}:teacher", weights=taught, eye=eye, progress=False)
    assert "recording its answers (views: " in "; ".join(found.facts)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(Refusal, match="A file is written into a folder, but there is no 'a b'; make it first"):
        init("own", Path("a b/nets.py"))
    Path("a b").mkdir()
    init("own", Path("a b/nets.py"))
    assert "kdsearch teacher 'a b/nets.py:teacher' --data" in capsys.readouterr().out
