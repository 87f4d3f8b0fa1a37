"""How unsure a map is, as a figure and as areas, on maps whose answer is known."""

import numpy as np
import pytest

from pixelcam.localize.uncertainty import map_uncertainty, uncertain_areas


def test_the_uncertainty_is_the_share_of_pixels_near_the_threshold_in_force():
    scores = np.linspace(0, 1, 10_001, dtype=np.float32).reshape(73, 137)
    assert map_uncertainty(scores, 0.5) == pytest.approx(0.2, abs=1e-3)
    assert map_uncertainty(scores, 0.95) == pytest.approx(0.15, abs=1e-3)
    assert map_uncertainty(scores, 0.5, near=0.25) == pytest.approx(0.5, abs=1e-3)
    assert map_uncertainty((scores > 0.5).astype(np.float32), 0.5) == 0


def test_a_blurred_edge_is_more_uncertain_than_a_sharp_one():
    columns = np.arange(200) - 99.5
    sharp, blurred = (np.tile(1 / (1 + np.exp(-columns / width)), (50, 1)) for width in (3, 30))
    assert map_uncertainty(blurred, 0.5) > 5 * map_uncertainty(sharp, 0.5) > 0


def test_uncertain_areas_come_largest_first_with_their_places():
    scores = np.full((60, 80), 0.95, np.float32)
    scores[5:15, 10:20] = 0.55  # 100 pixels
    scores[30:50, 40:70] = 0.45  # 600 pixels
    scores[55, 3] = 0.5  # noise
    scores[20:25, 60:65] = 0.7  # on its own side, and far enough from the threshold
    large, small = uncertain_areas(scores, 0.5)
    assert (large.pixels, large.height, large.width) == (600, 20, 30)
    assert large.centre == pytest.approx((39.5, 54.5), abs=0.51)
    assert (small.pixels, small.centre) == (100, pytest.approx((9.5, 14.5), abs=0.51))


def test_the_centre_of_a_bent_area_lies_within_it():
    scores = np.zeros((40, 40), np.float32)
    scores[5:35, 5:8] = scores[32:35, 5:35] = scores[5:8, 5:35] = 0.5
    (area,) = uncertain_areas(scores, 0.5)
    assert scores[tuple(int(value) for value in area.centre)] == 0.5


def test_areas_that_touch_at_a_corner_are_one():
    scores = np.zeros((20, 20), np.float32)
    scores[2:6, 2:6] = scores[6:10, 6:10] = 0.5
    assert [area.pixels for area in uncertain_areas(scores, 0.5)] == [32]
