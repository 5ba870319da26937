"""What a search tries next; without Ray's processes."""

import math
from collections.abc import Callable
from dataclasses import replace

import optuna
import pytest
from driver import planned, sampler_of
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import TrialState
from ray.tune.search import Searcher

from kdsearch.data.images import silent
from kdsearch.errors import Refusal
from kdsearch.search import searcher
from kdsearch.search.driver import Driver
from kdsearch.search.plan import Progress
from kdsearch.search.searcher import Sampler

SPACE = """
'''Does the sampler keep its word?'''
from kdsearch.config import *

BUDGET = Budget(trials=4, epochs=4, teacher_epochs=1)
TEACHER = REFERENCE = Net(widths=(4, 4, 4), depth=3, hidden=8)


def space(trial):
    width = trial.suggest_int("width", 1, 3)
    deep = trial.suggest_categorical("deep", [False, True])
    dropout = trial.suggest_categorical("dropout", [0.0, 0.1]) if deep else 0.1
    net = Net(widths=(width,) * 3, depth=6 if deep else 3, hidden=8, dropout=dropout)
    return Pipeline(links=(Link(net=TEACHER), Link(net=net, kd=KD())))
"""
CELLS = 3 * (1 + 2)


@pytest.fixture
def made(tmp_path, monkeypatch) -> Callable[..., Sampler]:
    """A sampler of a search that has looked ahead, and begins; it gives up where 100 draws are nothing new."""
    monkeypatch.setattr(searcher, "REDRAWS", 100)

    def make(
        text: str = SPACE, trials: int = 1000, references: bool = False, progress: Progress = silent, **more
    ) -> Sampler:
        path = tmp_path / f"s{len(list(tmp_path.iterdir()))}.py"
        path.write_text(text)
        own = Driver(planned(path, progress, results=str(tmp_path / "results"), trials=trials, **more))
        if not references:
            own.plan = replace(own.plan, references={})
        own.plan.folder.mkdir(parents=True)
        return sampler_of(own, startup=10)

    return make


def asked(sampler: Sampler, count: int = 1000) -> dict[str, dict]:
    """Configs by Ray's trial id, until there are no more."""
    found = {}
    for number in range(count):
        config = sampler.suggest(f"r{number}")
        if config == Searcher.FINISHED:
            break
        found[f"r{number}"] = config
    return found


def told(sampler: Sampler) -> list[optuna.trial.FrozenTrial]:
    """What the journal on disk says, read as optuna-dashboard reads it."""
    path = sampler._plan.folder / "optuna.journal"
    storage = JournalStorage(JournalFileBackend(str(path)))
    return optuna.load_study(study_name=sampler._plan.study, storage=storage).get_trials()


def test_a_grid_draws_every_cell_once_and_then_ends(made):
    sampler = made(sampler="grid")
    assert sampler._plan.trials == CELLS
    found = asked(sampler)
    knobs = [tuple(sorted(sampler._ot_trials[name].params.items())) for name in found]
    assert len(set(knobs)) == len(found) == CELLS
    assert "every cell" in sampler._plan.why_ended


def test_a_grid_ends_where_trials_end_between_its_draws(made):
    sampler = made(sampler="grid")
    ended = 0
    while sampler.suggest(f"r{ended}") != Searcher.FINISHED:
        sampler.on_trial_complete(f"r{ended}", {"complete": True, "accuracy": 0.5, "balanced_accuracy": 0.5})
        ended += 1
    assert ended == CELLS


def test_a_draw_that_can_never_fit_is_refused_with_the_knobs_that_made_it(made):
    hinted = "kd=KD(), hints=Hints(pairs=(Pair(hint=1, guided=6 if deep else 4),))"
    with pytest.raises(Refusal, match=r"pair 1→4: the student has 3 layers.*draws width \d, deep False"):
        made(SPACE.replace("kd=KD()", hinted))


def test_a_grid_refuses_continuous_knobs_by_name(made):
    text = SPACE.replace(
        'suggest_int("width", 1, 3)', 'suggest_int("width", 1, int(trial.suggest_float("wide", 2, 3)))'
    )
    with pytest.raises(
        Refusal, match=r"draws wide from a continuous range; give each a step .*--sampler tpe or random"
    ):
        made(text, sampler="grid")


@pytest.mark.parametrize("sampler", ["tpe", "random"])
def test_equal_pipelines_are_not_run_twice_and_share_their_outcome(made, sampler):
    own = made(sampler=sampler)
    found = asked(own)
    pipelines = [str(config["pipeline"]) for config in found.values()]
    assert len(pipelines) == len(set(pipelines)) == CELLS and "gave nothing new" in own.why_ended
    own.on_trial_complete("r0", {"complete": True, "accuracy": 0.5, "balanced_accuracy": 0.5})
    same = [trial for trial in told(own) if trial.params == own._ot_trials["r0"].params]
    assert sum(trial.user_attrs.get("equal_to") == "0" for trial in same) == len(same) - 1
    assert len(same) > 1 and {trial.state for trial in same} == {TrialState.COMPLETE}
    assert len({tuple(trial.values) for trial in same}) == 1


