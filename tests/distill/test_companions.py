"""What trains beside a student and is dropped: peers, branches, exits; and several teachers of one student."""

from dataclasses import asdict, replace
from typing import Any

import pytest
import torch
from pydantic import ValidationError

from kdsearch.config.companions import BYOT, DML, ONE
from kdsearch.config.methods import OwnTerm
from kdsearch.config.net import Net, Own, ResNet
from kdsearch.config.part import Ramp
from kdsearch.config.pipeline import KD, Data, Fit, Hints, Link, Pair, Pipeline
from kdsearch.distill import pipeline, train
from kdsearch.distill.pipeline import Means
from kdsearch.distill.store import Store, key_of
from kdsearch.distill.teacher import Targets
from kdsearch.distill.weights import digest
from kdsearch.errors import Refusal
from kdsearch.nets import pairs, survey

SMALL = Net(widths=(4, 4, 6), depth=3, hidden=8, batch_norm=True, dropout=0.2)
RESIDUAL = ResNet(kind="resnet", widths=(8, 16, 16), blocks=1)
FIT = Fit(epochs=3, learning_rate=0.01, batch_size=64)
IMAGE = (1, 8, 8)


def chain(**link) -> Pipeline:
    told = {"net": SMALL, "fit": FIT, "seed": 3} | link
    return Pipeline(links=(Link(net=SMALL, fit=FIT), Link.model_validate(told)), data=Data(images=200))


@pytest.fixture(scope="module")
def means(images, tmp_path_factory) -> Means:
    where = tmp_path_factory.mktemp("means")
    return Means(images, Store(where / "store"), Targets(where / "targets", 10**9))


def ran(told: Pipeline, means: Means) -> tuple[list[dict], str]:
    student = pipeline.untrained(told, len(told.links) - 1, means.images)
    last = len(told.links) - 1
    rows = [asdict(row) | {"seconds": 0} for row in pipeline.run(told, means, student)]
    return [row for row in rows if row["link"] == last or row["stage"] == "record"], digest(student)


def lesson(told: Pipeline, means: Means) -> Any:
    number = len(told.links) - 1
    student = pipeline.untrained(told, number, means.images)
    return next(pipeline.lessons(told, number, student, {}, means))


def test_dml_with_one_peer_is_cross_entropy_to_the_bit(means):
    (rows, one), (others, labels) = (ran(chain(**more), means) for more in ({"companions": DML(peers=1)}, {}))
    assert one == labels and rows == others


def test_a_student_begins_as_it_would_alone_and_its_peers_otherwise(means):
    made, alone = lesson(chain(companions=DML(peers=3)), means), lesson(chain(), means)
    assert digest(made.net) == digest(alone.net)
    twins = [digest(twin) for twin in made.companions.twins]
    assert len({digest(made.net), *twins}) == 3
    assert [digest(twin) for twin in lesson(chain(companions=DML(peers=3)), means).companions.twins] == twins


def test_a_student_with_an_idle_peer_learns_what_it_would_alone(means):
    """With weight 0 nothing of a peer reaches it: the labels' own numbers."""
    plain = SMALL.model_copy(update={"dropout": 0.0})  # a peer's dropout would draw between the student's
    with_it, without = (ran(chain(net=plain, **more), means) for more in ({"companions": DML(weight=0)}, {}))
    assert with_it[1] == without[1]


@pytest.mark.parametrize("optimizer, momentum", [("adam", 0.0), ("sgd", 0.9)])
def test_one_optimiser_on_the_sum_is_one_a_network(means, optimizer, momentum):
    fit = Fit(epochs=1, optimizer=optimizer, momentum=momentum, learning_rate=0.01, batch_size=64, weight_decay=1e-3)  # pyright: ignore[reportArgumentType]
    ends = []
    for each in (False, True):
        made = lesson(chain(companions=DML(), fit=fit), means)
        nets = [made.net, made.companions.twins[0]]
        steps = [train.optimizer(fit, net) for net in nets] if each else [train.optimizer(fit, made.trained)]
        made.train()
        torch.manual_seed(0)
        for batch in means.images.epoch(fit, torch.Generator().manual_seed(0), None):
            terms = made.losses(batch)
            for own in steps:
                own.zero_grad()
            torch.stack(list(terms.values())).sum().backward()
            for own in steps:
                own.step()
        ends.append([digest(net) for net in nets])
    assert ends[0] == ends[1]


