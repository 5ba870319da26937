"""Did distillation help? A sentence that claims no more than seeds can tell."""

import pytest
from ended import FACTS, confirm, searched

from kdsearch.results import answer
from kdsearch.results.format import listing


def test_one_seed_each_is_not_told_apart(tmp_path):
    tables = searched(tmp_path, ("0", None, 50_000, 0.993), ("labels", "labels", 58_970, 0.986))
    found = answer.sentences(tables, FACTS.model_copy(update={"teacher_accuracy": 0.999}))
    assert found == [
        "At ≤ 58,970 parameters: 99.3 % against 98.6 % with labels alone: one seed each, not told apart; kdsearch "
        "confirm would tell."
    ]


@pytest.mark.parametrize(
    "alone, told",
    [(0.90, "5 seeds against one, told apart, if both spread alike."), (0.9855, "5 seeds against one, not told")],
)
def test_seeds_tell_apart_what_lies_beyond_where_one_more_of_them_would(tmp_path, alone, told):
    tables = searched(tmp_path, ("0", None, 50_000, 0.995), ("labels", "labels", 58_970, alone))
    confirm(tmp_path, "0", 0.985, 0.988, 0.982, 0.987, 0.983)
    said = answer.sentences(tables, FACTS)[0]
    assert said.startswith("At ≤ 58,970 parameters: 98.5 % against") and told in said


def test_the_interval_of_one_more_seed_is_student_s_t(tmp_path):
    """Mean ± t(4) · s · √(1 + 1/5), with rounding's variance in s²."""
    from scipy.stats import t

    values = [0.985, 0.988, 0.982, 0.987, 0.983]
    mean = sum(values) / 5
    spread = (sum((one - mean) ** 2 for one in values) / 4 + 1 / (12 * 1000**2)) ** 0.5
    near = t.ppf(0.975, 4) * spread * (1 + 1 / 5) ** 0.5
    for alone, apart in ((mean - near - 1e-6, True), (mean - near + 1e-6, False)):
        tables = searched(tmp_path, ("0", None, 50_000, 0.995), ("labels", "labels", 58_970, alone))
        confirm(tmp_path, "0", *values)
        assert ("told apart, if" in answer.sentences(tables, FACTS)[0]) is apart


def test_a_front_without_a_student_so_small_says_that_it_is_open(tmp_path):
    tables = searched(tmp_path, ("0", None, 90_000, 0.96), ("labels", "labels", 58_970, 0.9))
    assert "is open" in answer.sentences(tables, FACTS)[0] and "58,970 parameters" in answer.sentences(tables, FACTS)[0]


def test_a_reference_that_dominates_and_a_teacher_that_is_outgrown_are_said(tmp_path):
    told = (("0", None, 60_000, 0.95), ("1", None, 90_000, 0.98), ("kd", "kd", 58_970, 0.96))
    found = answer.sentences(searched(tmp_path, *told), FACTS)
    assert (
        found[0].startswith("The reference kd is as small and as accurate as 1 of the 2 students")
        and ": trial 0." in found[0]
    )
    assert found[1].startswith("The teacher (97.0 %) is less accurate than 1 of the 2 students on the front")
    assert len(found) == 2
    assert answer.sentences(searched(tmp_path), FACTS) == []


def test_a_table_shows_what_the_space_chose_and_no_constant(tmp_path):
    told = (("0", None, 60_000, 0.95), ("1", None, 90_000, 0.98))
    tables = searched(tmp_path, *told, width=[0.123456, 0.5], depth=[3, 3])
    names, lines = listing(list(tables.trials.values()), tables, 1000)
    assert names == ["trial", "accuracy", "parameters", "compression", "width", "epochs", "seeds"]
    assert lines[0] == ["0", "95.0 %", "60,000", "16.7×", "0.123", "0", "1"]


def test_a_reference_shows_how_it_was_taught(tmp_path):
    tables = searched(tmp_path, ("kd", "kd", 60_000, 0.95))
    names, lines = listing(list(tables.trials.values()), tables, 1000)
    assert names[4:7] == ["pairs", "λ", "τ"] and lines[0][4:7] == ["none", "0.25", "4.0"]


def test_of_a_confirmed_trial_the_mean_of_its_seeds_stands_apart_from_the_run_that_was_selected(tmp_path):
    tables = searched(tmp_path, ("0", None, 50_000, 0.995), ("1", None, 90_000, 0.999), width=[1, 2])
    confirm(tmp_path, "0", 0.985, 0.988, 0.982)
    names, lines = listing(list(tables.trials.values()), tables, 1000)
    by_name = [dict(zip(names, line, strict=True)) for line in lines]
    assert (
        by_name[0]["accuracy"] == "98.5 ± 0.7 %" and by_name[0]["selected"] == "99.5 %" and by_name[0]["seeds"] == "3"
    )
    assert by_name[1]["accuracy"] == by_name[1]["selected"] == "99.9 %" and by_name[1]["seeds"] == "1"


def test_a_teacher_is_compared_by_what_the_search_looks_at_and_not_by_rounding(tmp_path):
    facts = FACTS.model_copy(update={"metric": "balanced", "teacher_accuracy": 0.6})
    for balanced, said in ((0.5, []), (0.6 + 1e-12, []), (0.7, ["The teacher (60.0 %) is less accurate than 1 of"])):
        tables = searched(tmp_path, ("0", None, 60_000, 0.95))
        tables.trials["0"] |= {"metric": "balanced", "balanced_accuracy": balanced}
        found = answer.sentences(tables, facts)
        assert [text[: len(part)] for text, part in zip(found, said, strict=True)] == said
        assert listing(list(tables.trials.values()), tables, 1000)[0][1] == "balanced accuracy"


def test_a_front_that_has_learned_nothing_says_so_by_its_own_chance(tmp_path):
    facts = FACTS.model_copy(update={"largest_class": 0.8})
    tables = searched(tmp_path, ("0", None, 60_000, 0.99), ("3", None, 50_000, 0.8), ("4", None, 40_000, 0.79))
    (said,) = (text for text in answer.sentences(tables, facts) if "guessing" in text)
    assert said.startswith("Hardly better than guessing (80 %), so that they say nothing: trial 3, 4. Give more epochs")
