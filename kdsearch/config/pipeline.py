"""What a trial can be told: plain, frozen, validated data. Imports neither torch nor ray."""

from typing import Annotated, ClassVar, Literal

from pydantic import Field, field_validator, model_validator

from kdsearch.config.companions import BESIDE, BYOT, ONE, AnyCompanions
from kdsearch.config.methods import AnyTerm, Pair, Pooling, once, pairs_of
from kdsearch.config.methods import Layer as Layer
from kdsearch.config.net import AnyNet, Own
from kdsearch.config.part import MOST, Part, Ramp, Share, Weight
from kdsearch.config.recipe import SEEDS as SEEDS
from kdsearch.config.recipe import Budget, Data, Fit, Seed
from kdsearch.config.recipe import Choice as Choice
from kdsearch.config.recipe import Count as Count
from kdsearch.config.recipe import Precision as Precision

__all__ = ["KD", "Budget", "Data", "Fit", "Hints", "Link", "Pair", "Pipeline"]


class Hints(Part, frozen=True):
    """Stage 1: the student's layers up to the deepest guided one learn the teacher's maps through regressors, or what
    happens between them."""

    LATER: ClassVar[tuple[str, ...]] = ("match", "pooling")

    pairs: Annotated[tuple[Pair, ...], Field(min_length=1, max_length=16)]
    share: Share = 0.5
    """Stage 1's share of the link's epochs (rounded; each stage has at least one)."""
    regressor: Literal["none", "conv1x1", "conv3x3"] = "conv3x3"
    """From the student's channels to the teacher's; none: the channels must agree."""
    scope: Literal["guided", "all_conv"] = "guided"
    """What stage 1 trains beside the regressors: the layers up to the deepest guided one (FitNets), or all but the
    classifier (seed 1's code)."""
    ce_weight: Annotated[float, Field(ge=0, le=MOST)] = 0.0
    """Of cross-entropy with the labels in stage 1, through the classifier as it was drawn (seed 1's code: 0.75)."""
    match: Literal["map", "flow"] = "map"
    """What is compared: the map of each pair, or the flow between each pair and the next one, without regressors: the
    channels must agree (FSP, Yim et al. 2017)."""
    pooling: Pooling = "average"
    """How the larger map of a flow is brought to the smaller one's size."""

    @field_validator("pairs")
    @classmethod
    def _pairs_differ(cls, pairs: tuple[Pair, ...]) -> tuple[Pair, ...]:
        return once(pairs)

    @model_validator(mode="after")
    def _something_trains(self) -> "Hints":
        if self.ce_weight and self.scope == "guided":
            raise ValueError("cross-entropy in stage 1 needs scope all_conv, since it reaches all layers.")
        if not self.ce_weight and not any(pair.weight for pair in self.pairs):
            raise ValueError("stage 1 needs a loss, but all weights are 0.")
        if self.match == "flow" and len(self.pairs) < 2:
            alone = " ".join(map(str, self.pairs))
            raise ValueError(f"a flow leads from one pair to the next, but there is only {alone}.")
        return self


