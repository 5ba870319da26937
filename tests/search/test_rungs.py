import json
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kdsearch.errors import Refusal
from kdsearch.search.rungs import RULES, Rung, Rungs, milestones

SIZES = (1_000, 1_000_000)
JUDGING = [rule for rule in RULES if rule != "none"]
accuracies = st.integers(0, 20).map(lambda number: number / 20)
arrivals = st.lists(st.tuples(accuracies, st.integers(500, 2_000_000)), min_size=1, max_size=60)


def told(trials, rule: str = "union", reduction: float = 3, sizes: tuple[int, int] = SIZES, **more) -> list[bool]:
    """The verdicts on (accuracy, parameters) at one milestone, in the order of arrival."""
    rungs = Rungs((1, 3), reduction, rule, sizes, **more)
    return [rungs.judge(str(number), 1, *trial) for number, trial in enumerate(trials)]


def asha(accuracies: list[float], reduction: float) -> list[bool]:
    """What the issue of each arrival is by the definition, with nothing remembered."""
    so_far = [accuracies[: number + 1] for number in range(len(accuracies))]
    return [sum(other > own[-1] for other in own) < len(own) / reduction for own in so_far]


@given(st.lists(accuracies, min_size=1, max_size=60), st.sampled_from([1.5, 2, 3, 4]), st.sampled_from(JUDGING))
def test_with_all_sizes_equal_every_rule_decides_as_asha(accuracies, reduction, rule):
    assert told([(accuracy, 7_000) for accuracy in accuracies], rule, reduction) == asha(accuracies, reduction)


@given(arrivals, st.sampled_from([2, 3]))
def test_asha_looks_at_accuracy_alone(trials, reduction):
    assert told(trials, "asha", reduction) == asha([accuracy for accuracy, _ in trials], reduction)


@given(arrivals, st.sampled_from([2, 7, 1000, 0.5, 1.1]), st.sampled_from(RULES))
def test_a_common_factor_in_all_sizes_changes_no_verdict(trials, factor, rule):
    bounds = (SIZES[0] * factor, SIZES[1] * factor)
    assert told([(one, factor * two) for one, two in trials], rule, sizes=bounds) == told(trials, rule)


@given(arrivals, st.permutations(range(60)), st.sampled_from(RULES))
def test_names_change_no_verdict(trials, names, rule):
    rungs = Rungs((1,), rule=rule, sizes=SIZES)
    renamed = [rungs.judge(f"t{names[number]}", 1, *trial) for number, trial in enumerate(trials)]
    assert renamed == told(trials, rule)


def on_the_front(trials) -> bool:
    """Is the last of (accuracy, parameters) dominated by none?"""
    own, size = trials[-1]
    others = [(a, p) for a, p in trials[:-1] if (a, p) != (own, size)]
    return not any(a >= own and p <= size for a, p in others)


def front_size(trials) -> int:
    return sum(on_the_front([*trials[:number], *trials[number + 1 :], one]) for number, one in enumerate(trials))


@given(arrivals, st.sampled_from([2, 3]), st.sampled_from(["union", "moasha"]))
def test_a_member_of_the_front_is_stopped_only_when_the_front_is_larger_than_its_share(trials, reduction, rule):
    for number, goes_on in enumerate(told(trials, rule, reduction), start=1):
        so_far = trials[:number]
        if on_the_front(so_far) and not goes_on:
            assert front_size(so_far) > number / reduction


@given(arrivals)
def test_fronts_are_those_of_non_dominated_sorting(trials):
    rung = Rung(5)
    found = [rung.add((size, accuracy, 0.0), 0) for accuracy, size in trials]
    left, number = list(trials), 0
    while left:
        front = [one for place, one in enumerate(left) if on_the_front([*left[:place], *left[place + 1 :], one])]
        assert sorted(rung.fronts[number]) == sorted((size, accuracy, 0.0) for accuracy, size in front)
        if trials[-1] in front:
            assert found[-1] == number
        left, number = [one for one in left if one not in front], number + 1
    assert number == len(rung.fronts)


