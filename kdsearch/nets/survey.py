"""What a network without memory tells: shapes, parameters, multiply-accumulates."""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property, lru_cache

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from kdsearch.config.companions import BYOT, DML, ONE
from kdsearch.config.datasets import Shape
from kdsearch.config.net import AnyNet, Own, sees
from kdsearch.config.pipeline import Link
from kdsearch.nets import cut
from kdsearch.nets.beside import Branches, Companions, Exits, Gate, Peers, head
from kdsearch.nets.build import build
from kdsearch.nets.derived import EMBEDDING, Asked, Derived, Moved
from kdsearch.nets.settle import shown
from kdsearch.nets.taps import Regressor, embedded, sections


def parameters(module: nn.Module) -> int:
    """Learned numbers; buffers never count."""
    return sum(weight.numel() for weight in module.parameters())


@dataclass(frozen=True)
class Survey:
    """What a network without memory tells, on the meta device: no arithmetic. Each is found out when it is asked for,
    since counting multiplications takes several times as long as a forward pass, and that longer than building."""

    net: AnyNet
    image: Shape
    """As the network sees it."""
    classes: int

    @cached_property
    def parameters(self) -> int:
        if isinstance(self.net, Own):
            return self._own.parameters
        with torch.device("meta"):
            return parameters(build(self.net, self.image, self.classes))

    @cached_property
    def statistics(self) -> int:
        """Running means and variances of batch normalisation: buffers, which Keras counts as parameters."""
        if isinstance(self.net, Own):
            return self._own.statistics
        with torch.device("meta"):
            found = build(self.net, self.image, self.classes).buffers()
        return sum(buffer.numel() for buffer in found if buffer.is_floating_point())

    @property
    def bytes(self) -> int:
        """Of the deployed weights in float32: all that a network must have to answer."""
        return 4 * (self.parameters + self.statistics)

    @cached_property
    def maps(self) -> tuple[Shape, ...]:
        """Shapes after each layer (and its pool)."""
        if isinstance(self.net, Own):
            return self._own.maps
        return tuple(tuple(found.shape[1:]) for found in self._sections())[:-1]  # pyright: ignore[reportReturnType]

    @cached_property
    def reach(self) -> tuple[int, ...]:
        """Multiply-accumulates of convolutions and linear layers for one image, up to each section, the classifier
        last."""
        if isinstance(self.net, Own):
            return self._own.reach
        with FlopCounterMode(display=False) as counter:
            return tuple(counter.get_total_flops() // 2 for _ in self._sections())

    @cached_property
    def embedding(self) -> int | None:
        """Width of what the last linear layer reads; None where a user's own network has none that reads one row an
        image."""
        if isinstance(self.net, Own):
            return self._own.embedding
        with torch.device("meta"):
            last = embedded(sections(build(self.net, self.image, self.classes))[-1])[1][-1]
        assert isinstance(last, nn.Linear)
        return last.in_features

    @property
    def macs(self) -> int:
        """Of the whole network."""
        return self.reach[-1]

    @cached_property
    def _own(self) -> "Looked":
        """Of a user's own network, all at once: its code may take long to make it."""
        assert isinstance(self.net, Own)
        return looked(self.net, self.image, self.classes)

    def _sections(self) -> Iterator[Tensor]:
        with torch.device("meta"), torch.no_grad():
            module, found = build(self.net, self.image, self.classes).eval(), torch.empty(1, *self.image)
        for section in sections(module):
            with torch.no_grad():
                found = section(found)
            yield found


@dataclass(frozen=True)
class Looked:
    """What one pass through a user's own network tells: the fields of its Survey."""

    parameters: int
    statistics: int
    maps: tuple[Shape, ...]
    reach: tuple[int, ...]
    embedding: int | None


def looked(net: Own, image: Shape, classes: int) -> Looked:
    """Make and run it once, without memory where it can. Raises Refusal."""
    module, images = shown(net, image, classes)
    reach: list[int] = []
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        found = cut.maps(module, images, (*net.taps, ""), lambda _: reach.append(counter.get_total_flops() // 2))
    maps = tuple((m.shape[1], m.shape[2], m.shape[3]) for m in (found[name] for name in net.taps))
    statistics = sum(buffer.numel() for buffer in module.buffers() if buffer.is_floating_point())
    return Looked(parameters(module), statistics, maps, tuple(reach), cut.embedding(module, images))


@dataclass(frozen=True)
class Answer:
    """What a teacher shows of an image."""

    kind: str
    """logits; embedding; map5: what the section after layer 5 reads; attention5, flow1+5: what is made of maps;
    boundary10: moved images."""
    shape: tuple[int, ...]
    """(classes,), (width,), or (channels, height, width)."""

    @classmethod
    def of(cls, survey: Survey, answer: Asked, side: tuple[int, int] | None = None) -> "Answer":
        """At a layer, from 1; behind the last one are the logits. `side`: of the map, averaged to it."""
        if isinstance(answer, Derived):
            with torch.device("meta"):
                made = answer.make(*(torch.empty(1, *survey.maps[layer - 1]) for layer in answer.layers))
            return cls(answer.name, tuple(made.shape[1:]))
        if isinstance(answer, Moved):
            return cls(answer.kind, (math.prod(survey.image) + survey.classes,))
        if answer == EMBEDDING:
            return cls("embedding", (survey.embedding or 0,))
        if answer > len(survey.maps):
            return cls("logits", (survey.classes,))
        shape = survey.maps[answer - 1]
        return cls(f"map{answer}", (shape[0], *side) if side else shape)

    @property
    def bytes(self) -> int:
        """Logits are recorded in float32, all else in half precision."""
        return (4 if self.kind == "logits" else 2) * math.prod(self.shape)

    @property
    def name(self) -> str:
        """`logits-10`, `map5-64x8x8`."""
        return f"{self.kind}-{'x'.join(map(str, self.shape))}"


@lru_cache(maxsize=4096)
def survey(net: AnyNet, image: Shape, classes: int) -> Survey:
    """A network's shapes and costs; asked twice, found out once. `image`: as the pipeline has it."""
    return Survey(net, sees(net, image), classes)


def regressors(link: Link, teacher: AnyNet, image: Shape, classes: int) -> list[Regressor]:
    """One for each of the link's pairs, in their order."""
    if link.hints is None or link.hints.match == "flow":
        return []
    hints, guided = survey(teacher, image, classes).maps, survey(link.net, image, classes).maps
    kind = link.hints.regressor
    layers = [pair.layers for pair in link.hints.pairs]
    return [Regressor(guided[there - 1], hints[here - 1], kind) for here, there in layers]


def companions(link: Link, image: Shape, classes: int, twin: Callable[[int], nn.Module]) -> Companions | None:
    """A link's companions, None where it has none. `twin`: makes a network of its kind, by number, from 1."""
    told, layers, own = link.companions, link.begins, survey(link.net, image, classes)
    if isinstance(told, DML) and told.peers > 1:
        return Peers([twin(number) for number in range(1, told.peers)])
    if isinstance(told, ONE):
        tails = [sections(twin(number))[layers[0] :] for number in range(1, told.branches)]
        return Branches(tails, Gate(own.maps[layers[0] - 1][0], told.branches), layers[0])
    if isinstance(told, BYOT):
        return Exits([head(own.maps[layer - 1], own.maps[-1], classes) for layer in layers], layers)
    return None


def extra(link: Link, image: Shape, classes: int) -> tuple[int, int]:
    """Learned numbers of a link's companions, and their multiply-accumulates for one image."""
    told, own = link.companions, survey(link.net, image, classes)
    if isinstance(told, DML):  # a user's own network has been counted already
        return (told.peers - 1) * own.parameters, (told.peers - 1) * own.macs
    with torch.device("meta"), torch.no_grad():
        found = companions(link, image, classes, lambda _: build(link.net, own.image, classes))
        if found is None:
            return 0, 0
        ours = {layer: torch.empty(1, *own.maps[layer - 1]) for layer in link.begins}
        with FlopCounterMode(display=False) as counter:
            found.eval()(torch.empty(1, *own.image), ours)
    return parameters(found), counter.get_total_flops() // 2


def training_parameters(link: Link, teacher: AnyNet | None, image: Shape, classes: int) -> int:
    """The student's, its regressors' and its companions'."""
    found = survey(link.net, image, classes).parameters + extra(link, image, classes)[0]
    if teacher is None or link.hints is None:
        return found
    with torch.device("meta"):
        return found + sum(map(parameters, regressors(link, teacher, image, classes)))
