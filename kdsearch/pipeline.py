"""Running a pipeline: each link learns from the one before it; stage 1, then stage 2. Knows nothing of Ray."""

from collections.abc import Callable, Generator, Iterator
from dataclasses import asdict, dataclass

import torch
from torch import Tensor, nn

from kdsearch import losses, nets
from kdsearch.config import Link, Pipeline
from kdsearch.data import Images
from kdsearch.errors import Refusal
from kdsearch.store import Store, digest, key_of, load_net, save_net
from kdsearch.train import Epoch, Stage, accuracy, seed_of, train


@dataclass(frozen=True)
class Row:
    """One epoch of one link."""

    link: int
    """From 0, the teacher."""
    stage: str
    """labels, hint or kd."""
    epoch: int
    """Of the link, both stages together, from 1."""
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
class Taught:
    """A trained link and where it came from."""

    net: nn.Sequential
    facts: dict


def untrained(pipeline: Pipeline, number: int, images: Images) -> nn.Sequential:
    """The network of a link with weights drawn by the link's seed, on the images' device."""
    link = pipeline.links[number]
    torch.manual_seed(seed_of(link.seed, number, "weights"))
    return nets.build(link.net, images.shape, len(images.classes)).to(images.mean.device)


def run(pipeline: Pipeline, images: Images, store: Store, student: nn.Sequential) -> Iterator[Row]:
    """Train the student, the last link's network, in place; links before it come from the store or are made for it."""
    nets.check(pipeline, images.shape, len(images.classes))
    if any(link.fit.epochs is None or link.fit.batch_size is None for link in pipeline.links):
        raise Refusal("A pipeline that runs needs fit.epochs and fit.batch_size, but a link leaves one to the budget.")
    last = len(pipeline.links) - 1
    teacher = (yield from taught(pipeline, last - 1, images, store)) if last else None
    yield from learn(pipeline, last, student, teacher and teacher.net, images)


def taught(pipeline: Pipeline, number: int, images: Images, store: Store) -> Generator[Row, None, Taught]:
    """A trained link, from the store; where it lacks it, this one trains it (and its teachers) while others wait."""
    key = key_of(pipeline, number, images.fingerprint)
    net = untrained(pipeline, number, images)
    with store.lock(key):
        if key in store:
            return Taught(net.eval(), load_net(store.path(key), net))
        teacher = (yield from taught(pipeline, number - 1, images, store)) if number else None
        row = None
        for row in learn(pipeline, number, net, teacher and teacher.net, images):
            yield row
        facts = {
            "key": key,
            "link": pipeline.links[number].model_dump(mode="json"),
            "accuracy": row and row.accuracy,
            "digest": digest(net),
            "threads": torch.get_num_threads(),
        }
        save_net(store.path(key), net, facts)
    return Taught(net.eval(), facts)


def learn(
    pipeline: Pipeline, number: int, net: nn.Sequential, teacher: nn.Sequential | None, images: Images
) -> Iterator[Row]:
    """Train one link's network in place, stage after stage."""
    link, epoch, last = pipeline.links[number], 0, number == len(pipeline.links) - 1
    if teacher is not None:
        teacher.eval().requires_grad_(False)
    for stage in stages(pipeline, number, net, teacher, images):
        judged = stage.name != "hint"
        # Stage 2 draws the same whatever its loss, so that arms which differ in the loss alone are paired.
        for done in train(stage, images, link.fit, (link.seed, number, 2 if judged else 1)):
            epoch += 1
            reached = accuracy(net, images, images.validation, images.validation_labels) if judged else None
            yield _row(number, stage, epoch, done, reached, last and judged)


def _row(number: int, stage: Stage, epoch: int, done: Epoch, reached: float | None, counts: bool) -> Row:
    kd_epoch = done.number if counts else None
    return Row(number, stage.name, epoch, kd_epoch, reached, done.seconds, done.losses, done.shares)


def stages(
    pipeline: Pipeline, number: int, net: nn.Sequential, teacher: nn.Sequential | None, images: Images
) -> Iterator[Stage]:
    """What a link goes through: stage 1 where it has hints, then stage 2."""
    link = pipeline.links[number]
    assert link.fit.epochs is not None
    if link.hints and teacher is not None:
        torch.manual_seed(seed_of(link.seed, number, "regressors"))
        bridges = nets.regressors(link, pipeline.links[number - 1].net, images.shape, len(images.classes))
        yield hint_stage(link, net, teacher, [bridge.to(images.mean.device) for bridge in bridges])
    rest = link.fit.epochs - link.hint_epochs
    if link.kd and teacher is not None:
        weight = link.kd.weight
        terms = kd_terms(net, teacher, link.kd.temperature)
        yield Stage("kd", net, terms, {"ce": 1 - weight, "kd": weight}, rest)
    else:
        yield Stage("labels", net, lambda x, y: {"ce": losses.cross_entropy(net(x), y)}, {"ce": 1.0}, rest)


def hint_stage(link: Link, net: nn.Sequential, teacher: nn.Sequential, bridges: list[nets.Regressor]) -> Stage:
    """Stage 1 (Romero et al. 2015, section 2.2): up to the deepest guided layer and the regressors, without labels."""
    assert link.hints is not None
    pairs = link.hints.pairs
    asked, guided = {pair.hint for pair in pairs}, {pair.guided for pair in pairs}

    def terms(x: Tensor, _: Tensor) -> dict[str, Tensor]:
        with torch.no_grad():
            targets = nets.maps(teacher, x, asked)
        ours = nets.maps(net, x, guided)
        return {
            str(pair): losses.hint(bridge(ours[pair.guided]), bridge.match(targets[pair.hint]))
            for pair, bridge in zip(pairs, bridges, strict=True)
        }

    trained = nn.ModuleList([net[: max(guided)], *bridges])
    return Stage("hint", trained, terms, {str(pair): pair.weight for pair in pairs}, link.hint_epochs)


def kd_terms(net: nn.Sequential, teacher: nn.Sequential, temperature: float) -> Callable:
    """Stage 2's two terms: cross-entropy with the labels, and with the teacher's softened answers."""

    def terms(x: Tensor, y: Tensor) -> dict[str, Tensor]:
        with torch.no_grad():
            soft = teacher(x)
        logits = net(x)
        return {"ce": losses.cross_entropy(logits, y), "kd": losses.distillation(logits, soft, temperature)}

    return terms
