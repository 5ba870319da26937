"""The trials of a search in Ray Tune: the sampler proposes, the rungs stop, every row goes to the tables."""

import shutil
from dataclasses import asdict
from typing import Any

import ray
from ray import tune
from ray.tune.schedulers import FIFOScheduler

from kdsearch import results
from kdsearch.config import Pipeline
from kdsearch.plan import Search
from kdsearch.rungs import Rungs
from kdsearch.sampler import Sampler
from kdsearch.trial import trial


def tune_trials(search: Search, references: dict[str, Pipeline]) -> None:
    """Run all trials."""
    rungs = Rungs(search.milestones, search.reduction, search.rule, search.sizes, search.settings.seed)
    sampler = Sampler(search, references, rungs.milestones, startup=max(10, 3 * _together(search)))
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
    try:
        tuner.fit()
    finally:
        sampler.close()
        shutil.rmtree(search.folder / "ray", ignore_errors=True)  # Ray's own record of what the tables say
    if "why_ended" in search.facts:
        search.facts["trials"] = len(search.tables.trials) - len(references)
        search.write_facts()


def _together(search: Search) -> int:
    """Trials that run side by side."""
    there = ray.cluster_resources()
    shares = [there.get(kind.upper(), 0) / asked for kind, asked in search.resources.items() if asked]
    return min(int(min(shares)), search.max_concurrent or search.trials)


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
                goes_on = self.rungs.judge(name, row["kd_epoch"], row["accuracy"], size)
                verdict = self.rungs.verdicts[name, row["kd_epoch"]]
                self.tables.verdicts.append(asdict(verdict))
                if not goes_on:
                    self.tables.trials[name]["cause"] = verdict.cause(self.rungs)
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
        self.search.doing[trial.config["trial"]] = result.get("doing", "")
        last = len(trial.config["pipeline"]["links"]) - 1
        self.search.tables.extend(trial.config["trial"], result["rows"], last)
        if result.get("cause"):
            failures = self.search.folder / "failures"
            failures.mkdir(exist_ok=True)
            (failures / f"{trial.config['trial']}.txt").write_text(result["trace"], encoding="utf-8")
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
