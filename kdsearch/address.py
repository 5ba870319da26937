"""Which Ray a search runs on: this machine's own, or a cluster's by its address."""

import os
import re
import socket
from functools import partial

from kdsearch.errors import Refusal
from kdsearch.patience import within

PATIENCE = 12.0
"""Seconds in which an address must answer."""
HELLO = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00"
"""HTTP/2's preface and empty settings (RFC 9113, 3.4): Ray speaks gRPC, which answers with settings of its own."""
SETTINGS = 4
"""The fourth byte of that answer, a frame's kind."""


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
    reason = getattr(error, "strerror", None) or str(error).partition("\n")[0]
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
        heard = b""
        while len(heard) < SETTINGS:
            try:
                more = there.recv(64)
            except ConnectionResetError:
                return False
            if not more:
                return False
            heard += more
        return heard[SETTINGS - 1] == SETTINGS
