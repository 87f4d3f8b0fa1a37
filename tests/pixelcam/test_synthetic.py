"""The made tissue is what the tests that learn from it take it to be."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from tests.synthetic import tissue, tissues

KINDS = ("round", "crowded")


def accuracy(features):
    model = make_pipeline(StandardScaler(), LogisticRegression())
    return cross_val_score(model, features, np.repeat([0, 1], len(features) // 2), cv=5).mean()


@pytest.fixture(scope="module")
def pictures():
    return [picture for kind in KINDS for picture in tissues(kind, 100)]


def test_a_seed_gives_the_same_picture_and_another_seed_another():
    for kind in (*KINDS, "stroma"):
        first, again, other = tissue(kind, 3), tissue(kind, 3), tissue(kind, 4)
        assert (first[0] == again[0]).all()
        assert (first[1] == again[1]).all()
        assert (first[0] != other[0]).any()


def test_neither_mean_colour_nor_area_gives_the_label_away(pictures):
    assert accuracy([image.mean((0, 1)) for image, _ in pictures]) < 0.65
    assert accuracy([[mask.mean()] for _, mask in pictures]) < 0.65
    assert accuracy([image[~mask].mean(0) for image, mask in pictures]) < 0.65, "stroma"


def test_what_is_in_the_glands_gives_the_label(pictures):
    assert (
        accuracy([np.quantile(image[mask], (0.1, 0.5, 0.95), axis=0).ravel() for image, mask in pictures])
        > 0.9
    )


def test_every_picture_of_glands_has_both_glands_and_stroma(pictures):
    shares = [mask.mean() for _, mask in pictures]
    assert 0.15 < min(shares) < max(shares) < 0.6
    assert not tissue("stroma", 0)[1].any()
