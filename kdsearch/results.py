"""The tables of a search: a row a trial, a row an epoch, written as it goes. Imports neither torch nor ray."""

import json
import math
import os
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from filelock import FileLock, Timeout

from kdsearch import front, sound
from kdsearch.errors import Refusal, listed, unknown
from kdsearch.pending import Pending

TRIALS = pa.schema(
    [
        ("trial", pa.string()), ("reference", pa.string()), ("replicate_of", pa.string()), ("state", pa.string()),
        ("cause", pa.string()),
        ("accuracy", pa.float64()), ("parameters", pa.int64()), ("compression", pa.float64()),
        ("training_parameters", pa.int64()), ("macs", pa.int64()), ("epochs", pa.int64()), ("kd_epochs", pa.int64()),
        ("seconds", pa.float64()), ("seed", pa.int64()), ("front", pa.bool_()), ("pipeline", pa.string()),
    ]
)  # fmt: skip
EPOCHS = pa.schema(
    [
        ("trial", pa.string()), ("link", pa.int64()), ("stage", pa.string()), ("epoch", pa.int64()),
        ("kd_epoch", pa.int64()), ("accuracy", pa.float64()), ("seconds", pa.float64()),
    ]
)  # fmt: skip
VERDICTS = pa.schema(
    [
        ("trial", pa.string()), ("milestone", pa.int64()), ("accuracy", pa.float64()), ("parameters", pa.int64()),
        ("goes_on", pa.bool_()), ("recorded", pa.int64()), ("better", pa.int64()), ("front", pa.int64()),
        ("rank", pa.int64()), ("stratum", pa.int64()), ("stratum_recorded", pa.int64()),
        ("stratum_better", pa.int64()), ("cutoff", pa.float64()),
    ]
)  # fmt: skip
TABLES = {"trials": TRIALS, "epochs": EPOCHS, "verdicts": VERDICTS}
CONFIRMED = pa.schema(
    [
        ("trial", pa.string()), ("seed", pa.int64()), ("selected", pa.bool_()), ("accuracy", pa.float64()),
        ("test", pa.float64()), ("test_images", pa.int64()), ("seconds", pa.float64()), ("cause", pa.string()),
    ]
)  # fmt: skip
FACTS: dict[str, type | tuple[type, ...]] = {
    "space": str, "command": str, "trials": int, "seed": int, "data": str, "fingerprint": str, "images": int,
    "validation_images": int, "classes": int, "knobs": dict, "teacher_accuracy": (float, type(None)),
}  # fmt: skip
"""Of search.json, what its readers rely on."""
ENDED = ("complete", "stopped", "failed")
STATES = ("waiting", "running", *ENDED)
PENDING = "pending.jsonl"
JOURNAL = "optuna.journal"
RUN = ".run"
"""Holds the `run` of search.json in the folder that its driver wrote, and in no copy of it."""
NOTED = ("add", "extend", "judged", "mark")
"""Methods of Tables that change them."""
REFERENCES = 3
"""Beside the draws, every search runs so many reference pipelines."""
FAINT = 0.001
"""A weighted loss term with a smaller share of the gradient over a whole stage does not teach."""


