"""The tables of a search: a row a trial, a row an epoch, written as it goes. Imports neither torch nor ray."""

import contextlib
import json
import math
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from kdsearch.errors import Refusal
from kdsearch.results import files, front
from kdsearch.results.files import ENDED, EPOCHS, TABLES, TRIALS, VERDICTS, read_table, write_table


@dataclass(frozen=True)
class Pending:
    """A file that grows by one line an event, and goes once the tables say the same."""

    path: Path

    def note(self, *event: Any) -> None:
        """An event, in the hands of the operating system before anything is done about it."""
        with open(self.path, "a", encoding="utf-8") as file:
            file.write(json.dumps(event) + "\n")

    def clear(self) -> None:
        """The tables hold all of it."""
        self.path.unlink(missing_ok=True)

    def events(self) -> Iterator[list[Any]]:
        """All that were noted whole: a full disk may have let the last one begin but not end."""
        if not self.path.exists():
            return
        for line in self.path.read_text(encoding="utf-8", errors="replace").splitlines(keepends=True):
            try:
                event = json.loads(line) if line.endswith("\n") else None
            except ValueError:
                return
            if not isinstance(event, list):
                return
            yield event


PENDING = "pending.jsonl"

JOURNAL = "optuna.journal"

NOTED = ("add", "extend", "judged", "mark")
"""Methods of Tables that change them."""

LOOKS = 20
"""Times that the tables of a running search are read at most, until nobody wrote meanwhile."""

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

    def place_data(self, name: str) -> None:
        """All trials' images lie there: of a search that goes on they may have moved."""
        for row in self.trials.values():
            if json.loads(row["pipeline"])["data"]["name"] != name:
                row["pipeline"] = placed(row["pipeline"], name)

    def catch_up(self) -> None:
        """Take over what was noted after the tables were last written, however much of it they hold.

        Raises Refusal where that cannot be.
        """
        epochs, verdicts, path = len(self.epochs), len(self.verdicts), self.folder / PENDING
        try:
            for name, *told in Pending(path).events():
                if name in NOTED:
                    getattr(self, name)(*told)
            files.check_rows(self.epochs[epochs:], EPOCHS)
            files.check_rows(self.verdicts[verdicts:], VERDICTS)
            files.check_rows(self.trials.values(), TRIALS)
            files.check_trials(self.trials.values())
            self._sum_up()
        except files.IMPOSSIBLE as error:
            way_out = "delete it: what it says is done again" if path.exists() else "the search must be run again"
            table = path if path.exists() else self.folder / "trials.parquet"
            raise Refusal(f"The table '{table}' is damaged ({files.said(error)}); {way_out}.") from None

    def _sum_up(self) -> None:
        """What trials say of their epochs, by the epochs themselves: one table may be written without the other."""
        students = {name: files.links(row) - 1 for name, row in self.trials.items()}
        seconds: dict[str, float] = {}
        for row in self.epochs:
            name = row["trial"]
            if row["link"] == students.get(name) and row["stage"] != "record":
                seconds[name] = seconds.get(name, 0.0) + row["seconds"]
                self._tell(self.trials[name], row, seconds[name])

    @staticmethod
    def _tell(own: dict[str, Any], row: Mapping[str, Any], seconds: float) -> None:
        own |= {"epochs": row["epoch"], "kd_epochs": row["kd_epoch"] or 0, "seconds": seconds}
        if own["state"] != "complete":  # its end is told by itself: another search may have trained it on
            own |= {"accuracy": row["accuracy"], "balanced_accuracy": row.get("balanced_accuracy")}

    def add(self, trial: str, pipeline: dict, facts: Mapping[str, Any], knobs: Mapping[str, Any]) -> None:
        """A trial that waits; facts are columns known before training."""
        self._note("add", trial, pipeline, facts, knobs)
        self.trials[trial] = {
            "trial": trial, "reference": None, "replicate_of": None, "state": "waiting", "cause": None,
            "accuracy": None, **dict.fromkeys(files.NEW), "epochs": 0, "kd_epochs": 0,
            "seconds": 0.0, "front": False,
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

    def mark(self, trial: str, state: str, cause: str | None = None, *reached: float | None) -> None:
        """A trial's new state, and the front with it; `reached`: accuracy and balanced accuracy at its end, also of one
        that the store had whole."""
        self._note("mark", trial, state, cause, *reached)
        ended = dict(zip(("accuracy", "balanced_accuracy"), reached, strict=False))
        self.trials[trial] |= {"state": state, "cause": cause, **ended}
        if state == "complete":
            members = set(front.members(self.trials.values()))
            for name, row in self.trials.items():
                row["front"] = name in members

    @property
    def draws(self) -> dict[str, dict[str, Any]]:
        """Trials beside references and replicates, by name."""
        return {
            name: row for name, row in self.trials.items() if row["reference"] is None and row["replicate_of"] is None
        }

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


def placed(pipeline: str, data: str) -> str:
    """A trial's pipeline with its images in another place."""
    told = json.loads(pipeline)
    return json.dumps(told | {"data": told["data"] | {"name": data}})


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


def read(folder: Path) -> Tables:
    """The tables of a search that runs, has ended or was killed; raises Refusal where they are damaged."""
    found = None
    for _ in range(LOOKS):
        before, found = _written(folder), None
        with contextlib.suppress(Refusal):  # of tables of several times, perhaps
            found = _read_once(folder)
        if _written(folder) == before:
            break
    return found or _read_once(folder)


def _read_once(folder: Path) -> Tables:
    """The tables as they are now: of several times, where somebody writes meanwhile."""
    again = "the search must be run again"
    trials, epochs, verdicts = (
        read_table(folder / f"{name}.parquet", schema, again) for name, schema in TABLES.items()
    )
    found = Tables(folder, {row["trial"]: row for row in trials}, epochs, verdicts)
    found.catch_up()
    return found


def _written(folder: Path) -> list[tuple[int, int]]:
    """Which files the tables are: each writing makes new ones."""
    stats = [path.stat() for path in (folder / f"{name}.parquet" for name in TABLES) if path.exists()]
    return [(stat.st_ino, stat.st_mtime_ns) for stat in stats]
