"""Splits, fractions, changes of images, folders, the cache."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from kdsearch.config.pipeline import Data, Fit
from kdsearch.data import images as data_images
from kdsearch.data import sources
from kdsearch.errors import Refusal

HERE = Path("nowhere")


def folder(root: Path, count: int = 4, size: tuple[int, int] = (10, 10), mode: str = "RGB") -> Path:
    for place, name in enumerate("ab"):
        (root / "train" / name).mkdir(parents=True)
        for number in range(count):
            colour = 50 * place + number
            Image.new(mode, size, colour if mode == "L" else (colour, 0, 255)).save(
                root / "train" / name / f"{number}.png"
            )
    return root


def test_training_and_validation_images_are_apart_and_the_same_each_time(images):
    again = data_images.load(Data(), HERE)
    assert len(images.train) + len(images.validation) == 1433 and len(images.validation) == round(0.2 * 1433)
    assert torch.equal(again.validation, images.validation) and torch.equal(again.train, images.train)
    other = data_images.load(Data(split_seed=1), HERE)
    assert not torch.equal(other.validation_labels, images.validation_labels)
    assert other.fingerprint == images.fingerprint


def test_the_validation_split_is_stratified(images):
    shares = images.validation_labels.bincount() / (images.labels.bincount() + images.validation_labels.bincount())
    assert float((shares - 0.2).abs().max()) < 0.01


@settings(deadline=None)
@given(counts=st.lists(st.integers(2, 30), min_size=2, max_size=6), seed=st.integers(0, 99), part=st.floats(0, 1))
def test_any_first_part_of_the_stratified_order_is_in_proportion_to_one_image(counts, seed, part):
    labels = torch.cat([torch.full((count,), place) for place, count in enumerate(counts)])
    order = data_images.stratified(labels, seed)
    assert sorted(order.tolist()) == list(range(len(labels)))
    first = labels[order[: round(part * len(labels))]].bincount(minlength=len(counts))
    for found, count in zip(first.tolist(), counts, strict=True):
        assert abs(found - part * count) <= 1 + 1e-9 + part


def order(images, fit: Fit) -> list[int]:
    generator = torch.Generator().manual_seed(3)
    return torch.cat(images.batches(fit, generator, [0] * images.passes(fit))).tolist()


def test_a_smaller_fraction_is_part_of_a_larger_one(images):
    seen = [set(order(images, Fit(fraction=fraction))) for fraction in (0.1, 0.5, 1.0)]
    assert seen[0] < seen[1] < seen[2] and len(seen[0]) == round(0.1 * len(images.train))


def test_an_epoch_of_a_fraction_has_the_full_set_s_steps_unless_told_otherwise(images):
    def steps(**fit: object) -> int:
        told = Fit.model_validate({"batch_size": 64, **fit})
        return len(images.batches(told, torch.Generator(), [0] * images.passes(told)))

    assert steps() == steps(fraction=0.1) == 18
    assert steps(fraction=0.1, steps="fraction") == 2


def test_an_epoch_shows_each_image_once(images):
    assert sorted(order(images, Fit())) == list(range(len(images.train)))


def test_a_batch_holds_the_pixels_of_its_samples_in_the_view_of_its_pass(images):
    cropped = dataclasses.replace(images, augment="crop+flip", views=3)
    fit, count = Fit(fraction=0.5), len(images.train)
    batches = list(cropped.epoch(fit, torch.Generator().manual_seed(3), [2, 0]))
    views = torch.cat([batch.samples for batch in batches]) // count
    assert set(views[: count // 2].tolist()) == {2} and set(views[-count // 2 + 1 :].tolist()) == {0}
    for batch in batches:
        assert torch.equal(batch.pixels, cropped.pixels(batch.samples))
        assert torch.equal(batch.labels, images.labels[batch.samples % count])
    first, again = (cropped.pixels(torch.arange(50) + count * view) for view in (0, 2))
    assert not torch.equal(first, again)


def test_fresh_changes_are_drawn_by_the_generator_and_are_none_of_the_fixed_views(images):
    cropped = dataclasses.replace(images, augment="crop+flip", views=1)

    def epoch(seed: int) -> torch.Tensor:
        batches = list(cropped.epoch(Fit(), torch.Generator().manual_seed(seed), None))
        pixels, samples = (torch.cat([getattr(batch, name) for batch in batches]) for name in ("pixels", "samples"))
        return pixels[samples.argsort()]

    assert torch.equal(epoch(0), epoch(0)) and not torch.equal(epoch(0), epoch(1))
    assert not torch.equal(epoch(0), cropped.pixels(torch.arange(len(images.train))))


def test_normalised_training_images_have_mean_0_and_deviation_1(images):
    pixels = images.prepare(images.train)
    assert float(pixels.mean()) == pytest.approx(0, abs=1e-4) and float(pixels.std()) == pytest.approx(1, abs=1e-3)


def test_at_most_so_many_images_are_used_and_stay_stratified():
    few = data_images.load(Data(images=100), HERE)
    assert len(few.train) == 80 and len(few.validation) == 20
    assert few.labels.bincount().min() >= 7


def test_the_next_process_takes_decoded_images_from_the_cache(tmp_path, monkeypatch):
    root = folder(tmp_path / "d")
    first = data_images.load(Data(name=str(root)), HERE)
    monkeypatch.setattr(sources, "read", None)
    assert torch.equal(data_images.load(Data(name=str(root)), HERE).train, first.train)


def test_a_damaged_cache_file_is_made_anew_and_a_changed_folder_is_read_again(tmp_path, monkeypatch):
    monkeypatch.setenv("KDSEARCH_CACHE", str(tmp_path / "cache"))
    root = folder(tmp_path / "d")
    first = data_images.load(Data(name=str(root)), HERE)
    (cached,) = (tmp_path / "cache" / "images").iterdir()
    cached.write_bytes(cached.read_bytes()[:100])
    assert data_images.load(Data(name=str(root)), HERE).fingerprint == first.fingerprint
    Image.new("RGB", (10, 10), (9, 9, 9)).save(root / "train" / "a" / "0.png")
    assert data_images.load(Data(name=str(root)), HERE).fingerprint != first.fingerprint


def test_a_decoded_copy_whose_pixels_the_disk_has_lost_is_made_anew(tmp_path, monkeypatch):
    monkeypatch.setenv("KDSEARCH_CACHE", str(tmp_path / "cache"))
    first = data_images.load(Data(), HERE)
    (cached,) = (tmp_path / "cache" / "images").iterdir()
    damaged = cached.read_bytes()[:-50_000] + bytes(50_000)
    cached.write_bytes(damaged)
    assert torch.equal(data_images.load(Data(), HERE).train, first.train) and cached.read_bytes() != damaged


def test_loading_for_a_search_never_reads_test_images(tmp_path, monkeypatch):
    monkeypatch.setenv("KDSEARCH_CACHE", str(tmp_path))
    asked, real = [], sources.read
    monkeypatch.setattr(sources, "read", lambda name, part, *rest: asked.append(part) or real(name, part, *rest))
    data_images.load(Data(), HERE)
    assert asked == ["train"]


def test_test_images_are_none_of_the_training_images():
    everything = data_images.load(Data(), HERE)
    pixels, _ = data_images.load_test(Data(), HERE, everything)
    used = {bytes(image.numpy().data) for image in torch.cat([everything.train, everything.validation])}
    assert len(pixels) == 364 and sum(bytes(image.numpy().data) in used for image in pixels) <= 1


def test_test_images_come_in_the_shape_and_with_the_classes_of_the_training_images(tmp_path):
    root, other = folder(tmp_path / "d"), folder(tmp_path / "other", size=(20, 14), mode="L")
    (other / "train").rename(root / "test")
    images = data_images.load(Data(name=str(root)), HERE)
    pixels, labels = data_images.load_test(Data(name=str(root)), HERE, images)
    assert pixels.shape == (8, 3, 10, 10) and labels.tolist() == [0] * 4 + [1] * 4
    (root / "test" / "a").rename(root / "test" / "c")
    with pytest.raises(Refusal, match="a, b, but in test b, c"):
        data_images.load_test(Data(name=str(root)), HERE, images)


def test_a_folder_keeps_its_common_size_and_grey_images_one_channel(tmp_path):
    assert data_images.load(Data(name=str(folder(tmp_path / "rgb", size=(12, 9)))), HERE).shape == (3, 9, 12)
    assert data_images.load(Data(name=str(folder(tmp_path / "grey", mode="L"))), HERE).shape == (1, 10, 10)


def test_sixteen_bit_images_keep_their_upper_eight_bits(tmp_path):
    root = folder(tmp_path / "d", mode="L")
    for path in root.glob("train/*/*.png"):
        deep = np.full((10, 10), 256 * 77, dtype=np.uint16)
        Image.fromarray(deep).save(path)
    found = data_images.load(Data(name=str(root)), HERE)
    assert found.shape == (1, 10, 10) and set(found.train.flatten().tolist()) == {77}


def test_a_photo_that_lies_on_its_side_is_turned(tmp_path):
    root = folder(tmp_path / "d")
    tag = Image.Exif()
    tag[sources.ORIENTATION] = 6
    for place, path in enumerate(sorted(root.glob("train/*/*.png"))):
        Image.new("RGB", (12, 9), (place, 0, 0)).save(path.with_suffix(".jpg"), exif=tag)
        path.unlink()
    assert data_images.load(Data(name=str(root)), HERE).shape == (3, 12, 9)


def test_images_of_several_sizes_become_32_and_image_size_says_otherwise(tmp_path):
    root = folder(tmp_path / "d")
    Image.new("RGB", (50, 20)).save(root / "train" / "a" / "wide.png")
    assert data_images.load(Data(name=str(root)), HERE).shape == (3, 32, 32)
    assert data_images.load(Data(name=str(root), image_size=8), HERE).shape == (3, 8, 8)


def test_pixels_of_a_folder_arrive_unchanged(tmp_path):
    found = data_images.load(Data(name=str(folder(tmp_path / "d"))), HERE)
    every = torch.cat([found.train, found.validation])[:, :, 0, 0]
    assert sorted(every.tolist()) == sorted([50 * place + number, 0, 255] for place in (0, 1) for number in range(4))


@pytest.mark.parametrize(
    "break_it, said",
    [
        (lambda root: (root / "train" / "a" / "0.png").write_bytes(b"no image"), "0.png' is not"),
        (lambda root: (root / "train" / "empty").mkdir(), "holds none"),
        (lambda root: (root / "train").rename(root / "trian"), "has no folder 'train'"),
        (lambda root: (root / "train" / "b").rename(root / "b"), "at least two are needed"),
    ],
)
def test_a_folder_that_cannot_serve_is_refused_by_name(tmp_path, break_it, said):
    root = folder(tmp_path / "d")
    break_it(root)
    with pytest.raises(Refusal, match=said):
        data_images.load(Data(name=str(root)), HERE)


def test_a_class_of_one_image_is_refused(tmp_path):
    with pytest.raises(Refusal, match="two training images"):
        data_images.load(Data(name=str(folder(tmp_path / "d", count=1))), HERE)


def test_an_unknown_data_set_is_refused_with_the_nearest():
    with pytest.raises(Refusal, match="Did you mean 'cifar10'"):
        sources.placed("cifar-10")


def test_a_digit_may_be_enlarged():
    assert data_images.load(Data(image_size=16), HERE).shape == (1, 16, 16)
