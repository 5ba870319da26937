"""Users' networks made certain: their taps by number, how they see, which of their outputs count."""

from pathlib import Path

import pytest
import timm
import torch
from mine import chain, own, saved, weights, written
from torch import nn

from kdsearch.config.net import Eye, Net, Own
from kdsearch.config.pipeline import Hints, Link, Pair, Pipeline
from kdsearch.errors import Refusal
from kdsearch.nets import factory, settle
from kdsearch.nets.survey import survey
from kdsearch.storage import code

IMAGE = (3, 16, 16)
CLASSES = tuple("abcdefghij")


@pytest.fixture(scope="module")
def mine(tmp_path_factory) -> Path:
    return written(tmp_path_factory.mktemp("mine"))


def settled(pipeline: Pipeline, classes: tuple[str, ...] = CLASSES) -> Pipeline:
    return settle.settled(pipeline, IMAGE, classes)


def paired(mine: Path, *words: str, teacher: object = None, student: object = None) -> Pipeline:
    """A teacher and a student of one's own, unless others are given, and these pairs."""
    hints = Hints(pairs=tuple(Pair.model_validate(word) for word in words))
    nets = (teacher or own(mine, "teacher"), student or own(mine, "student"))
    links = (Link.model_validate({"net": nets[0]}), Link.model_validate({"net": nets[1], "hints": hints}))
    return Pipeline(links=links)


def numbers(pipeline: Pipeline) -> list[tuple[int, int]]:
    return [pair.layers for pair in pipeline.student.paired]


def names(pipeline: Pipeline, number: int) -> tuple[str, ...]:
    net = pipeline.links[number].net
    assert isinstance(net, Own)
    return net.taps


def certain(net: Own, classes: tuple[str, ...] = CLASSES, image=IMAGE) -> Own:
    return settle.certain(net, image, classes)


# Taps and pairs -----------------------------------------------------------------------------------------------------


def test_taps_are_found_and_the_head_and_the_files_hash_with_them(mine):
    found = certain(own(mine, "student"))
    assert found.taps == ("stem", "down", "last") and found.head == "head"
    assert found.source == code.source(mine) and not found.new_head and not found.columns
    assert survey(found, IMAGE, 10).maps == ((4, 16, 16), (8, 8, 8), (8, 4, 4))


@pytest.mark.parametrize(
    "word, layers",
    [("1/3>2/3", (1, 2)), ("1/1>1/3", (3, 1)), ("1/100>2/4", (1, 2)), ("2→3", (2, 3)), ("down>last", (2, 3))],
)
def test_parts_of_the_depth_and_names_become_numbers(mine, word, layers):
    assert numbers(settled(paired(mine, word))) == [layers]


def test_named_taps_join_those_that_are_found_in_the_order_in_which_they_run(mine):
    found = settled(paired(mine, "down.0>stem.0", "1/1>1/1"))
    assert names(found, 0) == ("stem", "down.0", "down", "last")
    assert names(found, 1) == ("stem.0", "stem", "down", "last")
    assert numbers(found) == [(2, 1), (4, 4)]


def test_pairs_that_fall_together_are_one_and_the_first_one_s_weight_holds(mine):
    pairs = Pair(hint="1/3", guided="1/3", weight=0.25), Pair(hint=1, guided="stem"), Pair(hint=3, guided=3)
    hints = Hints(pairs=pairs)
    links = (Link(net=own(mine, "teacher")), Link(net=own(mine, "student"), hints=hints))
    found = settled(Pipeline(links=links)).student.paired
    assert [(pair.layers, pair.weight) for pair in found] == [((1, 1), 0.25), ((3, 3), 1.0)]


def test_a_built_in_network_has_parts_and_no_names(mine):
    assert numbers(settled(paired(mine, "1/3>1/2", teacher=Net()))) == [(3, 2)]
    with pytest.raises(Refusal, match="names are of submodules of one's own networks, but 'conv1' is of a plain one"):
        settled(paired(mine, "conv1>stem", teacher=Net()))


@pytest.mark.parametrize(
    "word, said",
    [
        ("donw>1", "no submodule 'donw'.*Did you mean 'down'"),
        ("stem.0>head", "'head' gives 10, not a map; down, last, stem would fit"),
        ("stem.1>1", "'stem.1' is overwritten in place by a later layer; down, last, stem would fit"),
        ("4/3>1", "lies between its layers, but 4/3 is beyond its end"),
    ],
)
def test_a_tap_that_cannot_be_is_refused_with_what_would_fit(mine, word, said):
    with pytest.raises(Refusal, match=said):
        settled(paired(mine, word))


