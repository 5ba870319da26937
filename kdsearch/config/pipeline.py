"""What a trial can be told: plain, frozen, validated data. Imports neither torch nor ray."""

import re
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, field_validator, model_validator

from kdsearch.config.datasets import KNOWN, Augment
from kdsearch.config.net import AnyNet, Own, Part, Side

__all__ = ["KD", "Budget", "Data", "Fit", "Hints", "Link", "Pair", "Pipeline"]


SEEDS = 2**31
"""A seed is below; the one after the last is 0."""

Count = Annotated[int, Field(ge=1, le=100_000)]

Seed = Annotated[int, Field(ge=0, lt=SEEDS)]


Precision = Literal["float32", "bfloat16"]
"""In which networks multiply."""

Choice = Literal["recorded", "live"]
"""How a teacher answers: once for all trials, or at every step."""


class Data(Part, frozen=True):
    """Which images a pipeline learns from."""

    LATER: ClassVar[tuple[str, ...]] = ("channels",)

    name: str = "digits"
    """A data set's name; the path of a folder that holds train/<class>/*, or of a table (.csv, .parquet) with columns
    path, label and perhaps split; or FILE.py:NAME, whatever has a length and gives (picture, label)."""
    images: Annotated[int, Field(ge=20)] | None = None
    """At most this many training images, validation included, a stratified choice; None: all."""
    image_size: Side | tuple[Side, Side] | None = None
    """Side in pixels, or width and height, after resizing and centre-cropping; None: a known data set's own; of a
    folder the size of all its images, else a square of the median image's shorter side; at most 64."""
    validation: Annotated[float, Field(gt=0, le=0.9)] | Literal["test"] = 0.2
    """Share of the training images kept for validation, stratified (FitNets: 10,000 of 50,000). test: all of them
    train and the test images judge, as the papers did (seeds 1 and 2); `reproduce` alone may say so."""
    channels: Literal[1, 3] | None = None
    """Of each image; None: 1 where all are grey, else 3."""
    split_seed: Seed = 0
    """Draws the validation images and the order in which fractions take images."""
    mean: Annotated[tuple[float, ...], Field(min_length=1, max_length=4)] | None = None
    """Subtracted from each channel on the scale 0–1; where the images have other channels, the average of these.
    None: the training images' own."""
    std: Annotated[tuple[Annotated[float, Field(gt=0)], ...], Field(min_length=1, max_length=4)] | None = None
    """What each channel is divided by, likewise."""
    augment: Augment | None = None
    """Random changes of a training image: pad-and-crop, horizontal flip; None: the data set's usual ones."""

    views: Annotated[int, Field(ge=1, le=64)] | Literal["fresh"] | None = None
    """Fixed versions of each training image that a taught link sees, one an epoch in turn, so that its teacher's
    answers can be recorded; the first link's are always fresh. None: 1 without changes, 2 when flipped, else 8."""

    @property
    def changes(self) -> Augment:
        """`augment`, or what is usual: for a folder, both."""
        usual = KNOWN[self.name].changes if self.name in KNOWN else "crop+flip"
        return self.augment or usual

    @property
    def fixed_views(self) -> int:
        """`views`, or what is usual; 0 for fresh ones."""
        if self.views == "fresh":
            return 0
        return self.views or {"none": 1, "flip": 2}.get(self.changes, 8)


