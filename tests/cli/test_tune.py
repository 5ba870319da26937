"""The command that searches: it hands on what was typed, and no more."""

import pytest
from typer.testing import CliRunner

from kdsearch.cli.app import app
from kdsearch.search import tune
from kdsearch.search.asked import Asked


class Seen(Exception):
    """The command came as far as its options."""


@pytest.fixture
def asked(monkeypatch):
    def seen(found: Asked, command: str) -> None:
        raise Seen(found)

    monkeypatch.setattr(tune, "begun", seen)
    monkeypatch.delenv("KDSEARCH_STORAGE", raising=False)

    def call(*words: str) -> Asked:
        found = CliRunner().invoke(app, ["tune", "depth_vs_hint", *words]).exception
        assert isinstance(found, Seen), found
        return found.args[0]

    return call


def test_options_that_were_typed_are_told_from_defaults(asked):
    found = asked("--resume", "--trials", "7")
    assert found.trials == 7 and found.model_fields_set - {"storage_named"} == {"space", "resume", "trials"}


@pytest.mark.parametrize(("typed", "named"), [((), False), (("--storage", "there"), True)])
def test_a_storage_is_named_where_a_user_named_it(asked, typed, named):
    assert asked(*typed).storage_named is named