def test_a_network_without_maps_teaches_by_answers_alone(mine):
    found = certain(own(mine, "flat"))
    assert found.taps == () and found.layers == 0 and found.head == "3"
    with pytest.raises(Refusal, match="1/3 is nowhere: the network shows no map, so it teaches by answers"):
        settled(paired(mine, "1/3>1/3", teacher=own(mine, "flat")))


def test_who_says_the_taps_has_them_and_no_others(mine):
    found = certain(own(mine, "student", taps=("last", "stem")))
    assert found.taps == ("stem", "last")  # in the order in which they run


def test_what_is_certain_stays_as_it_is(mine):
    once = settled(chain(own(mine, "teacher"), own(mine, "student")))
    assert settled(once) is once


def test_nothing_is_drawn_from_the_process_s_generator(mine):
    torch.manual_seed(3)
    before = torch.get_rng_state()
    certain(own(mine, "student", arguments=(("width", 7),)))
    assert torch.equal(torch.get_rng_state(), before)


# How it sees --------------------------------------------------------------------------------------------------------


@pytest.fixture
def seeing(tmp_path) -> Path:
    path = written(tmp_path)
    more = "from kdsearch import Eye\nstudent.eye = Eye(size=12, mean=(0.1,) * 3, order='bgr')\nteacher.eye = 12\n"
    path.write_text(path.read_text() + more)
    return path


def test_a_factory_s_eye_is_how_its_network_sees(seeing):
    assert certain(own(seeing, "student")).eye == Eye(size=12, mean=(0.1,) * 3, order="bgr")


def test_what_is_told_beside_the_factory_wins_and_the_rest_stays(seeing):
    told = own(seeing, "student", eye=Eye(size=8, std=(0.2,) * 3))
    assert certain(told).eye == Eye(size=8, mean=(0.1,) * 3, std=(0.2,) * 3, order="bgr")


def test_an_eye_that_is_none_is_refused(seeing):
    with pytest.raises(Refusal, match=r"eye is an Eye.*of kdsearch, but that of 'my_nets.py:teacher' is 12"):
        certain(own(seeing, "teacher"))


DICE = """
import itertools
from torch import nn

count = itertools.count(1)


def net(classes):
    width = next(count)
    return nn.Sequential(nn.Conv2d(3, width, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(width, classes))
"""
TWO = """
from torch import nn


class Two(nn.Module):
    def __init__(self, classes):
        super().__init__()
        self.head = nn.Linear(3, classes)

    def forward(self, images):
        return self.head(images.mean((2, 3))), images


def net(classes):
    return Two(classes)
"""


@pytest.fixture
def tiny(monkeypatch):
    """timm's LCNet with a record of how it sees."""
    name, plain = "lcnet_035", timm.create_model
    record = {"input_size": (3, 48, 40), "interpolation": "bicubic", "mean": (0.1, 0.2, 0.3), "std": (0.4, 0.5, 0.6)}

    def create(*told, **named):
        net = plain(*told, **named)
        vars(net)["pretrained_cfg"] = record
        return net

    monkeypatch.setattr(timm, "create_model", create)
    settle._settled.cache_clear()
    yield f"timm:{name}"
    settle._settled.cache_clear()


def test_timm_s_record_is_how_its_weights_see_and_only_where_there_are_weights(tiny, tmp_path):
    path = saved(factory.made(tiny, 10, {}), tmp_path / "w.safetensors")
    assert certain(Own(kind="own", factory=tiny), image=(3, 32, 32)).eye == Eye()
    found = certain(Own(kind="own", factory=tiny, weights=path), image=(3, 32, 32))
    record = {"size": (40, 48), "channels": 3, "resize": "bicubic", "mean": (0.1, 0.2, 0.3), "std": (0.4, 0.5, 0.6)}
    assert found.eye == Eye.model_validate(record)
    assert survey(found, (3, 32, 32), 10).maps[0][1:] == (24, 20)  # it was looked at as it sees


def test_options_win_over_timm_s_record(tiny, tmp_path):
    path = saved(factory.made(tiny, 10, {}), tmp_path / "w.safetensors")
    told = Own(kind="own", factory=tiny, weights=path, eye=Eye(size=32, mean=(0.5,) * 3))
    found = certain(told, image=(3, 32, 32)).eye
    assert (found.size, found.mean, found.std) == (32, (0.5,) * 3, (0.4, 0.5, 0.6))


