"""The commands that train outside a search: a config, a front once more."""

import contextlib
import json
import shlex
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated

import typer

from kdsearch.looking import RESULTS, Results, SearchName

DataDir = Annotated[Path, typer.Option("--data-dir", help="Where torchvision's data sets lie.", metavar="DIR")]
DATA_DIR = Path("data")


def train(
    config: Annotated[Path, typer.Argument(metavar="CONFIG", help="A config.yaml, as export writes it.")],
    seeds: Annotated[int, typer.Option(min=1, max=1000, help="Students to train, each with a seed of its own.")] = 1,
    test: Annotated[bool, typer.Option("--test", help="Read the test images, once, at the end.")] = False,
    output: Annotated[Path | None, typer.Option(metavar="DIR", help="Save the students and configs here.")] = None,
    data_dir: DataDir = DATA_DIR,
    results: Results = RESULTS,
) -> None:
    """Run one pipeline outside any search; print mean ± standard deviation over the seeds."""
    from kdsearch import words
    from kdsearch.display import SeedWatch
    from kdsearch.export import read_config

    recipe = read_config(config)
    recorded = recipe.made and recipe.made.accuracy
    met = None if recorded is None else (recipe.pipeline.student.seed, recorded)
    with SeedWatch(words.console(), met) as watch, interruptible(lambda: "The seeds that were finished are above."):
        from kdsearch.replicate import replicates

        for step in replicates(recipe, seeds, data_dir.resolve(), results / "store", test, watch.read):
            if isinstance(step, str):
                watch.warn(step)
                continue
            watch.show(step)
            if step.student and output:
                step.student.save(output / f"seed-{step.seed}")
    watch.summary()


def confirm(
    search: SearchName,
    seeds: Annotated[int, typer.Option(min=2, max=1000, help="New seeds of each member of the front.")] = 5,
    test: Annotated[bool, typer.Option("--test", help="Read the test images, once for each student.")] = False,
    data_dir: DataDir = DATA_DIR,
    results: Results = RESULTS,
    max_concurrent: Annotated[int | None, typer.Option(min=1, help="Seeds at a time, at most.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
) -> None:
    """Train the front's members again with other seeds: who differs beyond noise, and what selection cost."""
    from kdsearch import confirming, noise, words
    from kdsearch import results as tables

    folder = tables.find(search, results)
    console = words.console(stderr=as_json)
    kept = f"The seeds that ended are kept; the same command goes on: kdsearch confirm {shlex.quote(name_of(folder))}"
    with confirming.ConfirmWatch(console) as watch, interruptible(lambda: kept):
        from kdsearch.confirm import confirm as steps
        from kdsearch.missing import Asked

        for step in steps(Asked(folder, data_dir, seeds, test, max_concurrent), watch.read):
            watch.warn(step) if isinstance(step, str) else watch.show(step)
    images = tables.read_facts(folder)["validation_images"]
    found = noise.members(tables.read(folder), images)
    if as_json:
        print(json.dumps({"search": str(folder), **confirming.plain(found, images)}))
    else:
        confirming.summary(folder, found, images, console)
    if not found:
        raise typer.Exit(1)


def name_of(folder: Path) -> str:
    """What a user types for a search: its name where it lies in the default place, else its path."""
    return folder.name if folder.parent == RESULTS else str(folder)


@contextlib.contextmanager
def interruptible(said: Callable[[], str]) -> Iterator[None]:
    """Ctrl-C ends a command with exit code 130 and a word on what there is."""
    try:
        yield
    except KeyboardInterrupt:
        print(f"kdsearch: interrupted. {said()}", file=sys.stderr)
        raise typer.Exit(130) from None
