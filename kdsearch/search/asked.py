"""What a search is asked for: the options of `tune` by their names, each checked; and how a search that goes on takes
them. Imports neither torch nor ray."""

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError, field_validator, model_validator

from kdsearch.config.part import Part
from kdsearch.config.pipeline import SEEDS
from kdsearch.errors import Refusal, listed
from kdsearch.results import folder
from kdsearch.results.facts import read_facts
from kdsearch.results.folder import taken
from kdsearch.results.objectives import Against
from kdsearch.search.limits import bytes_of, microseconds_of
from kdsearch.storage.bucket import STORAGE, usual

FREE = {
    "space", "trials", "seeds", "max_concurrent", "gpus_per_trial", "data_dir", "results", "address", "resume", "name",
    "dry_run", "data", "teacher_anyway", "memory",
}  # fmt: skip
"""Options that may change when a search goes on: none of them changes a trial, and other images have another print."""
Several = Annotated[int, Field(ge=1)]


class Asked(Part, frozen=True):
    """The options of `tune`; None: as the space's budget, or the machine, says."""

    space: str
    """A name from `kdsearch spaces`, or the path of a Python file."""
    data: str | None = None
    """digits, mnist, fashion_mnist, svhn, cifar10, cifar100, or a folder."""
    data_dir: str = "data"
    """Where torchvision's data sets lie."""
    image_size: Annotated[int, Field(ge=8, le=1024)] | None = None
    """Side to which images are brought."""
    trials: Several | None = None
    """Pipelines to draw; references come on top."""
    epochs: Several | None = None
    """Of a student, in all; caps the teacher's too."""
    teacher_epochs: Several | None = None
    """Of the teacher and of each assistant."""
    seed: Annotated[int, Field(ge=0, lt=SEEDS)] = 0
    """Of the draws and of the students."""
    name: str | None = None
    """Of the search's folder; None: the space's name."""
    results: str = "results"
    """Where all searches are: a folder, s3://bucket/path or gs://…"""
    cpus_per_trial: Annotated[float, Field(ge=0.1)] = 1.0
    """Cores (and threads) a trial."""
    gpus_per_trial: Annotated[float, Field(ge=0)] | None = None
    """Share of a GPU a trial; None: 1 where Ray sees a GPU, else 0."""
    address: str | None = None
    """Of the Ray that trials run on, auto or HOST:PORT; None: RAY_ADDRESS, else this machine alone."""
    memory: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None
    """GB of a machine's memory that images may be expected to fill, for all trials together; None: a quarter of it."""
    max_concurrent: Several | None = None
    """Trials at a time, at most."""
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    """In which networks multiply; auto: bfloat16 where the processor or GPU does it natively."""
    seeds: Annotated[int, Field(ge=1, le=1000)] = 1
    """Of each cell of a grid; the student's alone."""
    metric: Literal["accuracy", "balanced"] = "accuracy"
    """What sampler, rule and front look at; balanced: each class counts alike."""
    against: Against = "parameters"
    """And beside it: what a student should have little of."""
    sampler: str | None = None
    """Who chooses the knobs: tpe, random or grid."""
    rule: str | None = None
    """Who goes on at a milestone: union, moasha, strata, asha or none."""
    reduction: Annotated[float, Field(allow_inf_nan=True)] = 3.0
    """A rule sends on the best 1/N of those judged."""
    milestones: str | None = None
    """KD epochs at which trials are judged, such as 1,3,9; None: powers of N."""
    max_params: Several | None = None
    """Of a deployed student."""
    max_macs: Several | None = None
    """Multiply-accumulates of a student, one image."""
    max_bytes: Several | None = None
    """Of a student's weights in float32; also as words: 100kB."""
    max_latency: str | None = None
    """Of a student for one image on one thread, such as 200us: at the start it becomes a ratio to the teacher's."""
    min_compression: Annotated[float, Field(allow_inf_nan=True)] | None = None
    """Teacher's parameters / the student's."""
    teacher: str | None = None
    """Of one's own: my_nets.py:teacher, package.module:function, timm:NAME, torchvision:NAME."""
    teacher_weights: str | None = None
    """Its file: .safetensors, or a .pt that torch.load takes with weights_only."""
    teacher_eye: tuple[str, ...] | None = None
    """How it sees, such as size=96 (config.Eye)."""
    teacher_train: Literal["all", "head"] | None = None
    """What of it trains, where it does."""
    teacher_anyway: bool = False
    """Take it even where it is refused."""
    student: str | None = None
    """The family of students, likewise: its knobs are the trial's."""
    overrides: tuple[str, ...] | None = None
    """Constants of all pipelines, such as student.fit.batch_size=64 (--set)."""
    resume: bool = False
    """Go on with the search `name`, up to `trials`."""
    dry_run: bool = False
    """Draw and check; train nothing."""
    storage_named: bool = False
    """Somebody chose where it is kept."""

    @model_validator(mode="before")
    @classmethod
    def _named(cls, told: Any) -> Any:
        if not isinstance(told, dict):
            return told
        named = {"results": usual()} if STORAGE in os.environ else {}
        return {"storage_named": "results" in told or bool(named), **named, **told}

    @field_validator("data_dir", "data", "results", "space", mode="before")
    @classmethod
    def _plain(cls, value: Any) -> Any:
        return str(value) if isinstance(value, Path) else value

    @field_validator("milestones", mode="before")
    @classmethod
    def _numbers(cls, value: Any) -> Any:
        return ",".join(map(str, value)) if isinstance(value, list | tuple) else value

    @field_validator("max_bytes", mode="before")
    @classmethod
    def _bytes(cls, value: Any) -> Any:
        return bytes_of(value) if isinstance(value, str) else value

    @field_validator("max_latency", mode="before")
    @classmethod
    def _time(cls, value: Any) -> Any:
        return None if value is None else f"{microseconds_of(value):.12g}us"

    @field_validator("overrides", "teacher_eye", mode="before")
    @classmethod
    def _words(cls, value: Any) -> Any:
        if isinstance(value, str):
            return (value,)
        return tuple(f"{key}={word}" for key, word in value.items()) if isinstance(value, Mapping) else value

    @property
    def bytes(self) -> int | None:
        """`memory` in bytes."""
        return None if self.memory is None else int(self.memory * 1e9)

    def options(self) -> dict[str, Any]:
        """As search.json keeps them."""
        plain = self.model_dump(mode="json")
        return plain | {"overrides": plain["overrides"] or [], "cluster": None}

    def resumed(self, place: Path) -> "Asked":
        """These options for a search that goes on in a folder: as it was told, with what may change as it is told now.
        Raises Refusal where there is no such search, where it runs, or where an option would change its trials.
        """
        if not (place / "search.json").is_file():
            raise Refusal(
                f"Only a search that has begun can go on, but there is none in '{place}'; leave out --resume."
            )
        if folder.is_running(place):
            raise taken(place)
        before = read_facts(place).options
        if before is None:
            raise Refusal(f"'{place}' was made by a version of kdsearch that could not go on; start a new search.")
        told, given = self.model_dump(), self.model_fields_set
        self._refuse_changes(told, before, given - FREE - {"storage_named"})
        kept = {name: before[name] for name in told if name in before and not (name in FREE and name in given)}
        kept |= {name: told[name] for name in FREE & given} | {"storage_named": self.storage_named}
        try:
            return Asked(**kept)
        except ValidationError as error:
            name = str(error.errors()[0]["loc"][0])
            raise Refusal(
                f"'{place / 'search.json'}' is damaged: {name} is {before.get(name)!r} in its options, which the "
                f"command line would not take; bring the file back, or start a new search with another --name."
            ) from None

    def _refuse_changes(self, told: Mapping[str, Any], before: Mapping[str, Any], given: Iterable[str]) -> None:
        for name in sorted(given):
            if _plain(told[name]) != _plain(before.get(name)):
                word = f"--{'set' if name == 'overrides' else name.replace('_', '-')}"
                raise Refusal(
                    f"A search goes on as it began, but {word} was {_plain(before.get(name))} and is "
                    f"{_plain(told[name])} now; leave it out, or start a new search with another --name."
                )


def _plain(value: Any) -> str:
    return "not given" if value is None else listed(value) if isinstance(value, list | tuple) else str(value)
