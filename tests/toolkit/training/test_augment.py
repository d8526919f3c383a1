"""How patches are changed: against torch's own affine grid and colours computed by hand."""

import math
from itertools import pairwise

import pytest
import torch

from toolkit.training import augment as module
from toolkit.training.augment import Rows, augment, mirror


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def pictures(count, height=24, width=24):
    return torch.rand(count, 3, height, width, generator=generator(9)) * 255


def test_mirroring_gives_each_patch_or_its_mirror():
    images = pictures(64, 8, 8)
    mirrored = mirror(images, generator(), Rows.of(images))
    same = (mirrored == images).flatten(1).all(1)
    flipped = (mirrored == images.flip(3)).flatten(1).all(1)
    assert (same ^ flipped).all()
    assert 15 < same.sum() < 49


@pytest.mark.parametrize("cuts", [(0, 12), (0, 5, 12), (0, 1, 2, 12)])
def test_the_pictures_are_the_same_on_any_number_of_processes(cuts):
    images = pictures(12)
    for change in (
        lambda part, rows: mirror(part, generator(4), rows),
        lambda part, rows: augment(part, generator(4), rows, 30.0),
    ):
        whole = change(images, Rows(0, 12))
        parts = [change(images[a:b], Rows(a, 12)) for a, b in pairwise(cuts)]
        torch.testing.assert_close(torch.cat(parts), whole, atol=1e-3, rtol=0)


def test_augmentation_keeps_shape_and_range_and_follows_the_generator():
    images = pictures(16)
    first = augment(images, generator(1), Rows.of(images), 10.0)
    again = augment(images, generator(1), Rows.of(images), 10.0)
    other = augment(images, generator(2), Rows.of(images), 10.0)
    assert first.shape == images.shape
    assert first.min() >= 0
    assert first.max() <= 255
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_it_does_not_matter_how_the_pixels_lie_in_memory():
    images = pictures(6)
    last = images.contiguous(memory_format=torch.channels_last)
    for change in (
        lambda x: mirror(x, generator(), Rows.of(x)),
        lambda x: augment(x, generator(), Rows.of(x), 20.0),
    ):
        torch.testing.assert_close(change(last), change(images), atol=1e-3, rtol=0)


def test_augmentation_of_a_plain_gray_patch_keeps_it_plain():
    plain = torch.full((8, 3, 16, 16), 100.0)
    changed = augment(plain, generator(), Rows.of(plain), 45.0)
    assert changed.flatten(1).std(1).max() < 1e-2
    assert 60 < changed.mean() < 140


@pytest.mark.parametrize(("height", "width"), [(24, 24), (17, 30)])
def test_the_sampling_points_are_those_of_torch(height, width):
    places = torch.randn(9, 6, generator=generator())
    expected = torch.nn.functional.affine_grid(
        places.view(-1, 2, 3), [9, 3, height, width], align_corners=False
    )
    torch.testing.assert_close(module._grid(places, height, width), expected)


def test_colours_change_one_after_the_other():
    images, factors = pictures(5), torch.tensor([[1.2, 0.8, 0.9]]).repeat(5, 1)
    factors[2] = 1.0
    expected = images.double()
    brightness, contrast, saturation = factors.double().view(-1, 3, 1, 1, 1).unbind(1)
    expected = expected * brightness
    mean = expected.mean((1, 2, 3), keepdim=True)
    expected = mean + (expected - mean) * contrast
    gray = expected.mean(1, keepdim=True)
    expected = (gray + (expected - gray) * saturation).clamp(0, 255)
    found = module._recolored(images, factors)
    torch.testing.assert_close(found.double(), expected, atol=1e-3, rtol=0)
    torch.testing.assert_close(found[2], images[2], atol=1e-3, rtol=0)


def test_places_keep_to_the_area_the_shape_and_the_turn():
    chance = torch.rand(4000, 6, generator=generator())
    maps = module._places(chance, 30.0).view(-1, 2, 3)
    along_x, along_y, middle = maps.unbind(2)
    width, height = along_x.norm(dim=1), along_y.norm(dim=1)
    assert (width * height).min() > 0.4 * 0.98
    assert max(width.max(), height.max()) <= 1 + 1e-6
    assert (width / height).max() <= 4 / 3 + 1e-5
    assert (height / width).max() <= 4 / 3 + 1e-5
    turned = torch.atan2(-along_y[:, 0], along_y[:, 1])
    assert math.radians(29) < turned.abs().max() <= math.radians(30) + 1e-6
    mirrored = (maps[:, :, :2].det() < 0).double().mean()
    assert mirrored == pytest.approx(0.5, abs=0.03)
    # Before the turn the crop lies inside the patch.
    assert (middle[:, 0].abs() <= 1 - width + 1e-6).all()
    assert (middle[:, 1].abs() <= 1 - height + 1e-6).all()


def test_without_a_turn_nothing_is_turned():
    maps = module._places(torch.rand(50, 6, generator=generator()), 0.0).view(-1, 2, 3)
    assert not maps[:, 0, 1].any()
    assert not maps[:, 1, 0].any()


def test_an_empty_share_is_no_error():
    images = pictures(0)
    assert augment(images, generator(), Rows(4, 4), 10.0).shape == images.shape
    assert mirror(images, generator(), Rows(4, 4)).shape == images.shape