class KD(Part, frozen=True):
    """Stage 2's softened answers: loss = (1 − weight)·CE + weight·τ²·KL(teacher ‖ student)."""

    LATER: ClassVar[tuple[str, ...]] = (
        "form", "alpha", "beta", "between", "within", "standardise", "squared", "labels", "share", "blend",
    )  # fmt: skip

    weight: Weight = 0.5
    """Of the distillation term; λ of seed 1 and of the charts is 1 − weight."""
    temperature: Annotated[float, Field(gt=0, le=1000)] = 4.0
    """τ, dividing both networks' logits."""
    virtual: Annotated[float, Field(gt=0, lt=1)] | None = None
    """None: the link before answers. A number: nobody does; the answer is made by hand, so much for the true class and
    the rest shared by the others (Yuan et al. 2020, equation 9)."""
    form: Literal["kl", "dkd", "dist"] = "kl"
    """The loss: KL; its two parts weighed by themselves (DKD, Zhao et al. 2022); correlations (DIST, Huang et al.
    2022)."""
    alpha: Annotated[float, Field(ge=0, le=MOST)] = 1.0
    """DKD: of the true class against all others."""
    beta: Annotated[float, Field(ge=0, le=MOST)] = 8.0
    """DKD: of the others among themselves."""
    between: Annotated[float, Field(ge=0, le=MOST)] = 1.0
    """DIST: of the correlations of each image's answers (its β)."""
    within: Annotated[float, Field(ge=0, le=MOST)] = 1.0
    """DIST: of the correlations of each class's answers (its second weight)."""
    standardise: bool = False
    """Each image's logits first get mean 0 and deviation 1 (Sun et al. 2024)."""
    squared: bool = True
    """τ² is a factor; False: it is left out (FitNets)."""
    labels: Weight | None = None
    """Of cross-entropy; None: 1 − weight, or 1 where a share is told."""
    share: Share | None = None
    """Of the gradient: `weight` is set each epoch so that the term has it."""
    blend: Literal["mean", "entropy"] = "mean"
    """Of several teachers' softened answers; entropy: for each image, those weigh more that are surer (Kwon et al.
    2020)."""

    @property
    def labels_weight(self) -> Weight:
        """Of cross-entropy beside it."""
        if self.labels is not None:
            return self.labels
        return 1 - self.weight if self.share is None else 1.0

    @model_validator(mode="after")
    def _labels_have_the_rest(self) -> "KD":
        most = max(self.weight.start, self.weight.end) if isinstance(self.weight, Ramp) else self.weight
        if most > 1 and self.labels is None and self.share is None:
            raise ValueError(
                f"the labels have the rest, 1 − weight, so that weight is at most 1 unless their own weight is told "
                f"(labels: 1), but got weight={most:g}."
            )
        return self

    @model_validator(mode="after")
    def _what_is_told_is_used(self) -> "KD":
        used = {"dkd": ("alpha", "beta"), "dist": ("between", "within")}
        for form, names in used.items():
            for name in names:
                if form != self.form and getattr(self, name) != type(self).model_fields[name].default:
                    raise ValueError(
                        f"{name} belongs to form {form}, but got {name}={getattr(self, name):g} for {self.form}."
                    )
        return self


class Link(Part, frozen=True):
    """One network of the chain, taught by the one before it."""

    LATER: ClassVar[tuple[str, ...]] = ("terms", "companions", "taught_by")

    net: AnyNet
    fit: Fit = Fit()
    hints: Hints | None = None
    """None: no stage 1."""
    kd: KD | None = None
    """None: stage 2 learns from labels alone."""
    seed: Seed = 0
    """Draws the weights, the order of images and the dropout: a replicate, never a hyperparameter."""
    terms: Annotated[tuple[AnyTerm, ...], Field(max_length=16)] = ()
    """Further terms of stage 2: at, fsp, sp, rkd, pkt, bss, or the user's own."""
    companions: AnyCompanions | None = None
    """What trains beside it in stage 2 and is dropped then: dml, one or byot."""
    taught_by: Annotated[tuple[Annotated[int, Field(ge=0, le=15)], ...], Field(max_length=15)] | None = None
    """The links, from 0, that teach it, in rising order: of all of them the answers, of the last one what hints and
    further terms compare; (): nobody does, as with the first one; None: the one before it."""

    @property
    def labels_weight(self) -> Weight:
        """Of cross-entropy in stage 2."""
        if self.kd:
            return self.kd.labels_weight
        return 1 - self.companions.weight if isinstance(self.companions, BYOT) else 1.0

    @property
    def hint_epochs(self) -> int:
        """Epochs of stage 1."""
        if self.hints is None or self.fit.epochs is None:
            return 0
        return min(max(round(self.hints.share * self.fit.epochs), 1), self.fit.epochs - 1)

    @property
    def begins(self) -> tuple[int, ...]:
        """Layers behind which its companions begin; 0: its network has none where they usually would."""
        ends, told = self.net.ends, self.companions
        if isinstance(told, ONE):
            return (told.split or (ends[-2] if len(ends) > 1 else 0),)
        return (told.exits or ends[:-1]) if isinstance(told, BYOT) else ()

    @property
    def paired(self) -> tuple[Pair, ...]:
        """All layers of both networks that were told for its losses to compare."""
        return (self.hints.pairs if self.hints else ()) + tuple(pair for one in self.terms for pair in pairs_of(one))

    @property
    def pairs(self) -> str:
        """Of its hints: `1→3 2→6`, or `none`."""
        return " ".join(str(pair) for pair in self.hints.pairs) if self.hints else "none"

    @model_validator(mode="after")
    def _terms_differ(self) -> "Link":
        beside = (self.companions.method, BESIDE[self.companions.method]) if self.companions else ()
        names = ["ce", *(["kd"] if self.kd else []), *beside, *(one.name for one in self.terms)]
        if twice := [name for name in names if names.count(name) > 1]:
            raise ValueError(
                f"a stage has each term once, but terms has {twice[0]} twice; one with several pairs would fit."
            )
        return self

    @model_validator(mode="after")
    def _shares_leave_something(self) -> "Link":
        told = (self.kd, *self.terms)
        shares = [one.share for one in told if one and one.share is not None]
        if sum(shares) >= 1:
            raise ValueError(
                f"shares of the gradient leave something to the other terms, but they add up to {sum(shares):g}."
            )
        if self.companions:
            return self  # their labels weigh something in any case
        fixed = [self.labels_weight, *(one.weight for one in told if one and one.share is None)]
        if shares and not any(isinstance(weight, Ramp) or weight != 0 for weight in fixed):
            raise ValueError("a share is of the gradient beside terms of a told weight, but all others have weight 0.")
        return self

    @model_validator(mode="after")
    def _several_teachers_are_heard(self) -> "Link":
        answered = self.kd is not None and self.kd.virtual is None
        if len(self.taught_by or ()) > 1 and not answered:
            raise ValueError(
                f"several teachers are heard by their softened answers, kd, but this link has none of theirs: "
                f"taught_by={list(self.taught_by or ())}."
            )
        if self.kd and self.kd.blend != "mean" and len(self.taught_by or ()) < 2:
            raise ValueError(f"blend={self.kd.blend} is of several teachers' answers; name them by taught_by.")
        return self

    @model_validator(mode="after")
    def _companions_train_with_the_whole(self) -> "Link":
        if self.companions and (self.fit.epochs == 0 or self.fit.trains == "head"):
            told = "epochs=0" if self.fit.epochs == 0 else "trains=head"
            raise ValueError(f"companions train beside a whole network, but this one has {told}.")
        return self

    @model_validator(mode="after")
    def _only_what_is_given_is_taken_as_it_is(self) -> "Link":
        if isinstance(self.net, Own):
            return self
        if self.fit.epochs == 0 or self.fit.trains == "head":
            raise ValueError(
                "epochs=0 and trains=head belong to a network of the user's own; built-in ones train whole."
            )
        return self

    @model_validator(mode="after")
    def _both_stages_have_an_epoch(self) -> "Link":
        if self.hints and self.fit.epochs in (0, 1):
            raise ValueError(
                f"epochs must be at least 2 for a link with hints, one for each stage, but got "
                f"epochs={self.fit.epochs}."
            )
        return self


