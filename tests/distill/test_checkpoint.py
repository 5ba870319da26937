"""A link that is broken off anywhere and gone on with from its checkpoint ends as one that was not."""

import json
from dataclasses import asdict, replace

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors import safe_open

from kdsearch.config.net import Net
from kdsearch.config.pipeline import KD, Data, Fit, Hints, Link, Pair, Pipeline
from kdsearch.distill import checkpoint, pipeline, train
from kdsearch.distill.checkpoint import Keeping, Paused
from kdsearch.distill.pipeline import Means
from kdsearch.distill.store import Store
from kdsearch.distill.teacher import Targets
from kdsearch.distill.weights import digest

SMALL = Net(widths=(4, 4), depth=2, hidden=8, batch_norm=True, dropout=0.2)


def chain(optimizer: str = "adam", augment: str = "none", regressor: str = "conv3x3") -> Pipeline:
    """Teacher, then a student with two pairs: both stages, three and four epochs."""
    momentum = 0.9 if optimizer == "sgd" else 0.0
    fit = Fit(epochs=7, optimizer=optimizer, momentum=momentum, learning_rate=0.01, schedule="cosine", batch_size=64)  # pyright: ignore[reportArgumentType]
    hints = Hints(pairs=(Pair(hint=1, guided=1), Pair(hint=2, guided=2, weight=0.5)), share=0.45, regressor=regressor)  # pyright: ignore[reportArgumentType]
    links = (Link(net=SMALL, fit=fit), Link(net=SMALL, hints=hints, kd=KD(), fit=fit, seed=3))
    return Pipeline(links=links, data=Data(images=200, augment=augment))  # pyright: ignore[reportArgumentType]


@pytest.fixture(scope="module")
def means(images, tmp_path_factory) -> Means:
    where = tmp_path_factory.mktemp("means")
    return Means(images, Store(where / "store"), Targets(where / "targets", 10**9))


def ran(chain: Pipeline, means: Means, path=None, keeping: Keeping | None = None) -> tuple[list[dict], str]:
    """All rows without their times, and the hash of the student."""
    student = pipeline.untrained(chain, 1, means.images)
    rows = pipeline.run(chain, replace(means, keeping=keeping), student, path)
    told = [asdict(row) | {"seconds": 0} for row in rows if row.link == 1]
    return told, digest(student)


def broken_off(after: int):
    """Asks to stop at the end of epoch `after`, counted over all links from when it is made."""
    asked = iter(range(1, 1000))
    return lambda: next(asked) >= after


@pytest.mark.parametrize("optimizer, augment", [("adam", "none"), ("sgd", "none"), ("adam", "flip")])
@pytest.mark.parametrize("after", range(1, 7))
def test_a_student_broken_off_after_any_epoch_ends_with_the_very_numbers(means, tmp_path, optimizer, augment, after):
    whole = chain(optimizer, augment)
    unbroken = ran(whole, means)
    path = tmp_path / "kept.safetensors"
    with pytest.raises(Paused):
        ran(whole, means, path, Keeping(stopping=broken_off(after)))
    assert ran(whole, means, path, Keeping()) == unbroken


def test_it_may_be_broken_off_again_and_again(means, tmp_path):
    unbroken, path = ran(chain(), means), tmp_path / "kept.safetensors"
    for _ in range(6):
        with pytest.raises(Paused):
            ran(chain(), means, path, Keeping(stopping=broken_off(1)))
    assert ran(chain(), means, path, Keeping()) == unbroken


def test_epochs_that_are_kept_are_not_trained_again(means, tmp_path, monkeypatch):
    path, epochs = tmp_path / "kept.safetensors", []
    with pytest.raises(Paused):
        ran(chain(), means, path, Keeping(stopping=broken_off(5)))
    plain = train.train
    monkeypatch.setattr(pipeline, "train", lambda *told: map(lambda done: epochs.append(done) or done, plain(*told)))
    ran(chain(), means, path, Keeping())
    assert [done.number for done in epochs] == [3, 4]  # of the last stage, whose first two were kept


def test_a_teacher_broken_off_goes_on_for_whoever_makes_it_next(images, tmp_path):
    def teacher(where, **told) -> tuple[str, int]:
        means = Means(images, Store(tmp_path / where), Targets(tmp_path / "targets", 10**9), Keeping(**told))
        work = pipeline.taught(chain(), 0, means)
        rows = 0
        try:
            while True:
                next(work)
                rows += 1
        except StopIteration as end:
            return end.value.facts["digest"], rows

    with pytest.raises(Paused):
        teacher("store", stopping=broken_off(5))
    assert teacher("store") == teacher("other")
    assert not list((tmp_path / "store" / "checkpoints").iterdir())


@pytest.mark.parametrize(
    "milestones, every, past",
    [
        ((), 1e9, [(0, 3)]),
        ((1, 2), 1e9, [(0, 3), (1, 1), (1, 2)]),
        ((), -1, [(0, 1), (0, 2), (0, 3), (1, 1), (1, 2), (1, 3)]),
    ],
)
def test_a_link_is_kept_at_stage_ends_at_milestones_and_after_a_while(
    means, tmp_path, monkeypatch, milestones, every, past
):
    kept = []
    monkeypatch.setattr(checkpoint, "EVERY", every)
    monkeypatch.setattr(
        checkpoint, "save_tensors", lambda path, tensors, words: kept.append(json.loads(words["checkpoint"]))
    )
    ran(chain(), means, tmp_path / "kept.safetensors", Keeping(milestones))
    assert [(told["stage"], told["past"]) for told in kept] == past


def test_a_finished_stage_s_regressors_and_optimiser_are_not_kept(means, tmp_path):
    path = tmp_path / "kept.safetensors"
    for after, more in ((2, True), (3, False), (4, True)):
        path.unlink(missing_ok=True)
        with pytest.raises(Paused):
            ran(chain(), means, path, Keeping(stopping=broken_off(after)))
        with safe_open(path, framework="pt") as file:
            names = list(file.keys())
        assert any(name.startswith("optimizer.") for name in names) is more
        assert any(name.startswith("trained.") for name in names) is (after == 2)


def test_a_checkpoint_of_another_recipe_is_not_taken(means, tmp_path):
    path = tmp_path / "kept.safetensors"
    with pytest.raises(Paused):
        ran(chain("sgd"), means, path, Keeping(stopping=broken_off(4)))
    assert ran(chain(), means, path, Keeping()) == ran(chain(), means)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(where=st.floats(0, 1, exclude_max=True), byte=st.integers(0, 255), cut=st.booleans())
def test_a_damaged_checkpoint_is_not_taken(means, tmp_path, where, byte, cut):
    path = tmp_path / "kept.safetensors"
    if not path.exists():
        with pytest.raises(Paused):
            ran(chain(), means, path, Keeping(stopping=broken_off(2)))
    whole = bytearray(path.read_bytes())
    place = int(where * len(whole))
    broken = whole[:place] if cut else whole[:place] + bytes([byte]) + whole[place + 1 :]
    other = tmp_path / "broken.safetensors"
    other.write_bytes(broken)
    with safe_open(path, framework="pt") as file:
        key = json.loads(file.metadata()["checkpoint"])["key"]
    found = Keeping().of(other, key).read()
    if found:  # the very same content: spaces in the header may differ
        kept = Keeping().of(path, key).read()
        assert kept and found.rows == kept.rows and found.past == kept.past
        assert all(torch.equal(found.tensors[name], tensor) for name, tensor in kept.tensors.items())
