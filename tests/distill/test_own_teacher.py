"""A user's own teacher and students in a pipeline: what is taken as it is, what trains, what is the same again."""

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path

import pytest
import torch
from mine import chain, own, weights, written
from safetensors.torch import load_file
from torch import nn

from kdsearch.config.net import Eye, Net, names
from kdsearch.config.parse import parse
from kdsearch.config.pipeline import Data, Fit, Hints, Pair, Pipeline
from kdsearch.data import images as data_images
from kdsearch.data.memory import Images
from kdsearch.data.sight import seen
from kdsearch.data.views import Batch
from kdsearch.distill import pipeline as running
from kdsearch.distill.checkpoint import Keeping, Paused
from kdsearch.distill.pipeline import Means, Row
from kdsearch.distill.store import Store, key_of, load_net
from kdsearch.distill.teacher import Targets
from kdsearch.distill.weights import Taught, digest
from kdsearch.errors import Refusal
from kdsearch.nets import cut, factory, settle
from kdsearch.nets.settle import settled

DATA = Data(images=300, image_size=16, channels=3)


@pytest.fixture(scope="module")
def images() -> Images:
    return data_images.load(DATA, Path("nowhere"))


@pytest.fixture(scope="module")
def mine(tmp_path_factory) -> Path:
    return written(tmp_path_factory.mktemp("mine"))


@pytest.fixture(scope="module")
def given(mine, tmp_path_factory) -> str:
    """A file of a teacher's weights."""
    return weights(mine, "teacher", tmp_path_factory.mktemp("weights") / "w.safetensors")


@pytest.fixture
def means(images, tmp_path) -> Means:
    return Means(images, Store(tmp_path / "store"), Targets(tmp_path / "targets", 10**9))


@pytest.fixture
def asked(mine, given, images) -> Pipeline:
    """The given teacher and a student of the same family, with a hint in the middle; two epochs a stage."""
    return certain(chain(own(mine, "teacher", weights=given), own(mine, "student")), images)


def certain(pipeline: Pipeline, images: Images) -> Pipeline:
    return settled(pipeline.model_copy(update={"data": DATA}), images.shape, images.classes)


def ran(asked: Pipeline, means: Means, path: Path | None = None) -> tuple[list[Row], nn.Module]:
    student = running.untrained(asked, 1, means.images)
    return list(running.run(asked, means, student, path)), student


def told(rows: list[Row]) -> list[Row]:
    """Without their times, and without recordings."""
    return [dataclasses.replace(row, seconds=0) for row in rows if row.stage != "record"]


def answering(means: Means, how: str) -> Means:
    targets = dataclasses.replace(means.targets, told={"hint": how, "kd": how})
    return dataclasses.replace(means, targets=targets)


# The teacher --------------------------------------------------------------------------------------------------------


def test_a_given_teacher_is_not_trained_and_its_accuracy_stands_in_its_facts(asked, given, means):
    rows, _ = ran(asked, means)
    assert {row.link for row in rows if row.stage != "record"} == {1}
    path = means.store.path(key_of(asked, 0, means.images.fingerprint))
    net = running.untrained(asked, 0, means.images).eval()
    file = load_file(given)
    for name, value in net.state_dict().items():
        assert torch.equal(value, file[name]), name
    facts = load_net(path, net)
    assert all(torch.equal(value, file[name]) for name, value in net.state_dict().items())
    with torch.inference_mode():
        right = net(means.images.prepare(means.images.validation[:])).argmax(1) == means.images.validation_labels
    assert facts["accuracy"] == pytest.approx(float(right.double().mean())) and facts["balanced_accuracy"] is not None


def test_a_given_teacher_is_judged_as_it_sees(mine, given, means, images, monkeypatch):
    plain, judged = running.validated, []
    monkeypatch.setattr(running, "validated", lambda net, some: judged.append(some.shape) or plain(net, some))
    asked = certain(chain(own(mine, "teacher", weights=given, eye=Eye(size=24)), own(mine, "student")), images)
    ran(asked, means)
    assert judged == [(3, 24, 24), (3, 16, 16), (3, 16, 16)]


@pytest.mark.parametrize("how", ["live", "recorded"])
def test_a_given_teacher_stays_as_it_is_while_it_teaches(asked, means, how):
    teacher = running.untrained(asked, 0, means.images)
    before, modes = digest(teacher), set()
    teacher.register_forward_hook(lambda module, *_: modes.add((module.training, torch.is_grad_enabled())))
    student = running.untrained(asked, 1, means.images)
    taught = Taught({"key": "k", "digest": before}, lambda: teacher, names(asked.links[0].net))
    assert list(running.learn(asked, 1, student, {0: taught}, answering(means, how)))
    assert digest(teacher) == before and modes == {(False, False)}
    assert all(weight.grad is None for weight in teacher.parameters())


