"""search.json: what a search was told, what it found, how it goes on. Imports neither torch nor ray."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, PositiveInt, ValidationError, field_validator

from kdsearch.config.part import Part
from kdsearch.errors import Refusal, listed
from kdsearch.results.objectives import Against
from kdsearch.storage.files import whole

SEVERAL = Field(default=None, strict=False)
"""JSON knows lists alone; what is in them stays as strict as the rest."""


class Network(Part, frozen=True, extra="allow", strict=True):
    """The teacher or an assistant, as it is in the store."""

    key: str | None = None
    """Its name there."""
    accuracy: float | None = None
    """Validation, 0–1."""
    digest: str | None = None
    """Hash of its weights."""
    threads: int | None = None
    precision: str | None = None
    """float32 or bfloat16."""
    targets: dict[str, str] = Field(default_factory=dict)
    """How its own teacher answered, for each stage that asks one: recorded or live."""
    macs: int | None = None
    """Multiply-accumulates of a forward pass for one image; None: an older search."""


class Facts(Part, frozen=True, extra="allow", strict=True):
    """All that search.json holds, in its order; None or empty: an older search did not say.

    Keys that a newer version wrote are kept.
    """

    space: str
    """Its name."""
    command: str
    """What began the search."""
    trials: int
    """Draws asked for, or, where it ended early, those that it made."""
    seeds: int = 1
    """Of each draw."""
    total: int | None = None
    """Trials in all: draws, their seeds, references."""
    seed: int
    """Of the draws and of the students."""
    epochs: int | None = None
    """A student's, at most."""
    sampler: str | None = None
    """tpe, random or grid."""
    rule: str | None = None
    """Who goes on at a milestone: union, moasha, strata, asha or none."""
    reduction: int | float | None = None
    """The rule sends on the best 1/reduction."""
    milestones: tuple[int, ...] | None = SEVERAL
    """KD epochs at which trials are judged."""
    sizes: tuple[PositiveInt, PositiveInt] | None = SEVERAL
    """Parameters (by `against`: MACs, bytes, millionths of the teacher's time) of the smallest and the largest student
    among the first draws."""
    views: PositiveInt | None = None
    """Most views of an image whose targets are recorded."""
    options: dict[str, Any] | None = None
    """What the command line said, by option; None: a search that cannot go on."""
    source: str | None = None
    """Hash of what the space's file does."""
    sources: dict[str, str] = Field(default_factory=dict)
    """Hashes of the files that make users' own networks, by their names."""
    resume: str | None = None
    """The command that goes on with it."""
    limits: dict[str, int | float] = Field(default_factory=dict)
    """Of a deployed student: max_params, max_macs, max_bytes, min_compression, min_speed (the teacher's time / its own,
    which --max-latency came to), as far as they were given."""
    against: Against = "parameters"
    """What the search looks at beside accuracy."""
    runtime: str | None = None
    """What measured latency, on `machine`; None: nothing did."""
    study: str | None = None
    """Optuna's name of it."""
    run: str | None = None
    """Of the process that drove it last."""
    resources: dict[str, int | float] | None = None
    """Of a trial: cpu and gpu, as Ray was asked for them."""
    machine: str | None = None
    """The driver's processor."""
    precision: Literal["float32", "bfloat16"] | None = None
    """What networks multiply in on the driver's machine; None: nodes decide, or an older search."""
    data: str
    """The data set's name, or its folder."""
    fingerprint: str
    """Of the training images."""
    recipe: int = 2
    """config.provenance.RECIPE when it began."""
    account: str | None = None
    """What was read of the data set."""
    images: PositiveInt
    """For training."""
    validation_images: PositiveInt
    image: tuple[int, int, int] | None = SEVERAL
    """Channels, height, width."""
    classes: Annotated[int, Field(ge=2)]
    largest_class: Annotated[float, Field(gt=0, le=1)] | None = None
    """Its share of the validation images; None: an older search."""
    judged_classes: PositiveInt | None = None
    """That have validation images; None: an older search."""
    metric: Literal["accuracy", "balanced"] = "accuracy"
    """What the search looks at."""
    knobs: dict[str, str]
    """Optuna's distributions as JSON, by knob."""
    python: str | None = None
    """Its version."""
    versions: dict[str, str] = Field(default_factory=dict)
    """Of the packages that numbers depend on."""
    teacher_parameters: PositiveInt | None = None
    """Of the first network of most draws."""
    networks: dict[str, Network] = Field(default_factory=dict)
    """Teacher and assistants, by name."""
    teacher: str | None = None
    """Its key in the store."""
    teacher_accuracy: Annotated[float, Field(ge=0, le=1)] | None = None
    """On the validation images, by the metric."""
    why_ended: str | None = None
    """Why there were fewer draws than were asked for."""

    @field_validator("sizes")
    @classmethod
    def _rising(cls, sizes: tuple[int, int] | None) -> tuple[int, int] | None:
        if sizes and sizes[0] > sizes[1]:
            raise ValueError("the smallest comes first")
        return sizes

    @property
    def all_trials(self) -> int:
        """`total`; an older search that did not say had three references beside its draws."""
        return self.trials + 3 if self.total is None else self.total

    @property
    def chance(self) -> float:
        """What guessing reaches: saying the commonest class always; of the mean over classes, one that judges."""
        even = 1 / (self.judged_classes or self.classes)
        return even if self.metric == "balanced" else self.largest_class or even

    @property
    def is_grid(self) -> bool:
        """Its answer is a table of cells, not a front."""
        return self.sampler == "grid"

    def plain(self) -> dict[str, Any]:
        """As it stands in the file: without what an older search did not say, with what a newer one did."""
        return self.model_dump(exclude_unset=True)


def read_facts(folder: Path) -> Facts:
    """The facts of the search in a folder; raises Refusal."""
    path = folder / "search.json"
    try:
        return Facts.model_validate(json.loads(path.read_text(encoding="utf-8")))
    except ValidationError as error:
        wrong = dict.fromkeys(str(next(iter(one["loc"]), "JSON object")) for one in error.errors(include_input=False))
        said = f"without a proper {listed(wrong)}"
    except (OSError, ValueError, RecursionError) as error:
        said = str(error)
    raise Refusal(f"'{path}' cannot be read ({said}); the search must be run again.")


def write_facts(folder: Path, facts: Mapping[str, Any]) -> None:
    """What the driver knows by now, as plain data."""
    with whole(folder / "search.json") as draft:
        draft.write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")
