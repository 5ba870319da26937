"""Running a pipeline: each link learns from the one before it, stage after stage. Knows nothing of Ray."""

from collections.abc import Callable, Generator, Iterator
from dataclasses import asdict, dataclass
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from kdsearch.config.net import AnyNet, Own
from kdsearch.config.net import names as names_of
from kdsearch.config.pipeline import Link, Pipeline
from kdsearch.config.provenance import RECIPE, Made, MadeTeacher
from kdsearch.data.memory import Images
from kdsearch.data.sight import seen_by
from kdsearch.distill.checkpoint import Checkpoint, Keeping, Paused
from kdsearch.distill.recorded import Recorded
from kdsearch.distill.row import Row
from kdsearch.distill.store import Store, key_of, read_facts, restored
from kdsearch.distill.teacher import Live, Targets, asked_in, sides_of, stages_of, survey_of
from kdsearch.distill.terms import Answers, Lesson, Stage
from kdsearch.distill.train import Epoch, Judged, judge, optimizer, seed_of, train, views_of
from kdsearch.distill.weights import Taught, digest
from kdsearch.errors import Refusal, nobody
from kdsearch.nets import build, filled, pairs
from kdsearch.nets.beside import Companions
from kdsearch.nets.build import placed
from kdsearch.nets.derived import Asked
from kdsearch.nets.survey import companions, survey
from kdsearch.nets.taps import Regressor
from kdsearch.storage.cache import machine

Teachers = dict[int, Taught]
"""Of one link, by their numbers."""


@dataclass(frozen=True)
class Means:
    """What a pipeline is run with."""

    images: Images
    store: Store
    targets: Targets
    keeping: Keeping | None = None
    """When links in training are kept; None: never."""
    tell: Callable[[str], None] = nobody
    """Hears, in a sentence, of files that are damaged and made anew."""

    def seen(self, net: AnyNet) -> Images:
        """The images as a network sees them."""
        return seen_by(self.images, net)

    def checkpoint(self, path: Path, key: str) -> Checkpoint | None:
        """Of one link, where links are kept."""
        return self.keeping.of(path, key, self.tell) if self.keeping else None


def made_with(pipeline: Pipeline, means: Means, judged: Judged | None) -> dict[str, Any]:
    """What a config must record so that training it again gives the same number, as plain data."""
    last = len(pipeline.links) - 1
    images = means.seen(pipeline.student.net)
    keys = [key_of(pipeline, number, images.fingerprint) for number in range(last) if asked(pipeline)]
    facts = [read_facts(means.store.path(key)) for key in keys]
    made = {
        "kdsearch": version("kdsearch"),
        "torch": torch.__version__,
        "device": images.mean.device.type,
        "machine": machine(),
        "precision": images.precision,
        "targets": means.targets.choices(pipeline, last, images),
        "threads": torch.get_num_threads(),
        "fingerprint": images.fingerprint,
        "classes": images.classes,
        "image": images.shape,
        "mean": tuple(images.mean.flatten().tolist()),
        "std": tuple(images.std.flatten().tolist()),
        "teachers": tuple(MadeTeacher(**{name: one[name] for name in MadeTeacher.model_fields}) for one in facts),
        "accuracy": judged and judged.accuracy,
        "balanced_accuracy": judged and judged.balanced,
        "confusion": judged.counts if judged else (),
        "recipe": RECIPE,
        "range": images.origin.look.style and images.origin.look.style.scale,
    }
    return Made.model_validate(made).plain()


def untrained(pipeline: Pipeline, number: int, images: Images, twin: int = 0) -> nn.Module:
    """The network of a link with weights drawn by the link's seed, or with those that are given, channels last, on the
    images' device; or the first, second … twin of it, drawn otherwise. Raises Refusal for given weights that do not
    fit."""
    link = pipeline.links[number]
    torch.manual_seed(seed_of(link.seed, number, "weights", *([twin] if twin else [])))
    net = build.build(link.net, images.shape, len(images.classes))
    if isinstance(link.net, Own) and link.net.weights:
        filled.given(net, link.net)
    return placed(net, images.mean.device)


def asked(pipeline: Pipeline) -> bool:
    """Whether anybody must be there to teach the student: a teacher of the user's own may be elsewhere."""
    student = pipeline.student
    return bool(student.hints or student.terms or (student.kd and not student.kd.virtual)) or not isinstance(
        pipeline.links[0].net, Own
    )


