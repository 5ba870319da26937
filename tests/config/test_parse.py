"""YAML from outside."""

import time

import pytest
import yaml

from kdsearch.config.parse import load_yaml, parse
from kdsearch.config.pipeline import Data
from kdsearch.errors import Refusal

LAUGHS = "a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"a{n}: &a{n} [{','.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, 9)
)


def test_plain_yaml_and_a_few_aliases_are_read():
    text = "base: &b {x: 1}\none: *b\ntwo: {<<: *b, y: [2, 3.5, null, yes]}\n"
    assert load_yaml(text) == yaml.safe_load(text)
    assert load_yaml("") is None


@pytest.mark.parametrize("text", [LAUGHS + "links: *a8\n", "a: &a [*a, 1]\n", "a: &a {b: *a}\n"])
def test_aliases_that_stand_for_more_than_anyone_writes_are_refused_at_once(text):
    begun = time.monotonic()
    with pytest.raises(yaml.YAMLError, match="more than 100,000 values"):
        load_yaml(text)
    assert time.monotonic() - begun < 5


def test_a_tag_runs_nothing(tmp_path):
    with pytest.raises(yaml.YAMLError):
        load_yaml(f"x: !!python/object/apply:os.mkdir ['{tmp_path / 'pwned'}']")
    assert not (tmp_path / "pwned").exists()


@pytest.mark.parametrize("text", ["[" * 60_000, "a: 2024-13-45", "a: " + "9" * 5000, "a: [1"])
def test_whatever_is_wrong_is_an_error_of_yaml(text):
    with pytest.raises(yaml.YAMLError):
        load_yaml(text)


def test_a_long_file_without_aliases_is_read():
    assert len(load_yaml("\n".join(f"- {n}" for n in range(120_000)))) == 120_000


def test_a_mistake_is_told_in_the_place_and_words_of_its_writer():
    with pytest.raises(Refusal) as refused:
        parse(Data, {"name": "digits", "image_size": 5000}, "The data")
    assert "constrained" not in str(refused.value) and "image_size: input should be less than or equal to 1024" in str(
        refused.value
    )
