"""What a user is told, whatever somebody called their things."""

import pytest

from kdsearch.errors import Refusal, is_plain, visible


@pytest.mark.parametrize(
    "text, shown",
    [
        ("λ = 0.5, τ → 4", "λ = 0.5, τ → 4"),
        ("two\nlines\tand a tab", "two\nlines\tand a tab"),
        ("a\x1b]0;PWNED\x07\x1b[2Jb", r"a\x1b]0;PWNED\x07\x1b[2Jb"),
        ("d\udce9p\udcf4t", r"d\udce9p\udcf4t"),
        ("\x9b2J\u202e", r"\x9b2J\u202e"),
    ],
)
def test_control_characters_are_shown_and_not_obeyed(text, shown):
    assert visible(text) == shown and str(Refusal(text)) == shown


@pytest.mark.parametrize("name", ["14", "0-3", "hint+kd", "labels", "größer"])
def test_a_plain_name_may_be_that_of_a_file(name):
    assert is_plain(name)


@pytest.mark.parametrize("name", ["", "..", ".x", "../src", "/etc", "a/b", "a\\b", "C:x", "~root", "a\nb", "x" * 300])
def test_a_path_is_no_plain_name(name):
    assert not is_plain(name)
