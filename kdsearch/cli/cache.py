"""The command that shows and clears what lies on this machine's disk."""

from typing import Annotated

import typer


def cache(
    clear: Annotated[bool, typer.Option("--clear", help="Delete all of it; what is needed is made again.")] = False,
) -> None:
    """Show what is kept on disk: decoded images, teachers' answers (at most KDSEARCH_CACHE_LIMIT GB)."""
    from kdsearch.cli import tables
    from kdsearch.results import format
    from kdsearch.storage import cache as storage_cache

    console = tables.console()
    if clear:
        console.print(
            f"Deleted: {format.size(storage_cache.clear(storage_cache.folder()))} in {storage_cache.folder()}",
            soft_wrap=True,
        )
        return
    tables.cached(storage_cache.folder(), storage_cache.limit(), console)
