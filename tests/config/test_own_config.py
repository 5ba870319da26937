"""Configs of users' own networks, and what of them older configs lack."""

import hashlib
import json

import pytest
import yaml
from helpers import pipeline
from pydantic import ValidationError

from kdsearch.config.net import Eye, Net, Own
from kdsearch.config.parse import parse
from kdsearch.config.pipeline import Data, Fit, Hints, Link, Pair, Pipeline
from kdsearch.config.provenance import RECIPE
from kdsearch.distill.store import key_of
from kdsearch.errors import Refusal

EYE = Eye(
    size=(96, 64), resize="bicubic", crop=0.875, mean=(0.5, 0.4, 0.3), std=(0.1, 0.2, 0.3), order="bgr", channels=3,
    classes=("cat", "dog", "cow"), outputs="probabilities",
)  # fmt: skip
OWN = Own(
    kind="own", factory="/there/my_nets.py:student",
    arguments=(("width", 16), ("deep", True), ("layers", (1, 2)), ("act", None), ("rate", 0.5)),
    weights="/there/w.pt", taps=("stem", "blocks.4"), eye=EYE, source="a" * 16, weights_hash="b" * 16, head="fc",
    new_head=True, columns=(2, 0),
)  # fmt: skip
SAID = {"kind": "own", "factory": "timm:resnet18"}


def chain(**student: object) -> Pipeline:
    return Pipeline(links=(Link(net=OWN), Link.model_validate({"net": OWN, **student})))


def pair(word: object) -> Pair:
    return parse(Hints, {"pairs": [word]}, "it").pairs[0]


@pytest.mark.parametrize(
    "through", [lambda plain: json.loads(json.dumps(plain)), lambda p: yaml.safe_load(yaml.dump(p))]
)
@pytest.mark.parametrize("net", [OWN, Own.model_validate(SAID)])
def test_a_network_of_one_s_own_comes_back_as_it_was_written(through, net):
    told = Pipeline(links=(Link(net=net), Link(net=net, hints=Hints(pairs=(Pair(hint="stem", guided="2/3"),)))))
    back = parse(Pipeline, through(told.model_dump(mode="json")), "it")
    assert back == told and hash(back) == hash(told)


def test_arguments_are_plain_data_outside_and_in_no_order():
    one, other = (
        Own.model_validate(SAID | {"arguments": told}) for told in ({"b": [1, 2], "a": 3}, {"a": 3, "b": (1, 2)})
    )
    assert one == other and hash(one) == hash(other)
    assert one.model_dump()["arguments"] == {"a": 3, "b": [1, 2]}
    assert Own.model_validate(one.model_dump()) == one


@pytest.mark.parametrize("told", [{"a": {"b": 1}}, {"a": {1, 2}}, {"a": [object()]}, "ab", 3])
def test_an_argument_that_is_no_plain_data_is_refused(told):
    with pytest.raises(
        Refusal, match=r"arguments: (an argument is a number, a word|arguments are values by their names)"
    ):
        parse(Own, SAID | {"arguments": told}, "it")


@pytest.mark.parametrize(
    "told, said",
    [
        ({"eye": {"sise": 96}}, "Did you mean 'size'"),
        ({"eye": {"size": 4}}, "eye.size"),
        ({"eye": {"crop": 1.5}}, "eye.crop"),
        ({"eye": {"std": [0.0]}}, "eye.std"),
        ({"eye": {"order": "rbg"}}, "eye.order"),
        ({"eye": {"channels": 4}}, "eye.channels"),
        ({"tabs": ["a"]}, "Did you mean 'taps'"),
    ],
)
def test_a_mistake_in_a_network_of_one_s_own_is_named_with_its_place(told, said):
    with pytest.raises(Refusal, match=said):
        parse(Pipeline, {"links": [{"net": SAID | told}]}, "it")


@pytest.mark.parametrize(
    "word, hint, guided",
    [
        ("2→6", 2, 6),
        ("2>6", 2, 6),
        (" 2  > 6 ", 2, 6),
        ("blocks.4>layer2", "blocks.4", "layer2"),
        ("1/3>2/3", "1/3", "2/3"),
        ("1/2→layer2.0", "1/2", "layer2.0"),
    ],
)
def test_a_pair_is_written_as_a_word(word, hint, guided):
    found = pair(word)
    assert (found.hint, found.guided, found.weight) == (hint, guided, 1.0)
    assert pair(str(found)) == found == pair({"hint": hint, "guided": guided})