@pytest.mark.parametrize("companions", [DML(), ONE(), BYOT()])
@pytest.mark.parametrize("net", [SMALL, RESIDUAL])
def test_what_is_kept_is_the_network_alone_and_all_of_it_learned(means, companions, net):
    told = chain(net=net, companions=companions)
    made = lesson(told, means)
    assert set(made.net.state_dict()) == set(lesson(chain(net=net), means).net.state_dict())
    own = [value.clone() for value in made.trained.parameters()]
    for _ in train.train(made, means.images, FIT, (0,)):
        pass
    assert all(not torch.equal(one, other) for one, other in zip(own, made.trained.parameters(), strict=True))


@pytest.mark.parametrize("companions", [DML(peers=3), ONE(branches=2), BYOT()])
@pytest.mark.parametrize("net", [SMALL, RESIDUAL])
def test_what_companions_cost_is_told_beside_the_student(companions, net):
    link = Link(net=net, companions=companions)
    numbers, macs = survey.extra(link, IMAGE, 10)
    alone = survey.survey(net, IMAGE, 10)
    made: Any = survey.companions(link, IMAGE, 10, lambda _: survey.build(net, IMAGE, 10))
    assert numbers == sum(value.numel() for value in made.parameters()) > 0 < macs
    assert survey.training_parameters(link, None, IMAGE, 10) == alone.parameters + numbers
    if isinstance(companions, DML):
        assert (numbers, macs) == (2 * alone.parameters, 2 * alone.macs)
    if isinstance(companions, ONE):
        split = net.ends[-2]
        gate = 2 * (alone.maps[split - 1][0] + 3)
        whole: Any = survey.build(net, IMAGE, 10)
        tail = sum(value.numel() for value in whole[split:].parameters())
        assert numbers == tail + gate and macs == alone.macs - alone.reach[split - 1] + gate - 6


def test_branches_have_statistics_of_their_own(means):
    made = lesson(chain(companions=ONE(), net=RESIDUAL), means)
    kinds = [sum(isinstance(part, torch.nn.BatchNorm2d) for part in tail.modules()) for tail in made.companions.tails]
    assert kinds == [3, 3]  # of the last stage: two convolutions and the shortcut


@pytest.mark.parametrize(
    "link, said",
    [
        ({"companions": ONE(split=9)}, "has 3, but got 9; 1 to 3 would fit"),
        ({"companions": BYOT(exits=(1, 7))}, "but got 1, 7; 1 to 2 would fit"),
        ({"companions": BYOT(), "net": Net(widths=(4,), depth=1)}, "which has 1, but got none but the last; dml"),
        (
            {"companions": ONE(), "net": Net(widths=(4,), depth=1)},
            "none but the last; dml, which needs none, would fit",
        ),
    ],
)
def test_companions_that_cannot_be_are_refused_with_a_way_out(link, said):
    with pytest.raises(Refusal, match=said):
        pairs.check(chain(**link), IMAGE, 10)


def test_branches_of_a_network_of_the_users_own_are_refused_and_what_would_fit_is_named(monkeypatch):
    own = Own(kind="own", factory="/there/nets.py:student", taps=("a", "b"), source="s")
    monkeypatch.setattr(pairs, "survey", lambda *_: type("Told", (), {"maps": ((1, 2, 2),) * 2}))
    with pytest.raises(Refusal, match=r"'nets\.py:student' is of your own; dml and byot"):
        pairs.check(chain(net=own, companions=ONE()), IMAGE, 10)


