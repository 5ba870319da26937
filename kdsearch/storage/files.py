"""Files and folders that are there whole or not at all, whoever reads them meanwhile."""

import errno
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

from safetensors import SafetensorError

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS)
"""What is wrong with where something is written, never with what is read meanwhile."""


@contextmanager
def whole(path: Path) -> Iterator[Path]:
    """A draft to write, beside the file (or folder) that it becomes at the end; it is gone where that fails.
    Raises OSError with the name of the file.

    A process that is killed leaves it: `.trials.parquet.0f3a91c2`, by which a search that goes on finds its drafts.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{uuid4().hex[:8]}")
    try:
        yield draft
        if draft.is_dir():
            shutil.rmtree(path, ignore_errors=True)  # only an empty folder can be replaced
        os.replace(draft, path)
    except OSError as error:
        if error.errno in FULL or str(error.filename) == str(draft):  # the file that was to be written, by its own name
            raise OSError(error.errno, error.strerror, str(path)) from error
        raise
    except SafetensorError as error:  # it tells of a full disk in words
        found = re.search(r"os error (\d+)", str(error))
        number = int(found[1]) if found else errno.EIO
        raise OSError(number, os.strerror(number), str(path)) from error
    finally:
        if draft.is_dir():
            shutil.rmtree(draft)
        else:
            draft.unlink(missing_ok=True)