@pytest.mark.parametrize("word", ["2", "2>", ">2", "2>3>4", "0>1", "1/0>1", "-1>2", "a b>c", "1.5>2", ""])
def test_a_word_that_is_no_pair_is_refused(word):
    with pytest.raises(Refusal, match="pairs"):
        pair(word)


def test_a_pair_has_numbers_once_it_is_known_and_not_before():
    assert pair("2>6").layers == (2, 6)
    with pytest.raises(AssertionError):
        _ = pair("1/3>6").layers


@pytest.mark.parametrize("fit", [Fit(epochs=0), Fit(trains="head", epochs=3)])
def test_what_is_taken_as_it_is_or_trains_in_part_is_a_network_of_one_s_own(fit):
    assert Link(net=OWN, fit=fit).fit == fit
    with pytest.raises(ValidationError, match="epochs=0 and trains=head belong to a network of the user's own"):
        Link(net=Net(), fit=fit)


def test_no_stage_1_fits_into_no_epochs():
    with pytest.raises(ValidationError, match="at least 2 for a link with hints"):
        chain(fit=Fit(epochs=0), hints=Hints(pairs=(Pair(hint=1, guided=1),)))


# Configs that are older than these networks -------------------------------------------------------------------------

DATA = {
    "name": "digits", "images": None, "image_size": None, "validation": 0.2, "split_seed": 0, "mean": None, "std": None,
    "augment": None, "views": None,
}  # fmt: skip
FIT = {
    "epochs": 4, "optimizer": "adam", "learning_rate": 0.005, "momentum": 0.0, "weight_decay": 0.0,
    "schedule": "constant", "drops": [0.5, 0.75], "batch_size": 64, "fraction": 1.0, "subset": "stratified",
    "steps": "full",
}  # fmt: skip
TEACHER = {
    "kind": "plain", "widths": [8, 8, 8], "depth": 3, "hidden": 16, "width": 1.0, "batch_norm": False,
    "hidden_norm": False, "dropout": 0.1, "block_dropout": 0.0, "pools": None, "padding": 1,
}  # fmt: skip
STUDENT = TEACHER | {"widths": [4, 4, 4], "depth": 6, "hidden": 8}
LINKS = [
    {"net": TEACHER, "fit": FIT, "hints": None, "kd": None, "seed": 0},
    {
        "net": STUDENT, "fit": FIT, "kd": {"weight": 0.5, "temperature": 4.0, "virtual": None}, "seed": 0,
        "hints": {
            "pairs": [{"hint": 2, "guided": 4, "weight": 1.0}], "share": 0.5, "regressor": "conv3x3",
            "scope": "guided", "ce_weight": 0.0,
        },
    },
]  # fmt: skip
"""tests/helpers.py's pipeline, as it was written before there were networks of one's own."""


KEYS = ("897553538e93e553", "93e5144b60134d61")
"""Of its two links, likewise, with fingerprint f; another RECIPE changes them."""


def test_a_config_without_them_is_written_as_before():
    assert pipeline().model_dump(mode="json") == {"links": LINKS, "data": DATA}
    assert parse(Pipeline, {"links": LINKS, "data": DATA}, "it") == pipeline()


@pytest.mark.parametrize("number, lacking", [(0, {"name", "views"}), (1, {"name"})])
def test_a_network_s_key_in_the_store_is_what_it_was(number, lacking):
    data = {name: value for name, value in DATA.items() if name not in lacking}
    told = {"links": LINKS[: number + 1], "data": data, "fingerprint": "f", "recipe": RECIPE}
    before = hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()[:16]
    assert key_of(pipeline(), number, "f") == before == KEYS[number]


def test_what_is_told_of_the_new_fields_is_written_and_is_another_network():
    told = pipeline().model_copy(update={"data": Data(channels=3)})
    assert told.data.model_dump()["channels"] == 3
    assert Fit(trains="head").model_dump()["trains"] == "head"
    assert len({key_of(one, 1, "f") for one in (told, pipeline())}) == 2


def test_a_key_knows_a_user_s_files_by_their_hashes_wherever_they_lie():
    here = chain()
    net = OWN.model_copy(update={"factory": "/elsewhere/my_nets.py:student", "weights": "/elsewhere/w.pt"})
    moved = Pipeline(links=(Link(net=net), Link(net=net)))
    assert key_of(here, 1, "f") == key_of(moved, 1, "f")
    for change in ({"source": "c" * 16}, {"weights_hash": "c" * 16}, {"factory": "/there/my_nets.py:other"}):
        other = Pipeline(links=(Link(net=OWN.model_copy(update=change)), Link(net=OWN)))
        assert key_of(other, 1, "f") != key_of(here, 1, "f"), change
