"""The command that trains a config outside any search."""

from pathlib import Path
from typing import Annotated

import typer

from kdsearch.cli.options import DATA_DIR, RESULTS, DataDir, Results, interruptible


def train(
    config: Annotated[Path, typer.Argument(metavar="CONFIG", help="A config.yaml, as export writes it.")],
    seeds: Annotated[int, typer.Option(min=1, max=1000, help="Students to train, each with a seed of its own.")] = 1,
    test: Annotated[bool, typer.Option("--test", help="Read the test images, once, at the end.")] = False,
    output: Annotated[Path | None, typer.Option(metavar="DIR", help="Save the students and configs here.")] = None,
    data_dir: DataDir = DATA_DIR,
    results: Results = RESULTS,
) -> None:
    """Run one pipeline outside any search; print mean ± standard deviation over the seeds."""
    from kdsearch.cli import tables
    from kdsearch.cli.live import SeedWatch
    from kdsearch.results import searches as results_searches
    from kdsearch.search.export import read_config
    from kdsearch.storage.bucket import at

    recipe, storage = read_config(config), at(results)
    store = storage.folder / "store"
    if recipe.made:
        results_searches.bring_networks(storage, (teacher.key for teacher in recipe.made.teachers))
    else:
        storage.pull_folder(store, absent=True)
    recorded = recipe.made and recipe.made.accuracy
    met = None if recorded is None else (recipe.pipeline.student.seed, recorded)
    left = interruptible(lambda: "The seeds that were finished are above.")
    with left, SeedWatch(tables.console(), met) as watch, results_searches.sent(storage, store):
        from kdsearch.search.replicate import replicates

        for step in replicates(recipe, seeds, data_dir.resolve(), store, test, watch.read):
            if isinstance(step, str):
                watch.warn(step)
                continue
            watch.show(step)
            if step.student and output:
                step.student.save(output / f"seed-{step.seed}")
    watch.summary()
