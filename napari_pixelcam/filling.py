"""Arithmetic on areas: what a lasso encloses, what is connected, and from grid to grid."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from napari.layers import Labels

T = TypeVar("T", bound=np.generic)
Grid = tuple[tuple[float, float], tuple[float, float]]
"""Scale and translate, each (y, x), that take an array's indices to level-0 pixels."""


@dataclass(frozen=True)
class Area:
    """Pixels of an array: the (y, x) of the corner of their box, and a (h, w) bool mask within it."""

    corner: tuple[int, int]
    mask: NDArray[np.bool_]

    @property
    def indices(self) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        """Rows and columns of the pixels in the whole array."""
        rows, columns = np.nonzero(self.mask)
        return rows + self.corner[0], columns + self.corner[1]


def enclosed(points: Sequence[Sequence[float]], shape: tuple[int, int]) -> Area | None:
    """Return the pixels whose centres lie in a polygon.

    Parameters
    ----------
    points
        Corners as (y, x) in array indices; they may lie outside the array. The last is joined to the first.
    shape
        (height, width) of the array.

    Returns
    -------
    Area or None
        `None` where fewer than three corners are given or no pixel is enclosed.
    """
    from skimage.draw import polygon2mask

    corners = np.asarray(points, float)
    if len(corners) < 3:
        return None
    low = np.clip(np.floor(corners.min(axis=0)).astype(int), 0, shape)
    high = np.clip(np.ceil(corners.max(axis=0)).astype(int) + 1, 0, shape)
    if (high <= low).any():
        return None
    mask = polygon2mask(tuple(high - low), corners - low)
    return Area((int(low[0]), int(low[1])), mask) if mask.any() else None


def sampled(
    scores: NDArray[T], grid: Grid, corner: tuple[int, int], shape: tuple[int, int], onto: Grid
) -> NDArray[T]:
    """Return an array's values at a box of another grid's pixels, by nearest pixel.

    Parameters
    ----------
    scores
        (h, w) map or mask.
    grid
        Where it lies.
    corner, shape
        The box, in pixels of the other grid.
    onto
        Where the other grid lies.
    """
    axes = []
    for axis in (0, 1):
        place = np.arange(corner[axis], corner[axis] + shape[axis]) * onto[0][axis] + onto[1][axis]
        index = np.rint((place - grid[1][axis]) / grid[0][axis]).astype(int)
        axes.append(np.clip(index, 0, scores.shape[axis] - 1))
    return scores[np.ix_(*axes)]


def carried_over(area: Area, grid: Grid, onto: Grid, shape: tuple[int, int]) -> Area:
    """Return an area of one grid's pixels as an area of another's, by nearest pixel, cut off at its edges.

    Parameters
    ----------
    area, grid
        The area, and where the grid that it counts pixels of lies.
    onto, shape
        Where the other grid lies, and its (height, width).
    """
    low, size, start = [], [], []
    for axis in (0, 1):
        edges = (np.array([0, area.mask.shape[axis]]) + area.corner[axis] - 0.5) * grid[0][axis] + grid[1][
            axis
        ]
        first, last = np.ceil((edges - onto[1][axis]) / onto[0][axis]).astype(int)
        low.append(max(int(first), 0))
        size.append(max(min(int(last), shape[axis]) - low[axis], 0))
        start.append(area.corner[axis] * grid[0][axis] + grid[1][axis])
    own = grid[0], (start[0], start[1])
    corner = low[0], low[1]
    return Area(corner, sampled(area.mask, own, corner, (size[0], size[1]), onto))


def connected(region: NDArray[np.bool_], at: tuple[int, int]) -> Area | None:
    """Return the 8-connected part of a region around one of its pixels, `None` where that is outside."""
    from skimage.segmentation import flood

    if not (0 <= at[0] < region.shape[0] and 0 <= at[1] < region.shape[1] and region[at]):
        return None
    part = flood(region, at)
    rows, columns = np.flatnonzero(part.any(axis=1)), np.flatnonzero(part.any(axis=0))
    corner = int(rows[0]), int(columns[0])
    return Area(corner, part[corner[0] : rows[-1] + 1, corner[1] : columns[-1] + 1])


def write(layer: Labels, area: Area, label: int) -> int:
    """Give an area a label, as one undo step; return how many pixels changed."""
    rows, columns = area.indices
    changed = np.asarray(layer.data)[rows, columns] != label
    with layer.block_history():
        layer.data_setitem((rows[changed], columns[changed]), label)
    return int(changed.sum())