def test_weights_that_have_changed_since_teach_nobody(mine, means, images, tmp_path):
    path = tmp_path / "w.safetensors"
    asked = certain(chain(own(mine, "teacher", weights=weights(mine, "teacher", path)), own(mine, "student")), images)
    weights(mine, "teacher", path, seed=1)
    with pytest.raises(Refusal, match=r"those of '.*w\.safetensors' have changed since .hash .* then, .* now"):
        ran(asked, means)
    assert not list(means.store.folder.glob("*.safetensors"))


def test_a_head_that_trains_alone_leaves_the_rest_as_it_was_given(mine, means, images, tmp_path):
    path = weights(mine, "teacher", tmp_path / "w.safetensors", classes=7)
    plain = chain(own(mine, "teacher", weights=path), own(mine, "student"))
    asked = certain(plain, images)
    fit = Fit(epochs=2, batch_size=64, trains="head", learning_rate=0.01)
    first = asked.links[0].model_copy(update={"fit": fit})
    asked = asked.model_copy(update={"links": (first, asked.links[1])})
    rows, _ = ran(asked, means)
    assert [row.stage for row in rows if row.link == 0 and row.stage != "record"] == ["labels"] * 2
    net, drawn = (running.untrained(asked, 0, images) for _ in range(2))
    load_net(means.store.path(key_of(asked, 0, images.fingerprint)), net)
    file, there = load_file(path), net.state_dict()
    moved = {name for name, value in drawn.state_dict().items() if not torch.equal(value, there[name])}
    assert moved == {"head.weight", "head.bias"}
    assert all(torch.equal(value, file[name]) for name, value in there.items() if not name.startswith("head."))


# Stage 1 ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "guided, moved", [("stem", ("stem",)), ("down", ("stem", "down")), ("down.0", ("stem", "down.0"))]
)
def test_a_hint_moves_no_parameter_and_no_buffer_behind_the_guided_layer(mine, given, means, images, guided, moved):
    hints = Hints(pairs=(Pair(hint="down", guided=guided),))
    asked = certain(chain(own(mine, "teacher", weights=given), own(mine, "student"), hints=hints), images)
    student = running.untrained(asked, 1, images)
    before = {name: value.clone() for name, value in student.state_dict().items()}
    for row in running.run(asked, means, student):
        if row.stage == "hint" and row.epoch == 2:
            break
    changed = {name for name, value in student.state_dict().items() if not torch.equal(value, before[name])}
    assert changed == {name for name in before if name.startswith(tuple(f"{one}." for one in moved))}


def test_labels_do_not_influence_a_hint(asked, means):
    ends = []
    for labels in (means.images.labels, means.images.labels.flip(0)):
        student = running.untrained(asked, 1, means.images)
        own_means = dataclasses.replace(means, images=dataclasses.replace(means.images, labels=labels))
        rows = running.run(asked, own_means, student)
        assert next(row for row in rows if row.stage == "hint" and row.epoch == 2)
        ends.append(digest(student))
    assert ends[0] == ends[1]


# Recorded and live --------------------------------------------------------------------------------------------------


def shown(asked: Pipeline, means: Means, samples: torch.Tensor) -> dict[str, Mapping[int, torch.Tensor]]:
    """What the first stage's teacher tells of these samples, live and recorded."""
    teacher, student = (running.untrained(asked, number, means.images) for number in (0, 1))
    net = asked.links[0].net
    taught = Taught({"key": "k", "digest": digest(teacher)}, lambda: teacher, names(net))
    batch = Batch(means.images.pixels(samples), means.images.labels[samples % len(means.images.train)], samples)
    found = {}
    for how in ("live", "recorded"):
        answers = next(running.lessons(asked, 1, student, {0: taught}, answering(means, how))).answers[0]
        list(answers.ready([0, 1]))
        found[how] = answers(batch)
    return found


