"""The trials of a search in Ray Tune: the sampler proposes, the rungs stop, every row goes to the tables."""

import os
import shutil
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

import ray
from ray import tune
from ray.tune.schedulers import FIFOScheduler

from kdsearch.cluster.tasks import LOST, RETRIES
from kdsearch.config.pipeline import Pipeline
from kdsearch.errors import Refusal
from kdsearch.results import files
from kdsearch.results import tables as results_tables
from kdsearch.search.rungs import Rungs
from kdsearch.search.searcher import Sampler
from kdsearch.search.state import Search
from kdsearch.search.trial import keep_trace

ALIKE = (12, 1 / 3)
"""Of so many trials that end first, more than such a share failing alike end the search."""


def tune_trials(search: Search, references: dict[str, Pipeline], work: Callable[[dict], None]) -> None:
    """Run all trials; `work` is what Ray runs of each."""
    rungs = restored(search)
    sampler = Sampler(search, references, rungs.milestones, startup=max(10, 3 * _together(search)))
    if count := sampler.to_come:
        _tune(search, sampler, rungs, count, work)
    if search.stopping.is_set():
        raise KeyboardInterrupt
    sampler.close()
    search.storage.remove(search.folder / "checkpoints")
    if "why_ended" in search.facts or search.sampler == "grid":
        search.facts |= {"trials": len(search.tables.draws), "total": len(search.tables.trials)}
        search.write_facts()


def restored(search: Search) -> Rungs:
    """The rungs with all verdicts of the tables; raises Refusal where these cannot be."""
    rungs = Rungs(search.milestones, search.reduction, search.rule, search.sizes, search.settings.seed)
    try:
        rungs.restore(rungs.state() | {"verdicts": search.tables.verdicts})
    except (LookupError, TypeError, ValueError, ArithmeticError) as error:
        raise Refusal(
            f"The table '{search.folder / 'verdicts.parquet'}' is damaged ({type(error).__name__}: {error}); delete "
            f"it: trials that come now are judged among themselves."
        ) from None
    return rungs


def _tune(search: Search, sampler: Sampler, rungs: Rungs, count: int, work: Callable[[dict], None]) -> None:
    os.environ["TUNE_MAX_PENDING_TRIALS_PG"] = str(_waiting(_together(search)))
    tuner = tune.Tuner(
        tune.with_resources(work, search.resources),
        tune_config=tune.TuneConfig(
            num_samples=count,
            search_alg=sampler,
            scheduler=Stopper(search.tables, rungs),
            max_concurrent_trials=search.max_concurrent,
            reuse_actors=True,
            trial_dirname_creator=lambda trial: trial.trial_id,
        ),
        run_config=tune.RunConfig(
            name="ray",
            storage_path=str(search.folder.resolve()),
            verbose=0,
            callbacks=[Watcher(search)],
            failure_config=tune.FailureConfig(max_failures=RETRIES),
        ),
    )
    try:
        tuner.fit()
    except KeyboardInterrupt:
        raise search.failure or KeyboardInterrupt from None
    except tune.TuneError as error:
        raise _innermost(error) from error
    finally:
        shutil.rmtree(search.folder / "ray", ignore_errors=True)  # Ray's own record of what the tables say


def _innermost(error: BaseException) -> BaseException:
    """What Ray wrapped."""
    while error.__cause__ or error.__context__:
        error = error.__cause__ or error.__context__ or error
    return error


def _together(search: Search) -> int:
    """Trials that run side by side."""
    there = ray.cluster_resources()
    shares = [there.get(kind.upper(), 0) / asked for kind, asked in search.resources.items() if asked]
    return min(int(min(shares)), search.max_concurrent or search.trials)


