"""A search that goes on: in its own folder, as it was told at its beginning. Imports neither torch nor ray."""

from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from kdsearch.errors import Refusal, listed
from kdsearch.results import folder as results_folder
from kdsearch.results import tables as results_tables
from kdsearch.results.facts import Facts, read_facts
from kdsearch.results.folder import taken

FREE = (
    "space",
    "trials",
    "seeds",
    "max_concurrent",
    "gpus_per_trial",
    "data_dir",
    "results",
    "address",
    "resume",
    "name",
    "dry_run",
)
"""Options that may change when a search goes on: none of them changes a trial."""


def options(folder: Path, told: Mapping[str, Any], given: Iterable[str]) -> dict[str, Any]:
    """What the search in a folder was told, with what may change as it is told now; `given`: on the command line.

    Raises Refusal where there is no such search, where it runs, or where an option would change its trials.
    """
    if not (folder / "search.json").is_file():
        raise Refusal(f"Only a search that has begun can go on, but there is none in '{folder}'; leave out --resume.")
    if results_folder.is_running(folder):
        raise taken(folder)
    before = read_facts(folder).options
    if before is None:
        raise Refusal(f"'{folder}' was made by a version of kdsearch that could not go on; start a new search.")
    found, given = {**told, **{name: before[name] for name in told if name in before}}, set(given)
    for name in FREE:
        if name in told and (name in given or name not in before):
            found[name] = told[name]
    changed = sorted(name for name in given - set(FREE) if told[name] != before.get(name))
    if changed:
        name = changed[0]
        word = "SPACE" if name == "space" else f"--{'set' if name == 'overrides' else name.replace('_', '-')}"
        raise Refusal(
            f"A search goes on as it began, but {word} was {_plain(before.get(name))} and is {_plain(told[name])} now; "
            f"leave it out, or start a new search with another --name."
        )
    return found


def _plain(value: Any) -> str:
    return "not given" if value is None else listed(value) if isinstance(value, list) else str(value)


def check_source(facts: Facts, source: str, path: Path) -> None:
    """Raises Refusal where the space's file is another, or does something else, than when the search began."""
    if facts.space != path.stem:
        raise Refusal(f"A search goes on with its own space, '{facts.space}', but got '{path.stem}'; name that one.")
    if facts.source != source:
        raise Refusal(
            f"A search goes on with the space that it began with, but '{path}' has changed since; bring it back, or "
            f"start a new search with another --name."
        )


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
