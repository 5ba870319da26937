"""How a trained link answers: live, or recorded, by a fixed rule on bytes, never a timing."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor

from kdsearch.config.pipeline import Choice, Pipeline
from kdsearch.data.memory import Images
from kdsearch.data.pictures import Progress
from kdsearch.data.sources import silent
from kdsearch.data.views import Batch
from kdsearch.distill.terms import stages
from kdsearch.distill.weights import Taught
from kdsearch.nets import survey as nets_survey
from kdsearch.nets.taps import answered


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
        survey = survey_of_teacher(pipeline, number, images)
        return {
            stage: (images.views and self.told.get(stage)) or self._choice(layers, survey, images)
            for stage, layers in _asked(pipeline, number).items()
        }

    def _choice(self, layers: tuple[int, ...], survey: nets_survey.Survey, images: Images) -> Choice:
        cost = sum(bytes_of(survey, layer) for layer in layers)
        fits = cost * len(images.train) * images.views <= self.limit
        worth = survey.reach[max(layers) - 1] >= WORTH[images.mean.device.type] * cost
        return "recorded" if images.views and fits and worth else "live"

    def place(self, teacher: Taught, images: Images) -> Path:
        """Of what a teacher answered about these images."""
        # Sums in another order round otherwise: what is recorded is of these weights, computed in just this way.
        device = images.mean.device.type
        how = device if device == "cuda" else f"{device}{torch.get_num_threads()}"
        return self.folder / f"{teacher.key}-{how}-{images.precision}"


def _asked(pipeline: Pipeline, number: int) -> dict[str, tuple[int, ...]]:
    """The layers of the teacher whose answers link `number` needs, by stage."""
    found = stages(pipeline.links[number], pipeline.links[number - 1].net)
    return {stage.name: stage.asks for stage in found if stage.asks}


def survey_of_teacher(pipeline: Pipeline, number: int, images: Images) -> nets_survey.Survey:
    """Of the network that teaches link `number`."""
    return nets_survey.survey(pipeline.links[number - 1].net, images.shape, len(images.classes))


def bytes_of(survey: nets_survey.Survey, layer: int) -> int:
    """Of one image's answer in one view."""
    return nets_survey.Answer.of(survey, layer).bytes


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
        for number in range(1, len(pipeline.links)):
            survey = survey_of_teacher(pipeline, number, images)
            for layer in (layer for layers in _asked(pipeline, number).values() for layer in layers):
                asked.add((pipeline.links[:number], layer, bytes_of(survey, layer)))
    return len(images.train) * sum(size for _, _, size in asked)
