"""Figures against computations that share nothing with them: scikit-learn, and loops that spell them out."""

from __future__ import annotations

import math

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, f1_score, jaccard_score

from pixelcam import metrics

BINS = metrics.BINS


def pictures(seed, count=4, shape=(23, 31)):
    """Scores that know a little about their masks, with a few pixels to ignore."""
    rng = np.random.default_rng(seed)
    masks = (rng.random((count, *shape)) < rng.uniform(0.1, 0.7)).astype(np.uint8)
    scores = np.clip(rng.normal(0.4 + 0.2 * masks, 0.25), 0, 1)
    masks[rng.random(masks.shape) < 0.1] = 255
    return scores, masks


def pooled(scores, masks):
    histograms = [metrics.score_histograms(score, mask) for score, mask in zip(scores, masks, strict=True)]
    return sum(pair[0] for pair in histograms), sum(pair[1] for pair in histograms)


@pytest.mark.parametrize("seed", range(5))
def test_pxap_is_scikit_learns_average_precision_of_the_binned_scores(seed):
    scores, masks = pictures(seed)
    kept = masks != 255
    binned = np.floor(np.round(scores[kept] * 1000, 9))
    expected = 100 * average_precision_score(masks[kept] == 1, binned)
    assert metrics.pxap(*pooled(scores, masks)) == pytest.approx(expected, abs=1e-9)


def test_pxap_is_the_sum_that_the_protocol_spells_out():
    scores, masks = pictures(9, count=2, shape=(9, 8))
    total, recall_before = 0.0, 0.0
    kept = masks != 255
    positives = np.sum(masks == 1)
    for threshold in reversed([step / 1000 for step in range(1001)]):
        above = (scores >= threshold) & kept
        if not above.any():
            continue
        true = np.sum(above & (masks == 1))
        recall = true / positives
        total += true / above.sum() * (recall - recall_before)
        recall_before = recall
    assert metrics.pxap(*pooled(scores, masks)) == pytest.approx(100 * total, abs=1e-9)


def test_a_perfect_map_has_100_and_an_inverted_one_less_than_chance():
    mask = np.arange(100).reshape(10, 10) < 30
    assert metrics.pxap(*metrics.score_histograms(mask.astype(float), mask)) == 100
    inverted = metrics.score_histograms(1.0 - mask, mask)
    assert metrics.pxap(*inverted) == pytest.approx(30)
    assert metrics.chance_pxap(*inverted) == 30


@pytest.mark.parametrize("draw", [lambda rng, n: np.full(n, 0.37), lambda rng, n: rng.random(n)])
def test_chance_is_what_maps_that_know_nothing_get(draw):
    rng = np.random.default_rng(1)
    mask = (rng.random(400_000) < 0.42).astype(np.uint8)
    histograms = metrics.score_histograms(draw(rng, mask.size), mask)
    assert metrics.pxap(*histograms) == pytest.approx(metrics.chance_pxap(*histograms), abs=0.3)


def test_images_are_pooled_and_not_averaged():
    good = metrics.score_histograms([0.9, 0.8, 0.1], [1, 1, 0])
    bad = metrics.score_histograms([0.9, 0.8, 0.1], [0, 0, 1])
    together = metrics.pxap(good[0] + bad[0], good[1] + bad[1])
    assert together != pytest.approx((metrics.pxap(*good) + metrics.pxap(*bad)) / 2)
    assert together == pytest.approx(50)


def test_an_image_without_a_region_costs_precision():
    foreground, background = metrics.score_histograms([0.9, 0.1], [1, 0])
    empty = metrics.score_histograms([0.95, 0.95], [0, 0])
    assert metrics.pxap(foreground + empty[0], background + empty[1]) == pytest.approx(100 / 3)


def test_no_foreground_at_all_gives_no_pxap():
    histograms = metrics.score_histograms([0.2, 0.9], [0, 0])
    assert math.isnan(metrics.pxap(*histograms))
    assert metrics.chance_pxap(*histograms) == 0


