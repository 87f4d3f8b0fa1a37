"""From a binary map to polygons along the edges of its pixels."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

Rings = tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]


@dataclass(frozen=True, eq=False)
class Polygon:
    """One connected region: an outer ring and the rings of its holes.

    Parameters
    ----------
    exterior
        (n, 2) float64 corners as (x, y) in pixels, the origin being the top left corner of pixel (0, 0).
        The last corner is not the first one again. Its signed area (shoelace formula on x and y as they
        are) is positive.
    holes
        The same for each hole; their signed areas are negative.
    """

    exterior: NDArray[np.float64]
    holes: tuple[NDArray[np.float64], ...] = ()

    @property
    def area(self) -> float:
        """Area in square pixels, without the holes: exactly the number of the region's pixels."""
        return sum(signed_area(ring) for ring in (self.exterior, *self.holes))


def signed_area(ring: NDArray[np.float64]) -> float:
    """Return the area of an open ring (n, 2) by the shoelace formula; negative for holes."""
    x, y = ring[:, 0], ring[:, 1]
    return float((x * np.roll(y, -1) - np.roll(x, -1) * y).sum() / 2)


def foreground_regions(region: NDArray[np.bool_], min_area: int = 0) -> list[Polygon]:
    """Trace each connected region along the edges of its pixels.

    Pixels that share an edge are connected; pixels that only touch at a corner are not (4-connectivity), so
    they belong to two regions, and holes that only touch at a corner are two holes. Rings run along pixel
    edges: the area of a polygon is the number of its pixels, and filling the polygons gives the map again,
    exactly. A ring may touch another at a corner but never itself, so every polygon is valid by the OGC's
    Simple Features rules, which QuPath holds to. An island in a hole is a region of its own.

    Parameters
    ----------
    region
        (h, w) bool.
    min_area
        Regions of fewer pixels are left out. Holes stay as they are.

    Returns
    -------
    list[Polygon]
        In the order of the regions' first pixels, row by row.
    """
    labels, count = ndimage.label(region)
    if min_area > 1:
        large = np.bincount(labels.ravel(), minlength=count + 1) >= min_area
        large[0] = False
        labels = np.where(large[labels], labels, 0)
    if not labels.any():
        return []
    points, starts, owners = _trace(labels)
    return _assemble(points, starts, owners)


def _trace(labels: NDArray[np.int32]) -> Rings:
    """Return all boundary rings of a label image.

    Every ring goes from corner to corner, along rows and columns in turn, with its region on the right. Along
    a row of the lattice of pixel corners, the 1st and 2nd ring corner are joined, the 3rd and 4th, and so on;
    along a column likewise. Both pairings together are the rings.

    Returns
    -------
    points
        (n, 2) corners (x, y) of all rings, ring after ring.
    starts
        (rings,) where each ring begins in `points`.
    owners
        (rings,) the label of the region that the ring bounds.
    """
    padded = np.pad(labels, 1)
    northwest, northeast = padded[:-1, :-1], padded[:-1, 1:]
    southwest, southeast = padded[1:, :-1], padded[1:, 1:]
    code = (northwest > 0) * np.uint8(1) + (northeast > 0) * np.uint8(2)
    code += (southwest > 0) * np.uint8(4) + (southeast > 0) * np.uint8(8)
    # Where 1 or 3 of a lattice point's four pixels are foreground lies one corner, at a diagonal touch two.
    corners = np.array([0, 1, 1, 0, 1, 0, 2, 1, 1, 2, 0, 1, 0, 1, 1, 0], np.uint8)[code]
    y, x = np.nonzero(corners)
    number = corners[y, x]
    saddle = np.flatnonzero(number == 2)
    # Where a region touches itself diagonally each ring keeps to its background pixel, so that no ring
    # meets itself; where two regions touch, each ring keeps to its region.
    descends = code[y[saddle], x[saddle]] == 9
    first = np.where(descends, northwest[y[saddle], x[saddle]], northeast[y[saddle], x[saddle]])
    second = np.where(descends, southeast[y[saddle], x[saddle]], southwest[y[saddle], x[saddle]])
    left_goes_down = descends == (first == second)

    y, x = np.repeat(y, number), np.repeat(x, number)
    position = saddle + np.arange(len(saddle))
    column_order = np.argsort(x.astype(np.uint16) if x.max() < 65536 else x, kind="stable")
    _swap_neighbours(column_order, position[left_goes_down])
    above, below = column_order[0::2], column_order[1::2]
    along_column = np.empty(len(x), np.int64)
    along_column[above], along_column[below] = below, above

    # Corners 2k and 2k + 1 are the left and right end of the k-th piece along a row.
    left = np.arange(0, len(x), 2)
    above_piece, below_piece = padded[y[left], x[left] + 1], padded[y[left] + 1, x[left] + 1]
    eastward = below_piece > 0
    begin = np.where(eastward, left, left + 1)
    end = np.where(eastward, left + 1, left)
    order, first_pieces = _cycles(along_column[end] >> 1)

    points = np.empty((2 * len(order), 2), np.int64)
    points[0::2] = np.stack([x[begin[order]], y[begin[order]]], axis=-1)
    points[1::2] = np.stack([x[end[order]], y[end[order]]], axis=-1)
    owners = np.maximum(above_piece, below_piece)[order[first_pieces]]
    return points, 2 * first_pieces, owners


def _swap_neighbours(order: NDArray[np.int64], items: NDArray[np.int64]) -> None:
    """Swap each of `items` with the entry after it in `order`, in place."""
    where = np.empty_like(order)
    where[order] = np.arange(len(order))
    at = where[items]
    order[at], order[at + 1] = order[at + 1], order[at].copy()


def _cycles(following: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Write a permutation as its cycles, one after the other, and where each begins."""
    step = following.tolist()
    seen = bytearray(len(step))
    order: list[int] = []
    starts: list[int] = []
    for first in range(len(step)):
        if seen[first]:
            continue
        starts.append(len(order))
        item = first
        while not seen[item]:
            seen[item] = 1
            order.append(item)
            item = step[item]
    return np.array(order, np.int64), np.array(starts, np.int64)


def _assemble(
    points: NDArray[np.int64], starts: NDArray[np.int64], owners: NDArray[np.int64]
) -> list[Polygon]:
    """Give every hole to the outer ring of the same region."""
    after = np.arange(1, len(points) + 1)
    stops = np.append(starts[1:], len(points))
    after[stops - 1] = starts
    cross = points[:, 0] * points[after, 1] - points[after, 0] * points[:, 1]
    is_hole = np.add.reduceat(cross, starts) < 0
    coordinates = points.astype(np.float64)
    polygons: list[Polygon] = []
    holes: list[NDArray[np.float64]] = []
    by_region = np.lexsort((~is_hole, owners))
    # Within a region the holes come first, so that its outer ring finds them collected.
    for ring in by_region.tolist():
        ring_points = coordinates[starts[ring] : stops[ring]]
        if is_hole[ring]:
            holes.append(ring_points)
        else:
            polygons.append(Polygon(ring_points, tuple(holes)))
            holes = []
    return polygons
