from types import SimpleNamespace

import pytest

from kdsearch.search.limits import Costs, Limits


def costs(parameters: int, macs: int = 1_000, teacher: int = 1_000_000) -> Costs:
    return Costs(SimpleNamespace(parameters=parameters, macs=macs), SimpleNamespace(parameters=teacher))


def test_without_a_limit_everything_is_within():
    assert not Limits().set() and Limits().met(costs(10**9)) and Limits().excess(costs(10**9)) == {}


@pytest.mark.parametrize(
    "limits, excess",
    [
        (Limits(max_params=100), {"max_params": 1.0}),
        (Limits(max_macs=500), {"max_macs": 1.0}),
        (Limits(min_compression=10_000), {"min_compression": 1.0}),
        (Limits(max_params=400, min_compression=5_000), {"max_params": -0.5, "min_compression": 0.0}),
    ],
)
def test_excess_is_a_share_of_the_limit_and_not_above_0_where_it_is_met(limits, excess):
    assert limits.excess(costs(200)) == pytest.approx(excess)
    assert limits.met(costs(200)) == all(value <= 0 for value in excess.values())


def test_a_cost_that_no_limit_is_about_is_not_counted():
    class Student:
        parameters = 10

        @property
        def macs(self):
            raise AssertionError("counting multiplications is slow")

    assert Limits(max_params=10).met(Costs(Student(), SimpleNamespace(parameters=20)))


def test_a_limit_that_no_draw_meets_is_told_with_the_nearest():
    drawn = [costs(1_214), costs(9_000, macs=70)]
    said = str(Limits(max_params=500).refusal("s", drawn))
    assert said == "No pipeline of 's' has under 500 parameters; the smallest of 2 draws has 1,214."
    assert "cheapest of 2 draws has 70" in str(Limits(max_macs=50).refusal("s", drawn))
    assert "highest of 2 draws is 823.7" in str(Limits(min_compression=1e6).refusal("s", drawn))


def test_limits_that_cannot_be_met_together_are_told_together():
    said = str(Limits(max_params=1_214, max_macs=70).refusal("s", [costs(1_214), costs(9_000, macs=70)]))
    assert said.startswith("Of 2 draws of 's' none has under 1,214 parameters and under 70 multiply-accumulates")
