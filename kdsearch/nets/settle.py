"""Networks of a user's own made certain: which file and which weights, how they see, where they are cut."""

import warnings
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from kdsearch.config.datasets import Shape
from kdsearch.config.methods import OwnTerm, pairs_of
from kdsearch.config.net import AnyNet, Eye, Own, sees
from kdsearch.config.pipeline import Layer, Link, Pair, Pipeline
from kdsearch.errors import Refusal, first_line, listed
from kdsearch.nets import cut, factory, own_term
from kdsearch.nets.filled import new_head, weights_hash

TIMM = {"size": "input_size", "resize": "interpolation", "mean": "mean", "std": "std", "channels": "input_size"}
"""Fields of an eye, and where timm's record of a network's weights has them."""


def settled(pipeline: Pipeline, image: Shape, classes: tuple[str, ...]) -> Pipeline:
    """With all of its own networks certain, and each pair by the numbers of its layers; itself where that is so.

    Raises Refusal for a network that cannot be made, or cannot be cut where a pair names it.
    """
    pipeline = own_terms(pipeline)
    links = list(pipeline.links)
    for number, link in enumerate(links):
        if isinstance(link.net, Own):
            learners = [own for place, own in enumerate(links) if number in pipeline.teachers(place)[-1:]]
            hints = [name for own in learners for name in _names(own.paired, "hint")]
            names = [*_names(link.paired, "guided"), *hints]
            links[number] = link.model_copy(update={"net": certain(link.net, image, classes, names)})
    before = [pipeline.teachers(number)[-1:] for number in range(len(links))]
    links = [_numbered(link, links[own[0]].net if own else None) for link, own in zip(links, before, strict=True)]
    return pipeline if tuple(links) == pipeline.links else pipeline.model_copy(update={"links": tuple(links)})


def own_terms(pipeline: Pipeline) -> Pipeline:
    """With its own terms found out about, which needs no images; itself where that is so. Raises Refusal."""
    links = tuple(
        link.model_copy(
            update={"terms": tuple(own_term.settled(one) if isinstance(one, OwnTerm) else one for one in link.terms)}
        )
        for link in pipeline.links
    )
    return pipeline if links == pipeline.links else pipeline.model_copy(update={"links": links})


def certain(net: Own, image: Shape, classes: tuple[str, ...], names: Sequence[str] = ()) -> Own:
    """A network found out about, its taps with those of these names; itself where that is so. Raises Refusal."""
    if net.source and set(names) <= set(net.taps):
        return net
    # Of equal eyes one may say what the other leaves open.
    return _settled(net, frozenset(net.eye.model_fields_set), image, classes, tuple(names))


def _names(pairs: Sequence[Pair], end: str) -> list[str]:
    """Submodules that pairs name."""
    found = [getattr(pair, end) for pair in pairs]
    return [layer for layer in found if isinstance(layer, str) and "/" not in layer]


def _numbered(link: Link, teacher: AnyNet | None) -> Link:
    if teacher is None or all(type(end) is int for pair in link.paired for end in (pair.hint, pair.guided)):
        return link
    hints = link.hints and link.hints.model_copy(update={"pairs": _numbers(link.hints.pairs, teacher, link)})
    terms = tuple(
        term.model_copy(update={"pairs": _numbers(pairs_of(term), teacher, link)}) if pairs_of(term) else term
        for term in link.terms
    )
    return link.model_copy(update={"hints": hints, "terms": terms})


def _numbers(pairs: Sequence[Pair], teacher: AnyNet, link: Link) -> tuple[Pair, ...]:
    numbered = [
        pair.model_copy(
            update={"hint": _number(pair, pair.hint, teacher), "guided": _number(pair, pair.guided, link.net)}
        )
        for pair in pairs
    ]
    once = {str(pair): pair for pair in reversed(numbered)}  # parts of a shallow network may be one layer
    return tuple(reversed(once.values()))


def _number(pair: Pair, layer: Layer, net: AnyNet) -> int:
    if isinstance(layer, int):
        return layer
    if "/" in layer:
        part, whole = map(int, layer.split("/"))
        if part > whole or not net.layers:
            there = (
                "is beyond its end"
                if part > whole
                else "is nowhere: the network shows no map, so it teaches by answers"
            )
            raise Refusal(f"pair {pair}: a part of the depth lies between its layers, but {layer} {there}.")
        return max(round(part * net.layers / whole), 1)
    if not isinstance(net, Own):
        raise Refusal(
            f"pair {pair}: names are of submodules of one's own networks, but '{layer}' is of a {net.kind} one."
        )
    return net.taps.index(layer) + 1


@lru_cache(maxsize=4096)
def _settled(net: Own, said: frozenset[str], image: Shape, classes: tuple[str, ...], names: tuple[str, ...]) -> Own:
    net = factory.placed(net)
    call = factory.found(net.factory)
    found: dict[str, Any] = {"source": factory.source(net.factory)}
    if net.weights:
        found["weights_hash"] = weights_hash(Path(net.weights))
    net = net.model_copy(update=found | {"eye": _eye(net, getattr(call, "eye", None), None)})
    net = net.model_copy(update={"columns": _columns(net, classes)})
    module, images = shown(net, image, len(classes))
    net = net.model_copy(update={"eye": _eye(net, None, getattr(module, "pretrained_cfg", None))})
    again, images = shown(net, image, len(classes))  # timm may know its size
    _check_same(net, module, again)
    module = again
    head = head_of(module, images, net, len(classes))
    anew = new_head(module, Path(net.weights)) if net.weights else ""
    taps = cut.taps(module, images, (*net.taps, *names))
    kept = {*net.taps, *names} if net.taps else {tap.name for tap in taps}
    chosen = tuple(tap.name for tap in taps if tap.name in kept)
    return net.model_copy(update={"taps": chosen, "head": anew or head, "new_head": bool(anew)})


