"""Seeds as they were at one moment, in chunks that moments share."""

import numpy as np
import pytest

from pixelcam.seeds.seedmap import CHUNK, SeedMap

SHAPE = (2 * CHUNK + 40, CHUNK + 7)


def scattered(seed=0):
    rng = np.random.default_rng(seed)
    labels = np.zeros(SHAPE, np.uint8)
    labels[rng.integers(0, SHAPE[0], 50), rng.integers(0, SHAPE[1], 50)] = rng.integers(1, 3, 50)
    return labels


def test_it_holds_what_was_painted_and_counts_it():
    labels = scattered()
    seeds = SeedMap.of(labels)
    assert np.array_equal(seeds.array(), labels)
    assert seeds.array().dtype == np.uint8
    assert (seeds.foreground, seeds.background) == ((labels == 2).sum(), (labels == 1).sum())
    assert seeds.any
    assert not SeedMap(SHAPE).any


def test_its_chunks_are_those_that_hold_a_label_and_stay_themselves():
    labels = scattered()
    labels[:CHUNK, CHUNK:] = 0
    seeds = SeedMap.of(labels)
    again = np.zeros_like(labels)
    for place, chunk in seeds.chunks():
        assert chunk.labels.any()
        again[place] = chunk.labels
    assert np.array_equal(again, labels)
    assert not list(SeedMap(SHAPE).chunks())
    labels[0, 0] = 1 if labels[0, 0] != 1 else 2
    before, after = (dict_of(each) for each in (seeds, seeds.updated(labels, seeds.keys())))
    assert [key for key, chunk in before.items() if after[key] is not chunk] == [(0, 0)]


def dict_of(seeds):
    return {(rows.start, columns.start): chunk for (rows, columns), chunk in seeds.chunks()}


@pytest.mark.parametrize("step", [1, 3])
@pytest.mark.parametrize("box", [(0, 0, *SHAPE), (CHUNK - 9, 3, CHUNK + 9, 300), (1040, 500, *SHAPE)])
def test_what_is_sampled_at_rows_and_columns_is_what_is_there(box, step):
    labels = scattered()
    rows, columns = np.arange(box[0], box[2], step), np.arange(box[1], box[3], step)
    found = np.zeros((len(rows), len(columns)), np.uint8)
    for ys, xs, part in SeedMap.of(labels).sampled(rows, columns):
        found[ys, xs] = part
    assert np.array_equal(found, labels[np.ix_(rows, columns)])


def test_a_change_leaves_the_map_of_before_as_it_was_and_copies_only_its_chunk():
    labels = scattered()
    before = SeedMap.of(labels)
    kept = labels.copy()
    labels[CHUNK + 3, 4:9] = 2
    assert before.differing(labels) == {(1, 0)}
    after = before.updated(labels, [(1, 0)])
    assert np.array_equal(before.array(), kept)
    assert np.array_equal(after.array(), labels)
    assert not after.equals(before)
    assert after._chunks[(2, 0)] is before._chunks[(2, 0)]
    assert after._chunks[(1, 0)] is not before._chunks[(1, 0)]


def test_what_has_not_changed_is_the_same_map():
    labels = scattered()
    seeds = SeedMap.of(labels)
    assert seeds.updated(labels, seeds.keys()) is seeds
    assert seeds.equals(SeedMap.of(labels))
    assert not seeds.equals(SeedMap((SHAPE[0] + 1, SHAPE[1])))


def test_seeds_that_are_taken_away_are_gone():
    labels = scattered()
    seeds = SeedMap.of(labels)
    labels[:] = 0
    assert seeds.differing(labels)
    emptied = seeds.updated(labels, seeds.keys())
    assert not emptied.any
    assert emptied.equals(SeedMap(SHAPE))
