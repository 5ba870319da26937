"""Tables and lines in narrow terminals, in files, and of those who named things."""

import io
import shlex
import subprocess
import sys

import pytest
from rich.text import Text

from kdsearch.results import show

COLUMNS = ("trial", "accuracy", "parameters", "compression", "pairs", "λ", "τ", "epochs", "seeds")
ROW = ("hint+kd", "93.3 %", "123,456", "12.3×", "1→3 2→6", "0.50", "4.0", "30", "1")


def shown(what: object, width: int) -> str:
    console = show.console()
    console.file, console.width = io.StringIO(), width
    console.print(what)
    return console.file.getvalue()


@pytest.mark.parametrize("width", [32, 40, 60, 80, 100])
def test_where_there_is_no_room_the_last_columns_go_first(width):
    table = show.table("Front", COLUMNS, [ROW], left=("trial", "pairs"), folded=("pairs",))
    found = shown(table, width)
    assert all(word in found for word in ROW[:3]) and max(map(len, found.splitlines())) <= width
    there = [word in found for word in ("12.3×", "0.50", "4.0", "30")]
    assert there == sorted(there, reverse=True)
    assert all(there) == (width >= 80)


def test_names_from_outside_reach_no_terminal_as_escape_sequences():
    evil = "\x1b]0;PWNED\x07\x1b[2Jcat"
    for what in (evil, Text(evil), show.table(evil, ("a", "b"), [(evil, Text(evil))])):
        assert "\x1b" not in shown(what, 200) and "cat" in shown(what, 200)


def test_a_file_gets_plain_lines_whatever_force_color_says(monkeypatch, capsys):
    monkeypatch.setenv("FORCE_COLOR", "1")
    console = show.console()
    console.print("warned", style="red")
    assert capsys.readouterr().out == "warned\n" and not console.is_interactive


def test_a_table_of_one_column_is_shown():
    assert "only" in shown(show.table(None, ("name",), [("only",)]), 40)


def test_a_reader_that_has_gone_ends_nothing():
    program = (
        "from kdsearch.results import show; import sys; out = show.console()\n"
        "for number in range(5000): out.print('x' * 60)\n"
        "print('went on', file=sys.stderr)"
    )
    line = f"{shlex.quote(sys.executable)} -c {shlex.quote(program)} | head -n 1"
    done = subprocess.run(["bash", "-c", line], capture_output=True, text=True, timeout=60)
    assert done.stderr == "went on\n"


def test_words_between_colons_are_no_signs(capsys):
    show.console().print("my_data.py:train: 40 images")
    assert capsys.readouterr().out == "my_data.py:train: 40 images\n"
