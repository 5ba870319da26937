"""YAML from outside."""

import time

import pytest
import yaml

from kdsearch.config.parse import load_yaml

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
