"""The command that shows and clears what lies on this machine's disk."""

import time
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from kdsearch.results import show
from kdsearch.results.format import duration, size
from kdsearch.storage import cache as storage_cache


def cache(
    clear: Annotated[bool, typer.Option("--clear", help="Delete all of it; what is needed is made again.")] = False,
) -> None:
    """Show what is kept on disk: decoded images, teachers' answers (at most KDSEARCH_CACHE_LIMIT GB), latencies."""
    folder, console = storage_cache.folder(), show.console()
    if clear:
        console.print(f"Deleted: {size(storage_cache.clear(folder))} in {folder}", soft_wrap=True)
    else:
        cached(folder, storage_cache.limit(), console)


def cached(folder: Path, limit: int, console: Console) -> None:
    """What lies in the cache, teacher by teacher, the one used last first."""
    images, targets = storage_cache.entries(folder / "images"), storage_cache.entries(folder / "targets")
    console.print(f"{folder}", style="bold", soft_wrap=True)
    console.print(f"decoded images: {size(sum(entry.bytes for entry in images))} in {len(images)} files")
    filled = sum(entry.bytes for entry in targets)
    console.print(f"targets: {size(filled)} in {len(targets)} files, of at most {size(limit)}")
    times = storage_cache.entries(folder / "latency")
    console.print(f"latencies: of {len(times)} networks beside their teachers")
    teachers: dict[str, list[storage_cache.Entry]] = {}
    for entry in reversed(targets):
        teachers.setdefault(entry.path.parent.name, []).append(entry)
    rows = []
    for name, own in teachers.items():
        ago = duration(max(time.time() - own[0].used, 0))
        rows.append([name, str(len(own)), size(sum(entry.bytes for entry in own)), f"{ago} ago"])
    first = "teacher (key-weights-device-precision)"
    if rows:
        console.print(show.table(None, (first, "files", "size", "last used"), rows, left=(first,), folded=(first,)))
