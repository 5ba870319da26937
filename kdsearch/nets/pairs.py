"""Layers that are compared, and networks that are to show an embedding: whether they fit."""

from collections.abc import Iterator, Sequence

from kdsearch.config.companions import BYOT, DML, ONE
from kdsearch.config.datasets import Shape
from kdsearch.config.methods import AT, BSS, FSP, PKT, RKD, SP, Joint, OwnTerm, Pair
from kdsearch.config.net import AnyNet, Eye, Own
from kdsearch.config.pipeline import Link, Pipeline
from kdsearch.errors import Refusal
from kdsearch.nets import own_term
from kdsearch.nets.derived import EMBEDDING
from kdsearch.nets.ends import compared
from kdsearch.nets.survey import survey


def check(pipeline: Pipeline, image: Shape, classes: int) -> None:
    """Do all pairs, terms and companions of a pipeline fit? Raises Refusal that says which dimension differs and what
    would fit."""
    told = {number: pipeline.teachers(number) for number in range(len(pipeline.links))}
    if idle := set(range(len(pipeline.links) - 1)) - {teacher for own in told.values() for teacher in own}:
        raise Refusal(f"Each link but the last teaches another one, but link {min(idle)} teaches nobody; leave it out.")
    for number, link in enumerate(pipeline.links):
        _check_companions(link, image, classes)
        if not link.paired and not link.terms:
            continue
        teacher = pipeline.links[told[number][-1]]
        hints, guided = survey(teacher.net, image, classes).maps, survey(link.net, image, classes).maps
        flow = link.hints is not None and link.hints.match == "flow"
        alike = link.hints.pairs if link.hints and (flow or link.hints.regressor == "none") else ()
        for pair in link.paired:
            _check_pair(pair, hints, guided)
        for pair in alike:
            _check_channels(pair, hints, guided, flow=flow)
        for term in link.terms:
            _check_term(term, teacher, link, image, classes)


def _check_pair(pair: Pair, hints: Sequence[Shape], guided: Sequence[Shape]) -> None:
    for role, number, there in (("teacher", pair.hint, hints), ("student", pair.guided, guided)):
        if not isinstance(number, int) or number > len(there):
            raise Refusal(
                f"pair {pair}: the {role} has {len(there)} layers, but the pair names number {number}; "
                f"1 to {len(there)} would fit."
            )


def _check_channels(pair: Pair, hints: Sequence[Shape], guided: Sequence[Shape], flow: bool) -> None:
    hint, layer = pair.layers
    ours, theirs = guided[layer - 1][0], hints[hint - 1][0]
    if ours == theirs:
        return
    if flow:
        raise Refusal(
            f"pair {pair}: flows are compared channel by channel, but the hint has {theirs}, the guided layer {ours}; "
            f"layers of equal channels would fit, or at, which needs none."
        )
    raise Refusal(
        f"pair {pair}: without a regressor the channels must agree, but the hint has {theirs} and the guided "
        f"layer {ours}; a regressor conv1x1 or conv3x3 would fit, or a guided layer of {theirs} channels."
    )


def _check_term(term: Joint, teacher: Link, link: Link, image: Shape, classes: int) -> None:
    if isinstance(term, AT | FSP | SP):
        _check_maps(term, teacher, link, image, classes)
    for role, net, shown in _shown(term, teacher.net, link.net):
        if EMBEDDING in shown and survey(net, image, classes).embedding is None:
            raise Refusal(
                f"{term.name} compares embeddings, what the last linear layer reads of an image, but the {role} "
                f"{_called(net)} has no such layer; kd, which needs answers alone, would fit."
            )
    if isinstance(term, BSS) and _eye(teacher.net) != _eye(link.net):
        raise Refusal(
            "bss moves the student's images as the teacher says, so that both see an image alike, but the teacher "
            f"{_called(teacher.net)} has an eye of its own; one whose eye is the student's would fit."
        )


def _shown(term: Joint, teacher: AnyNet, student: AnyNet) -> Iterator[tuple[str, AnyNet, Sequence[int]]]:
    """What each network shows to a term that compares no pairs."""
    words: Sequence[Sequence[str]] = ()
    if isinstance(term, RKD | PKT):
        words = (("embedding",), ("embedding",))
    elif isinstance(term, OwnTerm):
        formula = own_term.found(term)
        words = (formula.asks, formula.reads)
    for role, net, own in zip(("teacher", "student"), (teacher, student), words, strict=False):
        yield role, net, [own_term.layer(word, net) for word in own]


def _check_maps(term: AT | FSP | SP, teacher: Link, link: Link, image: Shape, classes: int) -> None:
    hints, guided = survey(teacher.net, image, classes).maps, survey(link.net, image, classes).maps
    for role, net, there in (("teacher", teacher.net, hints), ("student", link.net, guided)):
        if not there:
            raise Refusal(
                f"{term.name} compares maps, but the {role} {_called(net)} shows none; kd, rkd and pkt, which need "
                f"none, would fit."
            )
    pairs = compared(term, teacher.net, link.net)
    if isinstance(term, FSP):
        if len(pairs) < 2:
            raise Refusal(
                f"fsp compares what happens between two layers, but of the usual ones these networks share only "
                f"{' '.join(map(str, pairs))}; pairs with others would fit, or at."
            )
        for pair in pairs:
            _check_channels(pair, hints, guided, flow=True)


def _called(net: AnyNet) -> str:
    return f"'{net.called}'" if isinstance(net, Own) else f"({net.kind})"


def _eye(net: AnyNet) -> Eye:
    return net.eye if isinstance(net, Own) else Eye()


def _check_companions(link: Link, image: Shape, classes: int) -> None:
    """Raises Refusal where a network cannot have these companions."""
    told, layers = link.companions, link.begins
    if told is None:
        return
    if isinstance(told, DML) and isinstance(link.net, Own) and (link.net.weights or "@" in link.net.factory):
        raise Refusal(
            f"dml's peers begin with weights of their own, but '{link.net.called}' brings given ones, which would make "
            f"them one network; without given weights, or as a link that teaches, it would fit."
        )
    if isinstance(told, ONE) and isinstance(link.net, Own):
        raise Refusal(
            f"one cuts a network in two, which only those built in can be, but '{link.net.called}' is of your own; dml "
            f"and byot, which need no cut, would fit."
        )
    there = 0 if isinstance(told, DML) else len(survey(link.net, image, classes).maps)
    last = there - isinstance(told, BYOT)  # an exit of the last map would be the classifier again
    if not isinstance(told, DML) and (not layers or not all(1 <= layer <= last for layer in layers)):
        most = f"1 to {last} would fit" if there > 1 else "dml, which needs none, would fit"
        told_of = ", ".join(map(str, layers)) if any(layers) else "none but the last"
        raise Refusal(
            f"{told.method} begins behind layers of its network, which has {there}, but got {told_of}; {most}."
        )
