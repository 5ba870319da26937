"""What a search tries next: the references, then what Optuna proposes, within limits and never twice."""

import math
from functools import partial
from typing import Any

import optuna
from optuna.samplers import BaseSampler, RandomSampler, TPESampler
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import TrialState
from ray.tune.search import Searcher
from ray.tune.search.optuna import OptunaSearch

from kdsearch import spaces
from kdsearch.config import Pipeline
from kdsearch.errors import Refusal
from kdsearch.grid import Grid
from kdsearch.plan import Search

REDRAWS = 300
"""Draws in a row that may be known already, beyond a limit or unable to run before the search gives up."""


def sampler_of(name: str, seed: int, startup: int) -> BaseSampler:
    """By its name; TPE draws its first `startup` trials at random."""
    if name == "tpe":
        return TPESampler(seed=seed, n_startup_trials=startup)
    return {"random": RandomSampler, "grid": Grid}[name](seed=seed)


class Sampler(OptunaSearch):
    """Optuna for accuracy and log10 compression together, its journal in the search's folder (optuna-dashboard)."""

    def __init__(self, search: Search, references: dict[str, Pipeline], judged: tuple[int, ...], startup: int) -> None:
        self._search, self._judged = search, judged
        self._references = dict(references)
        self._names: dict[str, str] = {}
        self._seen: dict[str, str] = {}
        """Which trial runs a pipeline, by its JSON."""
        self._cells: set[str] = set()
        """Of a grid, those drawn."""
        self._twins: dict[str, list[optuna.Trial]] = {}
        """Draws that equal a trial which has not ended, by its name."""
        self._ended: dict[str, dict[str, Any]] = {}
        """What Optuna was told of each trial: its values, or PRUNED (stopped: not comparable), or FAIL."""
        super().__init__(
            partial(spaces.propose, path=search.space.path, settings=search.settings),
            metric=["accuracy", "log10_compression"],
            mode=["max", "max"],
            points_to_evaluate=[dict(point) for point in search.space.published],
            sampler=sampler_of(search.sampler, search.settings.seed, startup),
            study_name=search.study,
            storage=JournalStorage(JournalFileBackend(str(search.folder / "optuna.journal"))),
        )

    @property
    def _study(self) -> optuna.Study:
        assert self._ot_study is not None
        return self._ot_study

    def __getstate__(self) -> dict:
        return {}  # Ray pickles its searchers to restore them; a search's own record is its tables and its journal

    def save(self, checkpoint_path: str) -> None:
        """Nothing, for the same reason."""

    def suggest(self, trial_id: str) -> Any:
        """The next trial's config, counted as waiting; FINISHED where nothing new can be drawn."""
        reference = next(iter(self._references), None)
        if reference:
            return self._config(trial_id, reference, self._references.pop(reference), reference, {})
        pipeline = self._drawn(trial_id)
        if pipeline is None:
            return Searcher.FINISHED
        name = str(len(self._seen))
        self._seen[pipeline.model_dump_json()] = name
        asked = self._ot_trials[trial_id]
        asked.set_user_attr("trial", name)
        return self._config(trial_id, name, pipeline, None, dict(asked.params))

    def _config(self, trial_id: str, name: str, pipeline: Pipeline, reference: str | None, knobs: dict) -> dict:
        self._names[trial_id] = name
        plain = pipeline.model_dump(mode="json")
        self._search.tables.add(name, plain, {"reference": reference, **self._search.known(pipeline)}, knobs)
        student = self._search.folder / "students" / f"{name}.safetensors"
        return {
            "trial": name, "pipeline": plain, "milestones": self._judged, "student": str(student.resolve()),
            "judged": reference is None, **self._search.places(),
        }  # fmt: skip

    def _drawn(self, trial_id: str) -> Pipeline | None:
        """A pipeline that can run, within the limits and new; None where there is none, and search.json says why."""
        space, why = self._search.space.name, ""
        for _ in range(REDRAWS):
            try:
                suggested = super().suggest(trial_id)
                assert suggested is not None
                pipeline = Pipeline.model_validate(suggested["pipeline"])
                self._search.check(pipeline)
            except Refusal as refused:
                self._study.tell(self._ot_trials.pop(trial_id), state=TrialState.FAIL)
                why = str(refused)
                continue
            asked = self._ot_trials[trial_id]
            if self._search.sampler == "grid" and repr(sorted(asked.params.items())) in self._cells:
                self._study.tell(self._ot_trials.pop(trial_id), state=TrialState.FAIL)
                self._search.facts["why_ended"] = f"every cell of '{space}' was drawn"
                return None
            self._cells.add(repr(sorted(asked.params.items())))
            if not self._within_limits(asked, pipeline):
                self._study.tell(self._ot_trials.pop(trial_id), state=TrialState.PRUNED)
                why = "beyond a limit"
                continue
            twin = self._seen.get(pipeline.model_dump_json())
            if twin is None:
                return pipeline
            self._ot_trials.pop(trial_id).set_user_attr("equal_to", twin)
            if twin in self._ended:
                self._study.tell(asked, **self._ended[twin])
            else:
                self._twins.setdefault(twin, []).append(asked)
            why = f"equal to a trial that there was already, {twin}"
        if not self._seen:
            raise Refusal(f"{REDRAWS} draws of '{space}' in a row cannot run; the last: {why}")
        self._search.facts["why_ended"] = f"{REDRAWS} draws of '{space}' in a row gave nothing new; the last: {why}"
        return None

    def _within_limits(self, asked: optuna.Trial, pipeline: Pipeline) -> bool:
        limits, costs = self._search.limits, self._search.costs(pipeline)
        for name, excess in limits.excess(costs).items():
            asked.set_constraint(name, excess)
        return limits.met(costs)

    def on_trial_complete(self, trial_id: str, result: Any = None, error: bool = False) -> None:
        """Tells Optuna how a draw ended, and all draws that equal it."""
        name = self._names[trial_id]
        asked = self._ot_trials.get(trial_id)
        if asked is None:  # a reference
            return
        how: dict[str, Any] = {"state": TrialState.PRUNED}
        if error or not result or result.get("cause"):
            how = {"state": TrialState.FAIL}
        elif result["complete"]:
            compression = self._search.tables.trials[name]["compression"]
            how = {"values": [result["accuracy"], math.log10(compression)]}
        self._ended[name] = how
        for draw in (asked, *self._twins.pop(name, [])):
            self._study.tell(draw, **how)

    def close(self) -> None:
        """Whatever has not ended by now failed, so that the journal holds no draw that runs or waits for ever."""
        while self._study.get_trials(deepcopy=False, states=(TrialState.WAITING,)):
            self._study.ask()  # a published setting that nobody came to
        for draw in self._study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
            self._study.tell(draw.number, state=TrialState.FAIL)
