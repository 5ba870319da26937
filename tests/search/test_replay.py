import io
import json
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console

from kdsearch.cli import app
from kdsearch.cli.replay import plain, show
from kdsearch.errors import Refusal
from kdsearch.results import front
from kdsearch.results.curves import Curve, Curves, read, write
from kdsearch.search.replay import Outcome, Run, Setting, checked, lines, quartiles, ratio, replay, replays
from kdsearch.search.rungs import RULES, Rungs
from kdsearch.storage.bucket import at

LENGTH = 9


def table(count: int = 40, before: int = 0) -> Curves:
    """Larger ones end higher, by a little that differs; every curve rises in a straight line."""
    found = []
    for number in range(count):
        end = 0.5 + 0.4 * number / count + 0.05 * ((number * 7) % 5) / 5
        accuracies = tuple(end * (epoch + 1) / LENGTH for epoch in range(LENGTH))
        seconds = (1.0 + number / count,) * LENGTH
        found.append(Curve(str(number), 1_000 * (number + 1), accuracies, before, seconds))
    return Curves("t", tuple(found), 1_000_000, 0.1, {})


def setting(**more) -> Setting:
    return Setting(**{"workers": 3, "milestones": (1, 3), "budgets": (5, 20), "seeds": 2, **more})


def test_without_stopping_a_budget_trains_its_own_number_of_trials():
    (outcome,) = replay(table(), "none", 0, setting(workers=1, budgets=(5,)))
    assert (outcome.epochs, sum(outcome.complete), outcome.started, outcome.killed) == (5 * LENGTH, 5, 5, 0)


def test_all_workers_are_busy_and_none_starts_a_trial_twice():
    run = Run(table(), Rungs((1,), rule="none"), Random(0))
    run.spend(8, workers=4)
    assert run.started == 4 and len({place for *_, place, _ in run.queue}) == 4


def test_epochs_before_the_last_stage_are_spent_and_not_judged():
    curves, seen = table(before=2), []

    class Watched(Rungs):
        def judge(self, trial, milestone, accuracy, parameters):
            seen.append((milestone, accuracy))
            return super().judge(trial, milestone, accuracy, parameters)

    run = Run(curves, Watched((1,), rule="asha", sizes=(1_000, 40_000)), Random(0))
    run.spend(10**6, workers=1)
    spent = sum(3 if place in run.stopped else 2 + LENGTH for place in range(len(curves.trials)))
    assert run.epochs == spent and {milestone for milestone, _ in seen} == {1} and len(seen) == len(curves.trials)
    assert {accuracy for _, accuracy in seen} == {curve.accuracies[0] for curve in curves.trials}


@settings(max_examples=30, deadline=None)
@given(st.sampled_from(RULES), st.integers(0, 50), st.integers(1, 6))
def test_a_table_that_is_used_up_ends_and_loses_only_what_was_stopped(rule, seed, workers):
    curves = table()
    (outcome,) = replay(curves, rule, seed, setting(workers=workers, budgets=(1000,)))
    assert outcome.started == len(curves.trials) and outcome.met == len(curves.members)
    assert (outcome.regret == 0) == (outcome.killed == 0) or rule != "none"
    assert outcome.regret == pytest.approx(0) if rule == "none" else outcome.regret >= -1e-12


def test_the_clock_is_that_of_the_recorded_seconds():
    slow = Curve("slow", 1_000, (0.1,) * 3, 0, (10.0,) * 3)
    fast = [Curve(f"f{number}", 2_000, (0.2,) * 3, 0, (1.0,) * 3) for number in range(9)]
    run = Run(Curves("t", (slow, *fast), 10_000, 0.0, {}), Rungs((1,), rule="none"), Random(1))
    run.waiting = list(range(10))[::-1]
    run.spend(16, workers=2)
    assert len(run.complete) == 5 and 0 not in run.complete and run.now <= 15


def test_a_killed_member_of_the_front_is_counted():
    good = Curve("good", 1_000, (0.0, 0.9), 0, (1.0, 1.0))
    others = [Curve(str(number), 1_000, (0.5, 0.6), 0, (1.0, 1.0)) for number in range(8)]
    curves = Curves("t", (*others, good), 10_000, 0.0, {})
    run = Run(curves, Rungs((1,), 3, "union", (1_000, 1_000)), Random(0))
    run.waiting = list(range(9))[::-1]
    run.spend(100, workers=1)
    outcome = run.outcome("union", 0, 100)
    assert (outcome.met, outcome.killed) == (1, 1)
    assert outcome.regret == pytest.approx(1 - 0.6 / 0.9)


