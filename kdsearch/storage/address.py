"""Addresses of storages: what one may say, so that it can stand in tables, logs and pages."""

import hashlib
import re
from urllib.parse import parse_qsl, urlsplit

from kdsearch.errors import Refusal, listed

PLACES = frozenset(
    (
        "region", "scheme", "endpoint_override", "project_id", "retry_limit_seconds", "enable_tls",
        "blob_storage_authority", "blob_storage_scheme", "dfs_storage_authority", "dfs_storage_scheme",
        "replication", "buffer_size", "default_block_size",
    )
)  # fmt: skip
"""What an address may say behind its `?`: where a storage is, and how it is reached."""


WORD = re.compile("[a-z_]{1,40}", re.IGNORECASE)

HIDING = frozenset("@;&?#")

NOBODY = "anonymous"
"""gs://anonymous@bucket: without credentials."""


def check_address(uri: str) -> None:
    """Raises Refusal, which repeats none, for an address with credentials: it is kept in tables, logs and pages."""
    try:
        parts = urlsplit(uri)
        told = parse_qsl(parts.query, keep_blank_values=True)
    except ValueError as error:
        raise Refusal(f"A storage's address is such as s3://bucket/path, but this one is none ({error}).") from None
    owner, _, place = parts.netloc.rpartition("@")
    # A name that is no word may be a secret itself; a value may hide one behind what some servers take for a separator.
    names = {name if WORD.fullmatch(name) else "a name that is no option" for name, _ in told} - PLACES
    others = sorted(
        names | {f"more than a place in {name}" for name, value in told if set(value) & HIDING and name in PLACES}
    )
    if parts.fragment:
        others.insert(0, "something behind a #")
    if ":" in owner or (owner and owner != NOBODY and not parts.scheme.startswith(("abfs", "hdfs"))):
        others.insert(0, "a user or password")
    if others:
        raise Refusal(
            f"A storage's address is kept in tables and logs, so it says where the storage is and no more, but that of "
            f"'{place}' holds {listed(others)}; give credentials through the environment, such as AWS_ACCESS_KEY_ID "
            f"and AWS_SECRET_ACCESS_KEY. What it may say beside: {listed(sorted(PLACES))}."
        )


def folder_name(uri: str) -> str:
    """A folder's name that shows the URI, and another one for every URI."""
    shown = re.sub(r"[^A-Za-z0-9.]+", "-", uri.partition("?")[0]).strip("-.")
    return f"{shown[:80]}-{hashlib.sha256(uri.encode()).hexdigest()[:8]}"
