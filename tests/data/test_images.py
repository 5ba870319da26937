"""Splits, fractions, changes of images, folders, the cache."""

import dataclasses
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from kdsearch.config.pipeline import Data, Fit
from kdsearch.data import folder as data_folder
from kdsearch.data import images as data_images
from kdsearch.data import pictures, sources
from kdsearch.data.look import Style
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


def decoded_file(root: Path) -> Path:
    """The cache's only file of images; the others are of what was counted of them."""
    (found,) = (path for path in (root / "cache" / "images").iterdir() if "-" not in path.name)
    return found


def test_training_and_validation_images_are_apart_and_the_same_each_time(images):
    again = data_images.load(Data(), HERE)
    assert len(images.train) + len(images.validation) == 1433 and len(images.validation) == round(0.2 * 1433)
    assert torch.equal(again.validation[:], images.validation[:]) and torch.equal(again.train[:], images.train[:])
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
    pixels = images.prepare(images.train[:])
    assert float(pixels.mean()) == pytest.approx(0, abs=1e-4) and float(pixels.std()) == pytest.approx(1, abs=1e-3)


def test_at_most_so_many_images_are_used_and_stay_stratified():
    few = data_images.load(Data(images=100), HERE)
    assert len(few.train) == 80 and len(few.validation) == 20
    assert few.labels.bincount().min() >= 7


def test_the_next_process_takes_decoded_images_from_the_cache(tmp_path, monkeypatch):
    root = folder(tmp_path / "d")
    first = data_images.load(Data(name=str(root)), HERE)
    monkeypatch.setattr(sources, "read", None)
    assert torch.equal(data_images.load(Data(name=str(root)), HERE).train[:], first.train[:])


def test_a_damaged_cache_file_is_made_anew_and_a_changed_folder_is_read_again(tmp_path, monkeypatch):
    monkeypatch.setenv("KDSEARCH_CACHE", str(tmp_path / "cache"))
    root = folder(tmp_path / "d")
    first = data_images.load(Data(name=str(root)), HERE)
    cached = decoded_file(tmp_path)
    cached.write_bytes(cached.read_bytes()[:100])
    assert data_images.load(Data(name=str(root)), HERE).fingerprint == first.fingerprint
    Image.new("RGB", (10, 10), (9, 9, 9)).save(root / "train" / "a" / "0.png")
    assert data_images.load(Data(name=str(root)), HERE).fingerprint != first.fingerprint


def test_loading_for_a_search_never_reads_test_images(tmp_path, monkeypatch):
    monkeypatch.setenv("KDSEARCH_CACHE", str(tmp_path))
    asked, real = [], sources.read
    monkeypatch.setattr(sources, "read", lambda name, part, *rest: asked.append(part) or real(name, part, *rest))
    data_images.load(Data(), HERE)
    assert asked == ["train"]


def test_test_images_are_none_of_the_training_images():
    everything = data_images.load(Data(), HERE)
    pixels, _ = data_images.load_test(Data(), HERE, everything)
    used = {bytes(image.numpy().data) for image in torch.cat([everything.train[:], everything.validation[:]])}
    assert len(pixels) == 364 and sum(bytes(image.numpy().data) in used for image in pixels[:]) <= 1


def test_test_images_come_in_the_shape_and_with_the_classes_of_the_training_images(tmp_path):
    root, other = folder(tmp_path / "d"), folder(tmp_path / "other", size=(20, 14), mode="L")
    (other / "train").rename(root / "test")
    images = data_images.load(Data(name=str(root)), HERE)
    pixels, labels = data_images.load_test(Data(name=str(root)), HERE, images)
    assert pixels[:].shape == (8, 3, 10, 10) and labels.tolist() == [0] * 4 + [1] * 4
    (root / "test" / "a").rename(root / "test" / "c")
    with pytest.raises(Refusal, match="a, b, but in test b, c"):
        data_images.load_test(Data(name=str(root)), HERE, images)


