"""Bare glass: found where it is large, laid over parts of images, background in both."""

import numpy as np
import pytest
import torch

from pixelcam.teachers import MAP_STRIDE
from pixelcam.training.data import generator_for
from pixelcam.training.glass import CERTAINTY, LEAST, MOST, find_glass, lay_glass
from tests.synthetic import tissue

pytestmark = pytest.mark.usefixtures("one_thread")

SIDE = 192
WHITE = (250, 247, 244)


@pytest.fixture
def image():
    return torch.from_numpy(tissue("crowded", 3, SIDE)[0].copy())


def discs(image, *places):
    """The image with white discs: (row, column, radius)."""
    rows, columns = torch.meshgrid(torch.arange(SIDE), torch.arange(SIDE), indexing="ij")
    image, white = image.clone(), torch.tensor(WHITE, dtype=torch.uint8)
    for row, column, radius in places:
        image[(rows - row) ** 2 + (columns - column) ** 2 <= radius**2] = white
    return image


def test_large_white_areas_are_glass_and_the_insides_of_glands_are_not(image):
    large, small = (60, 60, 26), (130, 140, 12)
    found = find_glass(discs(image, large, small)[None])
    assert found.shape == (1, SIDE // MAP_STRIDE, SIDE // MAP_STRIDE)
    assert found[0, 60 // MAP_STRIDE, 60 // MAP_STRIDE]
    assert not found[0, 130 // MAP_STRIDE, 140 // MAP_STRIDE]
    assert float(found.float().mean()) * SIDE**2 == pytest.approx(np.pi * 26**2, rel=0.2), "in cells"
    assert not find_glass(image[None]).any()


def test_glass_at_the_rim_may_be_cut_by_it(image):
    # Half a disc that would be too small, were what lies beyond the rim something else.
    found = find_glass(discs(image, (0, 96, 22))[None])[0]
    assert found[1, 96 // MAP_STRIDE]


def test_what_is_white_all_over_is_glass_and_what_is_pink_is_not():
    white = torch.full((1, SIDE, SIDE, 3), 240, dtype=torch.uint8)
    pink = white.clone()
    pink[..., 1] = 200
    assert find_glass(white).all()
    assert not find_glass(pink).any()
    assert not find_glass(white // 2).any()


def test_glass_is_laid_over_a_side_of_some_images_and_is_background_there(image):
    images = image.expand(40, -1, -1, -1)
    maps = torch.rand(40, SIDE // MAP_STRIDE, SIDE // MAP_STRIDE, generator=generator_for(1))
    laid, kept_down = lay_glass(images, maps, 0.5, generator_for(2))
    changed = (laid != images).any(dim=3)
    shares = changed.flatten(1).float().mean(dim=1)
    assert 10 < (shares > 0).sum() < 30
    assert all(LEAST - 0.05 < share < MOST + 0.05 for share in shares[shares > 0].tolist())
    under = torch.nn.functional.avg_pool2d(changed[:, None].float(), MAP_STRIDE)[:, 0] > 0.5
    assert (kept_down[under] <= CERTAINTY).all()
    assert torch.equal(kept_down[~under], maps[~under])
    assert torch.equal(kept_down[under], maps[under].clamp(max=CERTAINTY))
    white = laid[changed].float()
    assert white.mean() > 230
    assert white.std(dim=0).max() < 12
    assert find_glass(laid)[shares > 0].float().mean() > 0.2
    assert torch.equal(images, image.expand(40, -1, -1, -1)), "the images themselves stay as they are"


def test_the_same_generator_lays_the_same_glass_and_a_share_of_none_lays_none(image):
    images, maps = image.expand(6, -1, -1, -1), torch.rand(6, SIDE // MAP_STRIDE, SIDE // MAP_STRIDE)
    first, second = (lay_glass(images, maps, 1.0, generator_for(3)) for _ in range(2))
    assert torch.equal(first[0], second[0])
    assert torch.equal(first[1], second[1])
    other = lay_glass(images, maps, 1.0, generator_for(4))
    assert not torch.equal(first[0], other[0])
    untouched = lay_glass(images, maps, 0.0, generator_for(3))
    assert torch.equal(untouched[0], images)
    assert torch.equal(untouched[1], maps)
