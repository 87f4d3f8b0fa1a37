"""Regions are valid polygons along pixel edges, of the regions' own area."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage
from skimage.draw import polygon as draw_polygon

from pixelcam.export.regions import foreground_regions, signed_area


def mask_of(*rows):
    return np.array([[c == "#" for c in row] for row in rows])


def fill(polygon, shape):
    """Fill one polygon with scikit-image, independently of the code under test."""
    mask = np.zeros(shape, bool)
    mask[draw_polygon(polygon.exterior[:, 1] - 0.5, polygon.exterior[:, 0] - 0.5, shape)] = True
    for hole in polygon.holes:
        mask[draw_polygon(hole[:, 1] - 0.5, hole[:, 0] - 0.5, shape)] = False
    return mask


def check(mask):
    """Check every property that the docstring promises."""
    polygons = foreground_regions(mask)
    labels, count = ndimage.label(mask)
    assert len(polygons) == count
    for label, polygon in enumerate(polygons, start=1):
        np.testing.assert_array_equal(fill(polygon, mask.shape), labels == label)
        assert polygon.area == (labels == label).sum()
        assert signed_area(polygon.exterior) > 0
        # One piece of what is not this region lies outside; every other one is a hole.
        _, pieces = ndimage.label(np.pad(labels != label, 1, constant_values=True))
        assert len(polygon.holes) == pieces - 1
        for ring in (polygon.exterior, *polygon.holes):
            steps = np.roll(ring, -1, axis=0) - ring
            assert ((steps == 0).sum(axis=1) == 1).all(), "pieces run along rows and columns"
            assert ((steps[:, 0] == 0) != (np.roll(steps, -1, axis=0)[:, 0] == 0)).all(), "each corner turns"
            assert len(np.unique(ring, axis=0)) == len(ring), "a ring that meets itself is invalid in QuPath"
        assert all(signed_area(hole) < 0 for hole in polygon.holes)
    return polygons


def test_one_pixel_is_a_unit_square():
    (polygon,) = check(mask_of("...", ".#.", "..."))
    assert polygon.exterior.tolist() == [[1, 1], [2, 1], [2, 2], [1, 2]]
    assert polygon.holes == ()


def test_nothing_and_everything():
    assert check(np.zeros((5, 7), bool)) == []
    (polygon,) = check(np.ones((5, 7), bool))
    assert polygon.exterior.tolist() == [[0, 0], [7, 0], [7, 5], [0, 5]]
    assert len(check(np.ones((1, 1), bool))) == 1


def test_diagonal_neighbours_are_two_regions():
    assert len(check(mask_of("#.", ".#"))) == 2
    assert len(check(mask_of(".#", "#."))) == 2


def test_a_hole_and_an_island_in_it():
    ring, island = check(mask_of("#####", "#...#", "#.#.#", "#...#", "#####"))
    assert (ring.area, len(ring.holes)) == (16, 1)
    assert (island.area, len(island.holes)) == (1, 0)


@pytest.mark.parametrize(
    "mask",
    [
        mask_of("###", "#.#", "##."),
        mask_of("###", "#.#", ".##"),
        mask_of("####", "#.##", "##.#", "####"),
        mask_of("####", "##.#", "#.##", "####"),
        mask_of(".##", "#.#", "###"),
    ],
)
def test_a_region_that_touches_itself_at_a_corner_stays_valid(mask):
    (polygon,) = check(mask)
    assert polygon.holes


def test_regions_at_the_border():
    check(mask_of("##..#", "#...#", ".....", "#...#", "##.##"))


@pytest.mark.parametrize("seed", range(60))
def test_any_mask_is_traced_exactly(seed):
    rng = np.random.default_rng(seed)
    shape = rng.integers(1, 24, 2)
    noise = rng.random(shape)
    if seed % 2:
        noise = ndimage.gaussian_filter(noise, 1)
    check(noise < np.quantile(noise, rng.random()))


def test_regions_come_row_by_row():
    polygons = foreground_regions(mask_of("..#.#", "#...#", "#.#.."))
    assert [tuple(polygon.exterior[0]) for polygon in polygons] == [(2, 0), (4, 0), (0, 1), (2, 2)]


def test_small_regions_are_left_out_on_request():
    mask = mask_of("##.#", "##..", "...#", "##.#")
    areas = [polygon.area for polygon in foreground_regions(mask, min_area=2)]
    assert areas == [4, 2, 2]
    assert foreground_regions(mask, min_area=5) == []
    assert len(foreground_regions(mask, min_area=1)) == len(foreground_regions(mask)) == 4


def test_a_wide_image_keeps_its_columns():
    mask = np.zeros((2, 70000), bool)
    mask[:, 69999] = mask[0, 100] = True
    near, far = foreground_regions(mask)
    assert near.exterior[0].tolist() == [100, 0]
    assert far.exterior.tolist() == [[69999, 0], [70000, 0], [70000, 2], [69999, 2]]


def test_a_large_noisy_map_is_traced():
    mask = np.random.default_rng(0).random((500, 500)) < 0.5
    polygons = foreground_regions(mask)
    assert sum(polygon.area for polygon in polygons) == mask.sum()