@dataclass
class Tables:
    """The tables of one search in memory, and on disk in its folder."""

    folder: Path
    trials: dict[str, dict[str, Any]] = field(default_factory=dict)
    epochs: list[dict[str, Any]] = field(default_factory=list)
    verdicts: list[dict[str, Any]] = field(default_factory=list)
    pending: Pending | None = None
    """Where the driver notes every change until the tables are written."""
    push: Callable[[Path], None] | None = None
    """Sends a file to where others see it."""
    written: float = 0.0
    cost: float = 0.0
    """Seconds that the last writing took."""

    def __post_init__(self) -> None:
        self._last: dict[tuple[str, int], int] = {}
        """Epochs known of a trial's link."""
        self._recorded: set[tuple] = set()
        self._judged = {(row["trial"], row["milestone"]) for row in self.verdicts}
        for row in self.epochs:
            self._is_new(row)

    def _note(self, *event: Any) -> None:
        if self.pending:
            self.pending.note(*event)

    def take_over(self) -> None:
        """What the folder holds, as another process left it; its lock must be held."""
        found = read(self.folder)
        self.trials, self.epochs, self.verdicts = found.trials, found.epochs, found.verdicts
        self.__post_init__()
        self.write(at_once=True)

    def catch_up(self) -> None:
        """Take over what was noted after the tables were last written, however much of it they hold.

        Raises Refusal where that cannot be.
        """
        epochs, verdicts, path = len(self.epochs), len(self.verdicts), self.folder / PENDING
        try:
            for name, *told in Pending(path).events():
                if name in NOTED:
                    getattr(self, name)(*told)
            for own, schema in ((self.epochs[epochs:], EPOCHS), (self.verdicts[verdicts:], VERDICTS)):
                pa.Table.from_pylist(own, schema)
                sound.whole(own, schema.names, filled=("seconds",) if schema is EPOCHS else ())
            pa.Table.from_pylist(list(self.trials.values()), TRIALS)
            sound.whole(self.trials.values(), TRIALS.names, filled=("seconds",))
            sound.trials(self.trials.values(), STATES)
            self._sum_up()
        except (LookupError, TypeError, ValueError, AttributeError, RecursionError, pa.ArrowException) as error:
            way_out = "delete it: what it says is done again" if path.exists() else "the search must be run again"
            table = path if path.exists() else self.folder / "trials.parquet"
            raise Refusal(f"The table '{table}' is damaged ({_said(error)}); {way_out}.") from None

    def _sum_up(self) -> None:
        """What trials say of their epochs, by the epochs themselves: one table may be written without the other."""
        students = {name: sound.links(row) - 1 for name, row in self.trials.items()}
        seconds: dict[str, float] = {}
        for row in self.epochs:
            name = row["trial"]
            if row["link"] == students.get(name) and row["stage"] != "record":
                seconds[name] = seconds.get(name, 0.0) + row["seconds"]
                self._tell(self.trials[name], row, seconds[name])

    @staticmethod
    def _tell(own: dict[str, Any], row: Mapping[str, Any], seconds: float) -> None:
        own |= {"epochs": row["epoch"], "kd_epochs": row["kd_epoch"] or 0, "seconds": seconds}
        own["accuracy"] = row["accuracy"]

    def add(self, trial: str, pipeline: dict, facts: Mapping[str, Any], knobs: Mapping[str, Any]) -> None:
        """A trial that waits; facts are columns known before training."""
        self._note("add", trial, pipeline, facts, knobs)
        self.trials[trial] = {
            "trial": trial, "reference": None, "replicate_of": None, "state": "waiting", "cause": None,
            "accuracy": None, "epochs": 0, "kd_epochs": 0, "seconds": 0.0, "front": False,
            "seed": pipeline["links"][-1]["seed"], **facts, "pipeline": json.dumps(pipeline),
            **{f"knob.{name}": value for name, value in knobs.items()},
        }  # fmt: skip

    def extend(self, trial: str, rows: Iterable[Mapping[str, Any]], student: int) -> None:
        """Epochs of a trial (or of a network trained beforehand); `student` is the number of its last link.

        Epochs that are known already, as a trial tells again after a break, are left out.
        """
        own, rows = self.trials.get(trial, {}), list(rows)
        if rows:
            self._note("extend", trial, rows, student)
        for row in rows:
            if not self._is_new({"trial": trial, **row}):
                continue
            self.epochs.append({"trial": trial, **row})
            if own and row["link"] == student:
                self._tell(own, row, own["seconds"] + row["seconds"])

    def _is_new(self, row: dict[str, Any]) -> bool:
        place, epoch = (row["trial"], row["link"]), row["epoch"]
        if row["stage"] == "record":
            known = (*place, epoch, row["seconds"])
            new = known not in self._recorded
            self._recorded.add(known)
            return new
        last = self._last.get(place, 0)
        self._last[place] = max(epoch, last)
        return epoch > last

    def judged(self, verdict: dict[str, Any]) -> None:
        """A verdict; of a trial at a milestone, the first one counts."""
        place = (verdict["trial"], verdict["milestone"])
        if place not in self._judged:
            self._judged.add(place)
            self._note("judged", verdict)
            self.verdicts.append(verdict)

    def mark(self, trial: str, state: str, cause: str | None = None) -> None:
        """A trial's new state, and the front with it."""
        self._note("mark", trial, state, cause)
        self.trials[trial] |= {"state": state, "cause": cause}
        if state == "complete":
            members = set(front.members(self.trials.values()))
            for name, row in self.trials.items():
                row["front"] = name in members

    @property
    def drawn(self) -> int:
        """Trials beside references and replicates."""
        return sum(row["reference"] is None and row["replicate_of"] is None for row in self.trials.values())

    def tally(self) -> tuple[Counter[str], int]:
        """How many trials are in each state, and how many have ended."""
        states = Counter(row["state"] for row in list(self.trials.values()))
        return states, sum(states[name] for name in ENDED)

    def write(self, at_once: bool = False) -> None:
        """All tables, unless the last time was a moment ago: writing takes a twentieth of the time at most."""
        now = time.monotonic()
        if not at_once and now - self.written < max(2.0, 20 * self.cost):
            return
        journal = self.folder / JOURNAL
        if self.push and journal.exists():
            self.push(journal)  # first: draws without a trial can be taken over, trials without a draw cannot
        # The trials last, too: whoever finds a trial that has ended finds its epochs.
        for name, rows in (("epochs", self.epochs), ("verdicts", self.verdicts), ("trials", self.trials.values())):
            write_table(self.folder / f"{name}.parquet", list(rows), TABLES[name])
            if self.push:
                self.push(self.folder / f"{name}.parquet")
        if self.pending:
            self.pending.clear()
        self.written, self.cost = time.monotonic(), time.monotonic() - now


