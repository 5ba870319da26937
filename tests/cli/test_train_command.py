"""What `train` says of its seeds."""

import io
from types import SimpleNamespace
from typing import Any

from rich.console import Console

from kdsearch.cli.train import line, summary


def student(seed: int, accuracy: float, *faint: str, test: float | None = None, balanced: float | None = None) -> Any:
    own = accuracy if balanced is None else balanced
    return SimpleNamespace(seed=seed, accuracy=accuracy, balanced_accuracy=own, faint=faint, test=test)


def said(*students: Any) -> str:
    out = io.StringIO()
    summary(students, Console(file=out, width=100, markup=False))
    return out.getvalue()


def test_a_seed_s_end_tells_whether_the_recorded_accuracy_is_met():
    assert line(student(3, 0.5), 0.5) == "seed 3: validation accuracy 50.00 % (0.500000), as recorded"
    assert ", but 50.00 % (0.500000) recorded" in line(student(3, 0.6), 0.5)
    assert "recorded" not in line(student(4, 0.5), None)
    assert line(student(4, 0.5, test=0.25), None).endswith(", test accuracy 25.00 % (0.250000)")


def test_mean_and_deviation_are_told_and_what_does_not_distil():
    told = said(student(3, 0.5), student(4, 0.6, "kd: kd"))
    assert "validation accuracy: 55.00 % (0.550000) ± 7.07 over 2 seed(s)" in told
    assert "Warning: seed 4, stage kd: kd: under 0.1 % of the gradient" in told and "seed 3, stage kd" not in told


def test_one_seed_has_no_deviation_and_no_seed_no_mean():
    assert said(student(3, 0.5, test=0.25)).splitlines() == [
        "validation accuracy: 50.00 % (0.500000) over 1 seed(s)",
        "test accuracy: 25.00 % (0.250000) over 1 seed(s)",
    ]
    assert said() == ""


def test_an_accuracy_that_flatters_has_its_mean_over_classes_beside_it():
    assert "balanced" not in said(student(3, 0.8, balanced=0.795))
    told = said(student(3, 0.8, balanced=0.3), student(4, 0.8, balanced=0.4))
    assert "validation balanced accuracy: 35.00 % (0.350000): some classes are told far worse" in told