def test_a_folder_keeps_its_common_size_and_grey_images_one_channel(tmp_path):
    assert data_images.load(Data(name=str(folder(tmp_path / "rgb", size=(12, 9)))), HERE).shape == (3, 9, 12)
    assert data_images.load(Data(name=str(folder(tmp_path / "grey", mode="L"))), HERE).shape == (1, 10, 10)


@pytest.mark.parametrize("kind, ending", [(np.uint16, "png"), (np.int32, "tif"), (np.float32, "tif")])
def test_more_than_eight_bits_fill_the_range_that_the_whole_set_shows(tmp_path, kind, ending):
    root, (low, high) = folder(tmp_path / "d", mode="L"), ((100, 4195) if kind is not np.float32 else (0.25, 0.75))
    for place, path in enumerate(sorted(root.glob("train/*/*.png"))):
        path.unlink()
        deep = np.full((10, 10), low + (high - low) * place / 7, dtype=kind)
        Image.fromarray(deep).save(path.with_suffix(f".{ending}"))
    found = data_images.load(Data(name=str(root)), HERE)
    values = torch.cat([found.train[:], found.validation[:]])[:, 0, 0, 0].sort().values
    assert found.shape == (1, 10, 10) and (values - 255 * torch.arange(8) / 7).abs().max() <= 1
    (root / "train").rename(root / "test")
    Image.fromarray(np.full((10, 10), low, dtype=kind)).save(root / "test" / "b" / f"7.{ending}")
    (root / "test").rename(root / "train")  # the test images' range is the training images', whatever they show
    assert found.origin.look.style == Style(True, (low, high))


def test_pictures_of_eight_bits_and_of_more_are_refused_together(tmp_path):
    root = folder(tmp_path / "d", mode="L")
    Image.fromarray(np.full((10, 10), 999, dtype=np.uint16)).save(root / "train" / "a" / "deep.png")
    with pytest.raises(Refusal, match=r"of these 9 1 have more \(such as '.*deep.png'\); bring all to one kind"):
        data_images.load(Data(name=str(root)), HERE)


def test_a_float_that_is_no_number_is_refused_by_its_file(tmp_path):
    root = folder(tmp_path / "d", mode="L")
    Image.fromarray(np.full((10, 10), np.nan, dtype=np.float32)).save(root / "train" / "a" / "nan.tif")
    with pytest.raises(Refusal, match="it holds values that are no numbers"):
        data_images.load(Data(name=str(root)), HERE)


def test_a_set_of_one_colour_is_refused(tmp_path):
    root = folder(tmp_path / "d")
    for path in root.glob("train/*/*.png"):
        Image.new("RGB", (10, 10), (7, 7, 7)).save(path)
    with pytest.raises(Refusal, match="one colour alone"):
        data_images.load(Data(name=str(root)), HERE)


def test_a_photo_that_lies_on_its_side_is_turned(tmp_path):
    root = folder(tmp_path / "d")
    tag = Image.Exif()
    tag[pictures.ORIENTATION] = 6
    for place, path in enumerate(sorted(root.glob("train/*/*.png"))):
        Image.new("RGB", (12, 9), (place, 0, 0)).save(path.with_suffix(".jpg"), exif=tag)
        path.unlink()
    assert data_images.load(Data(name=str(root)), HERE).shape == (3, 12, 9)


def test_images_of_several_sizes_become_the_median_one_s_and_image_size_says_otherwise(tmp_path):
    root = folder(tmp_path / "d", size=(20, 14))
    Image.new("RGB", (500, 200)).save(root / "train" / "a" / "wide.png")
    found = data_images.load(Data(name=str(root)), HERE)
    assert found.shape == (3, 14, 14) and "14–500 px, brought to 14×14" in found.account
    assert data_images.load(Data(name=str(root), image_size=8), HERE).shape == (3, 8, 8)
    assert data_images.load(Data(name=str(root), image_size=(9, 12)), HERE).shape == (3, 12, 9)


