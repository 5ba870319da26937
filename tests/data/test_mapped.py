"""Decoded images in a file that is mapped: written once, read by rows, ahead where they are many."""

import dataclasses
import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from kdsearch.config.pipeline import Data, Fit
from kdsearch.data import images as data_images
from kdsearch.data import mapped, statistics
from kdsearch.data.rows import Rows
from kdsearch.errors import Refusal

HERE = Path("nowhere")


@pytest.fixture
def cache(tmp_path, monkeypatch) -> Path:
    """A new one."""
    monkeypatch.setenv("KDSEARCH_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "images"


def colours(root: Path) -> Data:
    """Two classes of six pictures of noise."""
    draw = np.random.default_rng(0)
    for name in "ab":
        (root / "train" / name).mkdir(parents=True)
        for number in range(6):
            pixels = draw.integers(0, 256, (9, 12, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(root / "train" / name / f"{number}.png")
    return Data(name=str(root))


def decoded_file(cache: Path) -> Path:
    (found,) = (path for path in cache.iterdir() if "-" not in path.name)
    return found


def test_pixels_lie_channels_last_in_a_file_that_others_can_open_and_read(cache, tmp_path):
    found = data_images.load(colours(tmp_path / "d"), HERE)
    there = load_file(decoded_file(cache))
    assert there["pixels"].shape == (12, 9, 12, 3) and there["labels"].tolist() == [0] * 6 + [1] * 6
    first = np.asarray(Image.open(tmp_path / "d" / "train" / "a" / "0.png"))
    assert np.array_equal(there["pixels"][0].numpy(), first)
    assert decoded_file(cache).stat().st_mode & 0o044 == 0o044
    assert torch.equal(found.train[:3], there["pixels"][found.train.places[:3]].permute(0, 3, 1, 2))


def test_a_fingerprint_is_that_of_the_images_channels_first(cache, tmp_path, monkeypatch):
    monkeypatch.setattr(mapped, "PART", 5)
    found = data_images.load(colours(tmp_path / "d"), HERE)
    there = load_file(decoded_file(cache))
    plain = there["pixels"].permute(0, 3, 1, 2).contiguous()
    whole = hashlib.sha256(json.dumps([[12, 3, 9, 12], ["a", "b"]]).encode())
    whole.update(plain.numpy().tobytes() + there["labels"].numpy().tobytes())
    assert found.fingerprint == whole.hexdigest()[:16]


def test_a_fingerprint_is_what_it_was_in_configs_of_before(images):
    assert images.fingerprint == "76f59c2514d9590f"


def test_images_of_the_cache_are_mapped_and_not_hashed(cache, monkeypatch):
    data_images.load(Data(), HERE)
    monkeypatch.setattr(mapped, "fingerprint", None)
    found = data_images.load(Data(), HERE)
    if Path("/proc/self/maps").exists():
        assert str(decoded_file(cache)) in Path("/proc/self/maps").read_text()
    assert found.train.pixels.data_ptr() == found.validation.pixels.data_ptr()


@pytest.mark.parametrize("part", ["format", "size", "labels", "pixels"])
def test_a_file_that_is_damaged_or_of_another_format_is_made_anew(cache, part):
    first = data_images.load(Data(), HERE).train[:]
    path = decoded_file(cache)
    written = path.read_bytes()
    start = 8 + int.from_bytes(written[:8], "little")
    damaged = {
        "format": written.replace(b'"format": "2"', b'"format": "1"'),
        "size": written + b"\0",
        "labels": written[:start] + bytes(100) + written[start + 100 :],
        "pixels": written[:-4000] + bytes(4000),
    }[part]
    assert damaged != written
    path.write_bytes(damaged)
    assert torch.equal(data_images.load(Data(), HERE).train[:], first) and path.read_bytes() == written


def test_pictures_that_break_leave_nothing_behind(cache, tmp_path):
    data = colours(tmp_path / "d")
    broken = tmp_path / "d" / "train" / "b" / "3.png"
    Image.effect_noise((64, 64), 90).save(broken)
    broken.write_bytes(broken.read_bytes()[:2000])  # the head is whole
    with pytest.raises(Refusal, match=r"1 of 12 are not: .*3\.png"):
        data_images.load(data, HERE)
    assert not list(cache.iterdir())


def test_statistics_are_exact_and_counted_once(cache, tmp_path, monkeypatch):
    data = colours(tmp_path / "d")
    found = data_images.load(data, HERE)
    values = found.train[:].double() / 255
    assert torch.allclose(found.mean.flatten().double(), values.mean((0, 2, 3)), atol=1e-7)
    assert torch.allclose(found.std.flatten().double(), values.std((0, 2, 3), correction=0), atol=1e-7)
    other = data_images.load(data.model_copy(update={"split_seed": 1}), HERE)
    assert not torch.equal(other.mean, found.mean)
    counted = []
    split = Rows.split
    monkeypatch.setattr(Rows, "split", lambda rows, count: counted.append(count) or split(rows, count))
    again = data_images.load(data, HERE)
    assert torch.equal(again.mean, found.mean) and torch.equal(again.std, found.std) and not counted
    for path in cache.glob("*-*"):
        path.write_bytes(b"damaged")
    assert torch.equal(data_images.load(data, HERE).std, found.std) and counted == [statistics.PART]


def test_a_set_larger_than_its_share_of_memory_is_read_one_step_ahead(tmp_path):
    data = colours(tmp_path / "d")
    plain, large = data_images.load(data, HERE, memory=12 * 9 * 12 * 3), data_images.load(data, HERE, memory=1)
    assert plain.train.fetch is None and large.train.fetch is not None and large.validation.fetch is not None
    asked: list[list[int]] = []
    read = dataclasses.replace(large.train, fetch=lambda places: asked.append(places.tolist()))
    images = dataclasses.replace(large, train=read)
    seen = []
    for batch, same in zip(
        images.epoch(Fit(batch_size=4), torch.Generator().manual_seed(0), [3]),
        plain.epoch(Fit(batch_size=4), torch.Generator().manual_seed(0), [3]),
        strict=True,
    ):
        assert torch.equal(batch.pixels, same.pixels)
        seen.append(read.places[batch.samples % len(read)].tolist())
        assert len(asked) == min(len(seen), 2)
    assert len(seen) == 3 and asked == seen[1:]
    large.train.fetch(torch.tensor([0, 11]))  # the first and the last of the file


def test_the_share_is_a_quarter_of_the_machine_s_memory(images, monkeypatch):
    assert images.origin.memory == data_images.psutil.virtual_memory().total // 4


def test_rows_that_are_held_are_the_same_rows(images):
    pixels = images.train[:].permute(0, 2, 3, 1).contiguous()
    held = Rows(pixels, images.train.places, held=True)
    which = torch.tensor([5, 3, 900])
    assert torch.equal(held[which], images.train[which]) and torch.equal(held[7:9], images.train[7:9])
    assert torch.equal(torch.cat(list(held.split(100))), images.train[:]) and held.nbytes == images.train.nbytes
