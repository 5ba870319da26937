"""A teacher's answers: recorded once, read by samples, equal to what it says live."""

import dataclasses
import threading
from pathlib import Path

import pytest
import torch
from helpers import TEACHER

from kdsearch.data.memory import Images
from kdsearch.data.views import Batch
from kdsearch.distill import recorded as distill_recorded
from kdsearch.distill.teacher import Live
from kdsearch.distill.weights import Taught
from kdsearch.errors import Refusal, nobody
from kdsearch.nets import build, taps
from kdsearch.nets.derived import Views
from kdsearch.nets.survey import survey

LOGITS = TEACHER.depth + 1


@pytest.fixture
def viewed(images) -> Images:
    """200 digits that are cropped and flipped, in three views."""
    train = dataclasses.replace(images.train, places=images.train.places[:200])
    return dataclasses.replace(images, train=train, labels=images.labels[:200], augment="crop+flip", views=3)


@pytest.fixture
def teacher() -> torch.nn.Sequential:
    torch.manual_seed(7)
    return build.build(TEACHER, (1, 8, 8), 10).eval()


def recorded(
    teacher, images, tmp_path, layers=(2, LOGITS), limit=10**9, asked=None, tell=nobody
) -> distill_recorded.Recorded:
    def load():
        if asked is not None:
            asked.append(1)
        return teacher

    taught = Taught({"key": "abc", "digest": "1"}, load)
    place, shapes = tmp_path / "targets" / "abc", survey(TEACHER, (1, 8, 8), 10)
    return distill_recorded.Recorded(taught, shapes, tuple(layers), images, place, limit, lambda *_: None, tell)


def live_one(teacher) -> Live:
    return Live(Taught({}, lambda: teacher), (2, LOGITS), (torch.zeros(()), torch.ones(())))


def batch(images: Images, samples: torch.Tensor) -> Batch:
    return Batch(images.pixels(samples), images.labels[samples % len(images.train)], samples)


def test_recorded_answers_equal_live_ones_in_every_view(teacher, viewed, tmp_path):
    read, live = recorded(teacher, viewed, tmp_path), live_one(teacher)
    list(read.ready(range(3)))
    for view in range(3):
        some = batch(viewed, torch.randperm(200)[:32] + 200 * view)
        ours, theirs = read(some), live(some)
        assert set(ours) == set(theirs) == {2, LOGITS}
        assert ours[2].dtype == theirs[2].dtype == torch.float16 and ours[LOGITS].dtype == torch.float32
        assert torch.allclose(ours[LOGITS], theirs[LOGITS], rtol=1e-5, atol=1e-6)
        # Sums in another order may round a half to its neighbour: 2⁻¹⁰ of its size.
        assert torch.allclose(ours[2].float(), theirs[2].float(), rtol=2**-10, atol=1e-6)


def test_views_have_other_answers(teacher, viewed, tmp_path):
    read = recorded(teacher, viewed, tmp_path)
    list(read.ready(range(3)))
    zero, one = (read(batch(viewed, torch.arange(50) + 200 * view))[LOGITS] for view in (0, 1))
    assert not torch.allclose(zero, one, rtol=0.05)


def test_a_batch_may_hold_the_end_of_one_view_and_the_beginning_of_the_next(teacher, viewed, tmp_path):
    read, live = recorded(teacher, viewed, tmp_path), live_one(teacher)
    list(read.ready([0, 1]))
    mixed = batch(viewed, torch.tensor([5, 203, 7, 201]))
    assert torch.allclose(read(mixed)[LOGITS], live(mixed)[LOGITS], rtol=1e-5, atol=1e-6)
    assert torch.allclose(read(mixed)[2].float(), live(mixed)[2].float(), rtol=2**-10, atol=1e-6)


def test_what_is_recorded_is_not_recorded_again(teacher, viewed, tmp_path):
    asked: list[int] = []
    first, second = (recorded(teacher, viewed, tmp_path, asked=asked) for _ in range(2))
    assert [view for view, _ in first.ready([0, 1])] == [0, 1]
    assert [view for view, _ in first.ready([0, 1])] == []
    del asked[:]
    assert [view for view, _ in second.ready([0, 1])] == [] and not asked


def test_recording_takes_one_forward_pass_over_the_images_and_brings_the_logits_along(teacher, viewed, tmp_path):
    seen = []
    teacher[0].register_forward_hook(lambda _, args, __: seen.append(len(args[0])))
    list(recorded(teacher, viewed, tmp_path, layers=(1, 2)).ready([0]))
    assert sum(seen) == len(viewed.train)
    list(recorded(teacher, viewed, tmp_path, layers=(LOGITS,)).ready([0]))
    assert sum(seen) == len(viewed.train)


def test_who_has_the_logits_runs_no_further_than_the_hint(teacher, viewed, tmp_path):
    list(recorded(teacher, viewed, tmp_path, layers=(LOGITS,)).ready([0]))
    reached = []
    teacher[2].register_forward_hook(lambda *_: reached.append(1))
    list(recorded(teacher, viewed, tmp_path, layers=(1, 2)).ready([0]))
    assert not reached


