"""Changes of training images: windows and mirrors, drawn or replayed."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from kdsearch.data import views


def windows(image: torch.Tensor, pad: int) -> dict[tuple[int, int], torch.Tensor]:
    """All crops of a padded (H, W, C) image, by their corner."""
    side = image.shape[0]
    padded = torch.nn.functional.pad(image, (0, 0, pad, pad, pad, pad))
    corners = [(top, left) for top in range(2 * pad + 1) for left in range(2 * pad + 1)]
    return {(top, left): padded[top : top + side, left : left + side] for top, left in corners}


def test_a_crop_is_a_window_of_the_padded_image_and_a_flip_its_mirror():
    pixels = torch.randint(1, 256, (64, 16, 16, 3), dtype=torch.uint8)
    changes = views.drawn("crop+flip", 64, 16, torch.Generator().manual_seed(5))
    changed = views.changed(pixels, changes, torch.arange(64), "crop+flip")
    flips, shifts = 0, set()
    for before, after in zip(pixels, changed, strict=True):
        there = windows(before, 2)
        plain = [place for place, window in there.items() if torch.equal(window, after)]
        mirrored = [place for place, window in there.items() if torch.equal(window.flip(1), after)]
        assert len(plain + mirrored) == 1
        flips += len(mirrored)
        shifts.update(plain + mirrored)
    assert 15 < flips < 49 and len(shifts) > 15


def test_an_oblong_image_is_cropped_and_flipped_too():
    pixels = torch.randint(1, 256, (8, 8, 24, 1), dtype=torch.uint8)
    changes = views.Changes(torch.full((8,), 1), torch.full((8,), 1), torch.arange(8) % 2 == 0, 1)
    changed = views.changed(pixels, changes, torch.arange(8), "crop+flip")
    assert torch.equal(changed[1], pixels[1]) and torch.equal(changed[0], pixels[0].flip(1))


def test_no_change_is_no_change():
    pixels = torch.randint(0, 256, (4, 8, 8, 1), dtype=torch.uint8)
    changes = views.fixed("none", 4, 8, 1)
    assert views.changed(pixels, changes, torch.arange(4), "none") is pixels


@pytest.mark.parametrize("kind", ["flip", "crop", "crop+flip"])
def test_views_differ_from_each_other_and_are_the_same_each_time(kind):
    pixels = torch.randint(1, 256, (20, 16, 16, 1), dtype=torch.uint8)

    def view(number: int) -> torch.Tensor:
        return views.changed(pixels, views.fixed(kind, 20, 16, 2), torch.arange(20) + 20 * number, kind)

    assert torch.equal(view(0), view(0)) and not torch.equal(view(0), view(1))


@settings(deadline=None)
@given(number=st.integers(0, 3), more=st.integers(0, 4), kind=st.sampled_from(["flip", "crop", "crop+flip"]))
def test_a_view_is_a_function_of_image_and_view_however_many_views_there_are(number, more, kind):
    few, many = (views.fixed(kind, 30, 32, count) for count in (number + 1, number + 1 + more))
    own = slice(30 * number, 30 * (number + 1))
    for name in ("top", "left", "turned"):
        assert torch.equal(getattr(few, name)[own], getattr(many, name)[own])


def test_each_image_is_mirrored_in_every_second_view():
    turned = views.fixed("crop+flip", 50, 32, 4).turned.view(4, 50)
    assert torch.equal(turned[0], ~turned[1]) and torch.equal(turned[0], turned[2]) and 10 < int(turned[0].sum()) < 40


def test_flips_alone_move_nothing_and_crops_alone_mirror_nothing():
    flips, crops = views.fixed("flip", 50, 32, 2), views.fixed("crop", 50, 32, 2)
    assert not flips.top.any() and not flips.left.any() and flips.turned.any()
    assert crops.top.any() and crops.left.max() == 8 and not crops.turned.any()
