"""A cluster's head, spoken to from a laptop by Ray's own launcher: over ssh alone, no port is opened."""

import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from kdsearch.errors import Refusal

BEGIN, END = "--- kdsearch: the head says ---", "--- kdsearch: the head has ended with "
"""Around a command's output: what Ray and ssh say before and after is theirs."""


def run(file: Path, command: str, show: Callable[[str], object]) -> int:
    """Run a shell command on the head, hand each line of its output to `show`; its exit code. Raises Refusal."""
    plain = "" if sys.stdout.isatty() else "NO_COLOR=1 TERM=dumb "
    whole = f"export {plain}COLUMNS={width()}; echo; echo '{BEGIN}'; ({command}); echo '{END}'$?"
    noise, inside = [], False
    for line in _lines(["exec", str(file), whole]):
        before, mark, code = line.partition(END)
        if inside and mark:
            if before:
                show(before)
            return code_of(code)
        if inside:
            show(line)
        else:
            noise.append(line)
        inside = inside or line == BEGIN
    raise Refusal(f"The cluster of '{file}' does not answer ({last(noise)}); is it up? ray up {shlex.quote(str(file))}")


def _lines(words: list[str]) -> Iterator[str]:
    """What `ray` prints, line by line; it and its ssh end when the reader does."""
    call = [sys.executable, "-m", "ray.scripts.scripts", *words]
    pipes: dict[str, Any] = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
    process = subprocess.Popen(call, text=True, errors="replace", start_new_session=True, **pipes)
    assert process.stdout is not None
    try:
        for line in process.stdout:
            yield line.rstrip("\r\n")
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGTERM)
        process.stdout.close()
        process.wait()


def ray(words: list[str]) -> None:
    """One of the launcher's commands, silently; raises Refusal with its last word where it fails."""
    call = [sys.executable, "-m", "ray.scripts.scripts", *words]
    done = subprocess.run(call, stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace")
    if done.returncode:
        raise Refusal(f"`ray {words[0]}` failed: {last((done.stdout + done.stderr).splitlines())}")


def code_of(said: str) -> int:
    """An exit code as it was printed; 1 where it is none."""
    return int(said) if said.isdigit() else 1


def last(lines: list[str]) -> str:
    """The last line that says anything, without colours."""
    plain = (re.sub(r"\x1b\[[\d;]*m", "", line).strip() for line in reversed(lines))
    return next((line[:300] for line in plain if line), "no word why")


def width() -> int:
    """Columns of this terminal: what comes from the head is made to fit."""
    return max(shutil.get_terminal_size((100, 24)).columns, 80)
