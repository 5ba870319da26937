"""What a search has found out before it trains anything: its draws, its data, whether all of it can be."""

import math
import platform
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any
from uuid import uuid4

from kdsearch.config.net import AnyNet
from kdsearch.config.pipeline import Data, Link, Pipeline
from kdsearch.data.images import Images, load, silent
from kdsearch.distill.store import Store
from kdsearch.distill.teacher import most_views
from kdsearch.errors import Refusal, listed, unknown
from kdsearch.nets import pairs
from kdsearch.nets.survey import Survey, survey
from kdsearch.results import tables
from kdsearch.search import spaces
from kdsearch.search.asked import Asked
from kdsearch.search.resume import check_images
from kdsearch.search.rungs import RULES, milestones
from kdsearch.search.settings import Costs, Limits, Settings, numbers_of, pairs_of
from kdsearch.storage import cache
from kdsearch.storage.bucket import Storage

DRAWS = 1000
"""Random draws in which a search looks for its assistants."""
LOOKED_AT = 100
"""Of these, draws whose pairs are checked beforehand."""
Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Place:
    """Where a search lies, and what is known of it where it goes on."""

    storage: Storage
    folder: Path
    resume: str = ""
    """The command that goes on with it."""
    before: Mapping[str, Any] = field(default_factory=dict)
    """search.json of a search that goes on in its folder; empty: a new one."""
    command: str = ""
    """That began it."""


@dataclass(frozen=True)
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
    """Parameters of the smallest and the largest student among the first draws."""
    resources: Mapping[str, float] = field(default_factory=lambda: {"cpu": 1, "gpu": 0})
    """A trial's, as Ray is asked for them."""
    why_ended: str = ""
    """Of a grid with fewer cells than were asked for."""

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
    def data(self) -> Data:
        """Of all draws."""
        return self.draws[0].pipeline.data

    @property
    def teacher(self) -> Link:
        """Of most draws."""
        return spaces.commonest_teacher(list(self.draws))

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
        return self.drawn + (0 if self.space.reference is None else tables.REFERENCES)

    def survey(self, net: AnyNet) -> Survey:
        """A network's shapes and costs on this search's images."""
        return survey(net, self.images.shape, len(self.images.classes))

    def check(self, pipeline: Pipeline) -> None:
        """Raises Refusal for a pair that cannot fit."""
        pairs.check(pipeline, self.images.shape, len(self.images.classes))

    def costs(self, pipeline: Pipeline) -> Costs:
        """Of its student and of its teacher."""
        return self.survey(pipeline.student.net), self.survey((self.space.repeats or pipeline.links[0]).net)

    def known(self, pipeline: Pipeline) -> dict[str, Any]:
        """A trial's columns that are known before it is trained."""
        student, teacher = self.costs(pipeline)
        *before, last = pipeline.links
        taught_by, shape, classes = before[-1].net if before else None, self.images.shape, len(self.images.classes)
        return {
            "parameters": student.parameters,
            "compression": teacher.parameters / student.parameters,
            "training_parameters": pairs.training_parameters(last, taught_by, shape, classes),
            "macs": student.macs,
        }

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
            "resume": self.place.resume,
            "limits": self.limits.set(),
            "study": self.study,
            "resources": dict(self.resources),
            "data": self.data.name,
            "fingerprint": images.fingerprint,
            "images": len(images.train),
            "validation_images": len(images.validation),
            "image": list(images.shape),
            "classes": len(images.classes),
            "knobs": dict(self.ranges),
            "teacher_parameters": self.survey((self.space.repeats or self.teacher).net).parameters,
            "python": platform.python_version(),
            "versions": {name: version(name) for name in ("kdsearch", "ray", "optuna", "torch", "torchvision")},
        }
        return told | ({"why_ended": self.why_ended} if self.why_ended else {})


def look(asked: Asked, space: spaces.Space, place: Place, progress: Progress = silent) -> Plan:
    """Read the data, draw, check: all that can refuse a search before it is written. Raises Refusal."""
    settings, sampler, rule, limits, trials = _chosen(asked, space)
    spaces.check_overrides(space, settings)
    spaces.check_published(space, settings)
    cache.check()
    drawn, references = _drawn(space, settings, sampler)
    described = _described(space, drawn)
    epochs = max(draw.pipeline.student.fit.epochs or 0 for draw in drawn)
    images = load(described, Path(asked.data_dir), progress)
    study = place.before.get("study") or f"{place.folder.name}-{uuid4().hex[:8]}"
    plan = Plan(
        asked, space, place, settings, sampler, rule, limits, trials, tuple(drawn), references, images, epochs,
        _milestones(asked, epochs), cache.limit(), study,
        {name: text for draw in drawn for name, text in draw.ranges.items()},
    )  # fmt: skip
    plan = _sized(_within_limits(plan, progress))
    looked_at = [*(draw.pipeline for draw in plan.draws[:LOOKED_AT]), *references.values()]
    _check_pairs(plan)
    # A search that goes on keeps its views, whatever room this machine has for them.
    views = place.before.get("views") or most_views(looked_at, images, plan.cache_limit)
    if views < images.views:
        settings = replace(settings, most_views=views)
        drawn, references = _drawn(space, settings, sampler)
        plan = replace(plan, settings=settings, draws=tuple(drawn), references=references)
        plan = _within_limits(plan, progress)
    return plan


