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
from kdsearch.errors import Refusal
from kdsearch.results import files, objectives
from kdsearch.results import tables as results_tables
from kdsearch.results.folder import keep_trace
from kdsearch.results.metric import column
from kdsearch.search import spaces
from kdsearch.search.driver import Driver
from kdsearch.search.plan import Plan
from kdsearch.search.rungs import Rungs
from kdsearch.search.searcher import Sampler

ALIKE = (12, 1 / 3)
"""Of so many trials that end first, more than such a share failing alike end the search."""


def tune_trials(driver: Driver, work: Callable[[dict], None]) -> None:
    """Run all trials; `work` is what Ray runs of each."""
    plan, rungs = driver.plan, restored(driver)
    startup = max(10, 3 * _together(plan))
    sampler = Sampler(plan, driver.tables, driver.work, driver.stopping, startup)
    if count := sampler.to_come:
        _tune(driver, sampler, rungs, count, work)
    if driver.stopping.is_set():
        raise KeyboardInterrupt
    sampler.close()
    plan.storage.remove(plan.folder / "checkpoints")
    if sampler.why_ended:
        driver.facts["why_ended"] = sampler.why_ended
    if sampler.why_ended or plan.why_ended or plan.sampler == "grid":
        driver.facts |= {"trials": len(driver.tables.draws), "total": len(driver.tables.trials)}
        driver.write_facts()


def restored(driver: Driver) -> Rungs:
    """The rungs with all verdicts of the tables; raises Refusal where these cannot be."""
    plan = driver.plan
    rungs = Rungs(plan.milestones, plan.asked.reduction, plan.rule, plan.sizes, plan.settings.seed)
    try:
        rungs.restore(rungs.state() | {"verdicts": driver.tables.verdicts})
    except (LookupError, TypeError, ValueError, ArithmeticError) as error:
        raise Refusal(
            f"The table '{plan.folder / 'verdicts.parquet'}' is damaged ({type(error).__name__}: {error}); delete "
            f"it: trials that come now are judged among themselves."
        ) from None
    return rungs


def _tune(driver: Driver, sampler: Sampler, rungs: Rungs, count: int, work: Callable[[dict], None]) -> None:
    plan = driver.plan
    os.environ["TUNE_MAX_PENDING_TRIALS_PG"] = str(_waiting(plan))
    tuner = tune.Tuner(
        tune.with_resources(work, dict(plan.resources)),
        tune_config=tune.TuneConfig(
            num_samples=count,
            search_alg=sampler,
            scheduler=Stopper(driver.tables, rungs, column(plan.asked.metric)),
            max_concurrent_trials=plan.asked.max_concurrent,
            reuse_actors=True,
            trial_dirname_creator=lambda trial: trial.trial_id,
        ),
        run_config=tune.RunConfig(
            name="ray",
            storage_path=str(plan.folder.resolve()),
            verbose=0,
            callbacks=[Watcher(driver)],
            failure_config=tune.FailureConfig(max_failures=RETRIES),
        ),
    )
    try:
        tuner.fit()
    except KeyboardInterrupt:
        raise driver.failure or KeyboardInterrupt from None
    except tune.TuneError as error:
        raise _innermost(error) from error
    finally:
        shutil.rmtree(plan.folder / "ray", ignore_errors=True)  # Ray's own record of what the tables say


def _innermost(error: BaseException) -> BaseException:
    """What Ray wrapped."""
    while error.__cause__ or error.__context__:
        error = error.__cause__ or error.__context__ or error
    return error


def _together(plan: Plan) -> int:
    """Trials that run side by side."""
    there = ray.cluster_resources()
    shares = [there.get(kind.upper(), 0) / asked for kind, asked in plan.resources.items() if asked]
    return min(int(min(shares)), plan.asked.max_concurrent or plan.trials)


