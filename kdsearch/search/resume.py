"""What must be as it was when a search goes on. Imports neither torch nor ray."""

from collections import Counter
from pathlib import Path

from kdsearch.config.provenance import RECIPE
from kdsearch.errors import Refusal
from kdsearch.results import tables as results_tables
from kdsearch.results.facts import Facts


def check_source(facts: Facts, source: str, path: Path) -> None:
    """Raises Refusal where the space's file is another, or does something else, than when the search began."""
    if facts.space != path.stem:
        raise Refusal(f"A search goes on with its own space, '{facts.space}', but got '{path.stem}'; name that one.")
    if facts.source != source:
        raise Refusal(
            f"A search goes on with the space that it began with, but '{path}' has changed since; bring it back, or "
            f"start a new search with another --name."
        )


def check_recipe(facts: Facts) -> None:
    """Raises Refusal where the same pipelines would come to other numbers than when the search began."""
    if facts.recipe != RECIPE:
        began = facts.versions.get("kdsearch", "an older one")
        raise Refusal(
            f"A search is trained by one recipe, but this one began by recipe {facts.recipe} (kdsearch {began}) and "
            f"here it is {RECIPE}: the same pipelines come to other numbers. Look at it (status, report, export), "
            f"start a new search, or go on with that version."
        )


NUMBERS = ("torch", "torchvision", "ray", "optuna", "kdsearch")
"""Packages on which numbers may depend."""


def check_machine(before: Facts, now: Facts) -> list[str]:
    """What may change the numbers of trials that go on, a sentence each; raises Refusal where it does: a trial would be
    trained half in one precision and half in another."""
    if before.precision and before.precision != now.precision:
        raise Refusal(
            f"A search is trained in one precision, but this one began in {before.precision} (on {before.machine}) and "
            f"here auto is {now.precision} ({now.machine}); go on where it was, or start a new search with --precision."
        )
    told = {name: (before.versions.get(name), now.versions.get(name)) for name in NUMBERS}
    told["processor"] = (before.machine, now.machine)
    told["runtime"] = (before.runtime, now.runtime or before.runtime)
    told["device"] = (_device(before), _device(now))
    changed = [f"{name} was {then} and is {here}" for name, (then, here) in told.items() if then and then != here]
    if not changed:
        return []
    return [f"trials from here on may come to other numbers than those before: {'; '.join(changed)}."]


def check_runtime(before: Facts, runtime: str) -> None:
    """Raises Refusal where latencies of a search would be measured in two ways."""
    if before.runtime and before.runtime.split()[0] != runtime.split()[0]:
        raise Refusal(
            f"A search's latencies are measured in one runtime, but this one began in {before.runtime} and here is "
            f"{runtime}; install the other one (pip install 'kdsearch[deploy]' brings onnxruntime), or start a new "
            f"search with another --name."
        )


def _device(facts: Facts) -> str | None:
    return None if facts.resources is None else "a GPU" if facts.resources.get("gpu") else "the processor"


def check_images(facts: Facts, fingerprint: str) -> None:
    """Raises Refusal where the images are others than when the search began."""
    if facts.fingerprint != fingerprint:
        raise Refusal(
            f"A search goes on with the images that it began with, but those of '{facts.data}' have changed since "
            f"(fingerprint {facts.fingerprint} then, {fingerprint} now); bring them back, or start a new search."
        )


def check_more(tables: results_tables.Tables, trials: int, seeds: int) -> None:
    """Raises Refusal where more trials were drawn, or more seeds of one, than are asked for."""
    replicates = Counter(row["replicate_of"] for row in tables.trials.values() if row["replicate_of"])
    most = 1 + max(replicates.values(), default=0)
    if most > seeds:
        raise Refusal(
            f"A search can grow, but not shrink: it has trained {most} seeds, so --seeds must be at least that."
        )
    if len(tables.draws) > trials:
        raise Refusal(
            f"A search can grow, but not shrink: it has drawn {len(tables.draws)} trials, so --trials must be at least "
            f"that."
        )
