"""When a teacher's answers are recorded and when it is asked live: a fixed rule on bytes, never a timing."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import torch

from kdsearch import nets
from kdsearch.answers import Live, Recorded, Taught
from kdsearch.config import Choice, Link, Pipeline
from kdsearch.data import Images, silent
from kdsearch.sources import Progress

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

    def _choice(self, layers: tuple[int, ...], survey: nets.Survey, images: Images) -> Choice:
        cost = sum(bytes_of(survey, layer) for layer in layers)
        fits = cost * len(images.train) * images.views <= self.limit
        worth = survey.reach[max(layers) - 1] >= WORTH[images.mean.device.type] * cost
        return "recorded" if images.views and fits and worth else "live"

    def answers(self, pipeline: Pipeline, number: int, stage: str, images: Images, teacher: Taught) -> Live | Recorded:
        """What link `number` asks of the teacher before it in a stage."""
        layers = layers_of(pipeline.links[number], stage, _teacher(pipeline, number, images))
        if self.choices(pipeline, number, images)[stage] == "live":
            return Live(teacher, layers)
        # Sums in another order round otherwise: what is recorded is of these weights, computed in just this way.
        device = images.mean.device.type
        how = device if device == "cuda" else f"{device}{torch.get_num_threads()}"
        folder = self.folder / f"{teacher.key}-{how}-{images.precision}"
        return Recorded(teacher, layers, images, folder, self.limit, self.progress)


def layers_of(link: Link, stage: str, teacher: nets.Survey) -> tuple[int, ...]:
    """The teacher's layers whose answers a stage needs; the classifier's number is the one after the convolutions'."""
    if stage == "hint":
        return tuple(sorted({pair.hint for pair in link.hints.pairs})) if link.hints else ()
    return (len(teacher.reach),) if link.kd and not link.kd.virtual else ()


def _teacher(pipeline: Pipeline, number: int, images: Images) -> nets.Survey:
    return nets.survey(pipeline.links[number - 1].net, images.shape, len(images.classes))


def bytes_of(survey: nets.Survey, layer: int) -> int:
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