def write_table(path: Path, rows: list[dict], schema: pa.Schema) -> None:
    """The schema's columns first, then every other one that a row has; the file is replaced whole."""
    names = list(dict.fromkeys([*schema.names, *(name for row in rows for name in row)]))
    columns = []
    for name in names:
        values = [row.get(name) for row in rows]
        if name in schema.names:
            columns.append(pa.array(values, schema.field(name).type))
        else:
            kinds = {type(value) for value in values if value is not None}
            if len(kinds) > 1 and kinds != {int, float}:  # a knob that is now a number, now a word
                values = [None if value is None else str(value) for value in values]
            columns.append(pa.array(values, pa.float64() if kinds == {int, float} else None))
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    pq.write_table(pa.table(columns, names=names), draft)
    os.replace(draft, path)


def knobs(row: Mapping[str, Any]) -> dict[str, Any]:
    """The choices that made a trial, by name."""
    found = {name.removeprefix("knob."): value for name, value in row.items() if name.startswith("knob.")}
    return {name: value for name, value in found.items() if value is not None}


def faint(epochs: Iterable[Mapping[str, Any]]) -> list[tuple[str, str, str]]:
    """(trial, stage, term) whose share of the gradient stayed under FAINT for a whole stage."""
    highest: dict[tuple[str, str, str], float] = {}
    for row in epochs:
        for name, value in row.items():
            if name.startswith("gradient.") and value is not None and not math.isnan(value):
                place = (row["trial"], row["stage"], name.removeprefix("gradient."))
                highest[place] = max(highest.get(place, 0.0), value)
    return [place for place, value in highest.items() if value < FAINT]


