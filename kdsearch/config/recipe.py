"""Which images, for how long and in which steps: plain, frozen, validated data. Imports neither torch nor ray."""

from typing import Annotated, ClassVar, Literal

from pydantic import Field, model_validator

from kdsearch.config.datasets import KNOWN, Augment
from kdsearch.config.part import Part, Side

__all__ = ["Budget", "Data", "Fit"]

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