def run(pipeline: Pipeline, means: Means, student: nn.Module, path: Path | None = None) -> Generator[Row, None, None]:
    """Train the student, the last link's network, in place; links before it come from the store or are made for it.

    `path`: the student's checkpoint, from which it goes on where there is one: the rows by then come first, and from
    there on all is as without a break. Raises Paused where `means.keeping` says so.
    """
    pairs.check(pipeline, means.images.shape, len(means.images.classes))
    if any(link.fit.epochs is None or link.fit.batch_size is None for link in pipeline.links):
        raise Refusal("A pipeline that runs needs fit.epochs and fit.batch_size, but a link leaves one to the budget.")
    last = len(pipeline.links) - 1
    teachers = (yield from _teachers(pipeline, last, means)) if asked(pipeline) else {}
    kept = means.checkpoint(path, key_of(pipeline, last, means.images.fingerprint)) if path else None
    yield from learn(pipeline, last, student, teachers, means, kept)


def _teachers(pipeline: Pipeline, number: int, means: Means) -> Generator[Row, None, Teachers]:
    found: Teachers = {}
    for one in pipeline.teachers(number):
        found[one] = yield from taught(pipeline, one, means)
    return found


def taught(pipeline: Pipeline, number: int, means: Means) -> Generator[Row, None, Taught]:
    """A trained link, from the store; where it lacks it, this one trains it (and its teachers) while others wait."""
    images, store, link = means.images, means.store, pipeline.links[number]
    key = key_of(pipeline, number, images.fingerprint)
    path, names = store.path(key), names_of(link.net)
    with store.lock(key):
        if key in store:
            return Taught(read_facts(path), partial(loaded, link, path, images), names)
        teachers = yield from _teachers(pipeline, number, means)
        row, net = None, untrained(pipeline, number, images)
        kept = means.checkpoint(store.checkpoint(key), key)
        for row in learn(pipeline, number, net, teachers, means, kept):
            yield row
        judged = validated(net, means.seen(link.net)) if row is None else None  # it is taken as it is
        facts = {
            "key": key,
            "link": link.model_dump(mode="json"),
            "accuracy": judged.accuracy if judged else row and row.accuracy,
            "balanced_accuracy": judged.balanced if judged else row and row.balanced_accuracy,
            "digest": digest(net),
            "threads": torch.get_num_threads(),
            "precision": images.precision,
            "targets": means.targets.choices(pipeline, number, images),
        }
        store.save(key, net, facts)
        if kept:
            kept.remove()
    return Taught(facts, lambda: net, names)


def loaded(link: Link, path: Path, images: Images) -> nn.Module:
    """A link's trained network from its file; raises Refusal where that is damaged."""
    return placed(restored(link.net, path, images.shape, len(images.classes)), images.mean.device)


def learn(
    pipeline: Pipeline,
    number: int,
    net: nn.Module,
    teachers: Teachers,
    means: Means,
    kept: Checkpoint | None = None,
) -> Iterator[Row]:
    """Train one link's network in place, stage after stage, from its checkpoint on where there is one."""
    link, last, epoch = pipeline.links[number], number == len(pipeline.links) - 1, 0
    images = means.seen(link.net)
    begun = kept.read() if kept else None
    if begun:
        yield from (Row(**row) for row in begun.rows)
        begun.fill(net)
    for order, lesson in enumerate(lessons(pipeline, number, net, teachers, means)):
        judged, steps = lesson.judged, optimizer(link.fit, lesson.trained)
        first = begun.past_of(order, lesson, steps) if begun else 0
        epoch += first
        # Stage 2 draws the same whatever its loss, so that arms which differ in the loss alone are paired.
        before = begun.rows[-1].get("weights", {}) if begun and first else {}
        work = train(lesson, images, link.fit, (link.seed, number, 2 if judged else 1), steps, first, before)
        for past in range(first, lesson.stage.epochs):
            views = views_of(lesson.stage, images, link.fit, past)
            told = asked_in(lesson.stage, pipeline, number) if lesson.answers else {}
            for who, answers in zip(told, lesson.answers, strict=True):
                for view, seconds in answers.ready(views or []):
                    yield Row(who, "record", view, None, None, seconds, {}, {})
            done = next(work)
            epoch += 1
            for teacher in teachers.values() if epoch == 1 else ():
                if teacher.names is not None:
                    teacher.check()
            reached = validated(net, images) if judged else None
            row = _row(number, lesson.stage.name, epoch, done, reached, last and judged)
            if kept:
                kept.offer(asdict(row), order, lesson, steps, ended=epoch == link.fit.epochs)
            yield row
            if kept and kept.paused:
                raise Paused


