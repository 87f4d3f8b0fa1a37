"""From polygons to the pixels whose centres they hold."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Ring = NDArray[np.float64]
_Window = tuple[slice, slice]
_AT_ONCE = 2_000_000
_CROSSING = 12
"""How many pixels take as long to fill as an edge takes to cross a row."""


@dataclass(frozen=True, eq=False)
class Filled:
    """The pixels of one polygon.

    Parameters
    ----------
    window
        The rows and columns of the grid that the polygon touches.
    mask
        bool, of the window's size: where the polygon holds a pixel's centre.
    crosses_itself
        Whether its outline crosses itself, as far as pixels can tell.
    """

    window: _Window
    mask: NDArray[np.bool_]
    crosses_itself: bool


def fill_polygon(rings: Sequence[Ring], shape: tuple[int, int]) -> Filled:
    """Fill one polygon: the area of its first ring without those of the others, its holes.

    The area of a ring is told by the even-odd rule: what a ring that crosses itself runs round twice is
    outside. A pixel belongs to the polygon where its centre does; what lies past the grid is cut off.

    Parameters
    ----------
    rings
        Each (n, 2) corners as (x, y) in pixels of the grid, the origin being the top left corner of pixel
        (0, 0). The last corner may be the first one again. Either sense of turning will do.
    shape
        (height, width) of the grid.
    """
    window = _window(rings[0], shape)
    rows, columns = window
    size = (rows.stop - rows.start, columns.stop - columns.start)
    corner = np.array([columns.start, rows.start], np.float64)
    outer, *holes = (_winding(ring - corner, size) for ring in rings)
    mask = outer % 2 != 0
    for hole in holes:
        mask &= hole % 2 == 0
    return Filled(window, mask, any(_turns_several_ways(winding) for winding in (outer, *holes)))


def filling_work(rings: Sequence[Ring], shape: tuple[int, int]) -> float:
    """Return how much work a polygon is to fill: pixels of its window, and rows that its edges cross.

    Parameters
    ----------
    rings, shape
        As for `fill_polygon`.
    """
    rows, columns = _window(rings[0], shape)
    crossed = 0.0
    for ring in rings:
        y = np.clip(ring[:, 1], rows.start, rows.stop)
        crossed += float(np.abs(np.diff(y, append=y[:1])).sum())
    pixels = (rows.stop - rows.start) * (columns.stop - columns.start) * len(rings)
    return float(pixels + _CROSSING * crossed)


def _window(ring: Ring, shape: tuple[int, int]) -> _Window:
    height, width = shape
    x0, y0 = np.clip(np.floor(ring.min(0)), 0, (width, height)).astype(int)
    x1, y1 = np.clip(np.ceil(ring.max(0)), 0, (width, height)).astype(int)
    return slice(y0, y1), slice(x0, x1)


def _winding(ring: Ring, size: tuple[int, int]) -> NDArray[np.int32]:
    """Return how often a ring runs round each pixel's centre, (h, w); counted down where it runs back."""
    height, width = size
    turns = np.zeros((height, width + 1), np.int32)
    x0, y0 = ring.T
    x1, y1 = np.roll(ring, -1, axis=0).T
    first = np.clip(np.ceil(np.minimum(y0, y1) - 0.5), 0, height).astype(np.int64)
    stop = np.clip(np.ceil(np.maximum(y0, y1) - 0.5), 0, height).astype(np.int64)
    for some in _portions(stop - first):
        rows_each = (stop - first)[some]
        edge = np.repeat(np.arange(some.start, some.stop), rows_each)
        rows = np.arange(len(edge)) - np.repeat(np.cumsum(rows_each) - rows_each, rows_each) + first[edge]
        slope = (rows + 0.5 - y0[edge]) / (y1[edge] - y0[edge])
        x = x0[edge] + slope * (x1[edge] - x0[edge])
        columns = np.clip(np.ceil(x - 0.5), 0, width).astype(np.int64)
        upwards = np.where(y1[edge] < y0[edge], 1, -1).astype(np.int32)
        # One index into a flat view is several times faster than two.
        np.add.at(turns.reshape(-1), rows * (width + 1) + columns, upwards)
    return np.cumsum(turns[:, :-1], axis=1, dtype=np.int32, out=turns[:, :-1])


def _portions(counts: NDArray[np.int64]) -> Iterator[slice]:
    """Yield runs of edges that cross about `_AT_ONCE` rows together, so that memory holds what they make."""
    done = np.cumsum(counts)
    start = 0
    while start < len(counts):
        reached = int(done[start - 1]) if start else 0
        stop = max(start + 1, int(np.searchsorted(done, reached + _AT_ONCE, "right")))
        yield slice(start, stop)
        start = stop


def _turns_several_ways(winding: NDArray[np.int32]) -> bool:
    """Return whether a ring covers a pixel twice, or runs round some pixels one way and round others back."""
    if not winding.size:
        return False
    return max(0, int(winding.max())) - min(0, int(winding.min())) > 1
