"""What a user is told, whatever somebody called their things."""

import pytest

from kdsearch.errors import Refusal, first_line, is_plain, natural, unknown, visible


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


def test_names_sort_as_people_count():
    words = ["10", "2", "kd", "s-10", "s-9", "s", "0"]
    assert sorted(words, key=natural) == ["0", "2", "10", "kd", "s", "s-9", "s-10"]
    assert "there is 1, 2, 10." in str(unknown("trial", "x", ["10", "2", "1"]))


@pytest.mark.parametrize(
    "error, said",
    [
        (OSError(28, "No space left on device"), "No space left on device"),
        (OSError("lost"), "lost"),
        (OSError(), "OSError"),
        (ValueError("first\nsecond"), "first"),
    ],
)
def test_an_error_s_first_line_is_never_none(error, said):
    assert first_line(error) == said


def test_a_terminal_without_a_sign_gets_others_that_say_the_same():
    assert "At ≤ 58,970: 29.5×, 2→4, λ, ± ä".encode("ascii", "spelled") == b"At <= 58,970: 29.5x, 2->4, lambda, +- ?"
    assert "2→4 ä".encode("latin-1", "spelled").decode("latin-1") == "2->4 ä"
