"""A search: the space to Optuna, the rungs to a Ray scheduler, the trials to Ray; every row to the tables."""

import logging
import math
import os
import platform
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import optuna
import ray
from filelock import Timeout
from ray import tune
from ray.tune.schedulers import FIFOScheduler
from ray.tune.search.optuna import OptunaSearch

from kdsearch import data, nets, results, spaces
from kdsearch.config import Pipeline
from kdsearch.errors import Refusal
from kdsearch.rungs import Rungs, milestones
from kdsearch.store import Store, key_of, read_facts
from kdsearch.trial import prepare, trial

DRAWS = 1000
"""Random draws in which a search looks for its sizes and its assistants."""
ASSISTANTS = 16
"""At most so many assistants are trained before the first trial."""
REDRAWS = 50

Show = Callable[["Search"], None]
"""Called whenever something changed."""


@dataclass
class Search:
    """One run of a space: what it was told, and all that is known of it so far."""

    space: spaces.Space
    settings: spaces.Settings
    trials: int
    """Draws; the references come on top."""
    folder: Path
    data_dir: Path
    cpus_per_trial: float = 1
    gpus_per_trial: float | None = None
    """None: 1 where Ray sees a GPU, else 0."""
    max_concurrent: int | None = None
    command: str = ""
    show: Show = lambda search: None
    progress: Callable[[str, int, int], None] = data.silent

    tables: results.Tables = field(init=False)
    images: data.Images = field(init=False)
    networks: dict[str, dict] = field(default_factory=dict)
    """Of the teacher and the assistants: epoch, epochs, accuracy, seconds, by name."""
    facts: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.tables = results.Tables(self.folder)

    @property
    def store(self) -> Path:
        return self.folder.parent / "store"

    @property
    def resources(self) -> dict[str, float]:
        gpus = self.gpus_per_trial
        if gpus is None:
            gpus = 1 if ray.cluster_resources().get("GPU") else 0
        return {"cpu": self.cpus_per_trial, "gpu": gpus}

    def changed(self, at_once: bool = False) -> None:
        self.tables.write(at_once)
        self.show(self)


def look(search: Search) -> tuple[list[spaces.Draw], dict[str, Pipeline]]:
    """Read the data, draw, check: all that can refuse a search before it is written. Returns draws, references."""
    spaces.check_overrides(search.space, search.settings)
    drawn = spaces.draws(search.space, search.settings, DRAWS, search.settings.seed)
    references = spaces.references(search.space, drawn[0].pipeline, search.settings)
    search.images = data.load(drawn[0].pipeline.data, search.data_dir, search.progress)
    for pipeline in [*(draw.pipeline for draw in drawn[:100]), *references.values()]:
        nets.check(pipeline, search.images.shape, len(search.images.classes))
    return drawn, references


def run(search: Search) -> None:
    """Run a search to its end; its folder holds the results. Raises Refusal before anything is trained."""
    drawn, references = look(search)
    search.folder.mkdir(parents=True, exist_ok=True)
    lock = results.driver_lock(search.folder)
    try:
        lock.acquire()
    except Timeout:
        raise Refusal(f"Another process runs the search '{search.folder}'; give this one another --name.") from None
    try:
        _write_facts(search)
        search.changed(at_once=True)
        start_ray()
        chains = distinct_chains([*references.values(), *(draw.pipeline for draw in drawn)])
        train_networks(search, chains)
        _tune(search, drawn, references)
    finally:
        search.tables.write(at_once=True)
        lock.release()


def start_ray() -> None:
    """Ray without its dashboard, tables and notes; joins the cluster that RAY_ADDRESS names."""
    os.environ |= {
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_AIR_NEW_OUTPUT": "0",  # its banner comes at any verbosity
        "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
        "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
        "TUNE_DISABLE_STRICT_METRIC_CHECKING": "1",  # a hint stage has no accuracy to report
        "TUNE_DISABLE_SIGINT_HANDLER": "1",
        "TUNE_GLOBAL_CHECKPOINT_S": "1000000",  # Ray's own snapshots: the search's tables are the record
    }
    logging.getLogger("ray").setLevel(logging.ERROR)
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    if ray.is_initialized():
        return
    own = {} if os.environ.get("RAY_ADDRESS") else {"include_dashboard": False, "object_store_memory": 200_000_000}
    ray.init(logging_level=logging.ERROR, log_to_driver=False, configure_logging=True, **own)


def distinct_chains(pipelines: list[Pipeline]) -> list[Pipeline]:
    """The teacher's and at most ASSISTANTS other chains of networks that students learn from, shortest first."""
    chains: dict[Any, Pipeline] = {}
    for pipeline in pipelines:
        for number in range(1, len(pipeline.links)):
            chain = Pipeline(links=pipeline.links[:number], data=pipeline.data)
            chains.setdefault(chain.model_dump_json(), chain)
    ordered = sorted(chains.values(), key=lambda chain: len(chain.links))
    return ordered[: 1 + ASSISTANTS]


