"""Who answers: a trained link, live or recorded by a fixed rule on bytes, never a timing."""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import torch
from torch import Tensor, nn

from kdsearch.config.pipeline import Choice, Link, Pipeline
from kdsearch.data.images import Batch, Images, silent
from kdsearch.data.sources import Progress
from kdsearch.distill.recorded import ByHand, Recorded
from kdsearch.nets import survey as nets_survey
from kdsearch.nets.taps import answered


class Taught:
    """A trained link: its facts, and its network once somebody asks for it."""

    def __init__(self, facts: dict, load: Callable[[], nn.Sequential]) -> None:
        self.facts = facts
        self._load = load

    @cached_property
    def net(self) -> nn.Sequential:
        """In eval mode, without gradients."""
        return self._load().eval().requires_grad_(False)

    @property
    def key(self) -> str:
        """Of these weights."""
        return f"{self.facts['key']}-{self.facts['digest']}"


@dataclass
class Live:
    """The teacher asked at every step."""

    teacher: Taught
    layers: tuple[int, ...]

    def ready(self, views: Iterable[int]) -> Iterator[tuple[int, float]]:
        """Nothing to be made ready."""
        return iter(())

    def __call__(self, batch: Batch) -> dict[int, Tensor]:
        """The answers about a batch, by layer."""
        return answered(self.teacher.net, batch.pixels, self.layers)


WORTH = {"cpu": 20, "cuda": 5000}
"""Multiply-accumulates of a forward pass that take about as long as reading one byte: below, the teacher is asked."""


@dataclass(frozen=True)
class Targets:
    """A folder of what teachers answered, for the processes of one machine; and when to use it."""

    folder: Path
    limit: int
    """Bytes at most, of all teachers together."""
    told: Mapping[str, Choice] = field(default_factory=dict)
    """By stage, where a config says what was chosen."""
    progress: Progress = silent

    def choices(self, pipeline: Pipeline, number: int, images: Images) -> dict[str, Choice]:
        """How the teacher of link `number` answers, for each stage that asks it."""
        if number == 0:
            return {}
        survey = _teacher(pipeline, number, images)
        asked = {stage: layers_of(pipeline.links[number], stage, survey) for stage in ("hint", "kd")}
        return {
            stage: (images.views and self.told.get(stage)) or self._choice(layers, survey, images)
            for stage, layers in asked.items()
            if layers
        }

    def _choice(self, layers: tuple[int, ...], survey: nets_survey.Survey, images: Images) -> Choice:
        cost = sum(bytes_of(survey, layer) for layer in layers)
        fits = cost * len(images.train) * images.views <= self.limit
        worth = survey.reach[max(layers) - 1] >= WORTH[images.mean.device.type] * cost
        return "recorded" if images.views and fits and worth else "live"

    def answers(
        self, pipeline: Pipeline, number: int, stage: str, images: Images, teacher: Taught
    ) -> Live | Recorded | ByHand:
        """What link `number` asks of the teacher before it in a stage, or of none."""
        kd = pipeline.links[number].kd
        if stage == "kd" and kd and kd.virtual:
            return ByHand(kd.virtual, len(images.classes))
        layers = layers_of(pipeline.links[number], stage, _teacher(pipeline, number, images))
        if self.choices(pipeline, number, images)[stage] == "live":
            return Live(teacher, layers)
        # Sums in another order round otherwise: what is recorded is of these weights, computed in just this way.
        device = images.mean.device.type
        how = device if device == "cuda" else f"{device}{torch.get_num_threads()}"
        folder = self.folder / f"{teacher.key}-{how}-{images.precision}"
        return Recorded(teacher, layers, images, folder, self.limit, self.progress)


def layers_of(link: Link, stage: str, teacher: nets_survey.Survey) -> tuple[int, ...]:
    """The teacher's layers whose answers a stage needs; the classifier's number is the one after the convolutions'."""
    if stage == "hint":
        return tuple(sorted({pair.hint for pair in link.hints.pairs})) if link.hints else ()
    return (len(teacher.reach),) if link.kd and not link.kd.virtual else ()


def _teacher(pipeline: Pipeline, number: int, images: Images) -> nets_survey.Survey:
    return nets_survey.survey(pipeline.links[number - 1].net, images.shape, len(images.classes))


def bytes_of(survey: nets_survey.Survey, layer: int) -> int:
    """Of one image's answer in one view."""
    if layer > len(survey.maps):
        return 4 * survey.classes
    return 2 * math.prod(survey.maps[layer - 1])


def most_views(pipelines: Iterable[Pipeline], images: Images, limit: int) -> int:
    """How many of an image's fixed views let all these pipelines' targets be recorded: at most the images' own number.

    Where not even one fits, all of them: the teacher runs live, and views cost nothing.
    """
    each = bytes_a_view(pipelines, images)
    return min(images.views, limit // each if each else images.views) or images.views


def bytes_a_view(pipelines: Iterable[Pipeline], images: Images) -> int:
    """Of all that these pipelines ask their teachers about all training images in one view."""
    asked = set()
    for pipeline in pipelines:
        for number, link in enumerate(pipeline.links[1:], start=1):
            survey = _teacher(pipeline, number, images)
            for layer in (*layers_of(link, "hint", survey), *layers_of(link, "kd", survey)):
                asked.add((pipeline.links[:number], layer, bytes_of(survey, layer)))
    return len(images.train) * sum(size for _, _, size in asked)
