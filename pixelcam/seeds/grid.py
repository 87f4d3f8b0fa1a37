"""Which level of an image its seeds are painted on, and where that lies on the image."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

MOST_PIXELS = 100_000_000
"""Seeds are painted on the finest level that is no larger: an array of 100 MB."""


@dataclass(frozen=True)
class SeedGrid:
    """The pixels that seeds are painted on.

    Attributes
    ----------
    level
        The level of the image that these pixels are.
    shape
        (height, width).
    scale
        Level-0 pixels per pixel of that level, (y, x), from the true shapes.
    """

    level: int
    shape: tuple[int, int]
    scale: tuple[float, float]

    @property
    def translate(self) -> tuple[float, float]:
        """The centre of pixel (0, 0) in level-0 pixels, (y, x)."""
        return (self.scale[0] - 1) / 2, (self.scale[1] - 1) / 2


def seed_grid(levels: Sequence[tuple[int, int]]) -> SeedGrid:
    """Choose the level of an image that its seeds are painted on.

    Parameters
    ----------
    levels
        (height, width) of each level, finest first.

    Returns
    -------
    SeedGrid
        The finest level of at most `MOST_PIXELS`, or the coarsest where none is so small.
    """
    fitting = [level for level, (height, width) in enumerate(levels) if height * width <= MOST_PIXELS]
    level = fitting[0] if fitting else len(levels) - 1
    shape = levels[level]
    return SeedGrid(level, shape, (levels[0][0] / shape[0], levels[0][1] / shape[1]))