def train_networks(search: Search, chains: list[Pipeline]) -> None:
    """The teacher, then the assistants, once, as Ray tasks with a trial's resources, through the store."""
    resources = search.resources
    task = ray.remote(num_cpus=resources["cpu"], num_gpus=resources["gpu"], max_retries=2)(prepare)
    for length in sorted({len(chain.links) for chain in chains}):
        running = {}
        for chain in (chain for chain in chains if len(chain.links) == length):
            number = length - 1
            path = Store(search.store).path(key_of(chain, number, search.images.fingerprint))
            name = "teacher" if length == 1 else f"assistant-{path.stem[:6]}"
            if name == "teacher" and "teacher" in search.networks:
                name = f"teacher-{path.stem[:6]}"
            search.networks[name] = {"epoch": 0, "epochs": chain.links[-1].fit.epochs, "accuracy": None}
            if path.exists():
                _trained(search, name, read_facts(path))
            else:
                asked = {"pipeline": chain.model_dump(mode="json")} | _places(search)
                running[task.options(num_returns="streaming").remote(asked, number)] = name
        _follow(search, running)


def _follow(search: Search, running: dict[Any, str]) -> None:
    search.show(search)
    while running:
        (ready, *_), _ = ray.wait(list(running), num_returns=1)
        name = running[ready]
        try:
            said = ray.get(next(ready))
        except StopIteration:
            running.pop(ready)
            continue
        except ray.exceptions.RayTaskError as error:
            raise Refusal(f"The {name} could not be trained: {str(error.cause or error).splitlines()[-1]}") from error
        if "facts" in said:
            _trained(search, name, said["facts"])
        else:
            row = said["row"]
            search.tables.extend(name, [row], student=-1)
            search.networks[name] |= {"epoch": row["epoch"], "accuracy": row["accuracy"]}
        search.changed()


def _trained(search: Search, name: str, facts: dict) -> None:
    search.networks[name] |= {"epoch": search.networks[name]["epochs"], "accuracy": facts["accuracy"]}
    search.facts.setdefault("networks", {})[name] = {n: facts[n] for n in ("key", "accuracy", "digest", "threads")}
    if name == "teacher":
        search.facts |= {"teacher": facts["key"], "teacher_accuracy": facts["accuracy"]}
    _write_facts(search)


def _places(search: Search) -> dict[str, Any]:
    return {
        "store": str(search.store), "data_dir": str(search.data_dir), "threads": max(int(search.cpus_per_trial), 1),
    }  # fmt: skip


def _write_facts(search: Search) -> None:
    packages = ("kdsearch", "ray", "optuna", "torch", "torchvision")
    images = search.images
    search.facts = {
        "space": search.space.name, "command": search.command, "trials": search.trials, "seed": search.settings.seed,
        "epochs": search.settings.epochs, "data": search.settings.data or "digits", "fingerprint": images.fingerprint,
        "images": len(images.train), "validation_images": len(images.validation), "image": list(images.shape),
        "classes": len(images.classes), "python": platform.python_version(),
        "versions": {name: version(name) for name in packages},
    } | search.facts  # fmt: skip
    results.write_facts(search.folder, search.facts)


def _tune(search: Search, drawn: list[spaces.Draw], references: dict[str, Pipeline]) -> None:
    shape, classes = search.images.shape, len(search.images.classes)
    sizes = [nets.survey(draw.pipeline.student.net, shape, classes).parameters for draw in drawn]
    rungs = Rungs(milestones(search.settings.epochs), (min(sizes), max(sizes)))
    sampler = Sampler(search, references, rungs.milestones)
    tuner = tune.Tuner(
        tune.with_resources(trial, search.resources),
        tune_config=tune.TuneConfig(
            num_samples=search.trials + len(references),
            search_alg=sampler,
            scheduler=Stopper(search.tables, rungs),
            max_concurrent_trials=search.max_concurrent,
            reuse_actors=True,
            trial_dirname_creator=lambda trial: trial.trial_id,
        ),
        run_config=tune.RunConfig(
            name="ray", storage_path=str(search.folder.resolve()), verbose=0, callbacks=[Watcher(search)]
        ),
    )
    tuner.fit()


