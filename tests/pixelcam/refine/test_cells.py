"""Labelled cells of the refiner's grid."""

import numpy as np
import pytest

from pixelcam.refine import cells as counting
from pixelcam.refine.cells import CellCounter
from pixelcam.seeds import seedmap
from pixelcam.seeds.seedmap import SeedMap

SHAPE, GRID, EXTENT = (101, 135), (26, 34), (25.25, 33.75)
NAMES = ("rows", "columns", "values", "counts")


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch):
    monkeypatch.setattr(seedmap, "CHUNK", 21)  # chunks and cells end at different pixels


@pytest.fixture
def labels():
    return np.random.default_rng(0).integers(0, 3, SHAPE).astype(np.uint8)


def counted(labels):
    return CellCounter(GRID, EXTENT).count(SeedMap.of(labels))


def test_every_labelled_pixel_is_counted_in_the_cell_that_it_lies_in(labels):
    found = counted(labels)
    for value, label in ((1, 2), (0, 1)):
        ys, xs = np.nonzero(labels == label)
        naive = np.zeros(GRID, int)
        np.add.at(naive, tuple(np.rint((each + 0.5) / 4 - 0.5).astype(int) for each in (ys, xs)), 1)
        mine = found.values == value
        whole = np.zeros(GRID, int)
        whole[found.rows[mine], found.columns[mine]] = found.counts[mine]
        np.testing.assert_array_equal(whole, naive)
    assert len(counted(np.zeros(SHAPE, np.uint8)).rows) == 0


def test_a_stroke_is_counted_where_it_went_only(labels, monkeypatch):
    counter, seeds = CellCounter(GRID, EXTENT), SeedMap.of(labels)
    counter.count(seeds)
    asked, count = [], counting._count
    monkeypatch.setattr(counting, "_count", lambda *arguments: asked.append(1) or count(*arguments))
    labels[30, 30] = 1 if labels[30, 30] != 1 else 2
    again = counter.count(seeds.updated(labels, seeds.keys()))
    assert len(asked) == 1
    fresh = counted(labels)
    for name in NAMES:
        np.testing.assert_array_equal(getattr(again, name), getattr(fresh, name))


def test_blocks_are_squares_of_one_value_and_as_small_as_may_be(labels):
    found = counted(labels)
    np.testing.assert_array_equal(found.blocks(10**6), np.arange(len(found.rows)))
    blocks = found.blocks(60)  # of 4 x 4 cells there would be 126, of 8 x 8 there are 40
    of_block = np.stack([found.rows // 8, found.columns // 8, found.values, blocks])
    assert len(np.unique(of_block, axis=1).T) == len(np.unique(of_block[:3], axis=1).T) == 40
    assert set(blocks) == set(range(40))
    some = found.some_of_each(blocks, 5)
    assert np.bincount(blocks[some]).tolist() == np.minimum(np.bincount(blocks), 5).tolist()
