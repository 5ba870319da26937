"""Running a pipeline: each link learns from the one before it; stage 1, then stage 2. Knows nothing of Ray."""

from collections.abc import Callable, Generator, Iterator
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import TypeVar

import torch
from torch import Tensor, nn

from kdsearch import losses, nets
from kdsearch.answers import Live, Recorded, Taught
from kdsearch.checkpoints import Checkpoint, Keeping, Paused
from kdsearch.config import Link, Pair, Pipeline
from kdsearch.data import Batch, Images
from kdsearch.errors import Refusal
from kdsearch.store import Store, digest, key_of, load_net, read_facts
from kdsearch.targets import Targets
from kdsearch.train import Epoch, Stage, Terms, accuracy, optimizer, seed_of, train

Answers = Live | Recorded
Module = TypeVar("Module", bound=nn.Module)


@dataclass(frozen=True)
class Row:
    """One epoch of one link, or one recording of what a link answers."""

    link: int
    """From 0, the teacher."""
    stage: str
    """labels, hint or kd; record, where the link was asked about every training image."""
    epoch: int
    """Of the link, both stages together, from 1; of a recording, the view, from 0."""
    kd_epoch: int | None
    """Of the link's last stage, from 1; None in stage 1, and for links before the student."""
    accuracy: float | None
    """On the validation images, 0–1; None in stage 1, whose classifier is untrained."""
    seconds: float
    losses: dict[str, float]
    shares: dict[str, float]

    def flat(self) -> dict:
        """As a row of the table: loss.<term> and gradient.<term> columns."""
        plain = asdict(self)
        losses, shares = plain.pop("losses"), plain.pop("shares")
        return plain | {f"loss.{n}": v for n, v in losses.items()} | {f"gradient.{n}": v for n, v in shares.items()}


@dataclass(frozen=True)
class Means:
    """What a pipeline is run with."""

    images: Images
    store: Store
    targets: Targets
    keeping: Keeping | None = None
    """When links in training are kept; None: never."""

    def checkpoint(self, path: Path, key: str) -> Checkpoint | None:
        """Of one link, where links are kept."""
        return self.keeping.of(path, key) if self.keeping else None


def untrained(pipeline: Pipeline, number: int, images: Images) -> nn.Sequential:
    """The network of a link with weights drawn by the link's seed, channels last, on the images' device."""
    link = pipeline.links[number]
    torch.manual_seed(seed_of(link.seed, number, "weights"))
    return placed(nets.build(link.net, images.shape, len(images.classes)), images)


def placed(net: Module, images: Images) -> Module:
    """On the images' device, channels last: on both kinds of device the faster order."""
    return net.to(device=images.mean.device, memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]


def run(pipeline: Pipeline, means: Means, student: nn.Sequential, path: Path | None = None) -> Iterator[Row]:
    """Train the student, the last link's network, in place; links before it come from the store or are made for it.

    `path`: the student's checkpoint, from which it goes on where there is one: the rows by then come first, and from
    there on all is as without a break. Raises Paused where `means.keeping` says so.
    """
    nets.check(pipeline, means.images.shape, len(means.images.classes))
    if any(link.fit.epochs is None or link.fit.batch_size is None for link in pipeline.links):
        raise Refusal("A pipeline that runs needs fit.epochs and fit.batch_size, but a link leaves one to the budget.")
    last = len(pipeline.links) - 1
    teacher = (yield from taught(pipeline, last - 1, means)) if last else None
    kept = means.checkpoint(path, key_of(pipeline, last, means.images.fingerprint)) if path else None
    yield from learn(pipeline, last, student, teacher, means, kept)


def taught(pipeline: Pipeline, number: int, means: Means) -> Generator[Row, None, Taught]:
    """A trained link, from the store; where it lacks it, this one trains it (and its teachers) while others wait."""
    images, store = means.images, means.store
    key = key_of(pipeline, number, images.fingerprint)
    path = store.path(key)
    with store.lock(key):
        if key in store:
            return Taught(read_facts(path), partial(loaded, pipeline.links[number], path, images))
        teacher = (yield from taught(pipeline, number - 1, means)) if number else None
        row, net = None, untrained(pipeline, number, images)
        kept = means.checkpoint(store.checkpoint(key), key)
        for row in learn(pipeline, number, net, teacher, means, kept):
            yield row
        facts = {
            "key": key,
            "link": pipeline.links[number].model_dump(mode="json"),
            "accuracy": row and row.accuracy,
            "digest": digest(net),
            "threads": torch.get_num_threads(),
            "precision": images.precision,
            "targets": means.targets.choices(pipeline, number, images),
        }
        store.save(key, net, facts)
        if kept:
            kept.remove()
    return Taught(facts, lambda: net)


def loaded(link: Link, path: Path, images: Images) -> nn.Sequential:
    """A link's trained network from its file; raises Refusal where that is damaged."""
    with torch.device("meta"):  # weights that are replaced at once need not be drawn
        net = nets.build(link.net, images.shape, len(images.classes))
    load_net(path, net)
    return placed(net, images)


