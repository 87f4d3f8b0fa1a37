"""Figures that say how well a map finds the region and a model the label: pure functions on arrays.

Shares are in percent (0 to 100) throughout; thresholds are in [0, 1].
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

Histogram = NDArray[np.int64]
"""Number of pixels in each of the 1001 score bins."""

BINS = 1001
THRESHOLDS: NDArray[np.float64] = np.arange(BINS, dtype=np.float64) * 0.001
"""Left edges of the score bins: 0, 0.001, ..., 1; bin i holds THRESHOLDS[i] <= score < THRESHOLDS[i + 1]."""

_IGNORE = 255


def score_histograms(scores: ArrayLike, mask: ArrayLike) -> tuple[Histogram, Histogram]:
    """Count the scores of foreground and background pixels.

    Parameters
    ----------
    scores
        Foreground scores in [0, 1], any shape.
    mask
        1 foreground, 0 background, 255 ignored; same shape.

    Returns
    -------
    foreground, background : ndarray of int64, (1001,)
        Histograms of bin width 0.001; a score of exactly 1 has the last bin for itself. Histograms of
        several images are pooled by adding them.

    Raises
    ------
    ValueError
        The shapes differ, a score is NaN or outside [0, 1], or the mask has another value.

    Examples
    --------
    >>> foreground, background = score_histograms([[0.9, 0.2]], [[1, 0]])
    >>> int(foreground[900]), int(background[200])
    (1, 1)
    """
    values, labels = _checked(scores, mask)
    kept = labels != _IGNORE
    # Searching the edges themselves, and not dividing by 0.001, keeps a score that equals an edge above it.
    bins = np.searchsorted(THRESHOLDS, values[kept], side="right") - 1
    foreground = labels[kept] == 1
    return (
        np.bincount(bins[foreground], minlength=BINS).astype(np.int64),
        np.bincount(bins[~foreground], minlength=BINS).astype(np.int64),
    )


def pxap(foreground: Histogram, background: Histogram) -> float:
    """Return the pixel average precision, in percent.

    The sum over the bins, from the highest score down, of the precision times the gain in recall; bins
    without pixels are skipped (Choe et al. 2020, CVPR, "Evaluating Weakly Supervised Object Localization
    Methods Right").

    Parameters
    ----------
    foreground, background
        Histograms of `score_histograms`, (1001,), pooled over all images.

    Returns
    -------
    float
        0 to 100; NaN where there is no foreground pixel at all, for then there is no recall.
    """
    positives = int(foreground.sum())
    if positives == 0:
        return float("nan")
    true, false = _cumulated(foreground), _cumulated(background)
    filled = (true + false) > 0
    gain = np.diff(true, prepend=0) / positives
    return float(100 * np.sum(true[filled] / (true + false)[filled] * gain[filled]))


def chance_pxap(foreground: Histogram, background: Histogram) -> float:
    """Return the PxAP of scores that know nothing, in percent: the share of foreground pixels.

    A constant map puts all pixels in one bin, whose precision is the share of foreground and whose recall
    is 1; a random map has that same precision, in expectation, at every recall.

    Returns
    -------
    float
        0 to 100; NaN where there are no pixels.
    """
    total = int(foreground.sum() + background.sum())
    return 100 * int(foreground.sum()) / total if total else float("nan")


def pooled_dice_iou(
    foreground: Histogram, background: Histogram
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return Dice and IoU of all images' pixels taken together, at each of `THRESHOLDS`, in percent.

    Returns
    -------
    dice, iou : ndarray of float64, (1001,)
        Of the region ``score >= THRESHOLDS[i]``. NaN where neither mask nor region has a pixel.
    """
    true = _cumulated(foreground)[::-1]
    false = _cumulated(background)[::-1]
    positives = int(foreground.sum())
    with np.errstate(invalid="ignore"):
        return 200 * true / (positives + true + false), 100 * true / (positives + false)


def best_threshold(foreground: Histogram, background: Histogram) -> float:
    """Return the threshold at which foreground and background are found best; for validation images only.

    It maximises the mean of the pooled Dice of foreground and that of background. The Dice of foreground
    alone would call nearly everything foreground on data where most pixels are, and such a threshold is of
    no use on another image. Where a range of thresholds is equally good its middle is returned, as far
    from both ends as can be.

    Returns
    -------
    float
        In [0, 1]; 0.5 where there is no foreground or no background to choose by.
    """
    if foreground.sum() == 0 or background.sum() == 0:
        return 0.5
    dice, _ = pooled_dice_iou(foreground, background)
    true = int(background.sum()) - _cumulated(background)[::-1]
    missed = int(foreground.sum()) - _cumulated(foreground)[::-1]
    other = 200 * true / (int(background.sum()) + true + missed)
    both = dice + other
    best = np.flatnonzero(both >= np.nanmax(both) - 1e-9)
    # Only the run that holds the first maximum: the middle of two separate maxima may be neither.
    run = best[: int(np.argmax(np.append(np.diff(best) > 1, True))) + 1]
    return round(float(THRESHOLDS[run[len(run) // 2]]), 3)


def dice_iou(region: ArrayLike, mask: ArrayLike) -> tuple[float, float]:
    """Return Dice and IoU of one image, in percent.

    Parameters
    ----------
    region
        True where the map says foreground, any shape.
    mask
        1 foreground, 0 background, 255 ignored; same shape.

    Returns
    -------
    dice, iou : float
        0 to 100; both NaN where neither region nor mask has a pixel (such an image is rightly empty
        and has no overlap to speak of).
    """
    predicted, labels = np.asarray(region, bool), np.asarray(mask)
    if predicted.shape != labels.shape:
        raise ValueError(f"The region has the shape {predicted.shape}, the mask {labels.shape}.")
    kept = labels != _IGNORE
    both = int(np.sum(predicted & (labels == 1)))
    total = int(np.sum(predicted & kept) + np.sum(labels == 1))
    if total == 0:
        return float("nan"), float("nan")
    return 200 * both / total, 100 * both / (total - both)


def accuracy(predicted: ArrayLike, labels: ArrayLike) -> float:
    """Return the share of images whose label is right, in percent; NaN of no images."""
    right = np.asarray(predicted) == np.asarray(labels)
    return float(100 * right.mean()) if right.size else float("nan")


def right_labels(probabilities: ArrayLike, labels: ArrayLike) -> NDArray[np.bool_]:
    """Return of each image whether its label is right.

    Parameters
    ----------
    probabilities
        (n, classes).
    labels
        (n,) the class of each image, which is right where it is the most probable one. Or (n, classes), 1 for
        each label that an image has and 0 for each that it has not: right where exactly the labels that it
        has are at least as probable as not.
    """
    found, wanted = np.asarray(probabilities), np.asarray(labels)
    if wanted.ndim == 1:
        return np.asarray(found.argmax(axis=1) == wanted)
    return np.asarray(((found >= 0.5) == (wanted > 0.5)).all(axis=1))


def label_map(probabilities: ArrayLike, labels: ArrayLike) -> float:
    """Return the mean average precision of the labels, in percent.

    Of each class the images are ranked by its probability, and the precision is averaged over the recall that
    each probability adds, without interpolation; the mean is over the classes that some image has.

    Parameters
    ----------
    probabilities
        (n, classes).
    labels
        (n, classes): 1 for each label that an image has, else 0.

    Returns
    -------
    float
        0 to 100; NaN where no image has a label.
    """
    found, wanted = np.asarray(probabilities, np.float64), np.asarray(labels) > 0.5
    ranked = [_average_precision(p, y) for p, y in zip(found.T, wanted.T, strict=True) if y.any()]
    return float(100 * np.mean(ranked)) if ranked else float("nan")


def _average_precision(scores: NDArray[np.float64], positive: NDArray[np.bool_]) -> float:
    order = np.argsort(-scores, kind="stable")
    # Images of one score come together: between them there is no threshold.
    last = np.append(np.diff(scores[order]) != 0, True)
    true = np.cumsum(positive[order])[last]
    precision = true / (np.flatnonzero(last) + 1)
    return float(np.sum(precision * np.diff(true, prepend=0)) / positive.sum())


def expected_calibration_error(foreground: Histogram, background: Histogram, bins: int = 20) -> float:
    """Return how far foreground scores are from being probabilities, in percent.

    The mean over `bins` equal score intervals, weighted by their pixels, of the difference between the
    share of foreground and the mean score (Naeini et al. 2015, AAAI). Scores are taken at the middle of
    their 0.001 bin, which moves the figure by 0.05 at most.

    Returns
    -------
    float
        0 (calibrated) to 100; NaN where there are no pixels.
    """
    pixels = foreground + background
    total = int(pixels.sum())
    if total == 0:
        return float("nan")
    score = np.minimum(THRESHOLDS + 0.0005, 1.0)
    interval = np.minimum(np.arange(BINS) * bins // (BINS - 1), bins - 1)
    truth = np.bincount(interval, weights=foreground, minlength=bins)
    claim = np.bincount(interval, weights=pixels * score, minlength=bins)
    return float(100 * np.abs(truth - claim).sum() / total)


def confidence_calibration_error(confidences: ArrayLike, right: ArrayLike, bins: int = 15) -> float:
    """Return how far class probabilities are from the share of right answers, in percent.

    The expected calibration error of Guo et al. 2017 (ICML): the mean over `bins` equal intervals of the most
    probable class's probability, weighted by their images.

    Parameters
    ----------
    confidences
        (n,) in [0, 1]: the probability of the class that was answered.
    right
        (n,) bool: whether it was the right one.

    Returns
    -------
    float
        0 (calibrated) to 100; NaN where there are no images.
    """
    claimed, truth = np.asarray(confidences, np.float64), np.asarray(right, np.float64)
    if not claimed.size:
        return float("nan")
    interval = np.minimum((claimed * bins).astype(int), bins - 1)
    difference = np.bincount(interval, weights=truth - claimed, minlength=bins)
    return float(100 * np.abs(difference).sum() / claimed.size)


def _cumulated(histogram: Histogram) -> Histogram:
    """Return the number of pixels at or above each score, from the highest score down."""
    return np.cumsum(histogram[::-1], dtype=np.int64)


def _checked(scores: ArrayLike, mask: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.uint8]]:
    values, labels = np.asarray(scores, np.float64), np.asarray(mask)
    if values.shape != labels.shape:
        raise ValueError(f"The scores have the shape {values.shape}, the mask {labels.shape}.")
    if not np.isin(labels, (0, 1, _IGNORE)).all():
        raise ValueError("The mask holds values other than 0, 1 and 255.")
    if np.isnan(values).any():
        raise ValueError("The scores hold NaN.")
    if values.size and (values.min() < 0 or values.max() > 1):
        raise ValueError(
            f"The scores reach from {values.min():.3g} to {values.max():.3g}, not within 0 to 1."
        )
    return values, labels.astype(np.uint8)