class Fit(Part, frozen=True):
    """A link's training recipe."""

    LATER: ClassVar[tuple[str, ...]] = ("trains",)

    epochs: Annotated[int, Field(ge=0, le=100_000)] | None = None
    """In all, both stages; None: the search's budget decides; 0: a teacher of the user's own is taken as it is."""
    trains: Literal["all", "head"] = "all"
    """Every weight, or those alone that give the classes, of a teacher of the user's own."""
    optimizer: Literal["adam", "sgd"] = "adam"
    learning_rate: Annotated[float, Field(gt=0, le=100)] = 1e-3
    """At the first epoch of each stage."""
    momentum: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Of SGD; must be 0 under Adam."""
    weight_decay: Annotated[float, Field(ge=0, le=1)] = 0.0
    schedule: Literal["constant", "step", "cosine"] = "constant"
    """Over one stage: step divides by 10 at each of `drops`, cosine falls to 0."""
    drops: Annotated[tuple[Annotated[float, Field(gt=0, lt=1)], ...], Field(max_length=8)] = (0.5, 0.75)
    """Shares of the stage's epochs, for the schedule step."""
    batch_size: Count | None = 128
    """Images a step; None: the search's budget decides."""
    fraction: Annotated[float, Field(gt=0, le=1)] = 1.0
    """Share of the training images that this link sees; a larger one holds the smaller."""
    subset: Literal["stratified", "first"] = "stratified"
    """Which images a fraction is: stratified and nested; first: the first ones of the file (seed 2, experiment 3)."""
    steps: Literal["full", "fraction"] = "full"
    """Length of an epoch: that of the full set whatever the fraction, or that of the fraction."""

    @model_validator(mode="after")
    def _momentum_is_used(self) -> "Fit":
        if self.optimizer == "adam" and self.momentum:
            raise ValueError(f"momentum belongs to sgd and must be 0 under adam, but got momentum={self.momentum}.")
        return self


Layer = Annotated[int, Field(ge=1)] | Annotated[str, Field(pattern=r"^([1-9][0-9]*/[1-9][0-9]*|[A-Za-z_][\w.]*)$")]
"""Its number from 1; a part of the depth, `2/3`; or a submodule's name, of a network of the user's own."""


class Pair(Part, frozen=True):
    """A hint and its guided layer, written `2→6`: number of the layer in the teacher → in the student.

    A plain network's layers are its convolutions, a residual one's the stem and the blocks, those of a user's own its
    taps."""

    hint: Layer
    """The teacher's layer, counted from 1; its map is what the next layer reads. A part of its depth (`2/3`), or the
    name of a submodule, becomes a number once the network is known."""
    guided: Layer
    """The student's layer, likewise."""
    weight: Annotated[float, Field(ge=0, le=1e6)] = 1.0
    """Of this pair's loss in stage 1; 0 only to repeat a paper whose code had left the loss out."""

    @property
    def layers(self) -> tuple[int, int]:
        """Numbers of the hint and of the guided layer, once the networks are known."""
        assert isinstance(self.hint, int) and isinstance(self.guided, int)
        return self.hint, self.guided

    @model_validator(mode="before")
    @classmethod
    def _written_as_a_word(cls, value: Any) -> Any:
        if not isinstance(value, str):
            return value
        ends = re.split(r"\s*(?:→|>)\s*", value.strip())
        if len(ends) != 2:
            raise ValueError(f"a pair is written hint>guided, such as 2>6 or blocks.4>layer2, but got {value!r}.")
        return {name: int(end) if end.isdecimal() else end for name, end in zip(("hint", "guided"), ends, strict=True)}

    def __str__(self) -> str:
        return f"{self.hint}→{self.guided}"


class Hints(Part, frozen=True):
    """Stage 1: the student's layers up to the deepest guided one learn the teacher's maps through regressors."""

    pairs: Annotated[tuple[Pair, ...], Field(min_length=1, max_length=16)]
    share: Annotated[float, Field(gt=0, lt=1)] = 0.5
    """Stage 1's share of the link's epochs (rounded; each stage has at least one)."""
    regressor: Literal["none", "conv1x1", "conv3x3"] = "conv3x3"
    """From the student's channels to the teacher's; none: the channels must agree."""
    scope: Literal["guided", "all_conv"] = "guided"
    """What stage 1 trains beside the regressors: the layers up to the deepest guided one (FitNets), or all but the
    classifier (seed 1's code)."""
    ce_weight: Annotated[float, Field(ge=0, le=1e6)] = 0.0
    """Of cross-entropy with the labels in stage 1, through the classifier as it was drawn (seed 1's code: 0.75)."""

    @field_validator("pairs")
    @classmethod
    def _pairs_differ(cls, pairs: tuple[Pair, ...]) -> tuple[Pair, ...]:
        names = [str(pair) for pair in pairs]
        if len(set(names)) < len(names):
            raise ValueError(f"each pair may be given once, but got {' '.join(names)}.")
        return pairs

    @model_validator(mode="after")
    def _something_trains(self) -> "Hints":
        if self.ce_weight and self.scope == "guided":
            raise ValueError("cross-entropy in stage 1 needs scope all_conv, since it reaches all layers.")
        if not self.ce_weight and not any(pair.weight for pair in self.pairs):
            raise ValueError("stage 1 needs a loss, but all weights are 0.")
        return self


