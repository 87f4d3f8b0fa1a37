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
    own
        The model's threshold, and how many pixels reach it.
    """

    reaching: NDArray[np.int64]
    total: int
    own: tuple[float, int] | None = None

    @classmethod
    def of(cls, scores: NDArray[np.float32], own: float | None = None) -> ScoreHistogram:
        """Count a (h, w) float map in [0, 1]; `own` is the model's threshold, which may be no thousandth."""
        edges = np.append(np.arange(BINS, dtype=np.float64) / (BINS - 1), np.inf).astype(np.float32)
        counts = np.zeros(BINS, np.int64)
        for top in range(0, scores.shape[0], _ROWS):  # in strips: histogram makes copies of what it is given
            counts += np.histogram(scores[top : top + _ROWS], bins=edges)[0]
        found = None if own is None else (own, int(np.count_nonzero(scores >= own)))
        return cls(np.cumsum(counts[::-1])[::-1], int(scores.size), found)

    def fraction(self, threshold: float) -> float:
        """Return the share of pixels at or above a threshold that is a thousandth, or the model's own."""
        if self.own is not None and threshold == self.own[0]:
            return self.own[1] / self.total
        index = int(np.clip(round(threshold * (BINS - 1)), 0, BINS - 1))
        return float(self.reaching[index]) / self.total
