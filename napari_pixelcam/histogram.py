"""Foreground area at every threshold from one histogram, so that the slider answers at once on any image."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

BINS = 1001
_ROWS = 1024


@dataclass(frozen=True)
class ScoreHistogram:
    """How many pixels of a map reach each threshold 0, 0.001, ... 1.

    Parameters
    ----------
    reaching
        int64 of length 1001, ``reaching[k]`` pixels are at least ``k / 1000``.
    total
        Number of pixels.
    """

    reaching: NDArray[np.int64]
    total: int

    @classmethod
    def of(cls, scores: NDArray[np.float32]) -> ScoreHistogram:
        """Count a (h, w) float map in [0, 1]."""
        edges = np.append(np.arange(BINS, dtype=np.float64) / (BINS - 1), np.inf).astype(np.float32)
        counts = np.zeros(BINS, np.int64)
        for top in range(0, scores.shape[0], _ROWS):  # in strips: histogram makes copies of what it is given
            counts += np.histogram(scores[top : top + _ROWS], bins=edges)[0]
        return cls(np.cumsum(counts[::-1])[::-1], int(scores.size))

    def fraction(self, threshold: float) -> float:
        """Return the share of pixels at or above a threshold, exact to a thousandth in the threshold."""
        index = int(np.clip(round(threshold * (BINS - 1)), 0, BINS - 1))
        return float(self.reaching[index]) / self.total
