"""Configs are checked when they are made, and say what is wrong."""

import pytest
from helpers import MADE, pipeline
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from kdsearch.config.net import NETS, Net, Own
from kdsearch.config.parse import parse
from kdsearch.config.pipeline import KD, Fit, Hints, Link, Pair, Pipeline
from kdsearch.config.provenance import Made
from kdsearch.errors import Refusal


def refused(value: object) -> str:
    with pytest.raises(Refusal) as told:
        parse(Pipeline, value, "it")
    return str(told.value)


def test_a_depth_that_does_not_fill_the_blocks_is_refused_with_rule_and_value():
    said = refused({"links": [{"net": {"depth": 4}}]})
    assert "depth must be a positive multiple of 3" in said and "depth=4" in said


def test_an_unknown_key_is_refused_with_the_nearest_one():
    assert "Did you mean 'width'?" in refused({"links": [{"net": {"widht": 1}}]})


@pytest.mark.parametrize(
    "value, near",
    [
        ({"links": [{"net": {}}], "link": []}, "links"),
        ({"links": [{"net": {"kind": "resnet", "block": 2}}]}, "blocks"),
        ({"links": [{"net": {}}, {"net": {}, "hints": {"pairs": [{"hint": 1, "guided": 2, "wight": 1}]}}]}, "weight"),
        ({"links": [{"net": {}, "fit": {"epoch": 2}}]}, "epochs"),
        ({"links": [{"net": {}}], "data": {"view": 2}}, "views"),
    ],
)
def test_the_nearest_key_is_one_of_the_place_where_the_unknown_one_stands(value, near):
    assert f"Did you mean '{near}'?" in refused(value)


def test_a_key_that_no_network_s_record_has_is_refused_with_those_that_it_has():
    teacher = {"key": "0" * 16, "digest": "d", "threads": 1, "precision": "float32", "targets": {}, "accuracy": None}
    with pytest.raises(Refusal, match=r"no key 'thread'; there is accuracy, digest.*Did you mean 'threads'"):
        parse(Made, MADE | {"teachers": [teacher | {"thread": 2}]}, "it")


def test_a_net_of_every_kind_is_read_back_as_that_kind():
    for word, kind in NETS.items():
        net = {"kind": word} | ({"factory": "timm:resnet18"} if kind is Own else {})
        assert type(parse(Pipeline, {"links": [{"net": net}]}, "it").student.net) is kind


def test_a_value_of_the_wrong_kind_is_refused_with_its_place():
    said = refused({"links": [{"net": {}, "fit": {"epochs": "many"}}]})
    assert "links.0.fit.epochs" in said and "'many'" in said


def test_a_missing_key_is_named():
    assert "links.0.net is required" in refused({"links": [{}]})


@pytest.mark.parametrize("value", [None, 3, "text", []])
def test_what_is_no_mapping_is_no_pipeline(value):
    assert "must hold the keys of a pipeline" in refused(value)


def test_momentum_under_adam_is_refused_since_it_would_be_ignored():
    with pytest.raises(ValidationError, match="momentum belongs to sgd"):
        Fit(optimizer="adam", momentum=0.9)


def test_a_first_link_with_a_teacher_s_settings_is_refused():
    with pytest.raises(ValidationError, match="no teacher"):
        Pipeline(links=(Link(net=Net(), kd=KD()),))


def test_a_pair_given_twice_is_refused():
    with pytest.raises(ValidationError, match="once"):
        Hints(pairs=(Pair(hint=1, guided=1), Pair(hint=1, guided=1)))


def test_nothing_is_changed_after_it_is_made():
    with pytest.raises(ValidationError, match="frozen"):
        Net().depth = 3  # pyright: ignore[reportAttributeAccessIssue]


@given(epochs=st.integers(2, 500), share=st.floats(0.001, 0.999))
def test_hint_epochs_come_out_of_the_same_budget_and_leave_each_stage_one(epochs, share):
    link = Link(net=Net(), fit=Fit(epochs=epochs), hints=Hints(pairs=(Pair(hint=1, guided=1),), share=share))
    assert 1 <= link.hint_epochs <= epochs - 1
    assert abs(link.hint_epochs - share * epochs) <= 1


def test_one_epoch_cannot_hold_both_stages():
    with pytest.raises(ValidationError, match="at least 2"):
        pipeline(fit=Fit(epochs=1))


def test_a_pipeline_survives_the_trip_through_plain_data():
    there = pipeline()
    assert parse(Pipeline, there.model_dump(mode="json"), "it") == there
