"""A polygon fills the pixels whose centres it holds, and says when its outline crosses itself."""

from __future__ import annotations

import numpy as np
import pytest
from skimage.measure import points_in_poly

from pixelcam.export.filling import fill_polygon


def drawn(rings, shape):
    filled = fill_polygon([np.asarray(ring, np.float64) for ring in rings], shape)
    mask = np.zeros(shape, bool)
    mask[filled.window] = filled.mask
    return mask, filled.crosses_itself


def rows(mask):
    return ["".join(".#"[value] for value in row) for row in mask.astype(int)]


BOX = [[1, 1], [5, 1], [5, 5], [1, 5]]


@pytest.mark.parametrize("outer", [BOX, BOX[::-1], [*BOX, BOX[0]]])
@pytest.mark.parametrize("turn", [1, -1])
def test_either_sense_of_turning_fills_and_leaves_the_hole(outer, turn):
    hole = [[2, 2], [3, 2], [3, 4], [2, 4]][::turn]
    mask, crosses = drawn([outer, hole], (6, 6))
    assert rows(mask) == ["......", ".####.", ".#.##.", ".#.##.", ".####.", "......"]
    assert not crosses


def test_a_bow_tie_is_filled_on_both_sides_and_told():
    mask, crosses = drawn([[[0, 1], [6, 5], [6, 1], [0, 5]]], (6, 6))
    assert rows(mask) == ["......", "#....#", "##..##", "##..##", "#....#", "......"]
    assert crosses


def test_what_a_ring_runs_round_twice_is_outside():
    inner = [[2, 2], [4, 2], [4, 4], [2, 4], [2, 2]]
    mask, crosses = drawn([[[0, 0], [6, 0], [6, 6], [0, 6], [0, 0], *inner]], (6, 6))
    assert rows(mask) == ["######", "######", "##..##", "##..##", "######", "######"]
    assert crosses


def test_holes_never_add():
    outside = [[3, 3], [9, 3], [9, 9], [3, 9]]
    twice = [[4, 4], [5, 4], [5, 5], [4, 5]]
    mask, crosses = drawn([BOX, outside, twice], (9, 9))
    assert rows(mask)[:6] == [".........", ".####....", ".####....", ".##......", ".##......", "........."]
    assert not crosses


def test_what_lies_past_the_grid_is_cut_off():
    assert drawn([[[-9, -9], [20, -9], [20, 20], [-9, 20]]], (4, 5))[0].all()
    assert not drawn([[[7, 7], [9, 7], [9, 9]]], (4, 5))[0].any()


@pytest.mark.parametrize("seed", range(10))
def test_a_random_triangle_holds_the_centres_that_another_program_says(seed):
    corners = np.random.default_rng(seed).uniform(-5, 25, (3, 2))
    x, y = np.meshgrid(np.arange(20) + 0.5, np.arange(18) + 0.5)
    wanted = points_in_poly(np.stack([x.ravel(), y.ravel()], 1), corners).reshape(18, 20)
    np.testing.assert_array_equal(drawn([corners], (18, 20))[0], wanted)