@pytest.mark.parametrize("step", range(0, 1001, 7))
def test_a_score_on_an_edge_belongs_to_the_bin_above_it(step):
    foreground, _ = metrics.score_histograms([metrics.THRESHOLDS[step]], [1])
    assert np.flatnonzero(foreground).tolist() == [step]


def test_ignored_pixels_are_in_no_histogram():
    foreground, background = metrics.score_histograms([0.1, 0.5, 0.9], [1, 255, 0])
    assert (foreground.sum(), background.sum()) == (1, 1)
    assert foreground.dtype == background.dtype == np.int64
    assert foreground.shape == background.shape == (BINS,)


@pytest.mark.parametrize(
    "scores, mask, words",
    [
        ([np.nan, 0.5], [0, 1], "NaN"),
        ([1.2, 0.5], [0, 1], r"0\.5 to 1\.2"),
        ([-0.1, 0.5], [0, 1], r"-0\.1 to 0\.5"),
        ([0.1, 0.5], [0, 2], "other than 0, 1 and 255"),
        ([0.1, 0.5], [[0, 1]], "shape"),
    ],
)
def test_scores_and_masks_that_cannot_be_are_refused(scores, mask, words):
    with pytest.raises(ValueError, match=words):
        metrics.score_histograms(scores, mask)


@pytest.mark.parametrize("step", [0, 250, 400, 777, 1000])
def test_pooled_dice_and_iou_are_scikit_learns(step):
    scores, masks = pictures(3)
    kept = masks != 255
    region = scores[kept] >= metrics.THRESHOLDS[step]
    dice, iou = metrics.pooled_dice_iou(*pooled(scores, masks))
    assert dice[step] == pytest.approx(100 * f1_score(masks[kept], region, zero_division=0))
    assert iou[step] == pytest.approx(100 * jaccard_score(masks[kept], region, zero_division=0))


@pytest.mark.parametrize("seed", range(3))
def test_dice_and_iou_of_one_image_are_scikit_learns(seed):
    scores, masks = pictures(seed, count=1)
    kept = masks != 255
    dice, iou = metrics.dice_iou(scores >= 0.5, masks)
    assert dice == pytest.approx(100 * f1_score(masks[kept], scores[kept] >= 0.5))
    assert iou == pytest.approx(100 * jaccard_score(masks[kept], scores[kept] >= 0.5))


def test_an_image_rightly_left_empty_has_no_overlap_and_a_wrongly_filled_one_has_none_of_it():
    assert all(map(math.isnan, metrics.dice_iou([False, False], [0, 255])))
    assert metrics.dice_iou([True, False], [0, 0]) == (0, 0)
    assert metrics.dice_iou([True, True], [0, 1]) == (pytest.approx(200 / 3), 50)


def test_the_best_threshold_is_the_one_that_a_search_finds():
    scores, masks = pictures(5)
    kept = masks != 255

    def both(threshold: float) -> float:
        return f1_score(masks[kept], scores[kept] >= threshold, average="macro", zero_division=0)

    chosen = metrics.best_threshold(*pooled(scores, masks))
    assert both(chosen) >= max(both(step / 1000) for step in range(0, 1001, 5)) - 1e-12


def test_the_best_threshold_does_not_call_everything_foreground_because_most_pixels_are():
    scores = np.concatenate([np.full(50, 0.8), np.full(40, 0.3), np.full(10, 0.31)])
    mask = np.concatenate([np.ones(50), np.ones(40), np.zeros(10)])
    foreground, background = metrics.score_histograms(scores, mask)
    dice, _ = metrics.pooled_dice_iou(foreground, background)
    assert dice[250] > dice[500]  # by the Dice of foreground alone everything would be foreground
    assert metrics.best_threshold(foreground, background) > 0.31


def test_of_equally_good_thresholds_the_middle_is_taken():
    assert metrics.best_threshold(*metrics.score_histograms([0.2, 0.8], [0, 1])) == pytest.approx(
        0.5, abs=0.002
    )
    assert metrics.best_threshold(*metrics.score_histograms([0.2, 0.8], [0, 0])) == 0.5