@pytest.mark.parametrize("eye", [Eye(), Eye(size=24, mean=(0.4,) * 3, std=(0.3,) * 3, order="bgr")])
@pytest.mark.parametrize("net", ["own", "built in"])
def test_recorded_answers_are_the_live_ones_at_the_pair_s_size(mine, given, images, means, eye, net):
    """The student's maps have 8×8 and 4×4; the teacher's, at its own size, 12×12 and 6×6."""
    student = own(mine, "student") if net == "own" else Net(widths=(4, 6), depth=2, hidden=8, pools=(2, 2))
    more = dataclasses.replace(images, augment="crop+flip", views=2)
    hints = Hints(pairs=(Pair(hint="down", guided="2/3"), Pair(hint="last", guided="1/1")))
    asked = certain(chain(own(mine, "teacher", weights=given, eye=eye), student, hints=hints), images)
    samples = torch.tensor([0, 5, 200, 3, 100]) + len(more.train) * torch.tensor([0, 1, 0, 1, 1])
    found = shown(asked, dataclasses.replace(means, images=more), samples)
    whole = running.untrained(asked, 0, more).eval()
    with torch.no_grad():
        expected = cut.maps(whole, seen(more, eye).pixels(samples), ["down", "last"])
    for layer, (name, side) in {2: ("down", 8), 3: ("last", 4)}.items():
        averaged = nn.functional.adaptive_avg_pool2d(expected[name], side)
        for how, one in found.items():
            assert torch.allclose(one[layer].float(), averaged, atol=2e-3, rtol=2e-3), (how, name)


def test_recorded_answers_are_the_live_logits_as_the_teacher_sees(mine, given, images, means):
    eye = Eye(size=24, std=(0.1,) * 3, classes=tuple("9876543210"), outputs="logits")
    asked = certain(chain(own(mine, "teacher", weights=given, eye=eye), own(mine, "student"), hints=None), images)
    samples = torch.arange(40)
    found = shown(asked, means, samples)
    with torch.no_grad():
        plain = factory.raw(asked.links[0].net, 10).eval()  # pyright: ignore[reportArgumentType]
        plain.load_state_dict(load_file(given))
        logits = plain(seen(images, eye).pixels(samples)).flip(1)
    for how, one in found.items():
        assert torch.allclose(one[4], logits, atol=1e-5), how


def test_recorded_and_live_answers_teach_the_same(asked, means):
    ends = []
    for how in ("live", "recorded"):
        rows, student = ran(asked, answering(means, how))
        ends.append((told(rows), student.state_dict()))
    for one, other in zip(ends[0][0], ends[1][0], strict=True):
        assert one.losses == pytest.approx(other.losses, rel=1e-3)
    for name, value in ends[0][1].items():
        assert torch.allclose(value.float(), ends[1][1][name].float(), atol=1e-3, rtol=1e-2), name


# Again --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("after", [1, 2, 3])
def test_a_student_broken_off_after_any_epoch_ends_with_the_very_numbers(asked, means, tmp_path, after):
    rows, student = ran(asked, means)
    ends, path, asks = [(told(rows), digest(student))], tmp_path / "kept.safetensors", iter(range(1, 100))
    with pytest.raises(Paused):
        ran(asked, dataclasses.replace(means, keeping=Keeping(stopping=lambda: next(asks) >= after)), path)
    rows, student = ran(asked, dataclasses.replace(means, keeping=Keeping()), path)
    ends.append((told(rows), digest(student)))
    assert ends[0] == ends[1]


def test_a_student_s_written_config_trains_again_to_the_same_number(asked, means, images, tmp_path):
    rows, student = ran(asked, means)
    written_out = json.dumps(asked.model_dump(mode="json"))
    settle._settled.cache_clear()
    again = settled(parse(Pipeline, json.loads(written_out), "it"), images.shape, images.classes)
    other = dataclasses.replace(means, store=Store(tmp_path / "other"), targets=Targets(tmp_path / "t", 10**9))
    more, twin = ran(again, other)
    assert told(rows) == told(more) and digest(student) == digest(twin)


def test_a_drawn_student_trains_again_without_optuna(mine, given, images, means):
    told_knobs = (("width", 3), ("channels", 3))
    asked = certain(chain(own(mine, "teacher", weights=given), own(mine, "drawn", arguments=told_knobs)), images)
    assert digest(ran(asked, means)[1]) == digest(ran(asked, means)[1])


def test_a_student_whose_code_has_changed_since_is_not_trained(given, images, means, tmp_path):
    file = written(tmp_path / "here")
    asked = certain(chain(own(file, "teacher", weights=given), own(file, "student")), images)
    file.write_text(file.read_text() + "# changed\n")
    with pytest.raises(Refusal, match="or a file beside it that it imports, has changed since"):
        running.untrained(asked, 1, images)


def test_a_teacher_that_only_labels_need_not_be_there(mine, given, images, means):
    told_teacher = own(mine, "teacher", weights=given)
    asked = certain(chain(told_teacher, own(mine, "student"), hints=None, kd=None), images)
    gone = asked.links[0].net.model_copy(update={"weights": "/nowhere/w.safetensors"})
    first = asked.links[0].model_copy(update={"net": gone})
    rows, _ = ran(asked.model_copy(update={"links": (first, asked.links[1])}), means)
    assert [row.stage for row in rows] == ["labels"] * 4
    assert not means.store.folder.exists()
