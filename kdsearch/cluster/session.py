"""Which Ray a search runs on: this machine's own, or a cluster's by its address."""

import contextlib
import logging
import os
import re
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import ray

from kdsearch.cluster.file import gpus as declared_gpus
from kdsearch.cluster.file import on_head
from kdsearch.cluster.own import seen_by_others
from kdsearch.errors import Refusal, first_line
from kdsearch.interrupts import within
from kdsearch.storage import cache

PATIENCE = 12.0
"""Seconds in which an address must answer."""

TEMPORARY = ("RAY_TMPDIR", "TMPDIR")
"""Variables that say where Ray's own files lie, in their order."""

SOCKET = 107
"""Bytes of a Unix socket's path, at most (unix(7))."""

HELLO = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00"
"""HTTP/2's preface and empty settings (RFC 9113, 3.4): Ray speaks gRPC, which answers with settings of its own, a frame
whose fourth byte is 4. A port that is open but not Ray's, such as the dashboard's, would cost over five minutes."""


def resolve(option: str | None) -> str | None:
    """What --address says, else RAY_ADDRESS: `auto` or HOST:PORT; None (or `local`): this machine alone."""
    if option is not None and not option.strip():
        raise Refusal(
            "--address is auto, or HOST:PORT such as 10.0.0.1:6379, but got nothing; leave it out for this machine."
        )
    told = (option or os.environ.get("RAY_ADDRESS") or "").strip()
    if told in ("", "local"):
        return None
    if told != "auto":
        _parts(told)
    return told


def probe(address: str | None) -> None:
    """Raises Refusal, in 15 s, for a HOST:PORT where no Ray listens: Ray itself would try for minutes."""
    if address in (None, "auto"):
        return
    host, port = _parts(address)
    try:
        answers = within(PATIENCE, partial(_answers, host, port))
    except (OSError, UnicodeError) as error:
        raise unreached(address, error) from None
    if not answers:
        raise Refusal(
            f"{address} answers, but not as Ray does; give the port that `ray start --head` told (6379, unless chosen)."
        )


def unreached(address: str, error: BaseException) -> Refusal:
    """ray.init's ConnectionError, and that of a probe, as a sentence."""
    reason = first_line(error)
    if address == "auto":
        return Refusal(
            f"--address auto joins the Ray that runs on this machine, but there is none ({reason}); start one with "
            f"`ray start --head`, or leave --address out (and unset RAY_ADDRESS) to use this machine."
        )
    return Refusal(
        f"{address} cannot be reached ({reason}); start Ray there, or leave --address out (and unset RAY_ADDRESS) to "
        f"use this machine."
    )


def _parts(address: str) -> tuple[str, int]:
    """HOST and PORT; raises Refusal."""
    if address.startswith("ray://"):
        raise Refusal(
            f"A search runs on the cluster and not through a Ray client, but got '{address}'; run kdsearch on the head "
            f"with --address auto, or from here with --cluster."
        )
    found = re.fullmatch(r"(\[[0-9A-Fa-f:.%]+\]|[^\s:/\[\]]+):([0-9]{1,5})", address)
    if not found or not 1 <= int(found[2]) <= 65535:
        raise Refusal(
            f"--address (or RAY_ADDRESS) is auto, or HOST:PORT with a port from 1 to 65535, such as 10.0.0.1:6379, "
            f"but got '{address}'."
        )
    return found[1].strip("[]"), int(found[2])


def _answers(host: str, port: int) -> bool:
    """Whether a gRPC server listens there; under RAY_USE_TLS, whether anyone does. Raises OSError."""
    with socket.create_connection((host, port), timeout=5) as there:
        if os.environ.get("RAY_USE_TLS", "0").lower() in ("1", "true"):
            return True
        there.sendall(HELLO)
        with contextlib.suppress(ConnectionResetError), there.makefile("rb") as heard:
            return heard.read(4)[3:] == b"\x04"
    return False


