"""The same images as networks with other eyes see them."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageOps

from kdsearch.config.net import Eye
from kdsearch.config.pipeline import Data, Fit
from kdsearch.data import images as data_images
from kdsearch.data import known, sources
from kdsearch.data.look import Look, Style
from kdsearch.data.sight import seen
from kdsearch.errors import Refusal

HERE = Path("nowhere")


@pytest.fixture(scope="module")
def root(tmp_path_factory) -> Path:
    """Two classes of pictures of 64×64 pixels and three colours; half of them trains, half judges."""
    root, draw = tmp_path_factory.mktemp("d"), np.random.default_rng(0)
    for part in ("train", "val", "test"):
        for name in "ab":
            (root / part / name).mkdir(parents=True)
            for number in range(4):
                small = Image.fromarray(draw.integers(0, 256, (8, 8, 3), dtype=np.uint8))
                small.resize((64, 64)).save(root / part / name / f"{number}.png")
    return root


@pytest.fixture(scope="module")
def photos(root) -> data_images.Images:
    return data_images.load(Data(name=str(root), image_size=16), HERE)


def files(root: Path, part: str = "train") -> list[Image.Image]:
    """The pictures of a part, in the order in which they are read."""
    return [Image.open(path) for path in sorted(root.glob(f"{part}/*/*.png"))]


def in_file_order(images: data_images.Images) -> np.ndarray:
    """(N, H, W, C)"""
    return images.train[images.order].permute(0, 2, 3, 1).numpy()


def test_an_eye_that_sees_as_all_do_gives_the_images_themselves(images):
    assert seen(images, Eye()) is images
    assert seen(images, Eye(classes=("0", "1"), outputs="probabilities")) is images


def test_a_sight_has_the_same_images_in_the_same_split(root, photos):
    large = seen(photos, Eye(size=48))
    assert large.shape == (3, 48, 48) and large.validation.shape == (3, 48, 48)
    for name in ("labels", "validation_labels", "order", "mean", "std"):
        assert torch.equal(getattr(large, name), getattr(photos, name))
    assert large.fingerprint == photos.fingerprint and large.classes == photos.classes
    expected = [np.asarray(ImageOps.fit(one, (48, 48))) for one in files(root)]
    assert np.array_equal(in_file_order(large), np.stack(expected))
    judged = [np.asarray(ImageOps.fit(one, (48, 48))) for one in files(root, "val")]
    assert np.array_equal(large.validation[:].permute(0, 2, 3, 1).numpy(), np.stack(judged))


@pytest.mark.parametrize("word", ["bilinear", "bicubic", "nearest", "lanczos"])
@pytest.mark.parametrize("crop", [1.0, 0.75])
def test_an_eye_has_a_filter_of_its_own_and_sees_the_centre_of_the_original(root, photos, word, crop):
    found = seen(photos, Eye(size=24, resize=word, crop=crop))
    edge = round(64 * (1 - crop) / 2)
    expected = [
        np.asarray(one.resize((24, 24), Image.Resampling[word.upper()], box=(edge, edge, 64 - edge, 64 - edge)))
        for one in files(root)
    ]
    assert np.array_equal(in_file_order(found), np.stack(expected))


def test_a_known_set_is_seen_by_the_same_rules(images):
    found = seen(images, Eye(size=16, resize="lanczos", crop=0.5, channels=3))
    first = Image.fromarray(in_file_order(images)[0, :, :, 0])
    expected = first.resize((16, 16), Image.Resampling.LANCZOS, box=(2, 2, 6, 6)).convert("RGB")
    assert np.array_equal(in_file_order(found)[0], np.asarray(expected)) and found.shape == (3, 16, 16)
    plain = seen(images, Eye(size=16))
    assert torch.equal(plain.train[:], data_images.load(Data(image_size=16), HERE).train[:])


def test_colours_become_the_grey_of_pillow():
    pixels = torch.randint(0, 256, (2, 40, 40, 3), dtype=torch.uint8)
    grey = known.seen(pixels, Look((40, 40), Style(grey=True)))
    expected = [np.asarray(Image.fromarray(one).convert("L")) for one in pixels.numpy()]
    assert np.array_equal(grey[..., 0].numpy(), np.stack(expected))


def test_channels_of_an_eye_are_repeated_or_made_grey(root, images, photos):
    grey = seen(photos, Eye(channels=1))
    expected = [np.asarray(ImageOps.fit(one.convert("L"), (16, 16))) for one in files(root)]
    assert np.array_equal(in_file_order(grey)[..., 0], np.stack(expected)) and grey.mean.shape == (1, 1, 1)
    assert float(grey.prepare(grey.train[:]).mean()) == pytest.approx(0, abs=1e-4)
    colour = seen(images, Eye(channels=3))
    assert torch.equal(colour.train[:], images.train[:].expand(-1, 3, -1, -1))
    assert torch.equal(colour.mean, images.mean.expand(3, 1, 1))


def test_an_eye_s_statistics_and_order_are_those_by_which_its_network_reads(photos):
    told = seen(photos, Eye(mean=(0.1, 0.2, 0.3), std=(0.5, 0.25, 0.125), order="bgr"))
    pixels = photos.train[:3]
    plain = pixels.float().flip(1) / 255
    expected = (plain - torch.tensor([0.1, 0.2, 0.3]).view(3, 1, 1)) / torch.tensor([0.5, 0.25, 0.125]).view(3, 1, 1)
    assert torch.allclose(told.prepare(pixels), expected, atol=1e-5)
    assert told.train is photos.train  # nothing is decoded for it
    assert torch.allclose(seen(photos, Eye(order="bgr")).prepare(pixels), photos.prepare(pixels).flip(1))


def test_a_sight_is_made_once_and_decoded_once(root, photos, monkeypatch):
    first = seen(photos, Eye(size=40))
    assert seen(photos, Eye(size=40)) is first and seen(photos, Eye(size=40, outputs="probabilities")) is first
    monkeypatch.setattr(sources, "read", None)
    again = seen(data_images.load(Data(name=str(root), image_size=16), HERE), Eye(size=40))
    assert torch.equal(again.train[:], first.train[:])


def test_test_images_come_as_the_eye_sees_them(root, photos):
    pixels, labels = data_images.load_test(photos.origin.data, HERE, seen(photos, Eye(size=24, resize="nearest")))
    expected = [np.asarray(one.resize((24, 24), Image.Resampling.NEAREST)) for one in files(root, "test")]
    assert np.array_equal(pixels[:].permute(0, 2, 3, 1).numpy(), np.stack(expected)) and len(labels) == 8


def test_a_source_that_changed_since_is_refused(tmp_path):
    for number in range(8):
        path = tmp_path / "train" / "ab"[number % 2] / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", (16, 16), 20 * number).save(path)
    found = data_images.load(Data(name=str(tmp_path)), HERE)
    (tmp_path / "train" / "a" / "0.png").rename(tmp_path / "train" / "b" / "0.png")
    with pytest.raises(Refusal, match="have changed since; begin anew"):
        seen(found, Eye(size=32))


def square(root: Path) -> data_images.Images:
    """Pictures of 96×96 pixels: a bright square somewhere on a dark ground."""
    draw = np.random.default_rng(1)
    for name in "ab":
        (root / "train" / name).mkdir(parents=True)
        for number in range(30):
            pixels = np.zeros((96, 96), np.uint8)
            row, column = draw.integers(24, 60, 2)
            pixels[row : row + 12, column : column + 12] = 255
            Image.fromarray(pixels).save(root / "train" / name / f"{number}.png")
    return data_images.load(Data(name=str(root), image_size=32, views=3), HERE)


def centres(pixels: torch.Tensor, sight: data_images.Images) -> torch.Tensor:
    """Of the light in each image, in parts of its sides, from -0.5 to 0.5: (N, 2)."""
    light = pixels[:, 0] * sight.std.flatten()[0] + sight.mean.flatten()[0]
    light = light.clamp(min=0).double()
    found = []
    for axis, side in ((1, light.shape[1]), (2, light.shape[2])):
        places = (torch.arange(side) + 0.5) / side - 0.5
        found.append((light.sum(3 - axis) * places).sum(1) / light.sum((1, 2)))
    return torch.stack(found, 1)


@pytest.mark.parametrize("eye, own", [(Eye(size=96), 1.0), (Eye(size=24), 1.0), (Eye(size=96, crop=0.75), 0.75)])
@pytest.mark.parametrize("numbers", [None, [2]])
def test_all_eyes_see_the_same_change(tmp_path, eye, own, numbers):
    ours = square(tmp_path / "d")
    theirs = seen(ours, eye)
    assert ours.augment == "crop+flip"
    batches = ours.epoch(Fit(batch_size=16), torch.Generator().manual_seed(3), numbers)
    for batch in batches:
        assert (batch.changes is None) == (numbers is not None)
        here = centres(batch.pixels, ours)
        there = centres(theirs.pixels(batch.samples, batch.changes), theirs) * own
        assert float((here - there).abs().max()) < 1 / min(32, *theirs.shape[1:])
        unchanged = centres(theirs.prepare(theirs.train[batch.samples % len(ours.train)]), theirs) * own
        assert float((here - unchanged).abs().max()) > 0.1


def test_whoever_trains_by_an_eye_draws_the_changes_of_the_pipeline_s_size(tmp_path):
    ours = square(tmp_path / "d")
    theirs = seen(ours, Eye(size=96))
    for numbers in (None, [1]):
        one, other = (
            next(iter(images.epoch(Fit(batch_size=16), torch.Generator().manual_seed(3), numbers)))
            for images in (ours, theirs)
        )
        assert torch.equal(one.samples, other.samples)
        assert float((centres(one.pixels, ours) - centres(other.pixels, theirs)).abs().max()) < 1 / 32


def test_a_sight_of_the_same_size_is_the_same_to_the_bit(photos):
    cropped = dataclasses.replace(photos, augment="crop+flip", views=2)
    theirs = seen(cropped, Eye(size=16))
    assert torch.equal(theirs.pixels(torch.arange(12)), cropped.pixels(torch.arange(12)))