@pytest.mark.parametrize(
    "sizes, usual",
    [
        ([(4032, 3024)] * 3, (64, 48)),
        ([(28, 28)] * 3, (28, 28)),
        ([(64, 64), (64, 40)], (40, 40)),
        ([(500, 400), (640, 480), (90, 30)], (64, 64)),
        ([(40, 90), (30, 90), (20, 20)], (30, 30)),
    ],
)
def test_the_usual_side_is_at_most_64_and_never_above_the_median_image(sizes, usual):
    assert pictures.usual_size(sizes) == usual


def test_images_for_which_the_disk_has_no_room_are_refused_with_the_size_that_fits(tmp_path, monkeypatch):
    root, decoding = folder(tmp_path / "d"), []
    monkeypatch.setattr(sources.shutil, "disk_usage", lambda path: SimpleNamespace(free=8 * 3 * 100**2))
    with pytest.raises(
        Refusal, match=r"8 of 200×200 take 0.0 GB and 0.0 GB are free .* --image-size 100 would fit, or let KDS"
    ):
        data_images.load(Data(name=str(root), image_size=200), HERE, lambda doing, *_: decoding.append(doing))
    assert not [doing for doing in decoding if "decoding" in doing]


def test_the_size_that_was_found_asks_for_no_second_copy(tmp_path, monkeypatch):
    monkeypatch.setenv("KDSEARCH_CACHE", str(tmp_path / "cache"))
    root = folder(tmp_path / "d", size=(12, 9))
    first = data_images.load(Data(name=str(root)), HERE)
    monkeypatch.setattr(sources, "read", None)
    assert data_images.load(Data(name=str(root), image_size=(12, 9)), HERE).fingerprint == first.fingerprint


def test_pixels_of_a_folder_arrive_unchanged(tmp_path):
    found = data_images.load(Data(name=str(folder(tmp_path / "d"))), HERE)
    every = torch.cat([found.train[:], found.validation[:]])[:, :, 0, 0]
    assert sorted(every.tolist()) == sorted([50 * place + number, 0, 255] for place in (0, 1) for number in range(4))


@pytest.mark.parametrize(
    "break_it, said",
    [
        (lambda root: (root / "train" / "a" / "0.png").write_bytes(b"no image"), "1 of 8 are not: .*0.png"),
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
        data_folder.placed("cifar-10")


def test_a_digit_may_be_enlarged():
    assert data_images.load(Data(image_size=16), HERE).shape == (1, 16, 16)


@pytest.mark.parametrize("kind", ["digits", "grey", "colour"])
def test_images_come_grey_or_coloured_as_they_are_told(tmp_path, kind):
    name = kind if kind == "digits" else str(folder(tmp_path / "d", mode="L" if kind == "grey" else "RGB"))
    own = data_images.load(Data(name=name), HERE)
    grey, colour = (data_images.load(Data(name=name, channels=channels), HERE) for channels in (1, 3))
    assert grey.shape == (1, *own.shape[1:]) and colour.shape == (3, *own.shape[1:])
    for told in (grey, colour):
        assert (told.fingerprint == own.fingerprint) == (told.shape == own.shape)
        assert torch.equal(told.labels, own.labels)
    images = [Image.fromarray(one.permute(1, 2, 0).numpy()) for one in colour.train[:]]
    assert torch.equal(grey.train[:][:, 0], torch.stack([plain(one) for one in images]))
    assert torch.equal(colour.train[:], (own if kind == "colour" else grey).train[:].expand(-1, 3, -1, -1))


def plain(image: Image.Image) -> torch.Tensor:
    return torch.from_numpy(np.array(image.convert("L")))


def test_test_images_and_validation_images_have_the_channels_that_are_told(tmp_path):
    root = folder(tmp_path / "d")
    for part in ("val", "test"):
        (folder(tmp_path / part, mode="L") / "train").rename(root / part)
    data = Data(name=str(root), channels=1)
    found = data_images.load(data, HERE)
    assert found.validation.shape == (1, 10, 10) and data_images.load_test(data, HERE, found)[0].shape == (1, 10, 10)