def test_what_an_option_says_wins_also_where_it_says_what_is_usual(seeing, tiny, tmp_path):
    assert certain(own(seeing, "student")).eye.order == "bgr"
    found = certain(own(seeing, "student", eye=Eye(order="rgb", crop=1.0))).eye
    assert (found.order, found.crop, found.size) == ("rgb", 1.0, certain(own(seeing, "student")).eye.size)
    path = saved(factory.made(tiny, 10, {}), tmp_path / "w.safetensors")
    told = Own(kind="own", factory=tiny, weights=path, eye=Eye(mean=None, resize=None))
    assert certain(told, image=(3, 32, 32)).eye.mean is None


def test_a_factory_that_throws_dice_is_refused(tmp_path):
    (tmp_path / "dice.py").write_text(DICE)
    with pytest.raises(Refusal, match=r"same arguments, but 'dice.py:net' called twice gave '0.weight' as"):
        certain(own(tmp_path / "dice.py", "net"))


def test_several_answers_are_refused_with_what_to_do(tmp_path):
    (tmp_path / "two.py").write_text(TWO)
    with pytest.raises(Refusal, match=r"but 'two.py:net' gives a tuple; wrap it in a module that returns its logits"):
        certain(own(tmp_path / "two.py", "net"))


# What it says -------------------------------------------------------------------------------------------------------


def test_classes_of_an_eye_name_the_columns_of_the_data_s(mine):
    eye = Eye(classes=("x", "b", "a", "y"))
    found = certain(own(mine, "student", eye=eye), ("a", "b"))
    assert found.columns == (2, 1)
    assert found.head == "head"
    assert certain(own(mine, "student", eye=Eye(classes=("a", "b"))), ("a", "b")).columns == ()


@pytest.mark.parametrize("classes, said", [(("a", "x"), "lack b"), (("a", "b", "a"), "are not told apart")])
def test_classes_that_lack_one_of_the_data_s_or_repeat_one_are_refused(mine, classes, said):
    with pytest.raises(Refusal, match=f"those of 'my_nets.py:student' {said}"):
        certain(own(mine, "student", eye=Eye(classes=classes)), ("a", "b"))


def test_another_number_of_outputs_is_refused_with_the_way_out(mine):
    said = "a number for each of 3 classes, but 'my_nets.py:constant' gives 10. If it knows more classes than the data"
    with pytest.raises(Refusal, match=said):
        certain(own(mine, "constant"), ("a", "b", "c"))
    found = certain(own(mine, "constant", eye=Eye(classes=CLASSES)), ("a", "b", "c"))
    assert found.columns == (0, 1, 2)


def test_a_network_that_does_not_take_the_image_is_refused_with_the_way_out(mine):
    said = r"is to see images of 1×16×16, but raised RuntimeError: .*\. If these are not .*--teacher-eye"
    with pytest.raises(Refusal, match=said):
        certain(own(mine, "student"), image=(1, 16, 16))
    assert certain(own(mine, "student", eye=Eye(channels=3)), image=(1, 16, 16)).taps


def test_weights_of_other_classes_give_a_new_head(mine, tmp_path):
    path = weights(mine, "student", tmp_path / "w.safetensors", classes=10)
    found = certain(own(mine, "student", weights=path), ("a", "b"))
    assert (found.new_head, found.head) == (True, "head")
    assert not certain(own(mine, "student", weights=path)).new_head


def test_a_network_in_memory_alone_is_looked_at_there(tmp_path):
    path = tmp_path / "counted.py"
    path.write_text(
        "import torch\nfrom torch import nn\n\n\n"
        "def net(classes):\n"
        "    rates = [rate.item() for rate in torch.linspace(0, 0.5, 2)]  # which the meta device cannot\n"
        "    parts = nn.Conv2d(3, 4, 3), nn.Dropout(rates[1]), nn.AdaptiveAvgPool2d(1), nn.Flatten()\n"
        "    return nn.Sequential(*parts, nn.Linear(4, classes))\n"
    )
    found = certain(own(path, "net"))
    assert found.taps == ("0",) and found.head == "4"
    assert survey(found, IMAGE, 10).parameters == sum(w.numel() for w in nn.Conv2d(3, 4, 3).parameters()) + 50
