"""Seeds are painted on the finest level that fits, placed by true shape ratios."""

from __future__ import annotations

import pytest

from pixelcam.seeds.grid import SeedGrid, seed_grid


def test_a_plain_image_is_painted_at_its_own_size():
    grid = seed_grid([(600, 800)])
    assert grid == SeedGrid(level=0, shape=(600, 800), scale=(1.0, 1.0))
    assert grid.translate == (0.0, 0.0)


def test_a_slide_is_painted_on_its_finest_level_of_at_most_100_megapixels():
    grid = seed_grid([(40_003, 60_001), (10_000, 15_000), (5_000, 7_500), (1_250, 1_875)])
    assert (grid.level, grid.shape) == (2, (5_000, 7_500))
    assert grid.scale == pytest.approx((40_003 / 5_000, 60_001 / 7_500))
    assert grid.translate == pytest.approx(((40_003 / 5_000 - 1) / 2, (60_001 / 7_500 - 1) / 2))


def test_where_no_level_is_so_small_the_coarsest_is_taken():
    assert seed_grid([(40_000, 40_000), (20_000, 20_000)]).level == 1
