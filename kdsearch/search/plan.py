"""A search before it trains anything: where it lies, and all that follows from what was asked."""

import platform
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

from kdsearch.config.net import AnyNet
from kdsearch.config.pipeline import Data, Link, Pipeline, Precision
from kdsearch.config.provenance import RECIPE
from kdsearch.data.images import Images
from kdsearch.distill.device import precision_of
from kdsearch.distill.store import Store
from kdsearch.nets.survey import Survey, extra, survey, training_parameters
from kdsearch.results.facts import Facts
from kdsearch.results.objectives import OBJECTIVES, Objective, objective
from kdsearch.search import spaces
from kdsearch.search.asked import Asked
from kdsearch.search.limits import Costs, Limits
from kdsearch.search.networks import sources
from kdsearch.search.settings import Settings
from kdsearch.storage.bucket import Storage
from kdsearch.storage.cache import machine

Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Place:
    """Where a search lies, and what is known of it where it goes on."""

    storage: Storage
    folder: Path
    resume: str = ""
    """The command that goes on with it."""
    before: Facts | None = None
    """What search.json holds of a search that goes on in its folder; None: a new one."""
    command: str = ""
    """That began it."""


@dataclass(frozen=True, repr=False)
class Plan:
    """A search before it trains: all that follows from what was asked, the space and the images."""

    asked: Asked
    space: spaces.Space
    place: Place
    settings: Settings
    sampler: str
    """One of spaces.SAMPLERS."""
    rule: str
    """One of rungs.RULES: who goes on at a milestone."""
    limits: Limits
    """Of a deployed student; what exceeds one is never trained."""
    trials: int
    """Draws; the references come on top."""
    draws: tuple[spaces.Draw, ...]
    """Random ones within the limits; of a grid, its cells."""
    references: Mapping[str, Pipeline]
    images: Images
    epochs: int
    """A student's, at most."""
    milestones: tuple[int, ...]
    """KD epochs at which trials are judged."""
    cache_limit: int
    """Bytes of recorded targets, on each node."""
    study: str
    """Optuna's name of the search."""
    ranges: Mapping[str, str]
    """Of the knobs: Optuna's distributions as JSON."""
    sizes: tuple[int, int] = (1, 1)
    """Of the smallest and the largest student among the first draws, as results.objectives.size has them."""
    resources: Mapping[str, float] = field(default_factory=lambda: {"cpu": 1, "gpu": 0})
    """A trial's, as Ray is asked for them."""
    address: str | None = None
    """Of the Ray that it runs on; None: its own."""
    why_ended: str = ""
    """Of a grid with fewer cells than were asked for."""
    measure: Callable[[AnyNet], Any] | None = None
    """Gives a student's nets.latency.Latency beside the teacher of most draws; None: latency is not asked for."""
    runtime: str = ""
    """In what it is measured."""
    notes: tuple[str, ...] = ()
    """What a user is told of it."""

    def __repr__(self) -> str:
        return f"<Plan of {self.space.name}: {self.total} trials on {self.data.name}, {self.sampler}, rule {self.rule}>"

    @property
    def precision(self) -> Precision | None:
        """What networks multiply in; None: on a cluster, whose nodes decide."""
        if self.address is not None:
            return None
        return precision_of(self.asked.precision, "cuda" if self.resources["gpu"] else "cpu")

    @property
    def folder(self) -> Path:
        return self.place.folder

    @property
    def storage(self) -> Storage:
        return self.place.storage

    @property
    def store(self) -> Store:
        """Trained networks."""
        return Store(self.storage.folder / "store", self.storage)

    @property
    def pipelines(self) -> list[Pipeline]:
        """Of all draws and references."""
        return [*self.references.values(), *(draw.pipeline for draw in self.draws)]

    @property
    def data(self) -> Data:
        """Of all draws."""
        return self.draws[0].pipeline.data

    @property
    def teacher(self) -> Link:
        """Of most draws."""
        return spaces.commonest_teacher(list(self.draws))

    @property
    def looked_at(self) -> Objective:
        """Beside accuracy."""
        return objective(self.asked.against)

    def seeds_of(self, knobs: Mapping[str, Any]) -> int:
        """How many a draw is trained with."""
        return 1 if self.space.repeats and knobs == self.space.repeats.once else self.asked.seeds

    @property
    def drawn(self) -> int:
        """Draws with their seeds."""
        if self.space.repeats:
            return sum(self.seeds_of(draw.knobs) for draw in self.draws)
        return self.trials * self.asked.seeds

    @property
    def total(self) -> int:
        """Trials in all: draws with their seeds, and references."""
        return self.drawn + len(self.references)

    def survey(self, net: AnyNet) -> Survey:
        """A network's shapes and costs on this search's images."""
        return survey(net, self.images.shape, len(self.images.classes))

    def costs(self, pipeline: Pipeline) -> Costs:
        """Of its student and of its teacher."""
        teacher = (self.space.repeats or pipeline.links[0]).net
        return Costs(self.survey(pipeline.student.net), self.survey(teacher), self.measure)

    def known(self, pipeline: Pipeline) -> dict[str, Any]:
        """A trial's columns that are known before it is trained."""
        costs = self.costs(pipeline)
        student, shape, classes = pipeline.student, self.images.shape, len(self.images.classes)
        told = {
            "training_parameters": training_parameters(student, pipeline.hinting, shape, classes),
            "training_macs": costs.student.macs + extra(student, shape, classes)[1],
            "metric": self.asked.metric,
            "against": self.asked.against,
        }
        for own in OBJECTIVES.values():
            if self.measure or not own.measured:
                told |= {own.column: costs.amount(own), own.ratio: costs.ratio(own)}
        return told

    def facts(self) -> dict[str, Any]:
        """Of search.json, what is known by now."""
        asked, images = self.asked, self.images
        told = {
            "space": self.space.name,
            "command": self.place.command,
            "trials": self.trials,
            "seeds": asked.seeds,
            "total": self.total,
            "seed": asked.seed,
            "epochs": self.epochs,
            "sampler": self.sampler,
            "rule": self.rule,
            "reduction": asked.reduction,
            "milestones": list(self.milestones),
            "sizes": list(self.sizes),
            "views": self.settings.most_views,
            "options": asked.options(),
            "source": self.space.source,
            "sources": sources(self.pipelines),
            "resume": self.place.resume,
            "limits": self.limits.set(),
            "study": self.study,
            "resources": dict(self.resources),
            "machine": machine(),
            "precision": self.precision,
            "data": self.data.name,
            "fingerprint": images.fingerprint,
            "recipe": RECIPE,
            "account": images.account,
            "images": len(images.train),
            "validation_images": len(images.validation),
            "image": list(images.shape),
            "classes": len(images.classes),
            "judged_classes": len(images.validation_labels.unique()),
            "largest_class": int(images.validation_labels.bincount().max()) / len(images.validation),
            "metric": asked.metric,
            "against": asked.against,
            "knobs": dict(self.ranges),
            "teacher_parameters": self.survey((self.space.repeats or self.teacher).net).parameters,
            "python": platform.python_version(),
            "versions": {name: version(name) for name in ("kdsearch", "ray", "optuna", "torch", "torchvision")},
        }
        measured = {"runtime": self.runtime} if self.measure else {}
        return told | measured | ({"why_ended": self.why_ended} if self.why_ended else {})