class Pipeline(Part, frozen=True):
    """A chain of links: teacher, any assistants, student; and the images they learn from."""

    links: Annotated[tuple[Link, ...], Field(min_length=1, max_length=16)]
    data: Data = Data()

    @model_validator(mode="after")
    def _teachers_come_before(self) -> "Pipeline":
        for number, link in enumerate(self.links):
            told = link.taught_by
            if not self.teachers(number) and (link.hints or link.kd or link.terms):
                which = "the first link" if not number else f"link {number}"
                raise ValueError(f"{which} has no teacher, so its hints, kd and terms must be left out.")
            if told and (list(told) != sorted(set(told)) or told[-1] >= number):
                raise ValueError(
                    f"taught_by names links before its own, in rising order, but link {number} has {list(told)}."
                )
        return self

    def teachers(self, number: int) -> tuple[int, ...]:
        """Who teaches link `number`, all by their numbers from 0: nobody the first one; of the last of them the maps
        count."""
        told = self.links[number].taught_by
        return told if told is not None else (number - 1,) if number else ()

    def before(self, number: int) -> tuple[int, ...]:
        """The links on which `number` depends, by their numbers: its teachers, theirs, and so on."""
        found = {own for teacher in self.teachers(number) for own in (teacher, *self.before(teacher))}
        return tuple(sorted(found))

    @property
    def student(self) -> Link:
        return self.links[-1]

    @property
    def hinting(self) -> AnyNet | None:
        """The network whose maps the student's are compared with."""
        own = self.teachers(len(self.links) - 1)
        return self.links[own[-1]].net if own else None

    def on(self, data: str) -> "Pipeline":
        """The same, with its images in another place."""
        return self.model_copy(update={"data": self.data.model_copy(update={"name": data})})

    def with_seed(self, seed: int) -> "Pipeline":
        """A replicate: another seed of the student; whoever teaches it stays."""
        return self.model_copy(
            update={"links": (*self.links[:-1], self.student.model_copy(update={"seed": seed}))},
        )