def _waiting(plan: Plan) -> int:
    """Trials drawn ahead of those that run: Ray keeps a free process only for one that waits, and else ends it.

    With its own default, 1, trials that end at about the same time lose all processes but one. They are few where the
    sampler learns, since each one ahead is drawn without what the running ones are about to tell, and on a cluster,
    which starts machines for those that wait.
    """
    together = _together(plan)
    if plan.sampler in spaces.UNLEARNED and not plan.address:
        return max(1, together)
    return max(1, together // 4)


class Stopper(FIFOScheduler):
    """The rungs, asked at the milestones of the student's last stage; references are never judged."""

    def __init__(self, tables: results_tables.Tables, rungs: Rungs, column: str) -> None:
        super().__init__()
        self.tables, self.rungs, self.column = tables, rungs, column

    def __getstate__(self) -> dict:
        return {}

    def on_trial_result(self, tune_controller: Any, trial: Any, result: dict) -> str:
        name = trial.config["trial"]
        if not trial.config["judged"] or result["complete"]:
            return self.CONTINUE
        for row in result["rows"]:
            if row["kd_epoch"] in self.rungs.milestones:  # a trial that goes on tells again what it told
                size = objectives.size(self.tables.trials[name])
                goes_on = self.rungs.judge(name, row["kd_epoch"], row[self.column], size)
                verdict = self.rungs.verdicts[name, row["kd_epoch"]]
                self.tables.judged(asdict(verdict))
                if not goes_on:
                    self.tables.trials[name]["cause"] = verdict.cause(self.rungs)
                    return self.STOP
        return self.CONTINUE


class Watcher(tune.Callback):
    """Every report to the tables and to who watches."""

    def __init__(self, driver: Driver) -> None:
        self.driver = driver
        self.ends: list[str | None] = []
        """How the first trials of this process ended: the kind of failure, or None."""

    def __getstate__(self) -> dict:
        return {}

    def on_trial_start(self, iteration: int, trials: list, trial: Any, **info: Any) -> None:
        self._mark(trial, "running")

    def on_trial_result(self, iteration: int, trials: list, trial: Any, result: dict, **info: Any) -> None:
        self.driver.doing[trial.config["trial"]] = result.get("doing", "")
        if "warning" in result:
            self.driver.warn(result["warning"])
        last = len(trial.config["pipeline"]["links"]) - 1
        self.driver.tables.extend(trial.config["trial"], result["rows"], last)
        if result.get("full"):
            self.driver.end_with(self.driver.full_disk(result["full"]))
        elif result.get("paused"):
            self._mark(trial, "waiting")
        elif result.get("cause"):
            if result["trace"]:
                path = keep_trace(self.driver.plan.folder, trial.config["trial"], result["trace"])
                self.driver.plan.storage.push(path)
            self._mark(trial, "failed", result["cause"])
        elif result["complete"]:
            self._mark(trial, "complete", None, result["accuracy"], result["balanced_accuracy"])
        self.driver.changed()

    def on_trial_complete(self, iteration: int, trials: list, trial: Any, **info: Any) -> None:
        row = self.driver.tables.trials[trial.config["trial"]]
        if row["state"] == "running":
            self._mark(trial, "stopped", row["cause"])

    def on_trial_recover(self, iteration: int, trials: list, trial: Any, **info: Any) -> None:
        self.driver.doing[trial.config["trial"]] = f"{LOST}; it goes on from its last checkpoint"
        self.driver.changed()

    def on_trial_error(self, iteration: int, trials: list, trial: Any, **info: Any) -> None:
        self._mark(trial, "failed", f"{LOST}, {1 + RETRIES} times" if trial.num_failures > RETRIES else LOST)

    def _mark(self, trial: Any, state: str, cause: str | None = None, *reached: float | None) -> None:
        name = trial.config["trial"]
        self.driver.tables.mark(name, state, cause, *reached)
        if state in files.ENDED:
            self.driver.plan.storage.remove(files.weights(self.driver.plan.folder, "checkpoints", name))
            self._watch_failures(name, cause if state == "failed" else None)
        self.driver.changed()

    def _watch_failures(self, name: str, cause: str | None) -> None:
        """End the search where too many of the first trials fail alike: the next ones would, too."""
        most, share = ALIKE
        kind = cause and cause.partition(":")[0]
        self.ends.append(kind)
        if self.driver.plan.sampler == "grid":  # whose cells that fail are an answer, unless all do
            share = 1 - 1 / most
        if len(self.ends) <= most and kind and self.ends.count(kind) > most * share:
            said, folder = (cause or "").rstrip("."), self.driver.plan.folder
            self.driver.end_with(
                Refusal(
                    f"{self.ends.count(kind)} of the first {len(self.ends)} trials failed alike, the last of them, "
                    f"trial {name}: {said}. Mend that, and start a new search. 'kdsearch status {folder}' "
                    f"lists them, and '{folder / 'failures'}' holds their tracebacks."
                )
            )