def learn(
    pipeline: Pipeline,
    number: int,
    net: nn.Sequential,
    teacher: Taught | None,
    means: Means,
    kept: Checkpoint | None = None,
) -> Iterator[Row]:
    """Train one link's network in place, stage after stage, from its checkpoint on where there is one."""
    link, last, epoch = pipeline.links[number], number == len(pipeline.links) - 1, 0
    begun = kept.read() if kept else None
    if begun:
        yield from (Row(**row) for row in begun.rows)
        begun.fill(net)
    for order, (stage, answers) in enumerate(stages(pipeline, number, net, teacher, means)):
        judged, steps = stage.name != "hint", optimizer(link.fit, stage.trained)
        first = begun.past_of(order, stage, steps) if begun else 0
        epoch += first
        # Stage 2 draws the same whatever its loss, so that arms which differ in the loss alone are paired.
        work = train(stage, means.images, link.fit, (link.seed, number, 2 if judged else 1), steps, first)
        for past in range(first, stage.epochs):
            views = stage.views(means.images, link.fit, past)
            for view, seconds in answers.ready(views or []) if answers else ():
                yield Row(number - 1, "record", view, None, None, seconds, {}, {})
            done = next(work)
            epoch += 1
            reached = _validated(net, means.images) if judged else None
            row = _row(number, stage, epoch, done, reached, last and judged)
            if kept:
                kept.offer(asdict(row), order, stage, net, steps, ended=epoch == link.fit.epochs)
            yield row
            if kept and kept.paused:
                raise Paused


def _validated(net: nn.Sequential, images: Images) -> float:
    return accuracy(net, images, images.validation, images.validation_labels)


def _row(number: int, stage: Stage, epoch: int, done: Epoch, reached: float | None, counts: bool) -> Row:
    kd_epoch = done.number if counts else None
    return Row(number, stage.name, epoch, kd_epoch, reached, done.seconds, done.losses, done.shares)


def stages(
    pipeline: Pipeline, number: int, net: nn.Sequential, teacher: Taught | None, means: Means
) -> Iterator[tuple[Stage, Answers | None]]:
    """What a link goes through, and what its teacher answers: stage 1 where it has hints, then stage 2."""
    link, images = pipeline.links[number], means.images
    assert link.fit.epochs is not None

    def answers(stage: str) -> Answers:
        assert teacher is not None
        return means.targets.answers(pipeline, number, stage, images, teacher)

    if link.hints:
        torch.manual_seed(seed_of(link.seed, number, "regressors"))
        bridges = nets.regressors(link, pipeline.links[number - 1].net, images.shape, len(images.classes))
        bridges = [placed(bridge, images) for bridge in bridges]
        maps, hints = answers("hint"), link.hints
        reach = max(pair.guided for pair in hints.pairs) if hints.scope == "guided" else len(net) - 1
        weights = {str(pair): pair.weight for pair in hints.pairs}
        if hints.ce_weight:
            weights["ce"] = hints.ce_weight
        terms = hint_terms(hints.pairs, net, maps, bridges, labels=hints.ce_weight > 0)
        yield Stage("hint", nn.ModuleList([net[:reach], *bridges]), terms, weights, link.hint_epochs), maps
    rest = link.fit.epochs - link.hint_epochs
    if link.kd:
        soft = None if link.kd.virtual else answers("kd")
        terms = kd_terms(net, soft or by_hand(link.kd.virtual or 0, len(images.classes)), link.kd.temperature)
        yield Stage("kd", net, terms, {"ce": 1 - link.kd.weight, "kd": link.kd.weight}, rest), soft
    else:
        yield Stage("labels", net, label_terms(net), {"ce": 1.0}, rest, replayed=number > 0), None


def hint_terms(
    pairs: tuple[Pair, ...], net: nn.Sequential, answers: Answers, bridges: list[nets.Regressor], labels: bool = False
) -> Terms:
    """Stage 1 (Romero et al. 2015, section 2.2): up to the deepest guided layer and the regressors, without labels.

    `labels`: with them, through the whole network, as in the code of seed 1.
    """
    read = {pair.guided for pair in pairs} | ({len(net)} if labels else set())

    def terms(batch: Batch) -> dict[str, Tensor]:
        hints = answers(batch)
        ours = nets.maps(net, batch.pixels, read)
        found = {
            str(pair): losses.hint(bridge(ours[pair.guided]).float(), bridge.match(hints[pair.hint].float()))
            for pair, bridge in zip(pairs, bridges, strict=True)
        }
        return found | ({"ce": losses.cross_entropy(ours[len(net)].float(), batch.labels)} if labels else {})

    return terms


def by_hand(true: float, classes: int) -> Callable[[Batch], dict[int, Tensor]]:
    """A teacher's answers without a teacher."""
    return lambda batch: {0: losses.virtual(batch.labels, classes, true)}


def kd_terms(net: nn.Sequential, answers: Callable[[Batch], dict[int, Tensor]], temperature: float) -> Terms:
    """Stage 2's two terms: cross-entropy with the labels, and with the teacher's softened answers."""

    def terms(batch: Batch) -> dict[str, Tensor]:
        (soft,) = answers(batch).values()
        logits = net(batch.pixels).float()
        return {
            "ce": losses.cross_entropy(logits, batch.labels),
            "kd": losses.distillation(logits, soft, temperature),
        }

    return terms


def label_terms(net: nn.Sequential) -> Terms:
    """Cross-entropy with the labels."""
    return lambda batch: {"ce": losses.cross_entropy(net(batch.pixels).float(), batch.labels)}