def _check_same(net: Own, one: nn.Module, other: nn.Module) -> None:
    """Raises Refusal for a factory that throws dice of its own."""
    ours, theirs = ({name: tuple(value.shape) for name, value in found.state_dict().items()} for found in (one, other))
    if ours != theirs:
        name = next(name for name in (*ours, *theirs) if ours.get(name) != theirs.get(name))
        raise Refusal(
            f"A factory gives the same network for the same arguments, but '{net.called}' called twice gave "
            f"'{name}' as {ours.get(name, 'nothing')} and {theirs.get(name, 'nothing')}; draw by trial.suggest_…."
        )


def _eye(net: Own, told: Any, record: Any) -> Eye:
    """What the config says; what it leaves open as the factory says, else, of weights from elsewhere, timm's record."""
    if told is not None and not isinstance(told, Eye):
        raise Refusal(f"A factory's eye is an Eye(…) of kdsearch, but that of '{net.called}' is {told!r}.")
    more: dict[str, Any] = {}
    if told is not None:
        more = _said(told)
    elif record and (net.weights or "@" in net.factory):
        more = {name: record.get(word) for name, word in TIMM.items() if record.get(word)}
        if size := more.pop("size", None):
            more |= {"size": (size[2], size[1]), "channels": size[0]}
    return Eye.model_validate(more | _said(net.eye))


def _said(eye: Eye) -> dict[str, Any]:
    """What was said of an eye, also where it is what would be usual anyway."""
    return {name: getattr(eye, name) for name in Eye.model_fields if name in eye.model_fields_set}


def _columns(net: Own, classes: Sequence[str]) -> tuple[int, ...]:
    names = net.eye.classes
    if names is None or tuple(classes) == names:
        return ()
    lacking = [name for name in classes if name not in names]
    if len(set(names)) < len(names) or lacking:
        what = "are not told apart" if len(set(names)) < len(names) else f"lack {listed(lacking)}"
        raise Refusal(
            f"A network's classes are the names of its outputs, and all of the data's are among them, but those of "
            f"'{net.called}' {what}."
        )
    return tuple(names.index(name) for name in classes)


def shown(net: Own, image: Shape, classes: int) -> tuple[nn.Module, Tensor]:
    """A module and an image without memory, on the meta device; in memory where a factory computes with numbers.

    Raises Refusal where the module does not take the image."""
    refusal = None
    for device in ("meta", "cpu"):
        try:
            with torch.random.fork_rng([]), torch.device(device), warnings.catch_warnings():
                warnings.simplefilter("ignore")  # a network that cannot be is refused, in a sentence
                module = factory.raw(net, classes).eval()
                images = torch.zeros(1, *sees(net, image))
                with torch.no_grad():
                    module(images)
                return module, images
        except Refusal as error:
            refusal = error
        except Exception as error:  # whatever a user's module raises is told to the user
            refusal = Refusal(
                f"The network '{net.called}' is to see images of {'×'.join(map(str, sees(net, image)))}, but raised "
                f"{type(error).__name__}: {first_line(error)}. If these are not the images that it was made for: its "
                f"eye (--teacher-eye size=… channels=…) changes them, --image-size and --set data.channels all of them."
            )
    assert refusal
    raise refusal


def head_of(module: nn.Module, images: Tensor, net: Own, classes: int) -> str:
    """The submodule that gives the classes; raises Refusal where a network gives another number of them."""
    parts = cut.heard(module, images)
    outputs = len(net.eye.classes or ()) or classes
    gave = next(one.gave[0] for one in parts if not one.name)
    if not isinstance(gave, Tensor) or gave.shape[1:] != (outputs,):
        if not isinstance(gave, Tensor) or gave.dim() != 2:
            kind = "×".join(map(str, gave.shape[1:])) if isinstance(gave, Tensor) else f"a {type(gave).__name__}"
            raise Refusal(
                f"A network gives one tensor, a number for each of {outputs:,} classes, but '{net.called}' gives "
                f"{kind}; wrap it in a module that returns its logits alone."
            )
        raise Refusal(
            f"A network gives a number for each of {outputs:,} classes, but '{net.called}' gives {gave.shape[1]:,}. If "
            f"it knows more classes than the data, its eye names them all, in the order of its outputs: "
            f"Eye(classes=(…))."
        )
    gives = [one for one in parts if one.name and one.gave and isinstance(one.gave[0], Tensor)]
    gives = [one.name for one in gives if one.gave[0].shape[1:] == (outputs,)]
    own = {name for name, part in module.named_modules() if any(True for _ in part.parameters(recurse=False))}
    return next((name for name in reversed(gives) if name in own), "")
