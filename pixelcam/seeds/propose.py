"""Seeds proposed to a reviewer from the current map, to be kept, moved or wiped."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pixelcam.errors import ConfigError
from pixelcam.seeds.labels import BACKGROUND, FOREGROUND


def propose_seeds(
    foreground: NDArray[np.float32],
    *,
    count: int = 20,
    radius: int = 3,
    confidence: float = 0.2,
    threshold: float | None = None,
    seed: int = 0,
) -> NDArray[np.uint8]:
    """Return discs of seeds, spread over the most confident places of a map.

    Parameters
    ----------
    foreground
        (h, w) float, foreground probability.
    count
        Discs of each of foreground and background, at most.
    radius
        Of a disc, in map pixels.
    confidence
        Foreground discs come from the highest such share of the map, background discs from the lowest.
    threshold
        From which probability on a place is foreground: no disc is of another kind than where it lies. None
        for a map of which only the order is known.
    seed
        Of the random draw.

    Returns
    -------
    labels
        (h, w) uint8 in {0, 1, 2}. Empty for a constant map, which gives no reason to choose.
    """
    if count < 1 or radius < 0 or not 0 < confidence <= 0.5:
        raise ConfigError(
            "Proposing seeds needs a count of at least 1, a radius of at least 0 and a confidence up to 0.5."
        )
    from scipy.ndimage import gaussian_filter  # takes a second, which who proposes nothing need not wait
    from skimage.draw import disk

    labels = np.zeros(foreground.shape, dtype=np.uint8)
    smooth = gaussian_filter(np.asarray(foreground, dtype=np.float32), sigma=max(radius, 1))
    if float(smooth.max()) - float(smooth.min()) < 1e-6:
        return labels
    rng = np.random.default_rng(seed)
    low, high = np.quantile(smooth, [confidence, 1 - confidence])
    # A share that is larger than the region itself must not reach past the middle of the map's range.
    middle = (float(smooth.max()) + float(smooth.min())) / 2
    shown = foreground >= threshold if threshold is not None else smooth > middle
    chosen = (
        (FOREGROUND, (smooth >= high) & (smooth > middle) & shown),
        (BACKGROUND, (smooth <= low) & (smooth < middle) & ~shown),
    )
    for value, candidates in chosen:
        for row, column in _spread(candidates, count, 4 * radius + 1, rng):
            rows, columns = disk((row, column), radius + 0.5, shape=labels.shape)
            free = candidates[rows, columns] & (labels[rows, columns] == 0)
            labels[rows[free], columns[free]] = value
    return labels


def _spread(
    candidates: NDArray[np.bool_], count: int, apart: int, rng: np.random.Generator
) -> list[tuple[int, int]]:
    places = np.argwhere(candidates)
    chosen: list[tuple[int, int]] = []
    for row, column in places[rng.permutation(len(places))[: 200 * count]]:
        if all((row - r) ** 2 + (column - c) ** 2 >= apart**2 for r, c in chosen):
            chosen.append((int(row), int(column)))
            if len(chosen) == count:
                break
    return chosen
