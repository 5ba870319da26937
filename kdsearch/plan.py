"""What a search is told, what it finds out before it trains anything, and all that it knows while it runs."""

import platform
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

from kdsearch import cache, nets, results, spaces
from kdsearch.config import Net, Pipeline
from kdsearch.data import Images, load, silent
from kdsearch.errors import Refusal, listed
from kdsearch.settings import Settings
from kdsearch.targets import most_views

DRAWS = 1000
"""Random draws in which a search looks for its assistants."""
LOOKED_AT = 200
"""Of these, draws whose sizes and pairs are computed beforehand."""

Show = Callable[["Search"], None]
"""Called whenever something changed."""


@dataclass
class Search:
    """One run of a space: what it was told, and all that is known of it so far."""

    space: spaces.Space
    settings: Settings
    trials: int
    """Draws; the references come on top."""
    folder: Path
    data_dir: Path
    cpus_per_trial: float = 1
    gpus_per_trial: float | None = None
    """None: 1 where Ray sees a GPU, else 0."""
    max_concurrent: int | None = None
    precision: str = "auto"
    """Of the networks' arithmetic: float32, bfloat16, or what each trial's device does well."""
    command: str = ""
    show: Show = lambda search: None
    progress: Callable[[str, int, int], None] = silent

    # Found out as it goes:
    interrupted: bool = False
    data: str = field(init=False)
    """The data set's name, or its folder."""
    epochs: int = field(init=False)
    """A student's, at most."""
    resources: dict[str, float] = field(init=False)
    """A trial's, as Ray is asked for them."""
    tables: results.Tables = field(init=False)
    images: Images = field(init=False)
    cache_limit: int = field(init=False)
    """Bytes of recorded targets, on each node."""
    networks: dict[str, dict] = field(default_factory=dict)
    """Of the teacher and the assistants: epoch, epochs and accuracy, by name."""
    ranges: dict[str, str] = field(default_factory=dict)
    """Of the knobs: Optuna's distributions as JSON."""
    facts: dict[str, Any] = field(default_factory=dict)
    doing: dict[str, str] = field(default_factory=dict)
    """What a trial does between epochs, by its id."""

    def __post_init__(self) -> None:
        self.tables = results.Tables(self.folder)
        self.cache_limit = cache.limit()

    @property
    def store(self) -> Path:
        return self.folder.parent / "store"

    def places(self) -> dict[str, Any]:
        """What a worker must be told beside a pipeline, as plain data; its working folder is another."""
        return {
            "store": str(self.store.resolve()),
            "data_dir": str(self.data_dir.resolve()),
            "threads": max(int(self.cpus_per_trial), 1),
            "precision": self.precision,
            "cache_limit": self.cache_limit,
            "device": "cuda" if self.resources["gpu"] else "cpu",
        }

    def survey(self, net: Net) -> nets.Survey:
        """A network's shapes and costs on this search's images."""
        return nets.survey(net, self.images.shape, len(self.images.classes))

    def check(self, pipeline: Pipeline) -> None:
        """Raises Refusal for a pair that cannot fit."""
        nets.check(pipeline, self.images.shape, len(self.images.classes))

    def changed(self, at_once: bool = False) -> None:
        """To the tables and to who watches."""
        self.tables.write(at_once)
        self.show(self)
        if self.interrupted:
            raise KeyboardInterrupt

    @contextmanager
    def stopped_by_ctrl_c(self) -> Iterator[None]:
        """Remembers an interrupt: Python drops one that comes inside a destructor, and the search would go on."""

        def interrupt(*_: object) -> None:
            self.interrupted = True
            raise KeyboardInterrupt

        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = signal.signal(signal.SIGINT, interrupt)
        try:
            yield
        finally:
            signal.signal(signal.SIGINT, before)

    def write_facts(self) -> None:
        """search.json, with all that is known by now."""
        images = self.images
        told = {
            "space": self.space.name,
            "command": self.command,
            "trials": self.trials,
            "seed": self.settings.seed,
            "epochs": self.epochs,
            "data": self.data,
            "fingerprint": images.fingerprint,
            "images": len(images.train),
            "validation_images": len(images.validation),
            "image": list(images.shape),
            "classes": len(images.classes),
            "knobs": self.ranges,
            "python": platform.python_version(),
            "versions": {name: version(name) for name in ("kdsearch", "ray", "optuna", "torch", "torchvision")},
        }
        self.facts = told | self.facts
        results.write_facts(self.folder, self.facts)


def look(search: Search) -> tuple[list[spaces.Draw], dict[str, Pipeline]]:
    """Read the data, draw, check: all that can refuse a search before it is written. Returns draws, references."""
    spaces.check_overrides(search.space, search.settings)
    cache.check()
    drawn, references = _drawn(search)
    for draw in drawn:
        search.ranges |= draw.ranges
    names = {draw.pipeline.data.name for draw in drawn}
    if len(names) > 1:
        raise Refusal(f"A search has one data set, but '{search.space.name}' draws {listed(sorted(names))}.")
    search.data = names.pop()
    search.epochs = max(draw.pipeline.student.fit.epochs or 0 for draw in drawn)
    search.images = load(drawn[0].pipeline.data, search.data_dir, search.progress)
    looked_at = [*(draw.pipeline for draw in drawn[:LOOKED_AT]), *references.values()]
    for pipeline in looked_at:
        search.check(pipeline)
    views = most_views(looked_at, search.images, search.cache_limit)
    if views < search.images.views:
        search.settings = replace(search.settings, most_views=views)
        drawn, references = _drawn(search)
    search.facts["teacher_parameters"] = search.survey(spaces.commonest_teacher(drawn).net).parameters
    return drawn, references


def _drawn(search: Search) -> tuple[list[spaces.Draw], dict[str, Pipeline]]:
    drawn = spaces.draws(search.space, search.settings, DRAWS, search.settings.seed)
    return drawn, spaces.references(search.space, drawn, search.settings)