def test_knobs_that_make_the_same_pipeline_are_one_trial(made):
    text = SPACE.replace('"width", 1, 3', '"width", 1, 2').replace("(width,)", "(1,)")
    assert len(asked(made(text, sampler="grid"))) == 3


def test_outcomes_are_told_as_what_they_are(made):
    sampler = made(sampler="random")
    asked(sampler, 3)
    sampler.on_trial_complete("r0", {"complete": True, "accuracy": 0.75, "balanced_accuracy": 0.75})
    sampler.on_trial_complete("r1", {"complete": False, "accuracy": 0.25})
    sampler.on_trial_complete("r2", {"complete": False, "accuracy": None, "cause": "Diverged"})
    by_name = {trial.user_attrs["trial"]: trial for trial in told(sampler) if "trial" in trial.user_attrs}
    assert [by_name[name].state for name in "012"] == [TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL]
    compression = sampler._tables.trials["0"]["compression"]
    assert by_name["0"].values == pytest.approx([0.75, math.log10(compression)])


def test_a_worker_that_died_is_told_as_failed_and_nothing_runs_for_ever(made):
    sampler = made(sampler="random")
    asked(sampler, 3)
    sampler.on_trial_complete("r0", error=True)
    sampler.close()
    states = [trial.state for trial in told(sampler)]
    assert TrialState.RUNNING not in states and states.count(TrialState.FAIL) >= 3


@pytest.mark.parametrize("sampler", ["tpe", "random", "grid"])
def test_draws_beyond_a_limit_never_reach_a_worker(made, sampler):
    free = made(sampler=sampler)
    asked(free)
    sizes = sorted(row["parameters"] for row in free._tables.trials.values())
    own = made(sampler=sampler, max_params=sizes[4])
    found = asked(own)
    kept = sorted(row["parameters"] for row in own._tables.trials.values())
    assert kept == [size for size in sizes if size <= sizes[4]] and len(found) == len(kept) < CELLS
    beyond = [trial for trial in told(own) if trial.constraints.get("max_params", 0) > 0]
    assert beyond and {trial.state for trial in beyond} == {TrialState.PRUNED}
    assert own._plan.trials == len(kept) if sampler == "grid" else True


def test_pipelines_are_sized_beforehand_only_where_there_is_a_limit(made):
    told = []
    made(progress=lambda doing, done, total: told.append(doing))
    assert "sizing pipelines" not in told
    made(progress=lambda doing, done, total: told.append(doing), max_params=10**6)
    assert told.count("sizing pipelines") == 1000


def test_a_limit_that_no_draw_meets_refuses_before_anything_is_written(made, tmp_path):
    with pytest.raises(Refusal, match=r"has under 5 parameters; the smallest of 1,000 draws has \d+"):
        made(max_params=5)
    assert not (tmp_path / "results").exists()


PUBLISHED = SPACE.replace("\n\n\ndef", "\nPUBLISHED = ({'width': 3, 'deep': True, 'dropout': 0.1},)\n\n\ndef")


@pytest.mark.parametrize("sampler", ["tpe", "random", "grid"])
def test_published_settings_are_drawn_first(made, sampler):
    own = made(PUBLISHED, sampler=sampler)
    asked(own, 2)
    assert own._ot_trials["r0"].params == {"width": 3, "deep": True, "dropout": 0.1}


@pytest.mark.parametrize(
    "point, said",
    [
        ("{'width': 4, 'deep': False}", "range"),
        ("{'width': 2.5, 'deep': False}", "which it cannot draw"),
        ("{'deep': False}", "width"),
        ("{'width': 1, 'deep': False, 'dropout': 0.1}", "gives dropout, which"),
    ],
)
def test_a_published_setting_that_the_space_cannot_draw_is_refused(made, point, said):
    with pytest.raises(Refusal, match=f"PUBLISHED of .*{said}"):
        made(PUBLISHED.replace("{'width': 3, 'deep': True, 'dropout': 0.1}", point))


def test_published_must_be_a_tuple_of_knobs(made):
    with pytest.raises(Refusal, match="PUBLISHED is a tuple of knobs by name"):
        made(PUBLISHED.replace("({'width': 3, 'deep': True, 'dropout': 0.1},)", "{'width': 3}"))


def test_a_published_setting_that_nobody_came_to_waits_for_the_search_to_grow(made):
    own = made(PUBLISHED, sampler="random")
    own.close()
    assert [trial.state for trial in told(own)] == [TrialState.WAITING]
    asked(Sampler(own._plan, own._tables, own._work, own._stopping, startup=10), 1)
    assert [trial.state for trial in told(own)] == [TrialState.RUNNING]


@pytest.mark.parametrize(
    "more, said",
    [
        ({"milestones": (4,)}, "--milestones names KD epoch 4 and students have 4"),
        ({"min_compression": float("nan")}, "--min-compression must be a number above 0, but got nan"),
    ],
)
def test_options_that_cannot_be_are_refused(made, more, said):
    with pytest.raises(Refusal, match=said):
        made(**more)


def test_references_come_first_and_are_never_judged(made):
    sampler = made(references=True)
    found = list(asked(sampler, 5).values())
    assert [config["trial"] for config in found] == ["labels", "kd", "hint+kd", "0", "1"]
    assert [config["judged"] for config in found] == [False, False, False, True, True]
