"""The further terms of stage 2, a function each: what it reads of the student, asks of the teacher, and its value."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial, singledispatch
from itertools import pairwise

import torch
from torch import Tensor

from kdsearch.config.datasets import Shape
from kdsearch.config.methods import AT, BSS, FSP, PKT, RKD, SP, Joint, OwnTerm, Pair, Pooling
from kdsearch.config.net import AnyNet
from kdsearch.distill import boundary, feature, relation
from kdsearch.distill.shown import Shown, Term
from kdsearch.nets import own_term
from kdsearch.nets.derived import EMBEDDING, Derived, Moved
from kdsearch.nets.ends import compared

Shapes = tuple[Sequence[Shape], Sequence[Shape]]
"""Of the student's maps and of the teacher's, by layer."""

Networks = tuple[AnyNet, AnyNet, Callable[[], Shapes]]
"""Student and teacher, and what finds out the shapes of their maps."""


def terms(link_terms: Sequence[Joint], networks: Networks) -> tuple[Term, ...]:
    """Those that a link names, in its order."""
    return tuple(replace(_term(one, networks), share=one.share) for one in link_terms)


@singledispatch
def _term(term: Joint, networks: Networks) -> Term:
    raise NotImplementedError(term.method)  # pyright: ignore[reportAttributeAccessIssue]


@_term.register
def _at(term: AT, networks: Networks) -> Term:
    student, teacher, shapes = networks
    pairs, (ours, theirs) = compared(term, teacher, student), shapes()
    asks = tuple(_attention(pair, ours, theirs) for pair in pairs)

    def value(shown: Shown) -> Tensor:
        found = [
            pair.weight * feature.attention_transfer(shown.ours[pair.layers[1]], shown.theirs[asked])
            for pair, asked in zip(pairs, asks, strict=True)
        ]
        return torch.stack(found).sum()

    return Term(term.name, term.weight, value, _guided(pairs), asks)


def _attention(pair: Pair, ours: Sequence[Shape], theirs: Sequence[Shape]) -> Derived:
    """Of the hint, at the smaller of both sides: that is all that AT sees of the teacher's map."""
    hint, guided = pair.layers
    one, other = theirs[hint - 1], ours[guided - 1]
    side = (min(one[1], other[1]), min(one[2], other[2]))
    return Derived("attention", (hint,), side, partial(feature.attention, side=side))


@_term.register
def _fsp(term: FSP, networks: Networks) -> Term:
    student, teacher, _ = networks
    return flows(compared(term, teacher, student), term.pooling, term)


def flows(pairs: Sequence[Pair], pooling: Pooling, told: FSP | None = None) -> Term:
    """Between each pair and the next, of both networks; the deeper pair's weight counts. Alone it is stage 1's."""
    kind = "flow" if pooling == "average" else "maxflow"
    steps = tuple(pairwise(sorted(pairs, key=lambda pair: pair.layers[1])))
    asks = tuple(
        Derived(kind, (one.layers[0], other.layers[0]), None, partial(feature.flow, pooling=pooling))
        for one, other in steps
    )

    def value(shown: Shown) -> Tensor:
        found = [
            other.weight
            * feature.flow_transfer(
                (shown.ours[one.layers[1]], shown.ours[other.layers[1]]), shown.theirs[asked], pooling
            )
            for (one, other), asked in zip(steps, asks, strict=True)
        ]
        return torch.stack(found).sum()

    return Term("fsp", told.weight if told else 1.0, value, _guided(pairs), asks)


@_term.register
def _sp(term: SP, networks: Networks) -> Term:
    student, teacher, _ = networks
    pairs = compared(term, teacher, student)

    def value(shown: Shown) -> Tensor:
        layers = [(pair, *pair.layers) for pair in pairs]
        found = [pair.weight * relation.similarity(shown.ours[own], shown.theirs[hint]) for pair, hint, own in layers]
        return torch.stack(found).sum()

    return Term(term.name, term.weight, value, _guided(pairs), tuple(pair.layers[0] for pair in pairs))


@_term.register
def _rkd(term: RKD, networks: Networks) -> Term:
    return _of_embeddings(term.name, term, relation.distances if term.form == "distances" else relation.angles)


@_term.register
def _pkt(term: PKT, networks: Networks) -> Term:
    return _of_embeddings(term.name, term, relation.probabilities)


def _of_embeddings(name: str, term: RKD | PKT, loss: Callable[[Tensor, Tensor], Tensor]) -> Term:
    def value(shown: Shown) -> Tensor:
        return loss(shown.ours[EMBEDDING], shown.theirs[EMBEDDING])

    return Term(name, term.weight, value, (EMBEDDING,), (EMBEDDING,))


@_term.register
def _bss(term: BSS, networks: Networks) -> Term:
    student, teacher, _ = networks
    logits, theirs = student.layers + 1, teacher.layers + 1

    moved = Moved(f"boundary{term.steps}", 2 + 2 * term.steps, partial(boundary.moved_once, steps=term.steps))

    def value(shown: Shown) -> Tensor:
        ours, soft, again = shown.ours[logits].detach(), shown.theirs[theirs], shown.again
        assert again is not None
        some = boundary.based(ours, soft, shown.labels, term.size)
        # Drawn for all images of the batch, so that a step draws as often whatever the student says.
        uniform = torch.rand(len(ours), device=ours.device)[: len(some)]
        if len(some) < 2:  # batch normalisation has no statistics of one
            return shown.ours[logits].sum() * 0.0
        if term.recorded:
            told = shown.theirs[moved][some].float()
            pixels = told[:, : -ours.shape[1]].view_as(again.pixels[some])
            return boundary.supported(again.student(pixels), told[:, -ours.shape[1] :], term.temperature)
        assert again.teacher is not None and again.bounds is not None
        first, aim = shown.labels[some], boundary.aimed(soft[some], uniform)
        pixels = boundary.attacked(again.teacher, again.pixels[some], first, aim, term.steps, again.bounds)
        with torch.no_grad():
            soft = again.teacher(pixels)
        return boundary.supported(again.student(pixels), soft, term.temperature)

    asks = (theirs, moved) if term.recorded else (theirs,)
    return Term(term.name, term.weight, value, (logits,), asks, again=True, live=not term.recorded)


@_term.register
def _own(term: OwnTerm, networks: Networks) -> Term:
    student, teacher, _ = networks
    formula = own_term.found(term)
    reads, asks = (
        {word: own_term.layer(word, net) for word in words}
        for words, net in ((formula.reads, student), (formula.asks, teacher))
    )

    def value(shown: Shown) -> Tensor:
        with torch.autocast(shown.labels.device.type, enabled=False):
            ours = {word: shown.ours[layer].float() for word, layer in reads.items()}
            theirs = {word: shown.theirs[layer].detach().float() for word, layer in asks.items()}
            return own_term.computed(formula, term.called, (ours, theirs), shown.labels)

    weight = formula.weight if term.weight is None else term.weight
    return Term(term.name, weight, value, tuple(reads.values()), tuple(asks.values()))


def _guided(pairs: Sequence[Pair]) -> tuple[int, ...]:
    return tuple(pair.layers[1] for pair in pairs)
