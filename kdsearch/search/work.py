"""A worker's orders: plain data that travels; where the files are, which link is trained, and how."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import Field

from kdsearch.config.part import Part
from kdsearch.config.pipeline import Choice, Count, Pipeline
from kdsearch.config.provenance import Made, MadeTeacher
from kdsearch.results import files
from kdsearch.storage.bucket import Storage


class Work(Part, frozen=True):
    """What a worker is told. Its working folder is another, and its machine may be: files are named by their place in
    the storage."""

    pipeline: Pipeline
    link: int | None = None
    """A network that teaches, trained through the store; None: the student."""
    storage: str
    """The storage's word."""
    data_dir: str
    device: str
    """cpu or cuda."""
    threads: Count
    precision: str
    """float32, bfloat16 or auto: what the device does well."""
    cache_limit: int
    """Bytes of recorded targets."""
    memory: int | None = None
    """Bytes that images may be expected to fill; None: a quarter of the machine's."""
    targets: dict[str, Choice] = Field(default_factory=dict)
    """How teachers answered, where a student is trained again."""
    stop_file: str
    """While it is there, workers end at their next epoch's end."""
    milestones: tuple[int, ...] = ()
    """KD epochs after which a student is judged, and kept."""
    student: str = ""
    """Its file."""
    checkpoint: str = ""
    """The file that it goes on from."""
    train: bool = True
    test: bool = False
    """It is judged on the test images, too."""
    trial: str = ""
    """Its id in the tables."""
    judged: bool = False
    """A rule may stop it."""
    stored: bool = False
    """The student goes through the store, as networks that teach do."""
    impossible: str = ""
    """Why it cannot be trained."""


@dataclass(frozen=True)
class Orders:
    """What all workers of a search are told, in one place."""

    storage: Storage
    folder: Path
    """Of the search."""
    data_dir: Path
    resources: Mapping[str, float]
    """Of one worker, as Ray is asked for them."""
    precision: str
    cache_limit: int
    memory: int | None = None

    @property
    def stop_file(self) -> Path:
        return self.folder / "stopping"

    def file(self, kind: str, name: str) -> Path:
        """`students/14.safetensors` of the search."""
        return files.weights(self.folder, kind, name)

    def work(self, pipeline: Pipeline, made: Made | MadeTeacher | None = None, **more: Any) -> Work:
        """`made`: the network is trained again, as that one was. Files among `more` may be paths."""
        named: dict[str, Any] = {}
        named |= {name: self._inside(value) if isinstance(value, Path) else value for name, value in more.items()}
        as_made: dict[str, Any] = {"precision": made.precision, "targets": {**made.targets}} if made else {}
        threads = made.threads if made else max(int(self.resources["cpu"]), 1)
        return Work(
            pipeline=pipeline, storage=self.storage.word, data_dir=str(self.data_dir.resolve()), threads=threads,
            device="cuda" if self.resources["gpu"] else "cpu", cache_limit=self.cache_limit, memory=self.memory,
            stop_file=self._inside(self.stop_file), **({"precision": self.precision} | as_made), **named,
        )  # fmt: skip

    def _inside(self, path: Path) -> str:
        return str(path.relative_to(self.storage.folder))