def _chosen(asked: Asked, space: spaces.Space) -> tuple[Settings, str, str, Limits, int]:
    """Settings, sampler, rule, limits and trials, as asked for, else as the space's budget says. Raises Refusal."""
    budget = space.budget if asked.data in (None, "digits") else space.full_budget
    sampler = asked.sampler or budget.sampler
    if asked.seeds > 1 and sampler != "grid":
        raise Refusal(
            f"--seeds trains each cell of a grid {asked.seeds} times, but '{space.name}' is searched by {sampler}: "
            f"confirm its front afterwards (kdsearch confirm), or choose --sampler grid."
        )
    trials = asked.trials or (sys.maxsize if sampler == "grid" else budget.trials)
    if trials is None:
        raise Refusal(f"'{space.name}' is a grid and says no number of draws; --sampler {sampler} needs --trials.")
    rule = asked.rule or budget.rule or ("none" if sampler == "grid" else "union")
    limits = Limits(asked.max_params, asked.max_macs, asked.min_compression)
    if rule not in RULES:
        raise unknown("rule", rule, RULES)
    if sampler not in spaces.SAMPLERS:
        raise unknown("sampler", sampler, spaces.SAMPLERS)
    if not 1 < asked.reduction < math.inf:
        raise Refusal(f"A rule sends on the best 1/N, so --reduction must be above 1, but got {asked.reduction:g}.")
    for name, value in limits.set().items():
        if not 0 < value < math.inf:
            raise Refusal(f"--{name.replace('_', '-')} must be a number above 0, but got {value:g}.")
    settings = Settings(
        epochs=asked.epochs or budget.epochs, teacher_epochs=asked.teacher_epochs or budget.teacher_epochs,
        batch_size=budget.batch_size, epochs_given=asked.epochs is not None,
        teacher_epochs_given=asked.teacher_epochs is not None, data=asked.data, image_size=asked.image_size,
        seed=asked.seed, overrides=pairs_of(asked.overrides or ()),
    )  # fmt: skip
    return settings, sampler, rule, limits, trials


def _described(space: spaces.Space, drawn: list[spaces.Draw]) -> Data:
    """The data of all draws; raises Refusal where they have several."""
    names = {draw.pipeline.data.name for draw in drawn}
    if len(names) > 1:
        raise Refusal(f"A search has one data set, but '{space.name}' draws {listed(sorted(names))}.")
    return drawn[0].pipeline.data


def _milestones(asked: Asked, epochs: int) -> tuple[int, ...]:
    found = numbers_of(asked.milestones or "") or milestones(epochs, asked.reduction)
    if found and found[-1] >= epochs:
        raise Refusal(
            f"Trials are judged before their end, but --milestones names KD epoch {found[-1]} and students have "
            f"{epochs}."
        )
    return found


def _sized(plan: Plan) -> Plan:
    """With the sizes of its students; a search that goes on keeps those that it began with."""
    before = plan.place.before
    if before:
        check_images(before, plan.images.fingerprint)
        return replace(plan, sizes=tuple(before["sizes"]))
    sizes = [plan.survey(draw.pipeline.student.net).parameters for draw in plan.draws[: 2 * LOOKED_AT]]
    return replace(plan, sizes=(min(sizes), max(sizes)))


def _check_pairs(plan: Plan) -> None:
    for draw in plan.draws[:LOOKED_AT]:
        try:
            plan.check(draw.pipeline)
        except Refusal as error:
            named = ", ".join(f"{name} {value}" for name, value in draw.knobs.items())
            raise Refusal(f"{error} So it is where '{plan.space.name}' draws {named}.") from None
    for pipeline in plan.references.values():
        plan.check(pipeline)


def _drawn(space: spaces.Space, settings: Settings, sampler: str) -> tuple[list[spaces.Draw], dict[str, Pipeline]]:
    drawn = spaces.draws(space, settings, DRAWS, settings.seed)
    if sampler == "grid":
        drawn = spaces.cells(space, settings, drawn)
    return drawn, spaces.references(space, drawn, settings)


def _within_limits(plan: Plan, progress: Progress) -> Plan:
    """With the draws that exceed no limit; raises Refusal where there is none."""
    kept, costs = list(plan.draws), []
    if plan.limits.set():
        kept = []
        for number, draw in enumerate(plan.draws, start=1):
            costs.append(plan.costs(draw.pipeline))
            if plan.limits.met(costs[-1]):
                kept.append(draw)
            progress("sizing pipelines", number, len(plan.draws))
    if not kept:
        raise plan.limits.refusal(plan.space.name, costs)
    plan = replace(plan, draws=tuple(kept))
    if plan.sampler == "grid" and plan.trials > len(kept):
        fewer = plan.trials < sys.maxsize  # somebody asked for more than there are
        why = f"every cell of '{plan.space.name}' was drawn" if fewer else ""
        plan = replace(plan, trials=len(kept), why_ended=why or plan.why_ended)
    return plan
