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


def check_address(uri: str) -> None:
    """Raises Refusal, which repeats none, for an address with credentials: it is kept in tables, logs and pages."""
    parts = urlsplit(uri)
    owner, _, place = parts.netloc.rpartition("@")
    others = sorted({name for name, _ in parse_qsl(parts.query, keep_blank_values=True)} - PLACES)
    if ":" in owner or (owner and not parts.scheme.startswith(("abfs", "hdfs"))):
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
