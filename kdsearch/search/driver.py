"""A search while it runs: its plan, its tables, and what happens to it."""

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import uuid4

from rich.text import Text

from kdsearch.cluster.own import lost
from kdsearch.config.pipeline import Link, Pipeline
from kdsearch.data.images import silent
from kdsearch.errors import Refusal
from kdsearch.results import facts as results_facts
from kdsearch.results import folder
from kdsearch.results import tables as results_tables
from kdsearch.results.tables import Pending
from kdsearch.search.plan import Plan
from kdsearch.search.work import Orders, Work
from kdsearch.storage.lease import Lease

Show = Callable[["Driver"], None]
"""Called whenever something changed."""


@dataclass
class Driver:
    """The process that runs a search: one at a time."""

    plan: Plan
    tell: Callable[[Any], None] = lambda shown: None
    """Prints a table, or a warning, that a user should see."""
    show: Show = lambda driver: None
    progress: Callable[[str, int, int], None] = silent
    interrupted: threading.Event = field(default_factory=threading.Event)
    """It ends at once."""
    stopping: threading.Event = field(default_factory=threading.Event)
    """It ends when all that runs is kept."""
    patient: bool = False
    """Something runs that can be kept."""
    run: str = field(default_factory=lambda: uuid4().hex)
    """Of this process: whoever goes on can tell whose copy of the tables is the newest."""
    begun: bool = False
    """Its tables hold all that its folder did."""
    kept: bool = False
    """Its folder stays, even with nothing in it."""
    failure: Refusal | None = None
    """Why it ended early."""
    lease: Lease | None = None
    """Its own right to run, where its storage is a bucket."""
    networks: dict[str, dict] = field(default_factory=dict)
    """Of the teacher and the assistants: epoch, epochs and accuracy, by name."""
    facts: dict[str, Any] = field(default_factory=dict)
    """Of search.json, what was found out on the way."""
    impossible: dict[tuple[Link, ...], str] = field(default_factory=dict)
    """Why networks failed, by the links up to them, where that does not end the search."""
    doing: dict[str, str] = field(default_factory=dict)
    """What a trial does between epochs, by its id."""

    def __post_init__(self) -> None:
        place = self.plan.place
        pending = Pending(place.folder / results_tables.PENDING)
        self.tables = results_tables.Tables(place.folder, pending=pending, push=place.storage.push)
        asked = self.plan.asked
        self.orders = Orders(
            place.storage, place.folder, Path(asked.data_dir), self.plan.resources, asked.precision,
            self.plan.cache_limit, asked.bytes,
        )  # fmt: skip

    @property
    def total(self) -> int:
        """Trials in all."""
        return self.facts.get("total", self.plan.total)

    def ask_to_stop(self) -> bool:
        """All that runs is to be kept, and then the search ends; False where nothing runs, or it was asked before."""
        if not self.patient or self.stopping.is_set() or self.interrupted.is_set():
            return False
        self.stopping.set()
        self.kept = True
        self.orders.stop_file.touch()
        self.plan.storage.push(self.orders.stop_file)
        self.show(self)
        return True

    def work(self, name: str) -> Work:
        """The orders of a trial in the tables."""
        row, orders = self.tables.trials[name], self.orders
        pipeline = Pipeline.model_validate_json(row["pipeline"])
        return orders.work(
            pipeline, trial=name, judged=row["reference"] is None, milestones=self.plan.milestones,
            student=orders.file("students", name), checkpoint=orders.file("checkpoints", name),
            stored=self.plan.space.repeats is not None, impossible=self.why_not(pipeline),
        )  # fmt: skip

    def called(self, name: str) -> str:
        """A trial as its user knows it: `trial 14`; of a paper's table its row, and its seed if there are several."""
        row, repeats = self.tables.trials[name], self.plan.space.repeats
        if repeats is None:
            return f"trial {name}"
        return row["knob.row"] + (f", seed {row['seed']}" if self.plan.asked.seeds > 1 else "")

    def why_not(self, pipeline: Pipeline) -> str:
        """Why a pipeline cannot be trained; empty where it may be."""
        for length in range(len(pipeline.links), 0, -1):
            if cause := self.impossible.get(pipeline.links[:length]):
                return cause if length == len(pipeline.links) else f"its teacher failed: {cause}"
        return ""

    def end_with(self, failure: Refusal) -> None:
        """The search ends at once, and says why."""
        self.failure = failure
        self.interrupted.set()
        raise KeyboardInterrupt

    def lost_ray(self, name: str) -> None:
        """A process of its own Ray died: nothing more can be trained."""
        self.failure = lost(name, self.plan.place.resume)
        self.interrupted.set()

    def full_disk(self, said: str) -> Refusal:
        """Why it ends where something could not be written; its folder stays, whatever is in it."""
        self.kept = True
        return Refusal(f"The disk is full ({said.rstrip('.')}). Make room, then go on: {self.plan.place.resume}")

    def changed(self, at_once: bool = False) -> None:
        """To the tables and to who watches."""
        if self.lease:
            self.lease.refresh()  # first: whoever lost the search writes nothing more
        self.tables.write(at_once)
        self.show(self)
        if self.interrupted.is_set():
            raise KeyboardInterrupt

    def warn(self, sentence: str) -> None:
        """Something is made anew, and its user should know."""
        self.tell(Text(f"Warning: {sentence}", "yellow"))

    def write_facts(self) -> None:
        """search.json, with all that is known by now."""
        place = self.plan.place
        results_facts.write_facts(place.folder, self.plan.facts() | {"run": self.run} | self.facts)
        (place.folder / folder.RUN).write_text(self.run, encoding="utf-8")
        place.storage.push(place.folder / "search.json")
