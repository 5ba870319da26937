"""Where searches are kept: a folder that all machines see, or a bucket with a copy of what is used here."""

import contextlib
import os
import shutil
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import parse_qsl, urlsplit
from uuid import uuid4

import pyarrow as pa

from kdsearch.errors import Refusal, first_line, natural, unknown
from kdsearch.interrupts import within
from kdsearch.storage import cache
from kdsearch.storage.address import check_address, folder_name
from kdsearch.storage.files import whole

STORAGE = "KDSEARCH_STORAGE"
"""The variable that names where searches are, unless something else is said."""

BUCKETS = ("s3", "gs", "gcs", "abfs", "abfss", "hdfs", "viewfs")
"""Schemes that pyarrow knows, beside file://."""

PATIENCE = 14.0
"""Seconds in which `check` must have its answer."""

AT_ONCE = 8
"""Files brought side by side."""

WAYS_OUT = (
    (("NO_SUCH_BUCKET", "NoSuchBucket"), "create the bucket first, or let --storage name another"),
    (
        ("ACCESS_DENIED", "INVALID_ACCESS_KEY", "SIGNATURE", "INVALID_CLIENT_TOKEN", "status 403", "redential"),
        "give this machine, and all nodes, credentials that may read and write there (such as AWS_ACCESS_KEY_ID and "
        "AWS_SECRET_ACCESS_KEY, or a role)",
    ),
    (("",), "check its name, region and endpoint and the network, or let --storage name another"),
)
"""By what an error says."""


@dataclass(frozen=True)
class Storage:
    """Code works on the files under `folder`, pulls what others may have written and pushes what it wrote."""

    folder: Path
    """On this machine: the shared folder itself, or the copy of a bucket."""
    uri: str | None = None
    """Of the bucket."""

    @property
    def word(self) -> str:
        """What tells another process, or another machine."""
        return self.uri or str(self.folder.resolve())

    def pull(self, path: Path) -> bool:
        """Bring the bucket's version of a file, whole or not at all; False where the bucket (or folder) has none."""
        if self.uri is None:
            return path.exists()
        with _told("read", self._shown(path)):
            try:
                with self._files.open_input_stream(self._key(path)) as stream:
                    found = stream.read()
            except FileNotFoundError:
                return False
        with whole(path) as draft:
            draft.write_bytes(found)
        return True

    def pull_folder(self, path: Path, suffixes: Sequence[str] = (), absent: bool = False) -> None:
        """Bring a folder's files: those with one of the suffixes, if any are named; `absent`: only what is not here.

        Names that begin with a dot stay where they are, and so do folders in it.
        """
        if self.uri is None:
            return
        found = [path / name for name, is_file in self._listed(path) if is_file and not name.startswith(".")]
        wanted = [
            file for file in found if (not suffixes or file.suffix in suffixes) and not (absent and file.exists())
        ]
        with ThreadPoolExecutor(AT_ONCE) as pool:
            list(pool.map(self.pull, wanted))

    def push(self, path: Path) -> None:
        """Send a file to the bucket, which has it whole or not at all."""
        if self.uri is None:
            return
        found = path.read_bytes()  # beforehand: a stream that is closed early leaves a piece behind
        with _told("written", self._shown(path)), self._files.open_output_stream(self._key(path)) as stream:
            stream.write(found)

    def remove(self, path: Path) -> None:
        """Delete a file or a folder, here and in the bucket; no error where it is gone."""
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)
        if self.uri is None:
            return
        with _told("removed", self._shown(path)), contextlib.suppress(FileNotFoundError):
            if self._files.get_file_info(self._key(path)).is_file:
                self._files.delete_file(self._key(path))
            else:
                self._files.delete_dir(self._key(path))

    def written(self, path: Path) -> float:
        """When a file that is there was last written; seconds since 1970."""
        if self.uri is None:
            return path.stat().st_mtime
        with _told("read", self._shown(path)):
            return (self._files.get_file_info(self._key(path)).mtime_ns or 0) / 1e9

    def now(self, folder: Path) -> float:
        """The time by the storage's clock, which dates what is written there; seconds since 1970. Where nothing may be
        written, this machine's."""
        path = folder / f".clock-{uuid4().hex}"
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
            self.push(path)
            return self.written(path)
        except (Refusal, OSError):
            return time.time()
        finally:
            with contextlib.suppress(Refusal, OSError):
                self.remove(path)

    def names(self, path: Path) -> list[str]:
        """Of what lies directly in a folder, here or in the bucket, sorted, without those that begin with a dot."""
        here = {entry.name for entry in path.iterdir()} if path.is_dir() else set()
        there = {name for name, _ in self._listed(path)} if self.uri else set()
        return sorted((name for name in here | there if not name.startswith(".")), key=natural)

    def check(self) -> None:
        """Write, read back and remove a small file, in 15 s at most; raises Refusal."""
        path, nonce = self.folder / f".check-{uuid4().hex}", uuid4().hex
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            path.write_text(nonce, encoding="utf-8")
            if self.uri is None:
                path.unlink()
        except OSError as error:
            way_out = "let KDSEARCH_CACHE" if self.uri else "let --storage"
            raise Refusal(
                f"Searches are kept where files can be written, but '{self.folder}' cannot be ({_reason(error)}); "
                f"{way_out} name another folder."
            ) from None
        if self.uri is not None:
            try:
                within(PATIENCE, partial(self._round_trip, path, nonce))
            except TimeoutError as error:
                raise _refusal("written", self._shown(path), error) from None
            finally:
                path.unlink(missing_ok=True)

    def _round_trip(self, path: Path, nonce: str) -> None:
        with _told("written", self._shown(path)):
            _ask(self.uri or "", self._key(path))
        self.push(path)
        if not self.pull(path) or path.read_text(encoding="utf-8") != nonce:
            raise Refusal(
                f"What is written to a bucket must be there at once, but '{self._shown(path)}' read back differs; "
                f"let --storage name another."
            )
        self.remove(path)

    @property
    def _files(self) -> Any:
        return _opened(self.uri or "")[0]

    def _key(self, path: Path) -> str:
        inside = PurePosixPath(_opened(self.uri or "")[1], *path.relative_to(self.folder).parts)
        return str(inside)

    def _shown(self, path: Path) -> str:
        """An object's address, without options."""
        base = (self.uri or "").partition("?")[0].rstrip("/")
        return "/".join([base, *path.relative_to(self.folder).parts])

    def _listed(self, path: Path) -> Iterator[tuple[str, bool]]:
        """Names in a folder of the bucket, and whether each is a file."""
        from pyarrow import fs

        key = self._key(path)
        with _told("listed", self._shown(path)):
            found = self._files.get_file_info(fs.FileSelector(key, allow_not_found=True))
        for info in found:
            yield info.base_name, info.is_file


