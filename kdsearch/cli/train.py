"""The command that trains a config outside any search."""

import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

import kdsearch
from kdsearch.cli.options import DATA_DIR, RESULTS, DataDir, Results, interruptible
from kdsearch.results import show
from kdsearch.results.metric import METRICS


def train(
    config: Annotated[Path, typer.Argument(metavar="CONFIG", help="A config.yaml, as export writes it.")],
    seeds: Annotated[int, typer.Option(min=1, max=1000, help="Students to train, each with a seed of its own.")] = 1,
    test: Annotated[bool, typer.Option("--test", help="Read the test images, once, at the end.")] = False,
    data: Annotated[
        str | None, typer.Option(metavar="DIR", help="Where the config's folder of images lies now.")
    ] = None,
    output: Annotated[Path | None, typer.Option(metavar="DIR", help="Save the students and configs here.")] = None,
    data_dir: DataDir = DATA_DIR,
    results: Results = RESULTS,
) -> None:
    """Run one pipeline outside any search; print mean ± standard deviation over the seeds."""
    console = show.console()

    def ended(student: Any, recorded: float | None) -> None:
        console.print(line(student, recorded))

    with interruptible(lambda: "The seeds that were finished are above."):
        students = kdsearch.train(
            config, seeds, test=test, data=data, output=output, data_dir=data_dir, results=results, ended=ended
        )
    summary(students, console)


APART = 0.01
"""Between accuracy and its mean over classes, from where on both are told."""


def line(student: Any, recorded: float | None) -> str:
    """A seed's end, beside what its config tells."""
    same = recorded == student.accuracy
    met = "" if recorded is None else ", as recorded" if same else f", but {_exact(recorded)} recorded"
    test = f", test accuracy {_exact(student.test)}" if student.test is not None else ""
    return f"seed {student.seed}: validation accuracy {_exact(student.accuracy)}{met}{test}"


def summary(students: Sequence[Any], console: Console) -> None:
    """Mean ± standard deviation over the seeds, and what deserves a warning."""
    for student in students:
        for place in student.faint:
            console.print(
                f"Warning: seed {student.seed}, stage {place}: under 0.1 % of the gradient: this trial is not "
                f"distilling.", style="yellow", soft_wrap=True,
            )  # fmt: skip
    for name, values in (
        ("validation", [student.accuracy for student in students]),
        ("test", [student.test for student in students if student.test is not None]),
    ):
        if values:
            spread = f" ± {100 * statistics.stdev(values):.2f}" if len(values) > 1 else ""
            console.print(f"{name} accuracy: {_exact(statistics.mean(values))}{spread} over {len(values)} seed(s)")
    if students:
        plain, balanced = (statistics.mean(getattr(one, name) for one in students) for name in METRICS.values())
        if abs(plain - balanced) >= APART:
            console.print(
                f"validation balanced accuracy: {_exact(balanced)}: some classes are told far worse than others"
            )


def _exact(value: float) -> str:
    return f"{100 * value:.2f} % ({value:.6f})"