def find(word: str, results: Path) -> Path:
    """The folder of a search, by name under `results` or by path; raises Refusal."""
    for path in (results / word, Path(word)):
        if (path / "search.json").is_file():
            return path
    if (results / word).is_dir() or Path(word).is_dir():
        raise Refusal(f"A search's folder holds a search.json, but '{word}' does not. Start one: kdsearch tune SPACE")
    there = [path.parent.name for path in results.glob("*/search.json")]
    raise unknown(f"search in '{results}' named", word, there)


def read_facts(folder: Path) -> dict[str, Any]:
    """search.json; raises Refusal."""
    try:
        found = json.loads((folder / "search.json").read_text(encoding="utf-8"))
        wrong = [name for name, kind in FACTS.items() if not isinstance(found.get(name), kind)] or sound.facts(found)
        if wrong:
            raise ValueError(f"without a proper {listed(wrong)}")
        return found
    except (OSError, ValueError, AttributeError, RecursionError) as error:
        raise Refusal(f"'{folder / 'search.json'}' cannot be read ({error}); the search must be run again.") from None


def write_facts(folder: Path, facts: Mapping[str, Any]) -> None:
    draft = folder / f".search.json.{os.getpid()}"
    draft.write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")
    os.replace(draft, folder / "search.json")


def read(folder: Path) -> Tables:
    """The tables of a search that runs, has ended or was killed; raises Refusal where they are damaged."""
    again = "the search must be run again"
    trials, epochs, verdicts = (
        read_table(folder / f"{name}.parquet", schema, again) for name, schema in TABLES.items()
    )
    found = Tables(folder, {row["trial"]: row for row in trials}, epochs, verdicts)
    found.catch_up()
    return found


def confirmed(folder: Path) -> list[dict[str, Any]]:
    """The rows of confirmed.parquet, none where there is no such table; raises Refusal where it is damaged."""
    return read_table(folder / "confirmed.parquet", CONFIRMED, "delete it, and confirm the search again")


def read_table(path: Path, schema: pa.Schema, mend: str) -> list[dict[str, Any]]:
    """A table's rows, none where there is no file; raises Refusal, with the way to mend it, where it is damaged."""
    try:
        table = pq.read_table(path) if path.exists() else schema.empty_table()
        typed = table.select(schema.names).cast(schema)
        for name in table.schema.names:
            if name not in schema.names:
                typed = typed.append_column(name, table[name])
        rows = typed.to_pylist()
        sound.whole(rows, schema.names, filled=("seconds",) if schema is EPOCHS else ())
        return rows
    except (OSError, LookupError, TypeError, ValueError, OverflowError, pa.ArrowException) as error:
        raise Refusal(f"The table '{path}' is damaged ({_said(error)}); {mend}.") from None


def _said(error: Exception) -> str:
    """Its kind and its first line."""
    return f"{type(error).__name__}: {(str(error).splitlines() or [''])[0][:200]}"


@contextmanager
def readable(folder: Path) -> Iterator[None]:
    """Where a search's files, each whole by itself, contradict each other or their types: Refusal."""
    try:
        yield
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError, RecursionError) as error:
        raise Refusal(
            f"The files of '{folder}' contradict each other ({_said(error)}): one of them is damaged, or another "
            f"version of kdsearch wrote it. --debug shows where; bring it back, or run the search again."
        ) from error


def driver_lock(folder: Path) -> FileLock:
    """Held by the process that runs the search."""
    return FileLock(folder / ".driver.lock", timeout=0)


def is_running(folder: Path) -> bool:
    try:
        with driver_lock(folder):
            return False
    except Timeout:
        return True


def standing(tables: Tables, facts: Mapping[str, Any]) -> dict[str, Any]:
    """state (running, finished, interrupted), trials that ended, their total, and how many are in each state."""
    states, ended = tables.tally()
    total = facts.get("total", facts.get("trials", 0) + REFERENCES)
    state = "running" if is_running(tables.folder) else "finished" if ended >= total else "interrupted"
    return {"state": state, "ended": ended, "total": total, "states": {n: states[n] for n in STATES if states[n]}}
