"""The losses of a link's stages: what each asks of the teacher, what it reads of the student, its value."""

from collections.abc import Callable, Container, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import Protocol

from torch import Tensor, nn

from kdsearch.config.net import AnyNet
from kdsearch.config.part import Ramp, Weight
from kdsearch.config.pipeline import KD, Hints, Link, Pair
from kdsearch.data.views import Batch
from kdsearch.distill import joint, losses, online, response
from kdsearch.distill.joint import Shapes
from kdsearch.distill.shown import Again, Shown, Term
from kdsearch.nets import cut, taps
from kdsearch.nets.beside import Companions
from kdsearch.nets.derived import Asked, ordered
from kdsearch.nets.taps import Regressor


@dataclass(frozen=True)
class Stage:
    """What trains, on which terms, for how many epochs."""

    name: str
    """labels, hint or kd."""
    terms: tuple[Term, ...]
    epochs: int
    depth: int
    """Sections of the student that train, from the first on, beside all bridges."""
    replayed: bool = True
    """The images come in their fixed views, one a pass in turn; else each epoch draws new changes."""

    @property
    def asks(self) -> tuple[Asked, ...]:
        """What it asks of the teacher: its layers by their numbers, then what is made of them."""
        return ordered(answer for term in self.terms for answer in term.asks)

    @property
    def live(self) -> bool:
        """Whether a term asks the teacher itself."""
        return any(term.live for term in self.terms)

    @property
    def others(self) -> bool:
        """Whether a term asks all teachers, if there are several."""
        return any(term.all for term in self.terms)

    @property
    def beside(self) -> bool:
        """Whether companions train."""
        return any(term.beside for term in self.terms)

    @cached_property
    def reads(self) -> set[int]:
        """The student's layers that one forward pass must show."""
        return {layer for term in self.terms for layer in term.reads}

    @cached_property
    def weights(self) -> dict[str, Weight]:
        """Of each term, by name, as it was told."""
        return {term.name: term.weight for term in self.terms}

    def weights_in(self, epoch: int) -> dict[str, float]:
        """In an epoch, from 1."""
        return {
            name: told.at(epoch, self.epochs) if isinstance(told, Ramp) else told for name, told in self.weights.items()
        }

    @cached_property
    def shares(self) -> dict[str, float]:
        """Of the gradient, by which terms' weights are set."""
        return {term.name: term.share for term in self.terms if term.share is not None}

    @cached_property
    def varying(self) -> tuple[str, ...]:
        """Terms whose weights are not the same in all epochs."""
        return tuple(name for name, told in self.weights.items() if name in self.shares or isinstance(told, Ramp))


def unknown() -> Shapes:
    """Who declares without images has no terms that see sides."""
    raise AssertionError("these terms depend on the shapes of maps")


def stages(link: Link, teacher: AnyNet | None, shapes: Callable[[], Shapes] = unknown) -> Iterator[Stage]:
    """What a link goes through: stage 1 where it has hints, then stage 2; `teacher`: the link's before it, if any;
    `shapes`: finds out those of their maps."""
    logits = link.net.layers + 1
    if link.hints:
        reach = max(pair.layers[1] for pair in link.hints.pairs) if link.hints.scope == "guided" else link.net.layers
        yield Stage("hint", tuple(_hints(link.hints, logits)), link.hint_epochs, reach)
    terms = [_labels(link.labels_weight, logits)]
    if link.kd:
        assert teacher is not None
        terms.append(_softened(link.kd, logits, teacher.layers + 1))
    if link.terms:
        assert teacher is not None
        terms += joint.terms(link.terms, (link.net, teacher, shapes))
    terms += online.terms(link)
    rest = (link.fit.epochs or 0) - link.hint_epochs
    yield Stage("kd" if len(terms) > 1 else "labels", tuple(terms), rest, logits, replayed=teacher is not None)


def _hints(hints: Hints, logits: int) -> Iterator[Term]:
    """Stage 1 (Romero et al. 2015, section 2.2): a regressor a pair, without labels.

    With them, through the whole network, as in the code of seed 1.
    """
    if hints.match == "flow":
        yield joint.flows(hints.pairs, hints.pooling)
    for pair in hints.pairs if hints.match == "map" else ():
        (hint, guided), bridge = pair.layers, partial(Regressor, kind=hints.regressor)
        yield Term(str(pair), pair.weight, partial(_hint, pair), (guided,), (hint,), bridge)
    if hints.ce_weight:
        yield _labels(hints.ce_weight, logits)


def _hint(pair: Pair, shown: Shown) -> Tensor:
    (hint, guided), bridge = pair.layers, shown.bridges[str(pair)]
    return losses.hint(bridge(shown.ours[guided]).float(), bridge.match(shown.theirs[hint].float()))


def _labels(weight: Weight, logits: int) -> Term:
    return Term("ce", weight, lambda shown: losses.cross_entropy(shown.ours[logits], shown.labels), (logits,))