def usual() -> str:
    """Where searches are, unless something else is said: $KDSEARCH_STORAGE, else results."""
    return os.environ.get(STORAGE) or "results"


def at(word: str | Path) -> Storage:
    """The storage that a user's word means: a folder, or a bucket's URI; raises Refusal."""
    scheme, mark, rest = str(word).partition("://")
    if not mark:
        return Storage(Path(word))
    if scheme == "file":
        return Storage(Path("/" + urlsplit(str(word)).path.lstrip("/")))
    if scheme not in BUCKETS:
        raise unknown("storage with the scheme", scheme, [*BUCKETS, "file"])
    uri = str(word) if "?" in rest else str(word).rstrip("/")
    check_address(uri)
    _opened(uri)
    return Storage(cache.folder() / "storage" / folder_name(uri), uri)


@lru_cache(maxsize=8)
def _opened(uri: str) -> tuple[Any, str]:
    """pyarrow's file system, and the path in it; opened once in a process. Raises Refusal."""
    from pyarrow import fs

    try:
        files, path = within(PATIENCE, lambda: fs.FileSystem.from_uri(uri))  # it may ask for the bucket's region
    except (OSError, pa.ArrowException, NotImplementedError) as error:
        raise Refusal(
            f"A storage is a folder, or a bucket such as s3://bucket/path, but '{uri}' cannot be opened "
            f"({_reason(error)}); mend the address, or let --storage name a folder."
        ) from None
    if not path.strip("/"):
        raise Refusal(f"A bucket's address names the bucket, such as s3://bucket/path, but got '{uri}'.")
    return files, path.rstrip("/")


def _ask(uri: str, key: str) -> None:
    """Raises OSError, soon, where an S3 server cannot be reached: pyarrow waits 100 s for one that is silent."""
    from pyarrow import fs

    files = _opened(uri)[0]
    if not isinstance(files, fs.S3FileSystem):
        return
    told = dict(parse_qsl(urlsplit(uri).query))
    place = {name: told[name] for name in ("endpoint_override", "scheme") if name in told}
    soon: Any = {"connect_timeout": 4, "request_timeout": 4, "retry_strategy": fs.AwsStandardS3RetryStrategy(2)}
    try:
        fs.S3FileSystem(region=files.region, **place, **soon).get_file_info(key)
    except OSError as error:
        if "NETWORK_CONNECTION" in str(error):  # any other answer is one: what follows tells it better
            raise


@contextmanager
def _told(done: str, shown: str) -> Iterator[None]:
    """A bucket's error as a sentence that names the object."""
    try:
        yield
    except FileNotFoundError:
        raise
    except (OSError, pa.ArrowException) as error:
        raise _refusal(done, shown, error) from error


def _refusal(done: str, shown: str, error: Exception) -> Refusal:
    reason = _reason(error)
    way_out = next(way for words, way in WAYS_OUT if any(word in reason for word in words))
    return Refusal(f"'{shown}' cannot be {done} ({reason}); {way_out}.")


def _reason(error: BaseException) -> str:
    """An error's first line, short."""
    line = first_line(error)
    return line if len(line) <= 300 else f"{line[:300]}…"