def test_several_who_ask_at_once_record_once(teacher, viewed, tmp_path):
    seen = []
    teacher[0].register_forward_hook(lambda _, args, __: seen.append(len(args[0])))
    readers = [recorded(teacher, viewed, tmp_path) for _ in range(4)]
    threads = [threading.Thread(target=lambda own=own: list(own.ready([0]))) for own in readers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(seen) == len(viewed.train)
    found = [own(batch(viewed, torch.arange(8)))[LOGITS] for own in readers]
    assert all(torch.equal(one, found[0]) for one in found)


def damaged_tail(data: bytes) -> bytes:
    return data[:-7]


def other_key(data: bytes) -> bytes:
    return data.replace(b'"abc"', b'"abd"')


def no_header(data: bytes) -> bytes:
    return b"\0" * 64 + data[64:]


def other_view(data: bytes) -> bytes:
    return data.replace(b'"view": "0"', b'"view": "1"')


def other_kind(data: bytes) -> bytes:
    return data.replace(b'"logits-10"', b'"logits-11"')


def other_numbers(data: bytes) -> bytes:
    return data.replace(b'"F32"', b'"I32"')


def lost_row(data: bytes) -> bytes:
    """Of one image alone: its 10 logits."""
    return data[:-400] + b"\0" * 40 + data[-360:]


def one_bit(data: bytes) -> bytes:
    return data[:-57] + bytes([data[-57] ^ 128]) + data[-56:]


@pytest.mark.parametrize(
    "damage", [damaged_tail, other_key, no_header, other_view, other_kind, other_numbers, lost_row, one_bit]
)
def test_a_damaged_file_is_told_and_recorded_again(teacher, viewed, tmp_path, damage):
    list(recorded(teacher, viewed, tmp_path).ready([0]))
    path = tmp_path / "targets" / "abc" / "view0-logits-10.safetensors"
    before = path.read_bytes()
    path.write_bytes(damage(before))
    assert path.read_bytes() != before
    said: list[str] = []
    assert [view for view, _ in recorded(teacher, viewed, tmp_path, tell=said.append).ready([0])] == [0]
    assert path.read_bytes() == before
    (sentence,) = said
    assert sentence.startswith(f"The recorded answers '{path}' are damaged (") and "recorded anew" in sentence


def test_a_recording_that_breaks_off_leaves_nothing_behind(teacher, viewed, tmp_path):
    read = recorded(teacher, viewed, tmp_path)

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    read.progress = full
    with pytest.raises(OSError, match="No space"):
        list(read.ready([0]))
    assert [path.name for path in (tmp_path / "targets" / "abc").iterdir() if path.suffix != ".lock"] == []


def test_files_are_readable_by_the_safetensors_library_and_mapped_not_read(teacher, viewed, tmp_path):
    from safetensors.torch import load_file

    read = recorded(teacher, viewed, tmp_path)
    list(read.ready([0]))
    path = tmp_path / "targets" / "abc" / "view0-map2-8x2x2.safetensors"
    maps = Path("/proc/self/maps")
    assert not maps.exists() or str(path) in maps.read_text()
    plain = load_file(path)["answers"]
    assert plain.shape == (200, 2, 2, 8) and plain.dtype == torch.float16
    assert torch.equal(plain, read.opened[0, 2])


def test_a_file_that_is_open_is_read_on_when_others_needed_its_room(teacher, viewed, tmp_path):
    read = recorded(teacher, viewed, tmp_path)
    list(read.ready([0]))
    for path in (tmp_path / "targets" / "abc").glob("*.safetensors"):
        path.unlink()
    assert list(read.ready([0])) == []
    assert torch.allclose(
        read(batch(viewed, torch.arange(8)))[LOGITS], teacher(viewed.pixels(torch.arange(8))), rtol=1e-5
    )


def test_hints_beyond_half_precision_are_cut_and_not_infinite(teacher, viewed):
    with torch.no_grad():
        teacher[0][0].bias += 1e6
    found = taps.answered(teacher, Views(viewed.pixels(torch.arange(4)), torch.arange(4), viewed.bounds), [1])[1]
    assert float(found.max()) == taps.HIGHEST


def test_the_hint_s_layout_is_the_student_s(teacher, viewed, tmp_path):
    read = recorded(teacher, viewed, tmp_path, layers=(1,))
    list(read.ready([0]))
    found = read(batch(viewed, torch.arange(16)))[1]
    assert found.shape == (16, 8, 4, 4) and found.is_contiguous(memory_format=torch.channels_last)


def test_what_is_gone_before_it_could_be_opened_is_told(teacher, viewed, tmp_path, monkeypatch):
    read = recorded(teacher, viewed, tmp_path)
    monkeypatch.setattr(read, "_record", lambda view, layers: None)
    with pytest.raises(Refusal, match=r"gone at once.*KDSEARCH_CACHE_LIMIT"):
        list(read.ready([0]))