def lessons(pipeline: Pipeline, number: int, net: nn.Module, teachers: Teachers, means: Means) -> Iterator[Lesson]:
    """The stages of a link with its network, each made when the one before has ended."""
    link = pipeline.links[number]
    more: dict[str, Any] = {"names": names_of(link.net)}
    if isinstance(link.net, Own):
        more |= {"sample": _sample(means.seen(link.net)), "head": link.net.head if link.fit.trains == "head" else ""}
    for stage in stages_of(pipeline, number, means.images):
        answers = answers_for(stage, pipeline, number, teachers, means) if stage.asks else ()
        if stage.live:
            teacher = teachers[pipeline.teachers(number)[-1]]
            more |= {"teacher": teacher.net, "bounds": means.seen(link.net).bounds}
        if stage.beside:
            more["companions"] = _companions(pipeline, number, means.images)
        yield Lesson(stage, net, answers, _bridges(stage, pipeline, number, means.images), **more)


def _sample(images: Images) -> Tensor:
    return images.prepare(images.train[torch.arange(2)])


def answers_for(stage: Stage, pipeline: Pipeline, number: int, teachers: Teachers, means: Means) -> tuple[Answers, ...]:
    """Who tells a stage of link `number` what its teachers show; first the one whose maps count."""
    images, targets, sides = means.images, means.targets, sides_of(stage, pipeline, number, means.images)
    choices = targets.choices(pipeline, number, images)

    def of(one: int, word: str, asks: tuple[Asked, ...]) -> Answers:
        net, teacher = pipeline.links[one].net, teachers[one]
        there = means.seen(net)
        if choices[word] == "live":
            return Live(
                teacher, asks, there.bounds, sides, None if there is means.seen(pipeline.links[number].net) else there
            )
        place, survey = targets.place(teacher, images), survey_of(net, images)
        return Recorded(teacher, survey, asks, there, place, targets.limit, targets.progress, means.tell, sides)

    return tuple(of(one, *told) for one, told in asked_in(stage, pipeline, number).items())


def _companions(pipeline: Pipeline, number: int, images: Images) -> Companions | None:
    """Of link `number`, drawn by its seed."""
    link = pipeline.links[number]
    torch.manual_seed(seed_of(link.seed, number, "companions"))
    found = companions(link, images.shape, len(images.classes), lambda twin: untrained(pipeline, number, images, twin))
    return found and placed(found, images.mean.device)


def _bridges(stage: Stage, pipeline: Pipeline, number: int, images: Images) -> dict[str, Regressor]:
    """Of the terms that have one, drawn by the link's seed."""
    found: dict[str, Regressor] = {}
    if not any(term.bridge for term in stage.terms):
        return found
    link, shape = pipeline.links[number], (images.shape, len(images.classes))
    teacher = pipeline.links[pipeline.teachers(number)[-1]]
    guided, hints = (survey(one.net, *shape).maps for one in (link, teacher))
    torch.manual_seed(seed_of(link.seed, number, "regressors"))
    for term in stage.terms:
        if term.bridge:
            asked = term.asks[0]
            assert isinstance(asked, int)
            bridge = term.bridge(guided[term.reads[0] - 1], hints[asked - 1])
            assert isinstance(bridge, Regressor)
            found[term.name] = placed(bridge, images.mean.device)
    return found


def validated(net: nn.Module, images: Images) -> Judged:
    """What a network says of the validation images."""
    return judge(net, images, images.validation, images.validation_labels)


def _row(number: int, stage: str, epoch: int, done: Epoch, judged: Judged | None, counts: bool) -> Row:
    reached, balanced = (judged.accuracy, judged.balanced) if judged else (None, None)
    kd_epoch = done.number if counts else None
    return Row(number, stage, epoch, kd_epoch, reached, done.seconds, done.losses, done.shares, balanced, done.weights)
