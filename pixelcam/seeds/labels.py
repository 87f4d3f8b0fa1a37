"""The contract of partial labels, and how a reviewer's labels meet pseudo-labels."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

UNLABELLED, BACKGROUND, FOREGROUND = 0, 1, 2
BRUSH = 9
"""Diameter in image pixels of the brush that labels are painted with, unless another is chosen."""


def count_seeds(labels: NDArray[np.uint8]) -> tuple[int, int]:
    """Return how many pixels of (h, w) labels are foreground and how many background."""
    return int((labels == FOREGROUND).sum()), int((labels == BACKGROUND).sum())


def merge_seeds(reviewer: NDArray[np.uint8], pseudo: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return the reviewer's labels where there are any and pseudo-labels elsewhere, (h, w) uint8.

    A reviewer's pixel always beats a pseudo-label.
    """
    return np.where(reviewer != UNLABELLED, reviewer, pseudo).astype(np.uint8)
