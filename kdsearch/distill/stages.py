"""What a link goes through: each stage's terms, weights, and what of the student trains."""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from kdsearch.config.pipeline import Pair, Pipeline
from kdsearch.data.images import Batch
from kdsearch.distill import losses
from kdsearch.distill.recorded import ByHand
from kdsearch.distill.train import Stage, Terms, seed_of
from kdsearch.nets import pairs as nets_pairs
from kdsearch.nets import taps
from kdsearch.nets.build import placed

Answers = Any | ByHand


def stages(
    pipeline: Pipeline, number: int, net: nn.Sequential, teacher: Any, means: Any
) -> Iterator[tuple[Stage, Answers | None]]:
    """What a link goes through, and what its teacher answers: stage 1 where it has hints, then stage 2."""
    link, images = pipeline.links[number], means.images
    assert link.fit.epochs is not None

    def answers(stage: str) -> Answers:
        assert teacher is not None
        return means.targets.answers(pipeline, number, stage, images, teacher)

    if link.hints:
        torch.manual_seed(seed_of(link.seed, number, "regressors"))
        bridges = nets_pairs.regressors(link, pipeline.links[number - 1].net, images.shape, len(images.classes))
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
        soft = answers("kd")
        terms = kd_terms(net, soft, link.kd.temperature)
        yield Stage("kd", net, terms, {"ce": 1 - link.kd.weight, "kd": link.kd.weight}, rest), soft
    else:
        yield Stage("labels", net, label_terms(net), {"ce": 1.0}, rest, replayed=number > 0), None


def hint_terms(
    pairs: tuple[Pair, ...], net: nn.Sequential, answers: Answers, bridges: list[taps.Regressor], labels: bool = False
) -> Terms:
    """Stage 1 (Romero et al. 2015, section 2.2): up to the deepest guided layer and the regressors, without labels.

    `labels`: with them, through the whole network, as in the code of seed 1.
    """
    read = {pair.guided for pair in pairs} | ({len(net)} if labels else set())

    def terms(batch: Batch) -> dict[str, Tensor]:
        hints = answers(batch)
        ours = taps.maps(net, batch.pixels, read)
        found = {
            str(pair): losses.hint(bridge(ours[pair.guided]).float(), bridge.match(hints[pair.hint].float()))
            for pair, bridge in zip(pairs, bridges, strict=True)
        }
        return found | ({"ce": losses.cross_entropy(ours[len(net)].float(), batch.labels)} if labels else {})

    return terms


def kd_terms(net: nn.Sequential, answers: Answers, temperature: float) -> Terms:
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