def asked_resources(cpus: float, gpus: float | None, address: str | None) -> dict[str, float]:
    """A trial's; raises Refusal where this machine could never give them, since Ray would wait for ever."""
    there = ray.cluster_resources()
    if gpus is None:
        grown = on_head() if address else None  # whose nodes may be yet to come
        gpus = 1 if there.get("GPU") or (grown and declared_gpus(grown)) else 0
    for kind, asked, option in (("CPU", cpus, "--cpus-per-trial"), ("GPU", gpus, "--gpus-per-trial")):
        if asked > there.get(kind, 0) and not address:
            raise Refusal(f"A trial asks for {asked:g} {kind}s, but there are {there.get(kind, 0):g}; lower {option}.")
    return {"cpu": cpus, "gpu": gpus}


def joined(option: str | None) -> str | None:
    """The address of the Ray that is joined, None: one of our own: what the option says, else RAY_ADDRESS, else, on the
    head of a cluster that `ray up` made, its own."""
    return resolve(option) or ("auto" if on_head() is not None else None)


def start_ray(option: str | None = None) -> str | None:
    """Ray without its dashboard, tables and notes: this machine's own, or that at the address, which is returned.

    The address is what the option says, else RAY_ADDRESS, else, on the head of a cluster that `ray up` made, its own.
    """
    address = joined(option)
    probe(address)
    os.environ |= {
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_AIR_NEW_OUTPUT": "0",  # its banner comes at any verbosity
        "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
        "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
        "TUNE_DISABLE_STRICT_METRIC_CHECKING": "1",  # a hint stage has no accuracy to report
        "TUNE_DISABLE_SIGINT_HANDLER": "1",
        "TUNE_GLOBAL_CHECKPOINT_S": "1000000",  # Ray's own snapshots: the search's tables are the record
    }
    if "KDSEARCH_CACHE" in os.environ:  # workers run in folders of their own
        os.environ["KDSEARCH_CACHE"] = str(cache.folder())
    logging.getLogger("ray").setLevel(logging.CRITICAL)  # what fails is told by the tables
    if ray.is_initialized():
        return address or ("auto" if has_several_nodes() else None)  # who joined a cluster himself is on one, too
    _check_sockets(address)
    own: dict[str, Any] = {"address": "local", "include_dashboard": False, "object_store_memory": 200_000_000}
    if address:
        own = {"address": address}
    seen_by_others(address is not None)
    try:
        with _elsewhere():
            ray.init(logging_level=logging.CRITICAL, log_to_driver=False, configure_logging=True, **own)
    except ConnectionError as error:
        raise unreached(address or "local", error) from None
    return address


def _check_sockets(address: str | None) -> None:
    """Raises Refusal where a Ray of our own could not make its sockets: it would fail without saying why."""
    name, folder = next(((name, os.environ[name]) for name in TEMPORARY if name in os.environ), ("TMPDIR", "/tmp"))
    longest = os.path.join(folder, "ray", "session_2026-01-01_00-00-00_000000_1234567", "sockets", "plasma_store")
    if address is None and len(os.fsencode(longest)) > SOCKET:
        raise Refusal(
            f"A socket's path has at most {SOCKET} bytes, but Ray's would have {len(os.fsencode(longest))}, since "
            f"{name} is '{folder}'; let RAY_TMPDIR name a folder with a shorter path."
        )


@contextmanager
def _elsewhere() -> Iterator[None]:
    """Ray puts the folders in which it is started, and in which the running script lies, on its workers' import path,
    where a user's profile.py would be taken for Python's; meanwhile both are the root, which holds no modules."""
    before, script = os.getcwd(), sys.argv[0]
    os.chdir(os.sep)
    sys.argv[0] = os.sep
    try:
        yield
    finally:
        sys.argv[0] = script
        os.chdir(before)


def has_several_nodes() -> bool:
    """Of the Ray that this process has joined."""
    return len([node for node in ray.nodes() if node["Alive"]]) > 1
