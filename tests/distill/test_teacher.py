"""When a teacher's answers are recorded: a rule on bytes."""

import dataclasses
from pathlib import Path

import pytest
import torch
from helpers import FIT

from kdsearch.config.net import Net
from kdsearch.config.pipeline import KD, Choice, Hints, Link, Pair, Pipeline
from kdsearch.distill.pipeline import Means, answers_for
from kdsearch.distill.recorded import Recorded
from kdsearch.distill.store import Store
from kdsearch.distill.teacher import Live, Targets, bytes_of, most_views
from kdsearch.distill.terms import stages
from kdsearch.distill.weights import Taught
from kdsearch.nets import survey as nets_survey

SEED_1 = Net(widths=(128, 356, 356), depth=3, hidden=512)


def asked(*hints: int, kd: bool = True) -> Pipeline:
    pairs = tuple(Pair(hint=hint, guided=2 * hint) for hint in hints)
    student = Link(net=Net(depth=6), fit=FIT, hints=Hints(pairs=pairs) if pairs else None, kd=KD() if kd else None)
    return Pipeline(links=(Link(net=SEED_1, fit=FIT), student))


def chosen(images, limit: int, *hints: int, told: dict | None = None, **more) -> dict:
    return Targets(Path("nowhere"), limit, told or {}).choices(asked(*hints, **more), 1, images)


def test_bytes_are_those_of_half_precision_maps_and_of_float32_logits():
    survey = nets_survey.survey(SEED_1, (3, 32, 32), 10)
    assert [bytes_of(survey, layer) for layer in (1, 2, 3, 4)] == [65_536, 45_568, 6_408, 40]
    # The reference's 3.3 GB a view: hint 1 over CIFAR-10's 50,000 images.
    assert 50_000 * bytes_of(survey, 1) == pytest.approx(3.3e9, rel=0.01)


def test_answers_are_recorded_where_all_views_fit_and_asked_live_where_they_do_not(images):
    survey = nets_survey.survey(SEED_1, images.shape, 10)
    viewed = dataclasses.replace(images, views=3, augment="crop")
    needed = 3 * len(images.train) * bytes_of(survey, 2)
    assert chosen(viewed, needed, 2) == {"hint": "recorded", "kd": "recorded"}
    assert chosen(viewed, needed - 1, 2) == {"hint": "live", "kd": "recorded"}
    assert chosen(viewed, 0, 2) == {"hint": "live", "kd": "live"}


def test_two_hints_are_counted_together(images):
    survey = nets_survey.survey(SEED_1, images.shape, 10)
    one, two = (len(images.train) * bytes_of(survey, layer) for layer in (1, 2))
    assert (
        chosen(images, max(one, two), 1, 2)["hint"] == "live" and chosen(images, one + two, 1, 2)["hint"] == "recorded"
    )


def test_a_teacher_that_costs_less_than_the_read_is_asked_live(images):
    # One channel in, 128 out: 18 multiply-accumulates for each byte of hint 1. A second convolution makes it worth it.
    assert chosen(images, 10**12, 1) == {"hint": "live", "kd": "recorded"}
    assert chosen(images, 10**12, 2) == {"hint": "recorded", "kd": "recorded"}


def test_fresh_views_are_never_recorded(images):
    assert chosen(dataclasses.replace(images, views=0), 10**12, 2) == {"hint": "live", "kd": "live"}


def test_what_a_config_says_is_obeyed(images):
    assert chosen(images, 10**12, 2, told={"hint": "live"}) == {"hint": "live", "kd": "recorded"}
    assert chosen(images, 0, 2, told={"hint": "recorded", "kd": "recorded"}) == {"hint": "recorded", "kd": "recorded"}


def test_fresh_views_are_asked_live_whatever_a_config_says(images):
    fresh = dataclasses.replace(images, views=0)
    assert chosen(fresh, 10**12, 2, told={"hint": "recorded"})["hint"] == "live"


def test_nothing_is_chosen_for_what_nobody_asks(images):
    assert chosen(images, 10**12, kd=False) == {} == Targets(Path("nowhere"), 10**12).choices(asked(1), 0, images)
    assert chosen(images, 10**12, 2, kd=False) == {"hint": "recorded"}


def test_other_weights_or_another_precision_have_files_of_their_own(images):
    targets = Targets(Path("t"), 10**12)

    def folder(digest: str, precision) -> Path:
        teacher = Taught({"key": "k", "digest": digest}, lambda: None)  # pyright: ignore[reportArgumentType]
        return targets.place(teacher, dataclasses.replace(images, precision=precision))

    assert len({folder("a", "float32"), folder("b", "float32"), folder("a", "bfloat16")}) == 3
    threads = torch.get_num_threads()
    torch.set_num_threads(threads + 1)
    other = folder("a", "float32")
    torch.set_num_threads(threads)
    assert other != folder("a", "float32")
    assert folder("a", "float32") == Path("t") / f"k-a-cpu{torch.get_num_threads()}-float32"


def test_a_choice_makes_the_answers(images):
    teacher = Taught({"key": "k", "digest": "d"}, lambda: None)  # pyright: ignore[reportArgumentType]
    kinds: dict[Choice, type] = {"live": Live, "recorded": Recorded}
    (stage, _), chain = stages(asked(1, 2).student, SEED_1), asked(1, 2)
    for choice, kind in kinds.items():
        means = Means(images, Store(Path("s")), Targets(Path("t"), 10**12, {"hint": choice}))
        (found,) = answers_for(stage, chain, 1, {0: teacher}, means)
        assert isinstance(found, Live | Recorded) and isinstance(found, kind) and found.asks == (1, 2)
        assert isinstance(found, Live) or found.folder == means.targets.place(teacher, images)


def test_views_are_as_many_as_all_hints_of_a_search_leave_room_for(images):
    viewed = dataclasses.replace(images, views=8, augment="crop+flip")
    survey = nets_survey.survey(SEED_1, images.shape, 10)
    each = len(images.train) * (bytes_of(survey, 1) + bytes_of(survey, 2) + bytes_of(survey, 4))
    space = [asked(1), asked(2), asked(1, 2), asked()]
    assert most_views(space, viewed, 8 * each) == 8 and most_views(space, viewed, 100 * each) == 8
    assert most_views(space, viewed, 8 * each - 1) == 7 and most_views(space, viewed, each) == 1
    # Not even one view fits: the teacher runs live, and views cost nothing.
    assert most_views(space, viewed, each - 1) == 8
    assert most_views([asked(kd=False)], viewed, 0) == 8


def test_the_targets_of_different_teachers_are_different(images):
    viewed = dataclasses.replace(images, views=8, augment="crop+flip")
    first = asked(1)
    other = first.model_copy(update={"links": (Link(net=SEED_1, fit=FIT, seed=1), first.student)})
    each = len(images.train) * (bytes_of(nets_survey.survey(SEED_1, images.shape, 10), 1) + 40)
    assert most_views([first, other], viewed, 4 * each) == 2