class KD(Part, frozen=True):
    """Stage 2's softened answers: loss = (1 − weight)·CE + weight·τ²·KL(teacher ‖ student)."""

    weight: Annotated[float, Field(ge=0, le=1)] = 0.5
    """Of the distillation term; λ of seed 1 and of the charts is 1 − weight."""
    temperature: Annotated[float, Field(gt=0, le=1000)] = 4.0
    """τ, dividing both networks' logits."""
    virtual: Annotated[float, Field(gt=0, lt=1)] | None = None
    """None: the link before answers. A number: nobody does; the answer is made by hand, so much for the true class and
    the rest shared by the others (Yuan et al. 2020, equation 9)."""


class Link(Part, frozen=True):
    """One network of the chain, taught by the one before it."""

    net: AnyNet
    fit: Fit = Fit()
    hints: Hints | None = None
    """None: no stage 1."""
    kd: KD | None = None
    """None: stage 2 learns from labels alone."""
    seed: Seed = 0
    """Draws the weights, the order of images and the dropout: a replicate, never a hyperparameter."""

    @property
    def hint_epochs(self) -> int:
        """Epochs of stage 1."""
        if self.hints is None or self.fit.epochs is None:
            return 0
        return min(max(round(self.hints.share * self.fit.epochs), 1), self.fit.epochs - 1)

    @property
    def paired(self) -> tuple[Pair, ...]:
        """All layers of both networks that its losses compare."""
        return self.hints.pairs if self.hints else ()

    @property
    def pairs(self) -> str:
        """`1→3 2→6`, or `none`."""
        return " ".join(str(pair) for pair in self.paired) or "none"

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
    def _first_has_no_teacher(self) -> "Pipeline":
        if self.links[0].hints or self.links[0].kd:
            raise ValueError("the first link has no teacher, so its hints and kd must be left out.")
        return self

    @property
    def student(self) -> Link:
        return self.links[-1]

    def on(self, data: str) -> "Pipeline":
        """The same, with its images in another place."""
        return self.model_copy(update={"data": self.data.model_copy(update={"name": data})})

    def with_seed(self, seed: int) -> "Pipeline":
        """A replicate: another seed of the student; whoever teaches it stays."""
        return self.model_copy(
            update={"links": (*self.links[:-1], self.student.model_copy(update={"seed": seed}))},
        )


class Budget(Part, frozen=True):
    """What a search may spend unless the command line says otherwise."""

    trials: Count | None = None
    """Draws; None, for a grid: every cell."""
    epochs: Count
    """A student's, both stages together."""
    teacher_epochs: Count
    """The teacher's, and each assistant's."""
    batch_size: Count = 128
    """Images a step, for links whose fit leaves it open."""
    sampler: Literal["tpe", "random", "grid"] = "tpe"
    """Who chooses the knobs; grid: every cell, once a seed."""

    rule: Literal["union", "moasha", "strata", "asha", "none"] | None = None
    """Who goes on at a milestone; None: union, and none for a grid."""

    @model_validator(mode="after")
    def _draws_end(self) -> "Budget":
        if self.trials is None and self.sampler != "grid":
            raise ValueError(f"trials may be left out for a grid alone, but the sampler is {self.sampler}.")
        return self
