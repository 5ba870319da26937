"""A thousand space files that are cut off, wrongly typed or do what none should: a sentence, or a correct run."""

import re
import shutil
import warnings
from collections.abc import Callable

import pytest
from damage import examples, few_draws, share
from driver import planned
from hypothesis import given
from hypothesis import strategies as st

from kdsearch.errors import Refusal
from kdsearch.interrupts import at_most
from kdsearch.search import spaces

SMALL = '''"""What?"""
from kdsearch.config import *

BUDGET = Budget(trials=8, epochs=4, teacher_epochs=1)
REFERENCE = Net(widths=(4, 4), depth=2, hidden=8)


def space(trial):
    width = trial.suggest_float("width", 0.5, 2.0, step=0.5)
    hint = trial.suggest_categorical("hint", ["none", "1"])
    net = Net(widths=(4, 4), depth=2, hidden=trial.suggest_int("hidden", 2, 8), width=width)
    hints = Hints(pairs=(Pair(hint=1, guided=1),), share=0.5) if hint == "1" else None
    kd = KD(weight=0.5, temperature=trial.suggest_float("tau", 1, 8, log=True))
    return Pipeline(links=(Link(net=REFERENCE), Link(net=net, hints=hints, kd=kd, fit=Fit(fraction=0.5))))
'''
WORDS = ("None", '"x"', "[]", "{}", "-1", "0", "2.5", "10**30", "-10**30", "1e400", "float('nan')", "()", "(1,)", "KD")
WORDS += (
    "lambda: 1",
    "trial",
    "space",
    "undefined",
    "...",
    "",
    ")",
    "'",
    "\n",
    "\0",
    "\udcff",
    "    ",
    "#",
    "return 3",
)
BODIES = (
    "return None", "raise KeyError", "raise ValueError('a\\nb')", "import sys; sys.exit(0)", "return [trial]",
    "return {'links': []}", "raise SystemExit", "return Pipeline(links=(Link(net=REFERENCE),))", "1 / 0",
    "return space(trial)", "raise MemoryError", "raise RecursionError", "raise Exception(Exception())",
    "trial.suggest_int('a', 5, 1)", "trial.suggest_int('a', 1, 5); trial.suggest_float('a', 0, 1)",
    "[trial.suggest_float(f'x{n}', 0, 1) for n in range(300)]; return None", "trial.suggest_categorical('a', [])",
    "trial.suggest_float('a', 0, float('nan'))", "trial.suggest_int('a', 0, 10**30)", "trial.suggest_int(3, 1, 2)",
    "trial.suggest_categorical('a', [[1], KD()])", "trial.suggest_int('a', 1, 5, log=True, step=2)",
    "trial.report(1, 1)",
    "trial.suggest_int('a', 1, 5); trial.suggest_int('a', 1, 6)", "trial.study.stop()", "assert False", "yield 3",
    "import optuna; raise optuna.TrialPruned", "del trial",
    "while True: pass", "for n in range(10**30): trial.suggest_int(f'x{n}', 0, 1)", "import time; time.sleep(99)",
)  # fmt: skip


def tokens(text: str) -> list[tuple[int, int]]:
    """Where numbers, words and strings begin and end."""
    return [found.span() for found in re.finditer(r"[A-Za-z_]+|[0-9.]+|\"[^\"]*\"|[()\[\]=,]", text)]


@st.composite
def bad_spaces(draw: Callable) -> str:
    text = draw(st.sampled_from([SMALL, SMALL, (spaces.own_folder() / "depth_vs_hint.py").read_text()]))
    kind = draw(st.sampled_from(["cut", "word", "word", "word", "words", "body"]))
    if kind == "cut":
        return text[: int(draw(share) * len(text))]
    if kind == "body":
        head = SMALL.partition("    width =")[0]
        return f"{head}    {draw(st.sampled_from(BODIES))}\n" + draw(st.sampled_from(["", SMALL.partition("n):\n")[2]]))
    for _ in range(1 if kind == "word" else 3):
        found = tokens(text)
        start, end = found[int(draw(share) * len(found))]
        text = text[:start] + draw(st.sampled_from(WORDS)) + text[end:]
    return text


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # an alarm rang inside a destructor
@examples(1000)
@given(text=bad_spaces())
def test_a_space_file_that_is_damaged_is_told_in_a_sentence_or_is_none(monkeypatch, tmp_path_factory, text):
    few_draws(monkeypatch)
    path = tmp_path_factory.mktemp("s") / "bad.py"
    path.write_bytes(text.encode(errors="surrogateescape"))
    try:
        with at_most(20), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            spaces.source(path)
            found = planned(path, trials=3, epochs=4, teacher_epochs=1, results=str(path.parent))
            assert found.draws and len(found.references) == 3
    except Refusal as refused:
        assert str(refused).strip() and len(str(refused)) < 3000
    finally:
        shutil.rmtree(path.parent)
