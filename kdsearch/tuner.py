"""The trials of a search in Ray Tune: Optuna proposes, the rungs stop, every row goes to the tables."""

import math
import shutil
from functools import partial
from typing import Any

import optuna
from optuna.trial import TrialState
from ray import tune
from ray.tune.schedulers import FIFOScheduler
from ray.tune.search.optuna import OptunaSearch

from kdsearch import nets, results, spaces
from kdsearch.config import Pipeline
from kdsearch.errors import Refusal
from kdsearch.plan import LOOKED_AT, Search
from kdsearch.rungs import Rungs, milestones
from kdsearch.trial import trial

REDRAWS = 50
"""Draws in a row that may turn out unable to run before the search gives up."""


def tune_trials(search: Search, drawn: list[spaces.Draw], references: dict[str, Pipeline]) -> None:
    """Run all trials; `drawn` shows how small and how large students of this space are."""
    sizes = [search.survey(draw.pipeline.student.net).parameters for draw in drawn[:LOOKED_AT]]
    rungs = Rungs(milestones(search.epochs), (min(sizes), max(sizes)))
    tuner = tune.Tuner(
        tune.with_resources(trial, search.resources),
        tune_config=tune.TuneConfig(
            num_samples=search.trials + len(references),
            search_alg=Sampler(search, references, rungs.milestones),
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
        shutil.rmtree(search.folder / "ray", ignore_errors=True)  # Ray's own record of what the tables say


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

    @property
    def _study(self) -> optuna.Study:
        assert self._ot_study is not None
        return self._ot_study

    def __getstate__(self) -> dict:
        return {}  # Ray pickles its searchers to restore them; a search's own record is its tables

    def save(self, checkpoint_path: str) -> None:
        """Nothing, for the same reason."""

    def suggest(self, trial_id: str) -> dict | None:
        """The next trial's config; counts it as waiting."""
        knobs: dict[str, Any] = {}
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
            "judged": reference is None, **self._search.places(),
        }  # fmt: skip

    def _drawn(self, trial_id: str) -> tuple[Pipeline, dict]:
        refused: Exception | None = None
        for _ in range(REDRAWS):
            try:
                suggested = super().suggest(trial_id)
                assert suggested is not None
                pipeline = Pipeline.model_validate(suggested["pipeline"])
                self._search.check(pipeline)
                return pipeline, dict(self._ot_trials[trial_id].params)
            except Refusal as error:
                refused = error
                self._study.tell(self._ot_trials.pop(trial_id), state=TrialState.FAIL)
        raise Refusal(f"{REDRAWS} draws of '{self._search.space.name}' in a row cannot run; the last: {refused}")

    def _known(self, pipeline: Pipeline) -> dict[str, Any]:
        shape, classes = self._search.images.shape, len(self._search.images.classes)
        chain = [link.net for link in pipeline.links]
        own = self._search.survey(chain[-1])
        return {
            "parameters": own.parameters,
            "compression": self._search.survey(chain[0]).parameters / own.parameters,
            "training_parameters": nets.training_parameters(pipeline.student, chain[-2], shape, classes),
            "macs": own.macs,
        }

    def on_trial_complete(self, trial_id: str, result: Any = None, error: bool = False) -> None:
        """Fully trained: its two values. Stopped: PRUNED, since its accuracy is not comparable. Failed: FAIL."""
        asked = self._ot_trials.get(trial_id)
        if asked is None:  # a reference
            return
        row = self._search.tables.trials[self._names[trial_id]]
        if error or not result or result.get("cause"):
            self._study.tell(asked, state=TrialState.FAIL)
        elif result["complete"]:
            self._study.tell(asked, [result["accuracy"], math.log10(row["compression"])])
        else:
            self._study.tell(asked, state=TrialState.PRUNED)


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
