"""Large maps as layers show them: only what is in view is read, and what is not drawn yet is not shown."""

import numpy as np
import pytest
from napari.components import ViewerModel

from napari_pixelcam import livemap
from napari_pixelcam.livemap import LiveMap, Patch, View

SHAPE = (101, 135)


@pytest.fixture
def scores():
    return np.random.default_rng(0).random(SHAPE).astype(np.float32)


def patch(scores, box, step=1):
    view = View(box, step)
    return Patch(view, scores[np.ix_(*view.places)])


def test_a_view_shows_the_middle_of_each_step():
    rows, columns = View((8, 0, 20, 9), 4).places
    assert (list(rows), list(columns)) == ([10, 14, 18], [2, 6])
    assert list(View((3, 0, 6, 1)).places[0]) == [3, 4, 5]


def test_a_view_covers_what_lies_within_it_and_is_no_finer():
    view = View((10, 10, 50, 50), 2)
    assert view.covers(view)
    assert view.covers(View((12, 10, 30, 50), 4))
    assert not view.covers(View((12, 10, 30, 50), 1))
    for box in ((9, 10, 50, 50), (10, 9, 50, 50), (10, 10, 51, 50), (10, 10, 50, 51)):
        assert not view.covers(View(box, 2))


def test_a_widened_view_shows_its_surroundings_as_far_as_the_map_goes():
    assert View((41, 10, 81, 130), 4).widened(SHAPE) == View((36, 0, 88, 135), 4)
    assert View((0, 0, 3, 3)).widened(SHAPE) == View((0, 0, 3, 3))


def test_a_pixel_of_a_level_is_the_middle_one_of_those_that_it_stands_for(scores, monkeypatch):
    monkeypatch.setattr(livemap, "COARSEST", 20)
    levels = LiveMap(scores).levels()
    assert [level.shape for level in levels] == [SHAPE, (50, 67), (25, 34), (13, 17)]
    for step, level in zip((1, 2, 4, 8), levels, strict=True):
        expected = scores[step // 2 :: step, step // 2 :: step]
        assert np.array_equal(np.asarray(level), expected)
        assert np.array_equal(level[3:9, 2:], expected[3:9, 2:])
        assert np.array_equal(level[-5:, ::2], expected[-5:, ::2])
        assert np.array_equal(level[4], expected[4])
        assert level[4, 5] == expected[4, 5]
    inverted = LiveMap(scores).levels(inverted=True)
    assert np.array_equal(inverted[1][1:5, 6:9], 1 - np.asarray(levels[1])[1:5, 6:9])


def test_a_map_in_the_making_shows_its_patches_and_nothing_elsewhere(scores):
    live = LiveMap(scores)
    level = live.levels()[0]
    live.show_patches([patch(scores, (20, 30, 60, 135)), patch(1 - scores, (0, 0, 40, 50))])
    seen = np.asarray(level)
    expected = np.full(SHAPE, np.nan, np.float32)
    expected[20:60, 30:135] = scores[20:60, 30:135]
    expected[:40, :50] = 1 - scores[:40, :50]
    assert np.array_equal(seen, expected, equal_nan=True)
    assert np.array_equal(level[30:50, 20:60], expected[30:50, 20:60], equal_nan=True)
    live.show(scores)
    assert np.array_equal(np.asarray(level), scores)


@pytest.mark.parametrize("box", [(0, 0, *SHAPE), (8, 16, 64, 135)])
def test_a_coarse_patch_is_the_very_level_of_its_step(scores, box):
    whole, made = LiveMap(scores), LiveMap(scores)
    made.show_patches([patch(scores, box, 4)])
    level, part = np.asarray(whole.levels()[0]), View(box, 4).places
    at = np.ix_(*part)
    assert np.array_equal(np.asarray(made.levels()[0])[at], level[at])
    coarse = livemap.MapLevel(made, 4)[box[0] // 4 : box[2] // 4, box[1] // 4 : box[3] // 4]
    expected = livemap.MapLevel(whole, 4)[box[0] // 4 : box[2] // 4, box[1] // 4 : box[3] // 4]
    assert np.array_equal(coarse, expected)


def test_napari_takes_the_levels_and_reads_what_is_in_view(scores, monkeypatch):
    monkeypatch.setattr(livemap, "COARSEST", 20)
    live = LiveMap(scores)
    layer = ViewerModel().add_image(live.levels(), multiscale=True, rgb=False, contrast_limits=(0, 1))
    layer._update_draw(1.0, np.array([[20.0, 30.0], [40.0, 70.0]]), (21, 41))
    assert layer.data_level == 0
    assert layer._data_view.shape >= (21, 41)
    top, left = layer.corner_pixels[0]
    bottom, right = layer.corner_pixels[1] + 1
    assert np.array_equal(layer._data_view, scores[top:bottom, left:right])
    live.show(1 - scores)
    layer.refresh(extent=False)
    assert np.array_equal(layer._data_view, 1 - scores[top:bottom, left:right])