def test_regret_is_the_share_of_the_hypervolume_that_lacks():
    curves = table()
    run = Run(curves, Rungs((1,), rule="none"), Random(0))
    run.complete = [3, 17]
    have = front.hypervolume(curves.points([3, 17]), 0.1)
    assert run.outcome("none", 0, 1).regret == pytest.approx(1 - have / curves.hypervolume)


def test_a_seed_gives_one_outcome_and_progress_is_told():
    told = []
    found = replays(table(), setting(), lambda done, total: told.append((done, total)))
    assert told[-1] == (10, 10) and len(found) == 2 * 2 * len(RULES)
    assert found == replays(table(), setting(), lambda *_: None)
    assert found[0].regret != found[2 * len(RULES)].regret  # the next seed's


def test_milestones_that_no_trial_reaches_are_refused():
    assert checked(table(), Setting()).milestones == (1, 3)
    for wrong in ((9,), (1, 81)):
        with pytest.raises(Refusal, match=r"before the last of 9 KD epochs of 't', but got"):
            checked(table(), Setting(milestones=wrong))
    with pytest.raises(Refusal, match="must be above 1"):
        checked(table(), Setting(reduction=1))
    with pytest.raises(Refusal, match="needs a budget"):
        checked(table(), Setting(budgets=()))


def test_a_table_without_hypervolume_is_refused():
    curve = Curve("0", 1_000, (0.5,) * LENGTH, 0, (1.0,) * LENGTH)
    with pytest.raises(Refusal, match=r"has none: no trial is smaller than 1,000 parameters and better than 10.0 %"):
        checked(Curves("t", (curve,), 1_000, 0.1, {}), Setting())


def outcome(rule: str, seed: int, regret: float, met: int = 4, killed: int = 1) -> Outcome:
    return Outcome(rule, seed, 5, regret, 45, 9, (1, 2, 3), met, killed)


def test_lines_hold_quartiles_and_medians_against_none_and_asha():
    regrets = {"union": (0.1, 0.2, 0.6), "none": (0.4, 0.4, 0.4), "asha": (1.0, 0.8, 0.8)}
    found = {
        line.rule: line for line in lines([outcome(r, s, x) for r, own in regrets.items() for s, x in enumerate(own)])
    }
    union = found["union"]
    assert union.regret == pytest.approx((0.15, 0.2, 0.4))
    assert (union.against_none, union.against_asha, union.killed) == pytest.approx((0.5, 0.25, 0.25))
    assert union.complete == (1, 2, 3) and list(found) == ["union", "asha", "none"]


def test_quartiles_of_one_value_are_that_value_and_nothing_by_nothing_is_one():
    assert quartiles([0.3]) == (0.3, 0.3, 0.3)
    assert (ratio(0, 0), ratio(1, 0), ratio(1, 2)) == (1, float("inf"), 0.5)


def test_programs_are_told_all_of_it():
    curves, own = table(), setting()
    told = plain(curves, own, list(lines(replays(curves, own, lambda *_: None))))
    assert told["trials"] == 40 and told["milestones"] == (1, 3) and len(told["rules"]) == 2 * len(RULES)


def test_people_see_each_rule_at_each_budget_in_80_columns():
    out, curves, own = io.StringIO(), table(), setting(budgets=(5, 20))
    console = Console(file=out, width=80, highlight=False)
    show(curves, own, list(lines(replays(curves, own, lambda *_: None))), console)
    said = out.getvalue()
    assert "t: 40 trials of up to 9 epochs" in said and "judged at KD epochs 1, 3, best 1/3 go on" in said
    assert "After 45 epochs, those of 5 full-length trials" in said and said.count("\n union") == 2
    assert all(len(line) <= 80 for line in said.splitlines() if line.startswith(" ")) and "…" not in said


def test_the_command_replays_a_file_and_saves_a_search(tmp_path, monkeypatch, capsys):
    write(tmp_path / "t.parquet", table())
    words = ["replay", str(tmp_path / "t.parquet"), "--milestones", "1,3", "--budget", "5", "--seeds", "2", "--json"]
    monkeypatch.setattr("sys.argv", ["kdsearch", *words, "--save", str(tmp_path / "again.parquet")])
    with pytest.raises(SystemExit) as ended:
        app.main()
    told = json.loads(capsys.readouterr().out)
    assert ended.value.code == 0 and [line["rule"] for line in told["rules"]] == list(RULES)
    assert told["budgets"] == [5] and read(str(tmp_path / "again.parquet"), at(tmp_path)).trials == table().trials
