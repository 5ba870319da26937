"""How the command line is called."""

import os
import subprocess
import sys

import pytest

import kdsearch


def called(*words: str, **more: str) -> str:
    call = [sys.executable, "-m", "kdsearch", *words]
    return subprocess.run(call, capture_output=True, text=True, check=True, env={**os.environ, **more}).stdout


def test_the_package_is_a_command():
    assert called("--version").strip() == kdsearch.__version__


def test_the_root_s_help_offers_completion():
    said = called("--help")
    assert said.startswith("Usage: kdsearch ") and "--install-completion" in said and "--show-completion" in said


@pytest.mark.parametrize("typed, found", [("kdsearch st", "status"), ("kdsearch cluster ch", "check")])
def test_a_shell_completes_commands(typed, found):
    place = str(len(typed.split()) - 1)
    assert called(_KDSEARCH_COMPLETE="complete_bash", COMP_WORDS=typed, COMP_CWORD=place).split() == [found]
