from types import SimpleNamespace

import pytest

from kdsearch.errors import Refusal
from kdsearch.search.limits import Costs, Limits
from kdsearch.search.tune import asked_for


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


def test_a_limit_of_speed_is_measured_only_where_all_others_are_met():
    asked = []

    def measure(net):
        asked.append(net)
        return SimpleNamespace(microseconds=50.0, ratio=4.0)

    student = SimpleNamespace(net="s", parameters=100)
    own = Costs(student, SimpleNamespace(parameters=200), measure)
    assert Limits(max_params=10, min_speed=5).excess(own) == {"max_params": 9.0} and asked == []
    assert Limits(max_params=100, min_speed=5).excess(own) == {"max_params": 0.0, "min_speed": 0.25}
    assert Limits(min_speed=4).met(own) and asked == ["s"]


@pytest.mark.parametrize(
    "word, found", [("100kB", 100_000), ("100000", 100_000), ("1.5 MB", 1_500_000), ("7B", 7), ("2KB", 2_000), (9, 9)]
)
def test_bytes_are_read_with_their_unit_or_without(word, found):
    assert asked_for("depth_vs_hint", {"max_bytes": word}).max_bytes == found


@pytest.mark.parametrize("word", ["0", "-5kB", "100 kilo", "kB", "", "1e400", "5us", "nan"])
def test_what_is_no_number_of_bytes_is_refused_with_what_is_meant(word):
    with pytest.raises(Refusal, match="--max-bytes is a number of bytes, such as 100kB"):
        asked_for("depth_vs_hint", {"max_bytes": word})


@pytest.mark.parametrize(
    "word, found",
    [("200us", "200us"), ("200 µs", "200us"), ("200μs", "200us"), ("0.2ms", "200us"), ("2e-4s", "200us")],
)
def test_a_time_is_read_in_every_unit(word, found):
    assert asked_for("depth_vs_hint", {"max_latency": word}).max_latency == found


@pytest.mark.parametrize("word", ["200", 200, 0.5])
def test_a_time_without_a_unit_is_refused_with_what_may_be_meant(word):
    with pytest.raises(Refusal, match=rf"a time with its unit, but got '{word}': {word}us is microseconds, {word}ms"):
        asked_for("depth_vs_hint", {"max_latency": word})


@pytest.mark.parametrize("word", ["0us", "-3ms", "5 min", "fast", "", "us", "1e999us", "0"])
def test_what_is_no_time_is_refused_with_an_example(word):
    with pytest.raises(Refusal, match="--max-latency is a time above 0 with its unit, such as 200us"):
        asked_for("depth_vs_hint", {"max_latency": word})