def test_ranks_decide_and_not_the_places_of_a_sorted_list():
    # Sorted by accuracy, 0.9 stands at place 3 of the arrivals 0.1 0.5 0.3 0.9; a rule that took places of the sorting
    # for ranks would stop the best of all, and with one size it would not be ASHA.
    trials = [(0.1, 7_000), (0.5, 7_000), (0.3, 7_000), (0.9, 7_000), (0.2, 7_000)]
    assert told(trials, "moasha", reduction=2) == [True, True, True, True, False]


def test_a_front_larger_than_its_share_keeps_its_ends_and_those_with_most_room():
    line = [(0.10, 1_000), (0.90, 900_000), (0.50, 30_000), (0.51, 31_000), (0.52, 32_000), (0.505, 30_500)]
    assert told(line, "moasha") == [True, True, False, False, False, False]
    roomy = [(0.10, 1_000), (0.90, 900_000), *[(0.01, 999_000 + number) for number in range(6)], (0.5, 30_000)]
    assert told(roomy, "moasha")[-1]


def test_single_metric_asha_stops_a_small_student_that_the_union_sends_on():
    trials = [(0.9, 900_000), (0.91, 800_000), (0.92, 700_000), (0.6, 1_200)]
    assert not told(trials, "asha")[-1]
    assert told(trials, "union")[-1]


def test_the_front_alone_stops_a_large_slow_starter_that_the_union_sends_on():
    trials = [(0.9, 1_000), (0.91, 1_100), (0.92, 1_200), (0.93, 1_300), (0.2, 900_000)]
    assert not told(trials, "moasha")[-1]
    assert told(trials, "union")[-1] and told(trials, "strata")[-1]


@given(arrivals, st.sampled_from([2, 3]))
def test_the_union_sends_on_whom_the_front_or_the_stratum_sends_on(trials, reduction):
    by_size, by_front = told(trials, "strata", reduction), told(trials, "moasha", reduction)
    assert told(trials, "union", reduction) == [one or two for one, two in zip(by_size, by_front, strict=True)]


@pytest.mark.parametrize("rule", JUDGING)
@pytest.mark.parametrize("accuracy", [math.nan, math.inf, -math.inf])
def test_what_is_no_number_stops_and_is_not_recorded(rule, accuracy):
    rungs = Rungs((1,), rule=rule, sizes=SIZES)
    assert not rungs.judge("a", 1, accuracy, 5_000)
    assert rungs.judge("b", 1, 0.1, 5_000)
    assert rungs.verdicts["b", 1].recorded == 1


@pytest.mark.parametrize("rule", RULES)
def test_a_repeated_call_returns_the_first_verdict_and_records_nothing(rule):
    rungs = Rungs((1,), rule=rule, sizes=SIZES)
    first = [rungs.judge(str(number), 1, 1 - number / 10, 5_000) for number in range(6)]
    assert [rungs.judge(str(number), 1, 0.99, 5_000) for number in range(6)] == first
    assert len(rungs.verdicts) == 6


def test_milestones_are_judged_apart():
    rungs = Rungs((1, 3), sizes=SIZES)
    for number in range(9):
        rungs.judge(str(number), 1, 0.9, 5_000)
    assert rungs.judge("8", 3, 0.1, 5_000) and rungs.verdicts["8", 3].recorded == 1


def test_sizes_outside_the_bounds_join_the_end_strata():
    rungs = Rungs((1,), sizes=SIZES)
    strata = [rungs.stratum(size) for size in (1, 999, 1_000, 3_900, 4_000, 999_999, 1_000_000, 10**9)]
    assert strata == [0, 0, 0, 0, 1, 4, 4, 4]


