"""Cutting into tiles, and reading an image at another size."""

import numpy as np
import pytest

from pixelcam.localize.tiles import Tile, plan_tiles
from pixelcam.localize.working import WorkingImage
from pixelcam.slides import Slide

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.mark.parametrize("shape", [(1, 1), (192, 192), (193, 500), (64, 1000), (7, 2000)])
def test_the_cores_cover_every_pixel_once_and_tiles_start_on_the_grid(shape):
    seen = np.zeros(shape, int)
    for tile in plan_tiles(shape, core=64, context=64, step=32):
        seen[tile.core_start[0] : tile.core_stop[0], tile.core_start[1] : tile.core_stop[1]] += 1
        for axis in (0, 1):
            assert tile.start[axis] % 32 == 0
            assert 0 <= tile.start[axis] <= tile.core_start[axis]
            assert tile.core_stop[axis] <= tile.stop[axis] <= shape[axis]
            assert tile.core_start[axis] - tile.start[axis] in (0, 64)
    assert (seen == 1).all()


@pytest.mark.parametrize("stride", [1, 4, 16])
def test_the_own_cells_of_all_tiles_make_up_the_map_of_the_whole(stride):
    shape = (101, 135)
    whole = np.arange(101 * 135).reshape(shape)[::stride, ::stride]
    made = np.full_like(whole, -1)
    for tile in plan_tiles(shape, core=32, context=16, step=16):
        seen = np.arange(101 * 135).reshape(shape)[
            tile.start[0] : tile.stop[0] : stride, tile.start[1] : tile.stop[1] : stride
        ]
        there, here = tile.cells(stride)
        assert (made[there] == -1).all()
        made[there] = seen[here]
    assert np.array_equal(made, whole)


def test_an_image_that_fits_one_tile_is_not_cut():
    assert plan_tiles((192, 100), core=64, context=64, step=32) == [
        Tile((0, 0), (192, 100), (0, 0), (192, 100))
    ]


def test_tiles_off_the_grid_are_refused():
    with pytest.raises(ValueError, match="multiples of the stride 32"):
        plan_tiles((100, 100), core=60, context=64, step=32)


def whole(shape):
    return Tile((0, 0), shape, (0, 0), shape)


@pytest.fixture(scope="module")
def noise():
    return Slide.from_array(np.random.default_rng(0).integers(0, 255, (97, 150, 3), dtype=np.uint8))


@pytest.mark.parametrize("shape", [(97, 150), (49, 75), (31, 50), (194, 300), (13, 20), (120, 90)])
def test_pieces_of_a_working_image_are_those_of_the_whole(noise, shape):
    working = WorkingImage(noise, shape)
    entire = working.read(whole(shape)).astype(int)
    assert entire.shape == (*shape, 3)
    for tile in plan_tiles(shape, core=16, context=0, step=8):
        (top, left), (bottom, right) = tile.start, tile.stop
        piece = working.read(tile).astype(int)
        assert np.abs(piece - entire[top:bottom, left:right]).max() <= 1  # rounding


@pytest.mark.parametrize("ratio", [0.5, 1, 1.6, 2, 3.7, 5])
def test_a_ramp_stays_where_it_is_at_every_size(ratio):
    ramp = np.repeat(np.arange(200, dtype=np.uint8)[None, :, None], 40, 0).repeat(3, 2)
    shape = (round(40 / ratio), round(200 / ratio))
    found = WorkingImage(Slide.from_array(ramp), shape).read(whole(shape))[0, :, 0].astype(float)
    exact = (np.arange(shape[1]) + 0.5) * 200 / shape[1] - 0.5
    inside = slice(2, -2)
    np.testing.assert_allclose(found[inside], exact[inside], atol=0.51)


def test_fine_texture_is_averaged_and_not_picked():
    board = (np.indices((120, 120)).sum(0) % 2 * 255).astype(np.uint8)
    found = WorkingImage(Slide.from_array(board), (30, 30)).read(whole((30, 30)))
    assert np.abs(found.astype(int) - 127).max() < 16


def test_the_nearest_finer_level_of_a_pyramid_is_read():
    levels = tuple(
        np.full((side, side, 3), value, np.uint8) for side, value in ((256, 0), (128, 100), (64, 200))
    )
    slide = Slide("pyramid", None, levels)
    for side, level in ((256, 0), (200, 0), (128, 1), (100, 1), (64, 2), (10, 2), (400, 0)):
        working = WorkingImage(slide, (side, side))
        assert working.level == level
        assert (working.read(whole((side, side))) == level * 100).all()


def test_a_piece_at_the_end_is_mirrored_up_to_the_asked_size(noise):
    tile = Tile((90, 140), (97, 150), (90, 140), (97, 150))
    found = WorkingImage(noise, (97, 150)).read(tile, pad_to=32)
    assert found.shape == (32, 32, 3)
    assert np.array_equal(found[:7, :10], noise.read()[90:, 140:])
    assert np.array_equal(found[7], found[6])
