"""Pairs of a hint and its guided layer: whether they fit."""

from kdsearch.config.datasets import Shape
from kdsearch.config.pipeline import Pair, Pipeline
from kdsearch.errors import Refusal
from kdsearch.nets.survey import survey


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
