"""The scale of maps: standard deviations over all images, or from 0 to 1."""

from __future__ import annotations

from torch import Tensor

NEUTRAL = 0.5
"""The value of an eigen map that says neither foreground nor background."""
SPREAD = 8.0
"""Standard deviations of the pooled map from 0 to 1."""


def on_scale(deviations: Tensor) -> Tensor:
    """Return maps in [0, 1] of standard deviations from neutral."""
    return (NEUTRAL + deviations / SPREAD).clamp(0, 1)


def pooled(values: Tensor, region: Tensor | None = None) -> Tensor:
    """Return maps (n, h, w) less their mean over all images, divided by their standard deviation.

    Parameters
    ----------
    region
        (n,) bool: the images that mean and deviation are of; all by default.
    """
    kept = values if region is None else values[region]
    return (values - kept.mean()) / kept.std().clamp(min=1e-6)
