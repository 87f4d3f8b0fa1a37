"""Seeds as they were at one moment, kept so that a stroke on a large grid costs what the stroke is large."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pixelcam.seeds.labels import UNLABELLED, count_seeds

CHUNK = 512
"""Side of a chunk in pixels."""

Key = tuple[int, int]
"""Row and column of a chunk."""


@dataclass(frozen=True, eq=False)
class Chunk:
    """A part of a seed map; while nothing in it changes, it stays the same object.

    Attributes
    ----------
    labels
        (h, w) uint8, at most `CHUNK` pixels a side.
    foreground, background
        Numbers of pixels.
    """

    labels: NDArray[np.uint8]
    foreground: int
    background: int


@dataclass(frozen=True, eq=False)
class SeedMap:
    """Partial labels (h, w): 0 unlabelled, 1 background, 2 foreground; never written to.

    Kept in chunks of `CHUNK` pixels a side, those that hold a label only. A changed map shares with the one
    before all chunks that are the same, so that copies for whoever works on them elsewhere cost nothing.

    Attributes
    ----------
    shape
        (height, width).
    """

    shape: tuple[int, int]
    _chunks: Mapping[Key, Chunk] = field(default_factory=dict)

    @classmethod
    def of(cls, labels: NDArray[np.uint8]) -> SeedMap:
        """Return the map of labels (h, w)."""
        empty = cls((labels.shape[0], labels.shape[1]))
        return empty.updated(labels, empty.differing(labels))

    @property
    def foreground(self) -> int:
        """Number of foreground pixels."""
        return sum(chunk.foreground for chunk in self._chunks.values())

    @property
    def background(self) -> int:
        """Number of background pixels."""
        return sum(chunk.background for chunk in self._chunks.values())

    @property
    def any(self) -> bool:
        """Whether anything is labelled."""
        return bool(self._chunks)

    def equals(self, other: SeedMap) -> bool:
        """Return whether the other map has the same labels."""
        return (
            self.shape == other.shape
            and self._chunks.keys() == other._chunks.keys()
            and all(_same(chunk.labels, other._chunks[key].labels) for key, chunk in self._chunks.items())
        )

    def keys(self) -> Iterable[Key]:
        """Return all chunks of the grid."""
        rows, columns = (range(-(-side // CHUNK)) for side in self.shape)
        return product(rows, columns)

    def differing(self, labels: NDArray[np.uint8]) -> set[Key]:
        """Return the chunks in which labels (h, w) are others than the map's."""
        found = set()
        for key in self.keys():
            part, kept = labels[_place(key)], self._chunks.get(key)
            if part.max() != UNLABELLED if kept is None else not np.array_equal(part, kept.labels):
                found.add(key)
        return found

    def updated(self, labels: NDArray[np.uint8], keys: Iterable[Key]) -> SeedMap:
        """Return the map with some chunks as they are in labels (h, w); this one where they are the same."""
        chunks, changed = dict(self._chunks), False
        for key in keys:
            part, kept = labels[_place(key)], self._chunks.get(key)
            if kept is not None and np.array_equal(part, kept.labels):
                continue
            if part.max() != UNLABELLED:
                copied = np.array(part, dtype=np.uint8)
                copied.setflags(write=False)
                chunks[key] = Chunk(copied, *count_seeds(copied))
                changed = True
            elif kept is not None:
                del chunks[key]
                changed = True
        return SeedMap(self.shape, chunks) if changed else self

    def sampled(
        self, rows: NDArray[np.integer[Any]], columns: NDArray[np.integer[Any]]
    ) -> Iterator[tuple[slice, slice, NDArray[np.uint8]]]:
        """Go through what is labelled at crossing rows (n,) and columns (m,), each in growing order.

        Yields
        ------
        where, labels
            Slices of `rows` and of `columns`, and the labels there; elsewhere there are none.
        """
        for (row, column), chunk in self._chunks.items():
            ys, xs = _within(rows, row * CHUNK), _within(columns, column * CHUNK)
            if ys.start < ys.stop and xs.start < xs.stop:
                yield ys, xs, chunk.labels[np.ix_(rows[ys] - row * CHUNK, columns[xs] - column * CHUNK)]

    def array(self) -> NDArray[np.uint8]:
        """Return all labels, (h, w) uint8."""
        found = np.zeros(self.shape, np.uint8)
        for key, chunk in self._chunks.items():
            found[_place(key)] = chunk.labels
        return found

    def chunks(self) -> Iterator[tuple[tuple[slice, slice], Chunk]]:
        """Go through the chunks that hold a label, with the rows and columns that they lie at."""
        return ((_place(key), chunk) for key, chunk in self._chunks.items())


def _place(key: Key) -> tuple[slice, slice]:
    return (
        slice(key[0] * CHUNK, (key[0] + 1) * CHUNK),
        slice(key[1] * CHUNK, (key[1] + 1) * CHUNK),
    )


def _within(places: NDArray[np.integer[Any]], start: int) -> slice:
    first, last = np.searchsorted(places, (start, start + CHUNK))
    return slice(int(first), int(last))


def _same(one: NDArray[np.uint8], other: NDArray[np.uint8]) -> bool:
    return one is other or bool(np.array_equal(one, other))
