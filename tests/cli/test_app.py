"""How the command line is called."""

import os
import subprocess
import sys

import pytest

import kdsearch


def called(*words: str, **more: str) -> str:
    call = [sys.executable, "-m", "kdsearch", *words]
    told = {"capture_output": True, "check": True, "encoding": more.get("PYTHONIOENCODING", "utf-8")}
    return subprocess.run(call, env={**os.environ, **more}, **told).stdout


def test_the_package_is_a_command():
    assert called("--version").strip() == kdsearch.__version__


def test_the_root_s_help_offers_completion():
    said = called("--help")
    assert said.startswith("Usage: kdsearch ") and "--install-completion" in said and "--show-completion" in said


@pytest.mark.parametrize("typed, found", [("kdsearch st", "status"), ("kdsearch cluster ch", "check")])
def test_a_shell_completes_commands(typed, found):
    place = str(len(typed.split()) - 1)
    assert called(_KDSEARCH_COMPLETE="complete_bash", COMP_WORDS=typed, COMP_CWORD=place).split() == [found]


@pytest.mark.parametrize("encoding", ["latin-1", "ascii", "cp1252"])
def test_a_terminal_that_cannot_show_a_sign_shows_another(encoding):
    said = called("reproduce", "seed1-table5", "--dry-run", PYTHONIOENCODING=encoding)
    assert "->" in said and "?" not in said and "parameters" in said


def test_names_that_are_no_utf_8_are_refused_in_a_sentence(tmp_path):
    call = [sys.executable, "-m", "kdsearch", "status", "--storage", b"d\xe9p\xf4t"]
    done = subprocess.run(call, capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 2
    assert r"Names and folders are UTF-8, but 'd\udce9p\udcf4t' is not; rename it" in done.stderr


def test_without_a_home_the_cache_s_variable_is_named(tmp_path):
    code = (
        "import pathlib, sys\n"
        "def home(cls): raise RuntimeError('Could not determine home directory.')\n"
        "pathlib.Path.home = classmethod(home)\n"
        "from kdsearch.cli import main\n"
        "sys.argv = ['kdsearch', 'cache']\n"
        "main()\n"
    )
    told = {name: value for name, value in os.environ.items() if name not in ("KDSEARCH_CACHE", "XDG_CACHE_HOME")}
    for more, right in (({}, 2), ({"KDSEARCH_CACHE": str(tmp_path)}, 0)):
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=told | more)
        assert done.returncode == right, done.stderr
    assert (
        "let KDSEARCH_CACHE name a folder"
        in subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=told).stderr
    )