def test_two_far_apart_best_thresholds_are_not_met_in_the_middle():
    # Foreground and background are found equally well over (0.1, 0.3] and (0.6, 0.9], and worse between.
    scores, mask = [0.9, 0.6, 0.3, 0.1], [1, 0, 1, 0]
    chosen = metrics.best_threshold(*metrics.score_histograms(scores, mask))
    assert 0.1 < chosen <= 0.3 or 0.6 < chosen <= 0.9


def test_accuracy_is_the_share_of_right_labels():
    assert metrics.accuracy([0, 1, 2, 2], [0, 1, 2, 0]) == 75
    assert math.isnan(metrics.accuracy([], []))


def test_calibrated_scores_have_no_calibration_error_and_boasting_ones_have():
    rng = np.random.default_rng(2)
    scores = rng.random(300_000)
    honest = metrics.score_histograms(scores, rng.random(scores.size) < scores)
    assert metrics.expected_calibration_error(*honest) < 0.5
    coin = metrics.score_histograms(np.full(1000, 0.9), np.arange(1000) % 2)
    assert metrics.expected_calibration_error(*coin) == pytest.approx(40, abs=0.06)


def test_calibration_error_is_the_loop_that_defines_it():
    scores, masks = pictures(8)
    kept = masks != 255
    values, truth = scores[kept], masks[kept] == 1
    expected = 0.0
    for low in np.arange(20) / 20:
        inside = (values >= low) & ((values < low + 0.05) | (low == 0.95))
        if inside.any():
            expected += inside.mean() * abs(truth[inside].mean() - values[inside].mean())
    found = metrics.expected_calibration_error(*pooled(scores, masks))
    assert found == pytest.approx(100 * expected, abs=0.1)


@pytest.mark.parametrize("seed", range(5))
def test_the_mean_average_precision_of_labels_is_scikit_learns(seed):
    rng = np.random.default_rng(seed)
    labels = (rng.random((40, 4)) < [0.1, 0.3, 0.6, 0.9]).astype(np.float32)
    labels[0] = 1
    probabilities = np.round(np.clip(rng.normal(0.4 + 0.2 * labels, 0.3), 0, 1), 1)  # with ties
    assert len(np.unique(probabilities)) <= 11
    expected = 100 * average_precision_score(labels, probabilities, average="macro")
    assert metrics.label_map(probabilities, labels) == pytest.approx(expected)


def test_a_class_that_no_image_has_is_not_ranked():
    labels = np.array([[1, 0], [0, 0], [1, 0]])
    probabilities = np.array([[0.9, 0.9], [0.8, 0.1], [0.7, 0.2]])
    expected = 100 * average_precision_score(labels[:, 0], probabilities[:, 0])
    assert metrics.label_map(probabilities, labels) == pytest.approx(expected)
    assert math.isnan(metrics.label_map(probabilities, np.zeros((3, 2))))


def test_the_most_probable_class_is_the_label_and_of_label_sets_all_must_be_right():
    probabilities = np.array([[0.6, 0.5, 0.1], [0.2, 0.3, 0.45], [0.1, 0.2, 0.49]])
    assert metrics.right_labels(probabilities, [0, 2, 1]).tolist() == [True, True, False]
    sets = [[1, 1, 0], [0, 0, 1], [0, 0, 0]]
    assert metrics.right_labels(probabilities, sets).tolist() == [True, False, True]


def test_confidence_is_compared_with_the_share_of_right_answers():
    sure = metrics.confidence_calibration_error([0.9] * 10, [True] * 6 + [False] * 4)
    assert sure == pytest.approx(30)
    honest = metrics.confidence_calibration_error(
        [0.6] * 10 + [1.0] * 5, [True] * 6 + [False] * 4 + [True] * 5
    )
    assert honest == pytest.approx(0)
    # Errors of different intervals do not make up for each other.
    mixed = metrics.confidence_calibration_error([0.9, 0.9, 0.5, 0.5], [True, False, True, True])
    assert mixed == pytest.approx(45)
    assert np.isnan(metrics.confidence_calibration_error([], []))