def taught_twice(**link) -> Pipeline:
    """Two teachers that learn from labels, then a student of both."""
    told = {"net": SMALL, "fit": FIT, "kd": KD(), "taught_by": (0, 1), **link}
    wide = SMALL.model_copy(update={"width": 2.0})
    links = (Link(net=SMALL, fit=FIT), Link(net=wide, fit=FIT), Link.model_validate(told))
    return Pipeline(links=links, data=Data(images=200))


def test_a_student_of_two_hears_both_and_each_is_recorded(means):
    rows, both = ran(taught_twice(), means)
    assert {row["link"] for row in rows if row["stage"] == "record"} == {0, 1}
    assert both != ran(taught_twice(taught_by=(1,), net=SMALL), means)[1]
    live = replace(means, targets=replace(means.targets, told={"kd": "live", "kd/0": "live"}))
    other, _ = ran(taught_twice(), live)
    ours, theirs = ([row["losses"] for row in some if row["losses"]] for some in (rows, other))
    for one, again in zip(ours, theirs, strict=True):
        assert one == pytest.approx(again, rel=0.01)


def test_hints_come_from_the_last_teacher_and_answers_from_all(means):
    told = taught_twice(hints=Hints(pairs=(Pair(hint=1, guided=1),)))
    assert means.targets.choices(told, 2, means.images).keys() == {"hint", "kd", "kd/0"}
    rows, _ = ran(told, means)
    assert {row["stage"] for row in rows if row["link"] == 2} == {"hint", "kd"}


def test_two_equal_teachers_teach_as_one(means):
    """Their mean is what each says."""
    single = Pipeline(links=(Link(net=SMALL, fit=FIT), Link(net=SMALL, fit=FIT, kd=KD())), data=Data(images=200))
    same = Link(net=SMALL, fit=FIT)
    double = Pipeline(links=(same, same, Link(net=SMALL, fit=FIT, kd=KD(), taught_by=(0, 1))), data=Data(images=200))
    student = pipeline.untrained(single, 1, means.images)
    list(pipeline.run(single, means, student))
    net = pipeline.loaded(same, means.store.path(pipeline.key_of(single, 0, means.images.fingerprint)), means.images)
    taught = pipeline.Taught({"key": "k", "digest": digest(net)}, lambda: net)
    live = replace(means, targets=replace(means.targets, told={"kd": "live", "kd/0": "live"}))
    ends = []
    for told, teachers in ((single, {0: taught}), (double, {0: taught, 1: taught})):
        number = len(told.links) - 1
        made = next(pipeline.lessons(told, number, pipeline.untrained(single, 1, means.images), teachers, live))
        ends.append([done.losses for done in train.train(made, means.images, FIT, (0,))])
    for one, other in zip(*ends, strict=True):
        assert one == pytest.approx(other, rel=1e-4)


def test_a_second_teacher_that_nobody_teaches_is_as_a_first_one(means):
    """It sees fresh views, and neither its key nor its failure depends on the link before it."""
    told = taught_twice()
    alone = told.links[1].model_copy(update={"taught_by": ()})
    free = told.model_copy(update={"links": (told.links[0], alone, told.links[2])})
    other = free.model_copy(update={"links": (told.links[0].model_copy(update={"seed": 9}), *free.links[1:])})
    assert free.before(2) == (0, 1) and free.before(1) == () and told.before(1) == (0,)
    keys = [key_of(one, 1, "f") for one in (told, free, other)]
    assert keys[1] == keys[2] != keys[0] and key_of(free, 2, "f") != key_of(other, 2, "f")
    assert key_of(free, 1, "f") == key_of(free.model_copy(update={"data": Data(images=200, views=4)}), 1, "f")
    (made,) = pipeline.lessons(free, 1, pipeline.untrained(free, 1, means.images), {}, means)
    assert not made.stage.replayed
    assert [row["epoch"] for row in ran(free, means)[0] if row["link"] == 2] == [1, 2, 3]


