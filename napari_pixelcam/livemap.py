"""Large maps as layers show them: what is in view, as fine as the screen, drawn or still in the making."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from pixelcam.refine import MapGrid, Refiner, Refit

LARGE = 2**21
"""A map of more pixels goes to the screen in part only, and is drawn there before the rest of it."""
COARSEST = 64
"""Side in pixels of the coarsest level at most: napari reads it but once, so no window is to show it."""
CHUNK = 512
"""What napari reads of a level begins and ends at multiples of so many pixels."""


@dataclass(frozen=True)
class View:
    """A part of a map, at a resolution.

    Parameters
    ----------
    box
        First row and column, and the row and column past them, in pixels of the map.
    step
        Map pixels along each axis for one that is shown, a power of two.
    """

    box: tuple[int, int, int, int]
    step: int = 1

    @property
    def places(self) -> tuple[range, range]:
        """The rows and columns of the map that are shown: of each step the middle one."""
        top, left, bottom, right = self.box
        middle = self.step // 2
        return range(top + middle, bottom, self.step), range(left + middle, right, self.step)

    def covers(self, other: View) -> bool:
        """Return whether this shows all of another view, and no coarser."""
        mine, its = self.box, other.box
        inside = mine[0] <= its[0] and mine[1] <= its[1] and mine[2] >= its[2] and mine[3] >= its[3]
        return inside and self.step <= other.step

    def widened(self, shape: tuple[int, int]) -> View:
        """Return the view with an eighth of it on each side, as far as the map goes, in whole steps."""
        low, high = [], []
        for axis in (0, 1):
            margin = (self.box[axis + 2] - self.box[axis]) // 8
            low.append(max(self.box[axis] - margin, 0) // self.step * self.step)
            high.append(min(-(-(self.box[axis + 2] + margin) // self.step) * self.step, shape[axis]))
        return View((low[0], low[1], high[0], high[1]), self.step)


@dataclass(frozen=True, eq=False)
class Patch:
    """A view of a map with what is seen there, (n, m) float32 at its places."""

    view: View
    scores: NDArray[np.float32]

    @classmethod
    def drawn(cls, refiner: Refiner, refit: Refit, grid: MapGrid, view: View) -> Patch:
        """Draw a view of a refitted map."""
        rows, columns = view.places
        return cls(view, refiner.draw(refit, grid, np.array(rows), np.array(columns)))


class LiveMap:
    """A large map; while a new one is drawn, the patches of it that there are.

    Parameters
    ----------
    scores
        (h, w) float32.
    """

    def __init__(self, scores: NDArray[np.float32]) -> None:
        self.shape: tuple[int, int] = (scores.shape[0], scores.shape[1])
        self._scores: NDArray[np.float32] | None = scores
        self._patches: tuple[Patch, ...] = ()

    def show(self, scores: NDArray[np.float32]) -> None:
        """Be this map, (h, w) of the same size."""
        self._scores, self._patches = scores, ()

    def show_patches(self, patches: Sequence[Patch]) -> None:
        """Be these patches, the later ones over the earlier, and nothing elsewhere."""
        self._scores, self._patches = None, tuple(patches)

    def read(self, rows: range, columns: range) -> NDArray[np.float32]:
        """Return the map at crossing rows and columns, NaN where it is not drawn yet."""
        if self._scores is not None:
            return self._scores[_slice(rows), _slice(columns)]
        found = np.full((len(rows), len(columns)), np.nan, np.float32)
        for patch in self._patches:
            top, left, bottom, right = patch.view.box
            ys, y = _nearest(rows, top, bottom, patch.view.step, patch.scores.shape[0])
            xs, x = _nearest(columns, left, right, patch.view.step, patch.scores.shape[1])
            if len(y) and len(x):
                found[ys, xs] = patch.scores[np.ix_(y, x)]
        return found

    def levels(self, *, inverted: bool = False) -> list[MapLevel]:
        """Return the map as levels for a layer, the finest first; one minus it where it is `inverted`."""
        steps = [1]
        while max(self.shape) / steps[-1] > COARSEST:
            steps.append(2 * steps[-1])
        return [MapLevel(self, step, inverted=inverted) for step in steps]


class MapLevel:
    """Every so-manieth pixel of a large map, as an array that napari slices; nothing is copied beforehand.

    Parameters
    ----------
    map
        What it shows.
    step
        Map pixels along each axis for one of the level.
    inverted
        Whether it is one minus the map.
    """

    dtype = np.dtype(np.float32)
    ndim = 2
    chunks = (CHUNK, CHUNK)

    def __init__(self, map: LiveMap, step: int, *, inverted: bool = False) -> None:
        self._map, self._step, self._inverted = map, step, inverted
        self._places = View((0, 0, *map.shape), step).places
        self.shape = (len(self._places[0]), len(self._places[1]))
        self.size = self.shape[0] * self.shape[1]

    def __getitem__(self, key: Any) -> NDArray[np.float32]:
        parts = key if isinstance(key, tuple) else (key,)
        parts = (*parts, *[slice(None)] * (2 - len(parts)))
        if not all(isinstance(part, slice) and (part.step or 1) > 0 for part in parts):
            found: NDArray[np.float32] = np.asarray(self)[key]
            return found
        scores = self._map.read(*(places[part] for places, part in zip(self._places, parts, strict=True)))
        return 1 - scores if self._inverted else scores

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        return np.array(self[:, :], dtype=dtype or self.dtype)


def _slice(places: range) -> slice:
    return slice(places.start, places.stop, places.step)


def _nearest(places: range, start: int, stop: int, step: int, count: int) -> tuple[slice, NDArray[np.int64]]:
    """Return which of the places lie in a patch, and the pixels of the patch nearest to these."""
    at = np.array(places)
    first, last = np.searchsorted(at, (start, stop))
    return slice(int(first), int(last)), np.minimum((at[first:last] - start) // step, count - 1)
