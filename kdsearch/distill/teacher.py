"""How a trained link answers: live, or recorded, by a fixed rule on bytes, never a timing."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor

from kdsearch.config.net import AnyNet, Own
from kdsearch.config.pipeline import Choice, Pipeline
from kdsearch.data.memory import Images
from kdsearch.data.pictures import Progress
from kdsearch.data.sources import silent
from kdsearch.data.views import Batch
from kdsearch.distill.joint import Shapes
from kdsearch.distill.terms import Stage, stages
from kdsearch.distill.weights import Taught
from kdsearch.nets import survey as nets_survey
from kdsearch.nets.derived import EMBEDDING, Asked, Moved, Views, layers_of
from kdsearch.nets.taps import answered


@dataclass
class Live:
    """The teacher asked at every step."""

    teacher: Taught
    asks: tuple[Asked, ...]
    bounds: tuple[Tensor, Tensor]
    """The least and the largest value of a pixel, of each channel, as the teacher sees it."""
    sides: Mapping[int, tuple[int, int]] = field(default_factory=dict)
    """Of maps that are averaged to them."""
    images: Images | None = None
    """As the teacher sees them, where that is otherwise than its student."""

    def ready(self, views: Iterable[int]) -> Iterator[tuple[int, float]]:
        """Nothing to be made ready."""
        return iter(())

    def __call__(self, batch: Batch) -> dict[Asked, Tensor]:
        """The answers about a batch, by layer."""
        pixels = self.images.pixels(batch.samples, batch.changes) if self.images else batch.pixels
        views = Views(pixels, batch.samples, self.bounds)
        return answered(self.teacher.net, views, self.asks, self.teacher.names, self.sides)


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
        found: dict[str, Choice] = {}
        for stage in _asking(pipeline, number, images):
            sides = sides_of(stage, pipeline, number, images)
            for teacher, (word, asks) in asked_in(stage, pipeline, number).items():
                survey = survey_of(pipeline.links[teacher].net, images)
                told = images.views and self.told.get(word)
                live = stage.live and word == stage.name
                found[word] = "live" if live else told or self._choice(asks, survey, images, sides)
        return found

    def _choice(
        self,
        asks: tuple[Asked, ...],
        survey: nets_survey.Survey,
        images: Images,
        sides: Mapping[int, tuple[int, int]],
    ) -> Choice:
        cost = sum(bytes_of(survey, answer, _side(answer, sides)) for answer in asks)
        passes = max([answer.passes for answer in asks if isinstance(answer, Moved)], default=1)
        fits = cost * len(images.train) * images.views <= self.limit
        layers = layers_of(asks)
        reach = survey.macs if EMBEDDING in layers or not layers else survey.reach[max(layers) - 1]
        worth = passes * reach >= WORTH[images.mean.device.type] * cost
        return "recorded" if images.views and fits and worth else "live"

    def place(self, teacher: Taught, images: Images) -> Path:
        """Of what a teacher answered about these images."""
        # Sums in another order round otherwise: what is recorded is of these weights, computed in just this way.
        device = images.mean.device.type
        how = device if device == "cuda" else f"{device}{torch.get_num_threads()}"
        return self.folder / f"{teacher.key}-{how}-{images.precision}"


def stages_of(pipeline: Pipeline, number: int, images: Images) -> Iterator[Stage]:
    """Those of link `number`."""
    told = pipeline.teachers(number)
    link, teacher = pipeline.links[number].net, pipeline.links[told[-1]].net if told else None

    def shapes() -> Shapes:
        assert teacher is not None
        return survey_of(link, images).maps, survey_of(teacher, images).maps

    return stages(pipeline.links[number], teacher, shapes)


def _asking(pipeline: Pipeline, number: int, images: Images) -> list[Stage]:
    """The stages of link `number` that need answers."""
    return [stage for stage in stages_of(pipeline, number, images) if stage.asks]


def asked_in(stage: Stage, pipeline: Pipeline, number: int) -> dict[int, tuple[str, tuple[Asked, ...]]]:
    """Which of its teachers a stage of link `number` asks, by their numbers, for what, and under which word it is
    written down how they answer; first the one whose maps count."""
    *others, last = pipeline.teachers(number)
    found = {last: (stage.name, stage.asks)}
    for teacher in others if stage.others else ():
        found[teacher] = (f"{stage.name}/{teacher}", (pipeline.links[teacher].net.layers + 1,))
    return found


def _side(answer: Asked, sides: Mapping[int, tuple[int, int]]) -> tuple[int, int] | None:
    return sides.get(answer) if isinstance(answer, int) else None


def sides_of(stage: Stage, pipeline: Pipeline, number: int, images: Images) -> dict[int, tuple[int, int]]:
    """To which side a map of a user's own teacher is averaged before it is told, by its layer: the largest of the
    pairs' sides. Its maps may be many times larger than its student's; those of built-in ones are told whole."""
    teacher, link = pipeline.links[pipeline.teachers(number)[-1]].net, pipeline.links[number]
    found: dict[int, tuple[int, int]] = {}
    if not isinstance(teacher, Own):
        return found
    ours, theirs = survey_of(link.net, images).maps, survey_of(teacher, images).maps
    for term in stage.terms:
        if term.bridge and isinstance(asked := term.asks[0], int):
            guided, hint = ours[term.reads[0] - 1], theirs[asked - 1]
            side, known = (min(guided[1], hint[1]), min(guided[2], hint[2])), found.get(asked, (1, 1))
            found[asked] = (max(side[0], known[0]), max(side[1], known[1]))
    return found


def survey_of(net: AnyNet, images: Images) -> nets_survey.Survey:
    """Of a network on these images."""
    return nets_survey.survey(net, images.shape, len(images.classes))


def bytes_of(survey: nets_survey.Survey, answer: Asked, side: tuple[int, int] | None = None) -> int:
    """Of one image's answer in one view; of a map that is averaged to a side, if one is told."""
    return nets_survey.Answer.of(survey, answer, side).bytes


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
            for stage in _asking(pipeline, number, images):
                sides = sides_of(stage, pipeline, number, images)
                for teacher, (word, asks) in asked_in(stage, pipeline, number).items():
                    survey = survey_of(pipeline.links[teacher].net, images)
                    for answer in asks if not (stage.live and word == stage.name) else ():
                        size = bytes_of(survey, answer, _side(answer, sides))
                        asked.add((pipeline.links[: teacher + 1], answer, size))
    return len(images.train) * sum(size for _, _, size in asked)
