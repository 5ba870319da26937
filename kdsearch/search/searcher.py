"""What a search tries next: the references, then what Optuna proposes, within limits and never twice."""

import json
import math
import warnings
from collections.abc import Callable, Mapping
from functools import partial
from itertools import count
from pathlib import Path
from threading import Event
from typing import Any

import optuna
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import TrialState
from ray.tune.search import Searcher
from ray.tune.search.optuna import OptunaSearch

from kdsearch.config.pipeline import SEEDS, Pipeline
from kdsearch.errors import Refusal
from kdsearch.nets import pairs
from kdsearch.results import files
from kdsearch.results.front import ratio
from kdsearch.results.metric import METRICS, score, words
from kdsearch.results.tables import JOURNAL, Tables, knobs
from kdsearch.search import drawing, samplers
from kdsearch.search.plan import Plan
from kdsearch.search.work import Work

REDRAWS = 300
"""Draws in a row that may be known already, beyond a limit or unable to run before the search gives up."""


class Sampler(OptunaSearch):
    """Optuna for accuracy and log10 compression (or the ratio that is asked for) together, its journal in the search's
    folder (optuna-dashboard).

    In a search that goes on, trials that had not ended come first, each with its own draw of the journal.
    """

    def __init__(self, plan: Plan, tables: Tables, work: Callable[[str], Work], stopping: Event, startup: int) -> None:
        """`work`: the orders of a trial, by its name; `startup`: draws before a sampler that learns begins to."""
        self._plan, self._tables, self._work, self._stopping = plan, tables, work, stopping
        self.why_ended = ""
        """Where nothing new can be drawn, what came last."""
        rows = tables.trials
        self._references = {name: own for name, own in plan.references.items() if name not in rows}
        self._unfinished = [name for name, row in rows.items() if row["state"] not in files.ENDED]
        self._names: dict[str, str] = {}
        self._seen = {_sorted(row["pipeline"]): name for name, row in tables.draws.items()}
        """Which trial runs a pipeline, by its JSON."""
        self._cells: set[str] = set()
        """Of a grid, those drawn."""
        self._twins: dict[str, list[optuna.Trial]] = {}
        """Draws that equal a trial which has not ended, by its name."""
        self._ended = {name: _outcome(row) for name, row in rows.items() if row["state"] in files.ENDED}
        """What Optuna was told of each trial."""
        self._lost: list[optuna.Trial] = []
        """Draws that a process did not live to make trials of."""
        self._running: dict[str, optuna.Trial] = {}
        """Draws of trials that had not ended."""
        self._exhausted = False
        """Nothing new can be drawn."""
        path = plan.folder / JOURNAL
        samplers.mend(path)
        self._redraws = REDRAWS + (0 if path.exists() else len(self._seen))  # without a journal all come once more
        try:
            self._open(path, startup)
        except (Refusal, OSError):
            raise
        except Exception as error:  # whatever Optuna says of lines that contradict each other
            raise samplers.damaged(path, error) from error

    def _open(self, path: Path, startup: int) -> None:
        plan = self._plan
        super().__init__(
            partial(drawing.propose, space=plan.space, settings=plan.settings),
            metric=["accuracy", f"log10_{plan.looked_at.ratio}"],
            mode=["max", "max"],
            sampler=samplers.make(plan.sampler, plan.settings.seed, startup),
            study_name=plan.study,
            storage=JournalStorage(JournalFileBackend(str(path))),
        )
        if self._study.metric_names is None:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
                self._study.set_metric_names([words(plan.asked.metric), f"log10 {plan.looked_at.gain}"])
        for point in plan.space.published:
            self._study.enqueue_trial(dict(point), skip_if_exists=True)
        self._take_over()

    @property
    def _study(self) -> optuna.Study:
        assert self._ot_study is not None
        return self._ot_study

    def __getstate__(self) -> dict:
        return {}  # Ray pickles its searchers to restore them; a search's own record is its tables and its journal

    def save(self, checkpoint_path: str) -> None:
        """Nothing, for the same reason."""

    def _take_over(self) -> None:
        """The draws that the journal has running: of a trial, equal to one, or lost."""
        for draw in self._study.get_trials(deepcopy=False):
            if self._plan.sampler == "grid" and draw.state != TrialState.WAITING:
                self._cells.add(repr(sorted(draw.params.items())))
            if draw.state != TrialState.RUNNING:
                continue
            own = optuna.Trial(self._study, draw._trial_id)
            name, twin = draw.user_attrs.get("trial"), draw.user_attrs.get("equal_to")
            ended = self._ended.get(name or twin or "")
            if ended:
                self._study.tell(own, **ended)
            elif twin in self._tables.trials:
                self._twins.setdefault(twin, []).append(own)
            elif name in self._tables.trials:
                self._running[name] = own
            else:
                self._cells.discard(repr(sorted(draw.params.items())))
                self._lost.append(own)

    @property
    def to_come(self) -> int:
        """Trials that have not ended, or are not there yet."""
        there = sum(row["reference"] is None for row in self._tables.trials.values())
        missing = self._plan.drawn - there
        return len(self._unfinished) + len(self._references) + max(missing, 0)

    def suggest(self, trial_id: str) -> Any:
        """The next trial's config, counted as waiting; FINISHED where nothing new can be drawn, or is to be."""
        if self._stopping.is_set():
            return Searcher.FINISHED
        if self._unfinished:
            name = self._unfinished.pop(0)
            if name in self._running:
                self._ot_trials[trial_id] = self._running.pop(name)
        elif self._references:
            name, pipeline = next(iter(self._references.items()))
            self._add(name, self._references.pop(name), {}, reference=name)
        elif pipeline := self._new(trial_id):
            name = self._next_name()
            asked = self._ot_trials[trial_id]
            asked.set_user_attr("trial", name)
            self._seen[_sorted(pipeline.model_dump(mode="json"))] = name
            self._add(name, pipeline, dict(asked.params))
        else:
            name = self._replicate()
            if name is None:
                return Searcher.FINISHED
        self._names[trial_id] = name
        return self._work(name).model_dump(mode="json")

    def _add(self, name: str, pipeline: Pipeline, knobs: Mapping[str, Any], **facts: str) -> None:
        plain = pipeline.model_dump(mode="json")
        self._tables.add(name, plain, {**facts, **self._plan.known(pipeline)}, knobs)

    def _new(self, trial_id: str) -> Pipeline | None:
        """The next draw, unless all that were asked for are drawn, or there is nothing new."""
        if self._exhausted or len(self._tables.draws) >= self._plan.trials:
            return None
        found = self._drawn(trial_id)
        self._exhausted = found is None
        return found

    def _replicate(self) -> str | None:
        """The next drawn pipeline with its next seed, the second seed of each first; None where all are there."""
        draws = self._tables.draws
        for more in range(1, self._plan.asked.seeds):
            for cell, row in draws.items():
                if more >= self._plan.seeds_of(knobs(row)):
                    continue
                seed = (row["seed"] + more) % SEEDS
                name = f"{cell}-{seed}"
                if name not in self._tables.trials:
                    pipeline = Pipeline.model_validate_json(row["pipeline"]).with_seed(seed)
                    self._add(name, pipeline, knobs(row), replicate_of=cell)
                    return name
        return None

    def _next_name(self) -> str:
        """0, 1, 2, …; never one that a trial has."""
        known = self._tables.trials
        return next(str(number) for number in count(len(self._seen)) if str(number) not in known)

    def _drawn(self, trial_id: str) -> Pipeline | None:
        """A pipeline that can run, within the limits and new; None where there is none, and `why_ended` says why."""
        space, why = self._plan.space.name, ""
        for _ in range(self._redraws):
            if self._lost:
                self._ot_trials[trial_id] = self._lost.pop(0)
            try:
                with warnings.catch_warnings():
                    # That a draw took over a second; a space has `spaces.PATIENCE`.
                    warnings.filterwarnings("ignore", "Define-by-run function", UserWarning)
                    suggested = super().suggest(trial_id)
                assert suggested is not None
                pipeline = Pipeline.model_validate(suggested["pipeline"])
                pairs.check(pipeline, self._plan.images.shape, len(self._plan.images.classes))
            except Refusal as refused:
                why = self._cannot(trial_id, refused)
                continue
            asked = self._ot_trials[trial_id]
            if self._plan.sampler == "grid" and repr(sorted(asked.params.items())) in self._cells:
                self._study.tell(self._ot_trials.pop(trial_id), state=TrialState.FAIL)
                self.why_ended = f"every cell of '{space}' was drawn"
                return None
            self._cells.add(repr(sorted(asked.params.items())))
            try:
                within = self._within_limits(asked, pipeline)
            except Refusal as refused:  # its latency cannot be measured
                why = self._cannot(trial_id, refused)
                continue
            if not within:
                self._study.tell(self._ot_trials.pop(trial_id), state=TrialState.PRUNED)
                why = "beyond a limit"
                continue
            twin = self._seen.get(_sorted(pipeline.model_dump(mode="json")))
            if twin is None:
                return pipeline
            self._ot_trials.pop(trial_id).set_user_attr("equal_to", twin)
            if twin in self._ended:
                self._study.tell(asked, **self._ended[twin])
            else:
                self._twins.setdefault(twin, []).append(asked)
            why = f"equal to a trial that there was already, {twin}"
        said = f"{self._redraws} draws of '{space}' in a row"
        if not self._seen:
            raise Refusal(f"{said} cannot run; the last: {why}")
        self.why_ended = f"{said} gave nothing new; the last: {why}"
        return None

    def _within_limits(self, asked: optuna.Trial, pipeline: Pipeline) -> bool:
        limits, costs = self._plan.limits, self._plan.costs(pipeline)
        for name, excess in limits.excess(costs).items():
            asked.set_constraint(name, excess)
        met = limits.met(costs)
        if met and self._plan.measure:
            _ = costs.latency  # now: what cannot be measured is no trial
        return met

    def _cannot(self, trial_id: str, refused: Refusal) -> str:
        """A draw that no trial can be made of; why."""
        self._study.tell(self._ot_trials.pop(trial_id), state=TrialState.FAIL)
        return str(refused)

    def on_trial_complete(self, trial_id: str, result: Any = None, error: bool = False) -> None:
        """Tells Optuna how a draw ended, and all draws that equal it."""
        name = self._names[trial_id]
        asked = self._ot_trials.get(trial_id)
        if result and result.get("paused") and not error:
            return
        how: dict[str, Any] = {"state": TrialState.PRUNED}
        if error or not result or result.get("cause"):
            how = {"state": TrialState.FAIL}
        elif result["complete"]:
            how = _outcome(
                self._tables.trials[name] | {name: result[name] for name in METRICS.values()} | {"state": "complete"}
            )
        self._ended[name] = how
        for draw in (*([asked] if asked else []), *self._twins.pop(name, [])):  # nobody drew a reference
            self._study.tell(draw, skip_if_finished=True, **how)

    def close(self) -> None:
        """Whatever has not ended by now failed, so that the journal holds no draw that runs for ever."""
        for draw in self._study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
            self._study.tell(draw.number, state=TrialState.FAIL)


def _sorted(pipeline: dict | str) -> str:
    """One text for equal pipelines, wherever their images lie."""
    plain = json.loads(pipeline) if isinstance(pipeline, str) else pipeline
    return json.dumps(plain | {"data": plain["data"] | {"name": ""}}, sort_keys=True)


def _outcome(row: Mapping[str, Any]) -> dict[str, Any]:
    """How Optuna is told of a trial that ended: its values, or PRUNED (stopped: not comparable), or FAIL."""
    if row["state"] == "complete":
        return {"values": [score(row), math.log10(ratio(row))]}
    return {"state": TrialState.PRUNED if row["state"] == "stopped" else TrialState.FAIL}
