"""Seeds proposed to a reviewer, and how partial labels are counted and merged."""

import numpy as np
import pytest
from skimage.measure import label

from pixelcam.errors import ConfigError
from pixelcam.seeds import BACKGROUND, FOREGROUND, count_seeds, merge_seeds, propose_seeds


@pytest.fixture
def blob():
    rows, columns = np.mgrid[:120, :160]
    return np.exp(-((rows - 50) ** 2 + (columns - 70) ** 2) / 800).astype(np.float32)


def test_proposals_are_discs_of_both_kinds_in_confident_places(blob):
    labels = propose_seeds(blob, count=6, radius=3)
    assert labels.dtype == np.uint8
    assert labels.shape == blob.shape
    assert set(np.unique(labels)) == {0, BACKGROUND, FOREGROUND}
    assert blob[labels == FOREGROUND].min() > np.quantile(blob, 0.75)
    assert blob[labels == BACKGROUND].max() < np.quantile(blob, 0.25)
    for value in (FOREGROUND, BACKGROUND):
        found = label(labels == value)
        assert 3 <= found.max() <= 6
        assert np.bincount(found.ravel())[1:].max() <= 37  # a disc of radius 3


def test_proposals_are_repeatable_and_vary_with_the_seed(blob):
    assert np.array_equal(propose_seeds(blob, seed=1), propose_seeds(blob, seed=1))
    assert not np.array_equal(propose_seeds(blob, seed=1), propose_seeds(blob, seed=2))


@pytest.mark.parametrize("value", [0.0, 0.7, 1.0])
def test_a_constant_map_proposes_nothing(value):
    assert not propose_seeds(np.full((40, 40), value, np.float32)).any()


def test_a_small_region_is_not_padded_with_background_nor_the_other_way_round():
    spot = np.zeros((100, 100), np.float32)
    spot[20:35, 20:35] = 1
    labels = propose_seeds(spot)
    assert (labels == FOREGROUND).any()
    assert spot[labels == FOREGROUND].min() == 1
    labels = propose_seeds(1 - spot)
    assert (labels == BACKGROUND).any()
    assert spot[labels == BACKGROUND].min() == 1


def test_a_one_pixel_map_proposes_nothing():
    assert propose_seeds(np.array([[0.5]], np.float32)).tolist() == [[0]]


@pytest.mark.parametrize("options", [{"count": 0}, {"radius": -1}, {"confidence": 0.6}])
def test_proposals_out_of_range_are_refused(blob, options):
    with pytest.raises(ConfigError):
        propose_seeds(blob, **options)


def test_a_reviewers_pixel_beats_a_pseudo_label():
    reviewer = np.array([[0, 1, 2, 0]], np.uint8)
    pseudo = np.array([[2, 2, 1, 0]], np.uint8)
    merged = merge_seeds(reviewer, pseudo)
    assert merged.tolist() == [[2, 1, 2, 0]]
    assert merged.dtype == np.uint8
    assert count_seeds(merged) == (2, 1)


def test_no_proposal_is_of_another_kind_than_where_it_lies(blob):
    faint = 0.3 * blob
    assert (propose_seeds(faint) == FOREGROUND).any()
    for threshold, empty in ((0.5, FOREGROUND), (0.0, BACKGROUND)):
        labels = propose_seeds(faint, threshold=threshold)
        assert labels.any()
        assert not (labels == empty).any()
    labels = propose_seeds(faint, threshold=0.2)
    assert faint[labels == FOREGROUND].min() >= 0.2 > faint[labels == BACKGROUND].max()