def _waiting(together: int) -> int:
    """Trials drawn ahead of those that run: Ray keeps a free process only for one that waits, and else ends it.

    With its own default, 1, trials that end at about the same time lose all processes but one. Each one ahead is drawn
    without what the running ones are about to tell, so they are few.
    """
    return max(1, together // 4)


class Stopper(FIFOScheduler):
    """The rungs, asked at the milestones of the student's last stage; references are never judged."""

    def __init__(self, tables: results_tables.Tables, rungs: Rungs) -> None:
        super().__init__()
        self.tables, self.rungs = tables, rungs

    def __getstate__(self) -> dict:
        return {}

    def on_trial_result(self, tune_controller: Any, trial: Any, result: dict) -> str:
        name = trial.config["trial"]
        if not trial.config["judged"] or result["complete"]:
            return self.CONTINUE
        for row in result["rows"]:
            if row["kd_epoch"] in self.rungs.milestones:  # a trial that goes on tells again what it told
                size = self.tables.trials[name]["parameters"]
                goes_on = self.rungs.judge(name, row["kd_epoch"], row["accuracy"], size)
                verdict = self.rungs.verdicts[name, row["kd_epoch"]]
                self.tables.judged(asdict(verdict))
                if not goes_on:
                    self.tables.trials[name]["cause"] = verdict.cause(self.rungs)
                    return self.STOP
        return self.CONTINUE


class Watcher(tune.Callback):
    """Every report to the tables and to who watches."""

    def __init__(self, search: Search) -> None:
        self.search = search
        self.ends: list[str | None] = []
        """How the first trials of this process ended: the kind of failure, or None."""

    def __getstate__(self) -> dict:
        return {}

    def on_trial_start(self, iteration: int, trials: list, trial: Any, **info: Any) -> None:
        self._mark(trial, "running")

    def on_trial_result(self, iteration: int, trials: list, trial: Any, result: dict, **info: Any) -> None:
        self.search.doing[trial.config["trial"]] = result.get("doing", "")
        last = len(trial.config["pipeline"]["links"]) - 1
        self.search.tables.extend(trial.config["trial"], result["rows"], last)
        if result.get("full"):
            self.search.end_with(self.search.full_disk(result["full"]))
        elif result.get("paused"):
            self._mark(trial, "waiting")
        elif result.get("cause"):
            path = keep_trace(self.search.folder, trial.config["trial"], result["trace"])
            self.search.storage.push(path)
            self._mark(trial, "failed", result["cause"])
        elif result["complete"]:
            self._mark(trial, "complete")
        self.search.changed()

    def on_trial_complete(self, iteration: int, trials: list, trial: Any, **info: Any) -> None:
        row = self.search.tables.trials[trial.config["trial"]]
        if row["state"] == "running":
            self._mark(trial, "stopped", row["cause"])

    def on_trial_recover(self, iteration: int, trials: list, trial: Any, **info: Any) -> None:
        self.search.doing[trial.config["trial"]] = f"{LOST}; it goes on from its last checkpoint"
        self.search.changed()

    def on_trial_error(self, iteration: int, trials: list, trial: Any, **info: Any) -> None:
        self._mark(trial, "failed", f"{LOST}, {1 + RETRIES} times" if trial.num_failures > RETRIES else LOST)

    def _mark(self, trial: Any, state: str, cause: str | None = None) -> None:
        name = trial.config["trial"]
        self.search.tables.mark(name, state, cause)
        if state in files.ENDED:
            self.search.storage.remove(self.search.folder / "checkpoints" / f"{name}.safetensors")
            self._watch_failures(name, cause if state == "failed" else None)
        self.search.changed()

    def _watch_failures(self, name: str, cause: str | None) -> None:
        """End the search where too many of the first trials fail alike: the next ones would, too."""
        most, share = ALIKE
        kind = cause and cause.partition(":")[0]
        self.ends.append(kind)
        if self.search.sampler == "grid":  # whose cells that fail are an answer, unless all do
            share = 1 - 1 / most
        if len(self.ends) <= most and kind and self.ends.count(kind) > most * share:
            said = (cause or "").rstrip(".")
            self.search.end_with(
                Refusal(
                    f"{self.ends.count(kind)} of the first {len(self.ends)} trials failed alike, the last of them, "
                    f"trial {name}: {said}. Mend that, and start a new search. 'kdsearch status {self.search.folder}' "
                    f"lists them, and '{self.search.folder / 'failures'}' holds their tracebacks."
                )
            )
