"""Random views: the same geometry for image and map, colours that stay colours."""

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter
from torch.nn import functional

from pixelcam.training.augment import (
    AUGMENTATIONS,
    MILD,
    MODERATE,
    PAPER,
    STRONG,
    Augmentation,
    random_views,
    recolour,
)

pytestmark = pytest.mark.usefixtures("one_thread")

PLAIN = Augmentation((0.5, 1.0), 0.0, (1.0, 1.0), (1.0, 1.0), (1.0, 1.0))


def source(seed=0):
    return torch.Generator().manual_seed(seed)


def landscape(side):
    """A smooth picture without any symmetry."""
    rng = np.random.default_rng(0)
    values = gaussian_filter(rng.random((side, side)), side / 12)
    return torch.from_numpy((values - values.min()) / (values.max() - values.min())).float()


def test_the_map_is_cropped_mirrored_and_turned_as_its_image_is():
    picture = landscape(128)
    images = (picture * 255).round().byte()[None, :, :, None].expand(12, -1, -1, 3)
    maps = functional.avg_pool2d(picture[None, None], 4)[0].expand(12, -1, -1)
    views, seen = random_views(images, maps, 96, PLAIN, source())
    assert views.shape == (12, 3, 96, 96)
    assert seen.shape == (12, 24, 24)
    shown = functional.avg_pool2d(views[:, :1], 4)[:, 0]
    torch.testing.assert_close(seen, shown, atol=0.02, rtol=0)
    # Not for want of change: the views differ among themselves far more than map and image do.
    assert (shown[:1] - shown[1:]).abs().amax(dim=(1, 2)).min() > 0.1


def test_every_mirror_image_and_quarter_turn_occurs():
    corners = torch.zeros(64, 64)
    corners[:32, :32], corners[:32, 32:] = 1 / 3, 2 / 3
    corners[32:, 32:] = 1
    whole = Augmentation((1.0, 1.0), 0.0, (1.0, 1.0), (1.0, 1.0), (1.0, 1.0))
    images = (corners * 255).round().byte()[None, :, :, None].expand(200, -1, -1, 3)
    views, _ = random_views(images, None, 64, whole, source())
    orders = {tuple((view[0, [8, 8, 56, 56], [8, 56, 8, 56]] * 3).round().int().tolist()) for view in views}
    assert len(orders) == 8


def test_a_crop_has_its_share_of_the_image_and_stays_inside():
    ramp = torch.arange(128).byte()[None, None, :, None].expand(50, 128, 128, 3)
    views, _ = random_views(ramp, None, 64, PLAIN, source())
    values = views[:, 0] * 255
    spans = values.amax(dim=(1, 2)) - values.amin(dim=(1, 2))
    assert spans.min() > 128 * 0.5 * 62 / 64
    assert spans.max() < 128
    assert spans.std() > 5
    assert values.min() >= 0
    assert values.max() <= 127.001


def test_colours_without_any_range_are_left_alone():
    images = torch.rand(3, 3, 16, 16, generator=source())
    torch.testing.assert_close(recolour(images, PLAIN, source()), images, atol=1e-5, rtol=0)


@pytest.mark.parametrize("augmentation", [PAPER, STRONG, MILD])
def test_colours_stay_in_range_and_depend_on_the_generator_alone(augmentation):
    images = torch.rand(6, 3, 16, 16, generator=source())
    first, again, other = (recolour(images, augmentation, source(seed)) for seed in (1, 1, 2))
    assert torch.isfinite(first).all()
    assert first.min() >= 0
    assert first.max() <= 1
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert (first - images).abs().mean() > 0.01


def test_a_turn_of_the_hue_keeps_the_luma():
    images = 0.4 + 0.2 * torch.rand(20, 3, 8, 8, generator=source())
    turned = recolour(images, Augmentation((1, 1), 0.5, (1, 1), (1, 1), (1, 1)), source())
    luma = torch.tensor([0.299, 0.587, 0.114]).view(1, 3, 1, 1)
    torch.testing.assert_close((turned * luma).sum(1), (images * luma).sum(1), atol=2e-3, rtol=0)
    assert (turned - images).abs().amax(dim=(1, 2, 3)).max() > 0.1


def test_no_saturation_is_grey():
    images = torch.rand(4, 3, 8, 8, generator=source())
    grey = recolour(images, Augmentation((1, 1), 0.5, (0, 0), (1, 1), (1, 1)), source())
    torch.testing.assert_close(grey[:, :1].expand(-1, 3, -1, -1), grey, atol=2e-3, rtol=0)


def test_blur_keeps_the_mean_and_takes_the_contrast():
    images = torch.rand(8, 3, 32, 32, generator=source())
    blurred = recolour(images, Augmentation((1, 1), 0, (1, 1), (1, 1), (1, 1), blur=1.0), source())
    torch.testing.assert_close(blurred.mean(dim=(2, 3)), images.mean(dim=(2, 3)), atol=0.02, rtol=0)
    assert (blurred.std(dim=(2, 3)) < images.std(dim=(2, 3))).all()


def test_augmentations_have_names():
    assert AUGMENTATIONS == {"paper": PAPER, "moderate": MODERATE, "strong": STRONG}
