"""Pairs of a hint and its guided layer: whether they fit, and their regressors."""

import torch

from kdsearch.config.datasets import Shape
from kdsearch.config.net import AnyNet
from kdsearch.config.pipeline import Link, Pair, Pipeline
from kdsearch.errors import Refusal
from kdsearch.nets.survey import parameters, survey
from kdsearch.nets.taps import Regressor


def regressors(link: Link, teacher: AnyNet, image: Shape, classes: int) -> list[Regressor]:
    """One for each of the link's pairs, in their order."""
    if link.hints is None:
        return []
    hints, guided = survey(teacher, image, classes).maps, survey(link.net, image, classes).maps
    kind = link.hints.regressor
    layers = [pair.layers for pair in link.hints.pairs]
    return [Regressor(guided[there - 1], hints[here - 1], kind) for here, there in layers]


def training_parameters(link: Link, teacher: AnyNet | None, image: Shape, classes: int) -> int:
    """The student's and its regressors'."""
    extra = 0
    if teacher is not None and link.hints is not None:
        with torch.device("meta"):
            extra = sum(parameters(bridge) for bridge in regressors(link, teacher, image, classes))
    return survey(link.net, image, classes).parameters + extra


def check(pipeline: Pipeline, image: Shape, classes: int) -> None:
    """Do all pairs of a pipeline fit? Raises Refusal that says which dimension differs and what would fit."""
    for teacher, link in zip(pipeline.links, pipeline.links[1:], strict=False):
        if not link.paired:
            continue
        hints, guided = survey(teacher.net, image, classes).maps, survey(link.net, image, classes).maps
        bare = link.hints.pairs if link.hints and link.hints.regressor == "none" else ()
        for pair in link.paired:
            _check_pair(pair, hints, guided, alike=pair in bare)


def _check_pair(pair: Pair, hints: tuple[Shape, ...], guided: tuple[Shape, ...], alike: bool) -> None:
    for role, number, there in (("teacher", pair.hint, hints), ("student", pair.guided, guided)):
        if not isinstance(number, int) or number > len(there):
            raise Refusal(
                f"pair {pair}: the {role} has {len(there)} layers, but the pair names number {number}; "
                f"1 to {len(there)} would fit."
            )
    hint, layer = pair.layers
    ours, theirs = guided[layer - 1][0], hints[hint - 1][0]
    if alike and ours != theirs:
        raise Refusal(
            f"pair {pair}: without a regressor the channels must agree, but the hint has {theirs} and the guided "
            f"layer {ours}; a regressor conv1x1 or conv3x3 would fit, or a guided layer of {theirs} channels."
        )
