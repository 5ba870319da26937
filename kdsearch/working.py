"""The commands that train outside a search: a config, a front once more."""

import contextlib
import json
import shlex
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from kdsearch.looking import RESULTS, Results, SearchName

if TYPE_CHECKING:
    from kdsearch.storage import Storage

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
    from kdsearch import searches, words
    from kdsearch.display import SeedWatch
    from kdsearch.export import read_config
    from kdsearch.storage import at

    recipe, storage = read_config(config), at(results)
    store = storage.folder / "store"
    if recipe.made:
        searches.bring_networks(storage, (teacher.key for teacher in recipe.made.teachers))
    else:
        storage.pull_folder(store, absent=True)
    recorded = recipe.made and recipe.made.accuracy
    met = None if recorded is None else (recipe.pipeline.student.seed, recorded)
    left = interruptible(lambda: "The seeds that were finished are above.")
    with left, SeedWatch(words.console(), met) as watch, searches.sent(storage, store):
        from kdsearch.replicate import replicates

        for step in replicates(recipe, seeds, data_dir.resolve(), store, test, watch.read):
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
    from kdsearch import confirming, noise, searches, words
    from kdsearch import results as tables
    from kdsearch.storage import at

    storage, console = at(results), words.console(stderr=as_json)
    with searches.driven(search, storage) as (folder, lease, send):
        _bring(storage, folder, test)
        kept = f"The seeds that ended are kept; the same command goes on: kdsearch confirm {name_of(folder, results)}"
        with interruptible(lambda: kept), confirming.ConfirmWatch(console) as watch:
            from kdsearch.confirm import confirm as steps
            from kdsearch.missing import Asked

            for step in steps(Asked(folder, data_dir, seeds, test, max_concurrent), watch.read):
                lease.refresh()
                if isinstance(step, str):
                    watch.warn(step)
                    continue
                if step.ended:
                    send()
                watch.show(step)
    images = tables.read_facts(folder)["validation_images"]
    found = noise.members(tables.read(folder), images)
    if as_json:
        print(json.dumps({"search": str(folder), **confirming.plain(found, images)}))
    else:
        confirming.summary(folder, found, images, console)
    if not found:
        raise typer.Exit(1)


def _bring(storage: "Storage", folder: Path, test: bool) -> None:
    """Of a search in a bucket: the front's students and what taught them; for a test, the confirmed ones."""
    from kdsearch import results, searches

    if not searches.in_bucket(folder, storage):
        return
    from kdsearch.front import members
    from kdsearch.store import read_facts

    trials = members(results.read(folder).trials.values())
    searches.bring_students(storage, folder, trials)
    students = [folder / "students" / f"{trial}.safetensors" for trial in trials]
    made = [read_facts(path) for path in students if path.exists()]
    searches.bring_networks(storage, (teacher["key"] for own in made for teacher in own["teachers"]))
    if test:
        storage.pull_folder(folder / "confirmed", absent=True)


def name_of(folder: Path, results: str = RESULTS) -> str:
    """What a user types for a search, quoted: its name in the default place; in a bucket, that too; else its path."""
    from kdsearch.searches import in_bucket
    from kdsearch.storage import at

    if in_bucket(folder, at(results)):
        return f"{shlex.quote(folder.name)} --storage {shlex.quote(results)}"
    return shlex.quote(folder.name if folder.parent == Path(RESULTS) else str(folder))


@contextlib.contextmanager
def interruptible(said: Callable[[], str]) -> Iterator[None]:
    """Ctrl-C ends a command with exit code 130 and a word on what there is."""
    try:
        yield
    except KeyboardInterrupt:
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGINT, signal.SIG_IGN)  # a third one would only disturb Ray's own end
        print(f"kdsearch: interrupted. {said()}", file=sys.stderr)
        raise typer.Exit(130) from None
