"""Files and folders that are there whole or not at all, whoever reads them meanwhile."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4


@contextmanager
def whole(path: Path) -> Iterator[Path]:
    """A draft to write, beside the file (or folder) that it becomes at the end; it is gone where that fails.

    A process that is killed leaves it: `.trials.parquet.0f3a91c2`, by which a search that goes on finds its drafts.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{uuid4().hex[:8]}")
    try:
        yield draft
        if draft.is_dir():
            shutil.rmtree(path, ignore_errors=True)  # only an empty folder can be replaced
        os.replace(draft, path)
    finally:
        if draft.is_dir():
            shutil.rmtree(draft)
        else:
            draft.unlink(missing_ok=True)
