"""What a search is told, and all that it knows while it runs."""

import platform
import shlex
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any
from uuid import uuid4

from kdsearch.config.net import Net, ResNet
from kdsearch.config.pipeline import Data, Pipeline
from kdsearch.data.images import Images, silent
from kdsearch.distill.store import Store
from kdsearch.errors import Refusal
from kdsearch.nets import pairs
from kdsearch.nets import survey as nets_survey
from kdsearch.results import folder as results_folder
from kdsearch.results import tables as results_tables
from kdsearch.results.facts import Facts, write_facts
from kdsearch.results.tables import Pending
from kdsearch.search import spaces
from kdsearch.search.settings import Costs, Limits, Settings
from kdsearch.storage import cache
from kdsearch.storage.bucket import Storage
from kdsearch.storage.lease import Lease

Show = Callable[["Search"], None]
"""Called whenever something changed."""


@dataclass
class Search:
    """One run of a space: what it was told, and all that is known of it so far."""

    space: spaces.Space
    settings: Settings
    trials: int
    """Draws; the references come on top."""
    folder: Path
    data_dir: Path
    cpus_per_trial: float = 1
    gpus_per_trial: float | None = None
    """None: 1 where Ray sees a GPU, else 0."""
    max_concurrent: int | None = None
    seeds: int = 1
    """Of each draw: a grid's cells have replicates."""
    precision: str = "auto"
    """Of the networks' arithmetic: float32, bfloat16, or what each trial's device does well."""
    sampler: str = "tpe"
    """One of spaces.SAMPLERS."""
    rule: str = "union"
    """One of rungs.RULES: who goes on at a milestone."""
    reduction: float = 3
    """A rule sends on the best 1/reduction."""
    milestones: tuple[int, ...] = ()
    """KD epochs at which trials are judged; none: rungs.milestones of the longest budget."""
    limits: Limits = field(default_factory=Limits)
    """Of a deployed student; what exceeds one is never trained."""
    command: str = ""
    options: dict[str, Any] = field(default_factory=dict)
    """What the command line said, by option."""
    storage: Storage = field(default_factory=lambda: Storage(Path()))
    """Where its folder lies; unless told, the folder above it."""
    before: Facts | None = None
    """search.json of a search that goes on in its folder."""
    address: str | None = None
    """Of the Ray that runs it; None: RAY_ADDRESS, else this machine alone."""
    storage_named: bool = False
    """A user chose where it is kept."""
    tell: Callable[[Any], None] = lambda shown: None
    """Prints a table that a user should see."""
    show: Show = lambda search: None
    progress: Callable[[str, int, int], None] = silent

    # Found out as it goes:
    interrupted: threading.Event = field(default_factory=threading.Event)
    """It ends at once."""
    stopping: threading.Event = field(default_factory=threading.Event)
    """It ends when all that runs is kept."""
    patient: bool = False
    """Something runs that can be kept."""
    run: str = field(default_factory=lambda: uuid4().hex)
    """Of this process: whoever goes on can tell whose copy of the tables is the newest."""
    kept: bool = False
    """Its folder stays, even with nothing in it."""
    failure: Refusal | None = None
    """Why it ended early."""
    data: str = field(init=False)
    """The data set's name, or its folder."""
    epochs: int = field(init=False)
    """A student's, at most."""
    sizes: tuple[int, int] = field(init=False)
    """Parameters of the smallest and the largest student among the first draws."""
    study: str = field(init=False)
    """Optuna's name of the search."""
    resources: dict[str, float] = field(init=False)
    """A trial's, as Ray is asked for them."""
    lease: Lease | None = None
    """Its own right to run, where its storage is a bucket."""
    tables: results_tables.Tables = field(init=False)
    described: Data = field(init=False)
    images: Images = field(init=False)
    cache_limit: int = field(init=False)
    """Bytes of recorded targets, on each node."""
    networks: dict[str, dict] = field(default_factory=dict)
    """Of the teacher and the assistants: epoch, epochs and accuracy, by name."""
    ranges: dict[str, str] = field(default_factory=dict)
    """Of the knobs: Optuna's distributions as JSON."""
    facts: dict[str, Any] = field(default_factory=dict)
    doing: dict[str, str] = field(default_factory=dict)
    """What a trial does between epochs, by its id."""

    def __post_init__(self) -> None:
        if self.storage.folder == Path():
            self.storage = Storage(self.folder.parent)
        self.tables = results_tables.Tables(
            self.folder, pending=Pending(self.folder / results_tables.PENDING), push=self.storage.push
        )
        self.cache_limit = cache.limit()
        self.study = (self.before and self.before.study) or f"{self.folder.name}-{uuid4().hex[:8]}"

    @property
    def store(self) -> Store:
        """Trained networks."""
        return Store(self.storage.folder / "store", self.storage)

    @property
    def total(self) -> int:
        """Trials in all: draws with their seeds, and references."""
        return self.trials * self.seeds + (0 if self.space.reference is None else len(spaces.REFERENCES))

    @property
    def resumed(self) -> bool:
        """It goes on in a folder that is there."""
        return self.before is not None

    @property
    def stop_file(self) -> Path:
        """Workers end at their next epoch's end while it is there."""
        return self.folder / "stopping"

    def ask_to_stop(self) -> bool:
        """All that runs is to be kept, and then the search ends; False where nothing runs, or it was asked before."""
        if not self.patient or self.stopping.is_set():
            return False
        self.stopping.set()
        self.kept = True
        self.stop_file.touch()
        self.storage.push(self.stop_file)
        self.show(self)
        return True

    def end_with(self, failure: Refusal) -> None:
        """The search ends at once, and says why."""
        self.failure = failure
        self.interrupted.set()
        raise KeyboardInterrupt

    @property
    def resume_command(self) -> str:
        """How a user goes on with it."""
        word = self.space.name if self.space.path.parent == spaces.own_folder() else str(self.options["space"])
        found = ["kdsearch", "tune", word, "--name", self.folder.name]
        if self.options.get("results", "results") != "results":
            found += ["--storage", str(self.options["results"])]
        return shlex.join([*found, "--resume"])

    def full_disk(self, said: str) -> Refusal:
        """Why it ends where something could not be written; its folder stays, whatever is in it."""
        self.kept = True
        return Refusal(f"The disk is full ({said.rstrip('.')}). Make room, then go on: {self.resume_command}")

    def places(self) -> dict[str, Any]:
        """What a worker must be told beside a pipeline, as plain data; its working folder is another."""
        return {
            "storage": self.storage.word,
            "stop_file": f"{self.folder.name}/{self.stop_file.name}",
            "data_dir": str(self.data_dir.resolve()),
            "threads": max(int(self.cpus_per_trial), 1),
            "precision": self.precision,
            "cache_limit": self.cache_limit,
            "device": "cuda" if self.resources["gpu"] else "cpu",
        }

    def survey(self, net: Net | ResNet) -> nets_survey.Survey:
        """A network's shapes and costs on this search's images."""
        return nets_survey.survey(net, self.images.shape, len(self.images.classes))

    def check(self, pipeline: Pipeline) -> None:
        """Raises Refusal for a pair that cannot fit."""
        pairs.check(pipeline, self.images.shape, len(self.images.classes))

    def costs(self, pipeline: Pipeline) -> Costs:
        """Of its student and of its teacher."""
        return self.survey(pipeline.student.net), self.survey(pipeline.links[0].net)

    def known(self, pipeline: Pipeline) -> dict[str, Any]:
        """A trial's columns that are known before it is trained."""
        student, teacher = self.costs(pipeline)
        chain, shape, classes = pipeline.links, self.images.shape, len(self.images.classes)
        return {
            "parameters": student.parameters,
            "compression": teacher.parameters / student.parameters,
            "training_parameters": pairs.training_parameters(chain[-1], chain[-2].net, shape, classes),
            "macs": student.macs,
        }

    def changed(self, at_once: bool = False) -> None:
        """To the tables and to who watches."""
        if self.lease:
            self.lease.refresh()  # first: whoever lost the search writes nothing more
        self.tables.write(at_once)
        self.show(self)
        if self.interrupted.is_set():
            raise KeyboardInterrupt

    def write_facts(self) -> None:
        """search.json, with all that is known by now."""
        images = self.images
        told = {
            "space": self.space.name,
            "command": self.command,
            "trials": self.trials,
            "seeds": self.seeds,
            "total": self.total,
            "seed": self.settings.seed,
            "epochs": self.epochs,
            "sampler": self.sampler,
            "rule": self.rule,
            "reduction": self.reduction,
            "milestones": list(self.milestones),
            "sizes": list(self.sizes),
            "views": self.settings.most_views,
            "options": self.options,
            "source": spaces.source(self.space.path),
            "resume": self.resume_command,
            "limits": self.limits.set(),
            "study": self.study,
            "run": self.run,
            "resources": self.resources,
            "data": self.data,
            "fingerprint": images.fingerprint,
            "images": len(images.train),
            "validation_images": len(images.validation),
            "image": list(images.shape),
            "classes": len(images.classes),
            "knobs": self.ranges,
            "python": platform.python_version(),
            "versions": {name: version(name) for name in ("kdsearch", "ray", "optuna", "torch", "torchvision")},
        }
        self.facts = told | self.facts
        write_facts(self.folder, self.facts)
        (self.folder / results_folder.RUN).write_text(self.run, encoding="utf-8")
        self.storage.push(self.folder / "search.json")
