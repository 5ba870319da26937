"""The command that searches: it knows which of its options were typed."""

import pytest
import typer
from typer.testing import CliRunner

from kdsearch.cli import tune
from kdsearch.cli.app import app


class Asked(Exception):
    """The command came as far as its options."""


@pytest.fixture
def asked(monkeypatch):
    def seen(context: typer.Context, given: set[str]) -> None:
        raise Asked(dict(context.params), given)

    monkeypatch.setattr(tune, "_asked", seen)
    monkeypatch.delenv("KDSEARCH_STORAGE", raising=False)

    def call(*words: str) -> tuple[dict, set[str]]:
        found = CliRunner().invoke(app, ["tune", "depth_vs_hint", *words]).exception
        assert isinstance(found, Asked)
        return found.args[0], found.args[1]

    return call


def test_options_that_were_typed_are_told_from_defaults(asked):
    told, given = asked("--resume", "--trials", "7")
    assert told["trials"] == 7 and given == {"space", "resume", "trials"}


@pytest.mark.parametrize(("typed", "named"), [((), False), (("--storage", "there"), True)])
def test_a_storage_is_named_where_a_user_named_it(typed, named, monkeypatch):
    found = []
    monkeypatch.setattr(tune, "_asked", lambda context, given: (dict(context.params), None, None, {}))
    monkeypatch.setattr(tune, "_search", lambda asked, *more: found.append(asked["storage_named"]) or 1 / 0)
    monkeypatch.delenv("KDSEARCH_STORAGE", raising=False)
    CliRunner().invoke(app, ["tune", "depth_vs_hint", *typed])
    assert found == [named]