def test_a_verdict_says_against_whom():
    rungs = Rungs((1,), sizes=SIZES)
    for number, accuracy in enumerate((0.9, 0.8, 0.7, 0.6)):
        rungs.judge(str(number), 1, accuracy, 5_000)
    verdict = rungs.verdicts["3", 1]
    assert (verdict.recorded, verdict.better, verdict.front, verdict.rank) == (4, 3, 3, 3)
    assert (verdict.stratum, verdict.stratum_recorded, verdict.stratum_better, verdict.cutoff) == (1, 4, 3, 0.8)
    assert "3 of the 4 of its size were better (80.0 % would have done)" in verdict.cause(rungs)


@given(arrivals, st.sampled_from(JUDGING))
def test_the_cutoff_would_have_gone_on_and_less_would_not(trials, rule):
    rungs = Rungs((1,), rule="strata", sizes=SIZES)
    for number, (accuracy, size) in enumerate(trials):
        goes_on = rungs.judge(str(number), 1, accuracy, size)
        cutoff = rungs.verdicts[str(number), 1].cutoff
        assert cutoff is not None and goes_on == (accuracy >= cutoff)


@given(arrivals, arrivals, st.sampled_from(RULES))
def test_a_restored_one_goes_on_as_if_nothing_had_happened(before, after, rule):
    whole, first = Rungs((1, 3), rule=rule, sizes=SIZES), Rungs((1, 3), rule=rule, sizes=SIZES)
    for rungs in (whole, first):
        for number, trial in enumerate(before):
            rungs.judge(str(number), 1, *trial)
        rungs.judge("lost", 1, math.nan, 5_000)
    second = Rungs((1, 3), rule=rule, sizes=SIZES)
    second.restore(json.loads(json.dumps(first.state())))
    later = [(f"x{number}", *trial) for number, trial in enumerate(after)]
    assert [second.judge(name, 1, *trial) for name, *trial in later] == [
        whole.judge(name, 1, *trial) for name, *trial in later
    ]
    assert second.state() == whole.state()


def test_numbers_of_numpy_are_taken_and_go_to_json():
    sizes: Any = (np.int64(1_000), np.int64(1_000_000))
    rungs = Rungs(np.array([1]), sizes=sizes)
    told: Any = (np.int64(1), np.float32(0.5), np.int64(5_000))
    rungs.judge("a", *told)
    again = Rungs((1,), sizes=SIZES)
    again.restore(json.loads(json.dumps(rungs.state())))
    assert again.state() == rungs.state() and rungs.verdicts["a", 1].parameters == 5_000


def test_a_state_of_other_settings_is_refused():
    with pytest.raises(ValueError, match="reduction=2, but here reduction=3"):
        Rungs((1,), 3, sizes=SIZES).restore(Rungs((1,), 2, sizes=SIZES).state())


def test_an_unknown_milestone_raises():
    with pytest.raises(ValueError, match=r"judged at KD epochs \(1, 3, 9\), but got milestone=2"):
        Rungs().judge("a", 2, 0.5, 5_000)


def test_an_unknown_rule_is_answered_with_those_that_there_are():
    with pytest.raises(
        Refusal, match=r"no rule 'unoin'; there is asha, moasha, none, strata, union. Did you mean 'union'"
    ):
        Rungs(rule="unoin")


@pytest.mark.parametrize(
    "wrong",
    [
        {"milestones": (3, 1)},
        {"milestones": (0,)},
        {"reduction": 1},
        {"sizes": (5, 1)},
        {"sizes": (1, 5, 9)},
        {"strata": 0},
    ],
)
def test_what_cannot_be_is_refused_when_it_is_made(wrong):
    with pytest.raises(ValueError, match=r"must be|<="):
        Rungs(**wrong)


@pytest.mark.parametrize(
    "epochs, reduction, found",
    [(27, 3, (1, 3, 9)), (18, 3, (1, 3, 9)), (12, 3, (1, 3)), (12, 2, (1, 2, 4)), (1, 3, ())],
)
def test_milestones_multiply_while_half_of_the_epochs_lie_ahead(epochs, reduction, found):
    assert milestones(epochs, reduction) == found