class Sampler(OptunaSearch):
    """The references first, then what Optuna proposes for accuracy and log10 compression together."""

    def __init__(self, search: Search, references: dict[str, Pipeline], judged: tuple[int, ...]) -> None:
        self._search, self._judged = search, judged
        self._references = dict(references)
        self._names: dict[str, str] = {}
        settings = search.settings
        super().__init__(
            partial(spaces.propose, path=search.space.path, settings=settings),
            metric=["accuracy", "log10_compression"],
            mode=["max", "max"],
            seed=settings.seed,
        )

    def __getstate__(self) -> dict:
        return {}  # Ray pickles its searchers to restore them; a search's own record is its tables

    def save(self, checkpoint_path: str) -> None:
        """Nothing, for the same reason."""

    def suggest(self, trial_id: str) -> dict | None:
        """The next trial's config; counts it as waiting."""
        knobs: dict = {}
        reference = next(iter(self._references), None)
        if reference:
            name, pipeline = reference, self._references.pop(reference)
        else:
            name = str(sum(row["reference"] is None for row in self._search.tables.trials.values()))
            pipeline, knobs = self._drawn(trial_id)
        self._names[trial_id] = name
        plain = pipeline.model_dump(mode="json")
        self._search.tables.add(name, plain, {"reference": reference, **self._known(pipeline)}, knobs)
        student = self._search.folder / "students" / f"{name}.safetensors"
        return {
            "trial": name, "pipeline": plain, "milestones": self._judged, "student": str(student.resolve()),
            "judged": reference is None, **_places(self._search),
        }  # fmt: skip

    def _drawn(self, trial_id: str) -> tuple[Pipeline, dict]:
        refused: Exception | None = None
        for _ in range(REDRAWS):
            try:
                suggested = super().suggest(trial_id)
                assert suggested is not None
                pipeline = Pipeline.model_validate(suggested["pipeline"])
                nets.check(pipeline, self._search.images.shape, len(self._search.images.classes))
                return pipeline, dict(self._ot_trials[trial_id].params)
            except Refusal as error:
                refused = error
                self._ot_study.tell(self._ot_trials.pop(trial_id), state=optuna.trial.TrialState.FAIL)
        raise Refusal(f"{REDRAWS} draws of '{self._search.space.name}' in a row cannot run; the last: {refused}")

    def _known(self, pipeline: Pipeline) -> dict[str, Any]:
        shape, classes = self._search.images.shape, len(self._search.images.classes)
        teacher, student = pipeline.links[0].net, pipeline.student
        own = nets.survey(student.net, shape, classes)
        before = pipeline.links[-2].net if len(pipeline.links) > 1 else None
        return {
            "parameters": own.parameters,
            "compression": nets.survey(teacher, shape, classes).parameters / own.parameters,
            "training_parameters": nets.training_parameters(student, before, shape, classes),
            "macs": own.macs,
        }

    def on_trial_complete(self, trial_id: str, result: dict | None = None, error: bool = False) -> None:
        """Fully trained: its two values. Stopped: PRUNED, since its accuracy is not comparable. Failed: FAIL."""
        asked = self._ot_trials.get(trial_id)
        if asked is None:  # a reference
            return
        row = self._search.tables.trials[self._names[trial_id]]
        if error or not result or result.get("cause"):
            self._ot_study.tell(asked, state=optuna.trial.TrialState.FAIL)
        elif result["complete"]:
            self._ot_study.tell(asked, [result["accuracy"], math.log10(row["compression"])])
        else:
            self._ot_study.tell(asked, state=optuna.trial.TrialState.PRUNED)


class Stopper(FIFOScheduler):
    """The rungs, asked at the milestones of the student's last stage; references are never judged."""

    def __init__(self, tables: results.Tables, rungs: Rungs) -> None:
        super().__init__()
        self.tables, self.rungs = tables, rungs

    def __getstate__(self) -> dict:
        return {}

    def on_trial_result(self, tune_controller: Any, trial: Any, result: dict) -> str:
        name = trial.config["trial"]
        if not trial.config["judged"] or result["complete"]:
            return self.CONTINUE
        for row in result["rows"]:
            if row["kd_epoch"] in self.rungs.milestones:
                size = self.tables.trials[name]["parameters"]
                if not self.rungs.judge(name, row["kd_epoch"], row["accuracy"], size):
                    share = f"best 1/{self.rungs.reduction} of its size"
                    self.tables.trials[name]["cause"] = f"not among the {share} at KD epoch {row['kd_epoch']}"
                    return self.STOP
        return self.CONTINUE


class Watcher(tune.Callback):
    """Every report to the tables and to who watches."""

    def __init__(self, search: Search) -> None:
        self.search = search

    def __getstate__(self) -> dict:
        return {}

    def on_trial_start(self, iteration: int, trials: list, trial: Any, **info: Any) -> None:
        self._mark(trial, "running")

    def on_trial_result(self, iteration: int, trials: list, trial: Any, result: dict, **info: Any) -> None:
        last = len(trial.config["pipeline"]["links"]) - 1
        self.search.tables.extend(trial.config["trial"], result["rows"], last)
        if result.get("cause"):
            self._mark(trial, "failed", result["cause"])
        elif result["complete"]:
            self._mark(trial, "complete")
        self.search.changed()

    def on_trial_complete(self, iteration: int, trials: list, trial: Any, **info: Any) -> None:
        row = self.search.tables.trials[trial.config["trial"]]
        if row["state"] == "running":
            self._mark(trial, "stopped", row["cause"])

    def on_trial_error(self, iteration: int, trials: list, trial: Any, **info: Any) -> None:
        self._mark(trial, "failed", "its process ended without a word (killed, or out of memory)")

    def _mark(self, trial: Any, state: str, cause: str | None = None) -> None:
        self.search.tables.mark(trial.config["trial"], state, cause)
        self.search.changed()