def test_each_recording_is_told_of_the_teacher_whose_it_is(means):
    teachers = tuple(Link(net=SMALL, fit=FIT, seed=seed) for seed in (21, 22, 23))
    student = taught_twice(taught_by=(0, 1)).student.model_copy(update={"taught_by": (0, 1, 2)})
    told = Pipeline(links=(*teachers, student), data=Data(images=200))
    rows = [row for row in ran(told, means)[0] if row["stage"] == "record"]
    made: Any = next(
        pipeline.lessons(told, 3, pipeline.untrained(told, 3, means.images), taught_of(told, means), means)
    )
    assert [answers.folder.name.split("-")[0] for answers in made.answers] == [
        key_of(told, number, means.images.fingerprint) for number in (2, 0, 1)
    ]
    assert [row["link"] for row in rows] == [2, 0, 1]


def taught_of(told: Pipeline, means: Means) -> dict:
    found = {}
    for number in told.teachers(len(told.links) - 1):
        work = pipeline.taught(told, number, means)
        try:
            while True:
                next(work)
        except StopIteration as end:
            found[number] = end.value
    return found


@pytest.mark.parametrize(
    "link, said",
    [
        ({"kd": None}, "several teachers are heard by their softened answers, kd"),
        ({"kd": KD(virtual=0.9)}, "several teachers are heard by their softened answers, kd"),
        ({"kd": KD(blend="entropy"), "taught_by": None}, "blend=entropy is of several teachers' answers"),
        ({"companions": BYOT(), "terms": (OwnTerm(term="my.py:exits"),)}, "each term once, but terms has exits twice"),
        (
            {"companions": DML(), "fit": Fit(epochs=0)},
            "companions train beside a whole network, but this one has epochs",
        ),
        ({"taught_by": ()}, "link 2 has no teacher, so its hints, kd and terms"),
    ],
)
def test_what_would_do_nothing_is_refused(link, said):
    with pytest.raises(ValidationError, match=said):
        taught_twice(**link)


def test_peers_that_would_begin_as_one_network_are_refused():
    own = Own(kind="own", factory="timm:resnet18@pretrained", taps=("a",), source="s")
    with pytest.raises(Refusal, match="brings given ones, which would make them one network"):
        pairs.check(Pipeline(links=(Link(net=own, companions=DML()),)), IMAGE, 10)


def test_what_is_dropped_has_no_part_in_the_gradient_s_shares(means):
    made = lesson(chain(companions=DML(), kd=None), means)
    epoch = next(train.train(made, means.images, FIT, (0,)))
    assert set(epoch.losses) == {"ce", "peers", "dml"} and set(epoch.shares) == {"ce", "dml"}


@pytest.mark.parametrize("taught_by", [(1, 0), (2,), (0, 0)])
def test_teachers_come_before_those_they_teach_in_rising_order(taught_by):
    with pytest.raises(ValidationError, match="taught_by names links before its own, in rising order"):
        taught_twice(taught_by=taught_by)


def test_a_link_that_teaches_nobody_is_refused():
    with pytest.raises(Refusal, match="link 1 teaches nobody; leave it out"):
        pairs.check(taught_twice(taught_by=(0,)), IMAGE, 10)


def test_what_a_network_learns_from_labels_beside_its_exits_is_what_these_do():
    assert Link(net=SMALL, companions=BYOT(weight=0.3)).labels_weight == pytest.approx(0.7)
    assert Link(net=SMALL, companions=BYOT(), kd=KD(weight=0.4)).labels_weight == pytest.approx(0.6)
    assert Link(net=SMALL, companions=ONE()).labels_weight == 1
    assert ONE().weight == Ramp(start=0, end=1, over=80 / 300, shape="sigmoid")
