"""Which cells of the refiner's grid a reviewer has labelled, counted again only where a stroke went."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pixelcam.seeds import FOREGROUND, UNLABELLED
from pixelcam.seeds.seedmap import Chunk, SeedMap

Indices = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Cells:
    """The labelled cells of a grid; one that is labelled as both is there twice.

    Attributes
    ----------
    rows, columns
        (n,) where they lie.
    values
        (n,) 1 foreground, 0 background.
    counts
        (n,) labelled pixels.
    """

    rows: Indices
    columns: Indices
    values: Indices
    counts: Indices

    def blocks(self, most: int) -> Indices:
        """Return for each cell the number of its block (n,), from 0 on, by place.

        Blocks are squares of 1, 2, 4, ... cells a side, each of one value, as small as may be for at most
        `most` of them.
        """
        rows, columns, values, side = self.rows, self.columns, self.values, 1
        while len(rows) > most:
            side *= 2
            rows, columns, values = _apart(np.unique(_key(rows // 2, columns // 2, values)))
        found: Indices = np.unique(
            _key(self.rows // side, self.columns // side, self.values), return_inverse=True
        )[1]
        return found

    def some_of_each(self, blocks: Indices, most: int) -> Indices:
        """Return the indices of at most `most` cells of each block, evenly spread over it.

        Which they are hardly changes with what else is labelled, so that a next stroke finds them known. The
        steps are those of Roberts' R2 sequence, by which any number of points lie evenly in the plane.
        """
        turn = (self.rows * 0.7548776662466927 + self.columns * 0.5698402909980532) % 1
        order = np.lexsort((turn, blocks))
        sizes = np.bincount(blocks)
        rank = np.arange(len(blocks)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
        return np.sort(order[rank < most])


class CellCounter:
    """Counts labels by cell. An accepted region has millions of pixels, of which a stroke changes few.

    Parameters
    ----------
    grid
        Rows and columns of cells.
    extent
        How many cells the image is high and wide, a fraction of one included.
    """

    def __init__(self, grid: tuple[int, int], extent: tuple[float, float]) -> None:
        self._grid, self._extent = grid, extent
        self._counted: dict[Chunk, tuple[Indices, Indices]] = {}

    def count(self, seeds: SeedMap) -> Cells:
        """Return the labelled cells, row by row. Seeds may be on the grid of any level of the image."""
        rows, columns = (
            np.clip(np.rint((np.arange(length) + 0.5) * extent / length - 0.5), 0, cells - 1).astype(np.int64)
            for length, extent, cells in zip(seeds.shape, self._extent, self._grid, strict=True)
        )
        self._counted = {
            chunk: self._counted.get(chunk) or _count(chunk, rows[place[0]], columns[place[1]])
            for place, chunk in seeds.chunks()
        }
        none = np.empty(0, np.int64)
        parts = [(none, none), *self._counted.values()]
        found, counts = (np.concatenate(each) for each in zip(*parts, strict=True))
        keys, places = np.unique(found, return_inverse=True)  # a cell may lie in two chunks
        return Cells(*_apart(keys), np.bincount(places, counts, len(keys)).astype(np.int64))


def _count(chunk: Chunk, rows: Indices, columns: Indices) -> tuple[Indices, Indices]:
    """Return the keys and pixel counts of the cells of a chunk whose pixels lie in these rows and columns."""
    labelled = np.flatnonzero(chunk.labels != UNLABELLED)
    y, x = np.divmod(labelled, chunk.labels.shape[1])
    width = int(columns[-1] - columns[0]) + 1
    places = (rows - rows[0])[y] * width + (columns - columns[0])[x]
    counts = np.bincount(places * 2 + (chunk.labels.ravel()[labelled] == FOREGROUND))
    found = np.flatnonzero(counts)
    y, x = np.divmod(found >> 1, width)
    return _key(y + rows[0], x + columns[0], found & 1), counts[found]


def _key(rows: Indices, columns: Indices, values: Indices) -> Indices:
    """Return one number for a cell and its value, in the order of rows."""
    return (rows << 32 | columns) << 1 | values


def _apart(keys: Indices) -> tuple[Indices, Indices, Indices]:
    return keys >> 33, (keys >> 1) & 0xFFFFFFFF, keys & 1
