"""kdsearch's own commands on a cluster: tune as a job, status, report."""

import importlib.util
import os
import re
import shlex
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from kdsearch.cluster import file as cluster_file
from kdsearch.cluster import head
from kdsearch.errors import Refusal

JOBS = "kdsearch-jobs"
"""Folder in the head's home: what was sent there to run, and reports made there."""


JOB_BEGIN, JOB_END = "kdsearch begins on the cluster", "kdsearch ended with exit code "
"""A job's first and last line: before is Ray's talk, and Ray does not hand on the exit code."""


def tune(file: Path, words: list[str], space: str, name: str | None) -> int:
    """Hand `kdsearch tune` to the cluster as a job and show its log; its exit code. Raises Refusal before it runs."""
    config = _ready(file)
    own = Path(space) if space.endswith(".py") or os.sep in space else None
    if own is not None and not own.is_file():
        raise Refusal(f"There is no space file '{own}'.")
    _data_there(words)
    words = ["kdsearch", *with_gpus(with_storage(words, config, file), config)]
    search = name or (own.stem if own else space)
    job = f"{_plain(search)}-{time.strftime('%Y%m%d-%H%M%S')}"
    if own is not None:
        words[words.index(space)] = f"./{job}/{own.name}"
    send(file, job, words, own)
    ray = f"--address http://127.0.0.1:{cluster_file.dashboard(config)}"
    start = f"bash -c {shlex.quote(f'exec bash ~/{JOBS}/{job}/run.sh')}"
    told: list[str] = []
    if head.run(file, f"ray job submit {ray} --submission-id {job} --no-wait -- {start}", told.append):
        raise Refusal(f"The head does not take the job: {head.last(told)}")
    status = f"kdsearch status {shlex.quote(search)} --cluster {shlex.quote(str(file))}"
    stop = shlex.join(["ray", "exec", str(file), f"ray job stop {ray} {job}"])
    how = f"Look at it: {status}\nStop it:    {stop}"
    print(f"Job {job} runs on the cluster and goes on when this machine is switched off.\n{how}", flush=True)
    return _follow(file, f"ray job logs {ray} --follow {job}", how)


def _follow(file: Path, command: str, how: str) -> int:
    begun: list[str] = []
    ended: list[int] = []

    def show(line: str) -> None:
        if line.startswith(JOB_END):
            ended.append(head.code_of(line.removeprefix(JOB_END)))
        elif begun and not ended:
            print(line, flush=True)
        elif line == JOB_BEGIN:
            begun.append(line)

    try:
        head.run(file, command, show)
    except KeyboardInterrupt:
        print(f"kdsearch: only this view has ended; the job goes on.\n{how}", file=sys.stderr)
        return 130
    except Refusal as error:
        print(f"kdsearch: the view broke off; the job goes on. {error}\n{how}", file=sys.stderr)
        return 1
    if not ended:
        print(
            f"kdsearch: the job did not come to an end of its own: stopped, or its node was lost.\n{how}",
            file=sys.stderr,
        )
    return ended[0] if ended else 1


def status(file: Path, words: list[str]) -> int:
    """Run a command that looks on the head, and show what it says; returns its exit code. Raises Refusal."""
    words = with_storage(words, _ready(file), file)
    return head.run(file, shlex.join(["kdsearch", *words]), print)


def report(file: Path, words: list[str], search: str, output: Path | None) -> Iterator[Path]:
    """Make a search's report on the head and bring it here; yields the files. Raises Refusal where there is none."""
    words = with_storage(without(words, "--output"), _ready(file), file)
    target = output or Path(f"{_plain(search)}.html")
    made: list[str] = []
    place = f"~/{JOBS}/reports"
    command = shlex.join(["kdsearch", *words, "--output", target.name])
    if head.run(file, f"mkdir -p {place} && cd {place} && {command}", made.append):
        raise Refusal(f"The head makes no report: {head.last(made)}")
    for line in made:
        if Path(line).suffix in {".html", ".png"}:
            target.parent.mkdir(parents=True, exist_ok=True)
            here = target.parent / Path(line).name
            head.ray(["rsync-down", str(file), f"{place}/{Path(line).name}", str(here)])
            yield here


def with_storage(words: list[str], config: dict[str, Any], file: Path) -> list[str]:
    """The words with the cluster's storage, unless they name one; raises Refusal where nobody does."""
    if {"--storage", "--results"} & set(words):
        return words
    found = cluster_file.storage(config)
    if found is None:
        raise Refusal(f"'{file}' does not set KDSEARCH_STORAGE (kdsearch cluster check {file}); give --storage.")
    return [*words, "--storage", found]


def with_gpus(words: list[str], config: dict[str, Any]) -> list[str]:
    """One GPU a trial where workers declare any: no worker may be up yet to be asked."""
    if "--gpus-per-trial" in words or not cluster_file.gpus(config):
        return words
    return [*words, "--gpus-per-trial", "1"]


def _data_there(words: list[str]) -> None:
    data = words[words.index("--data") + 1] if "--data" in words else ""
    if os.sep in data and not data.startswith("/"):
        raise Refusal(
            f"With --cluster, --data is a folder that all its nodes see, by its full path, but is '{data}': copy it to "
            "shared storage first."
        )


def without(words: list[str], option: str) -> list[str]:
    """The words without an option and its value."""
    at = words.index(option) if option in words else len(words)
    return words[:at] + words[at + 2 :]


def send(file: Path, job: str, words: list[str], own: Path | None) -> None:
    """Put a job's script, and a user's own space file, into the job's folder on the head."""
    lines = (
        'cd "$(dirname "$0")/.."',  # one folder for all jobs: data that one has downloaded serve the next
        f"export PYTHONUNBUFFERED=1 COLUMNS={head.width()}",
        f'echo "{JOB_BEGIN}"',
        shlex.join(words),
        "code=$?",
        f'echo; echo "{JOB_END}$code"',
        "exit $code",
    )
    with tempfile.TemporaryDirectory() as folder:
        there = Path(folder) / job
        there.mkdir()
        (there / "run.sh").write_text("\n".join(lines) + "\n", encoding="utf-8")
        if own is not None:
            shutil.copy(own, there)
        head.ray(["rsync-up", str(file), f"{folder}/", f"~/{JOBS}/"])


def _ready(file: Path) -> dict[str, Any]:
    config = cluster_file.read(file)
    if importlib.util.find_spec("aiohttp_cors") is None:  # which only ray[default] brings
        raise Refusal("Clusters need Ray's launcher, which is not installed here: pip install 'kdsearch[cluster]'.")
    return config


def _plain(search: str) -> str:
    """A name that is one word for shells, files and Ray: the last part of a path."""
    return re.sub(r"[^\w.-]+", "-", Path(search).name) or "search"