def _softened(kd: KD, logits: int, theirs: int) -> Term:
    """The teacher's softened answers (`theirs`: its logits' number), or those that are made by hand."""

    def value(shown: Shown) -> Tensor:
        ours = shown.ours[logits]
        if kd.virtual:
            told = (losses.virtual(shown.labels, ours.shape[1], kd.virtual),)
        else:
            told = (shown.theirs[theirs], *shown.others)
        weights = response.surer(told) if kd.blend == "entropy" else None
        if kd.standardise:
            ours, told = response.standardised(ours), tuple(map(response.standardised, told))
        soft = told[0] if len(told) == 1 else response.blended(told, kd.temperature, weights)
        if kd.form == "kl":
            return losses.distillation(ours, soft, kd.temperature, kd.squared)
        if kd.form == "dkd":
            loss = response.decoupled(ours, soft, shown.labels, kd.temperature, kd.alpha, kd.beta)
        else:
            loss = response.correlated(ours, soft, kd.temperature, kd.between, kd.within)
        return loss if kd.squared else loss / kd.temperature**2

    asks = () if kd.virtual else (theirs,)
    return Term("kd", kd.weight, value, (logits,), asks, share=kd.share, all=not kd.virtual)


class Answers(Protocol):
    """Who says what a teacher shows: itself, or what was recorded of it."""

    def ready(self, views: Iterable[int]) -> Iterator[tuple[int, float]]:
        """Make these fixed views ready; yields (view, seconds) for each that had to be recorded."""
        ...

    def __call__(self, batch: Batch) -> Mapping[Asked, Tensor]:
        """The answers about a batch, by layer."""
        ...


@dataclass(frozen=True)
class Lesson:
    """A stage with its networks."""

    stage: Stage
    net: nn.Module
    """The student."""
    answers: tuple[Answers, ...] = ()
    """Of the teacher whose maps count, then, where a term asks them, of the others; empty: no term asks."""
    bridges: Mapping[str, Regressor] = field(default_factory=dict)
    """By their term's name, in the order of the terms."""
    names: tuple[str, ...] | None = None
    """Of a user's own network, its taps."""
    sample: Tensor | None = None
    """Of a user's own network, two images that it will see: they show what a hint trains."""
    head: str = ""
    """Where this submodule alone trains."""
    teacher: nn.Module | None = None
    """Itself, where a term asks live."""
    bounds: tuple[Tensor, Tensor] | None = None
    """The least and the largest value of a pixel, of each channel, as both networks see it."""
    companions: Companions | None = None
    """What trains beside the student."""

    @cached_property
    def trained(self) -> nn.ModuleList:
        """All of it trains, and nothing else."""
        beside = [self.companions] if self.companions else []
        return nn.ModuleList([self._part(), *self.bridges.values(), *beside])

    def _part(self) -> nn.Module:
        """Of the student."""
        if self.head:
            return self.net.get_submodule(self.head)
        if self.names is None:
            return taps.sections(self.net)[: self.stage.depth]
        if self.judged:
            return self.net
        assert self.sample is not None
        return nn.ParameterList(cut.reached(self.net, self.sample, self.names[: self.stage.depth]))

    def train(self) -> None:
        """All that runs and trains to training mode."""
        self.net.train(not self.head)
        self.trained.train()

    @property
    def judged(self) -> bool:
        """Does the classifier train, so that accuracies mean something?"""
        return self.stage.depth == self._logits

    @property
    def _logits(self) -> int:
        return taps.count(self.net, self.names) + 1

    def losses(self, batch: Batch, idle: Container[str] = ()) -> dict[str, Tensor]:
        """Each term of a batch, unweighted, by name: one forward pass shows what all of them read.

        Of terms that are `idle` in this epoch those that would ask again, which is dear, are left out.
        """
        theirs, *others = [ask(batch) for ask in self.answers] or [{}]
        ours, logits = taps.maps(self.net, batch.pixels, self.stage.reads, self.names), self._logits
        if logits in ours:
            # Once for all terms: gradients of several conversions add up in bfloat16, and round otherwise.
            ours[logits] = ours[logits].float()
        beside = self.companions(batch.pixels, ours) if self.companions else None
        more = tuple(told for one in others for told in one.values())
        shown = Shown(ours, theirs, batch.labels, self.bridges, self._again(batch), more, beside)
        terms = [term for term in self.stage.terms if not (term.again and term.name in idle)]
        return {term.name: term.value(shown) for term in terms}

    def _again(self, batch: Batch) -> Again | None:
        if not any(term.again for term in self.stage.terms):
            return None
        net, teacher = self.net, self.teacher
        asked = None if teacher is None else lambda some: teacher(some).float()
        return Again(batch.pixels, lambda some: net(some).float(), asked, self.bounds)
