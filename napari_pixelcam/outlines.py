"""The border of a region as a layer shows it: lines of one width on the screen, drawn of what is in view."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_pixelcam.livemap import CHUNK, COARSEST

FINEST = 32
"""Pixels of the finest level along a side of a pixel of the map: lines are thin up to that magnification."""
CORE, CASING = 1.25, 2.5
"""Half the width of a line and of the dark line below it, in pixels of the screen."""
NOTHING, DARK, BRIGHT = 0, 1, 2
"""What a level says of a pixel: no line, or one of the line's two colours."""

Scores = Callable[[range, range], NDArray[np.floating[Any]]]


class Outline:
    """The border of a map's region at a threshold.

    It runs along the edges of the map's pixels, between one at or above the threshold and one below.

    Parameters
    ----------
    shape
        Of the map.
    scores
        Returns the map at crossing rows and columns, NaN where it is not known.
    threshold
        From which on a pixel belongs to the region.
    zoom
        Pixels of the screen along a side of a pixel of the map.
    """

    def __init__(self, shape: tuple[int, int], scores: Scores, threshold: float, zoom: float = 1.0) -> None:
        self.shape, self.scores, self.threshold, self.zoom = shape, scores, threshold, zoom

    def levels(self) -> list[OutlineLevel]:
        """Return it as levels for a layer, the finest first."""
        steps = [1 / FINEST]
        while max(self.shape) / steps[-1] > COARSEST:
            steps.append(2 * steps[-1])
        return [OutlineLevel(self, step) for step in steps]

    def widths(self, step: float) -> tuple[int, int]:
        """Return half the width of a line and of the one below it in pixels of a level."""
        screen = self.zoom * step  # pixels of the screen for one of the level
        core = max(round(CORE / screen), 1)
        return core, max(round(CASING / screen), core + 1)

    def drawn(self, rows: range, columns: range, step: float) -> NDArray[np.uint8]:
        """Return a part of a level, (n, m) uint8 of `NOTHING`, `DARK` and `BRIGHT`.

        Parameters
        ----------
        rows, columns
            Without gaps, in pixels of the level.
        step
            Pixels of the map for one of the level: a power of two, or one over it.
        """
        core, casing = self.widths(step)
        if step >= 1:
            fine, size = 1, int(step)
        else:
            fine, size = round(1 / step), 1
        spans = [_span(part, fine, casing) for part in (rows, columns)]
        inside, known = self._region(spans, size)
        down = (inside[1:] != inside[:-1]) & known[1:] & known[:-1]
        across = (inside[:, 1:] != inside[:, :-1]) & known[:, 1:] & known[:, :-1]
        at = tuple(
            slice(part.start - first * fine, part.stop - first * fine)
            for part, (first, _) in zip((rows, columns), spans, strict=True)
        )
        dark, bright = (_widened(down, across, fine, width)[at].view(np.uint8) for width in (casing, core))
        return dark + bright  # the wider line lies below all of the other: `DARK` or `BRIGHT`

    def _region(self, spans: list[tuple[int, int]], size: int) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
        """Return which pixels are inside and which are known; those past the edge continue the last ones."""
        picked, beyond = [], []
        for (first, last), length in zip(spans, self.shape, strict=True):
            there = range(size // 2, length, size)
            part = there[max(first, 0) : last]
            picked.append(part)
            beyond.append((max(-first, 0), last - max(first, 0) - len(part)))
        scores = self.scores(*picked)
        inside, known = scores >= self.threshold, ~np.isnan(scores)
        return np.pad(inside, beyond, mode="edge"), np.pad(known, beyond, mode="edge")


class OutlineLevel:
    """An outline at one resolution, as an array that napari slices; nothing is drawn beforehand.

    Parameters
    ----------
    outline
        What it shows.
    step
        Pixels of the map along each axis for one of the level.
    """

    dtype = np.dtype(np.uint8)
    ndim = 2
    chunks = (CHUNK, CHUNK)

    def __init__(self, outline: Outline, step: float) -> None:
        self._outline, self._step = outline, step
        size = max(int(step), 1)
        fine = max(round(1 / step), 1)
        height, width = (len(range(size // 2, length, size)) * fine for length in outline.shape)
        self.shape = (height, width)
        self.size = height * width

    def __getitem__(self, key: Any) -> NDArray[np.uint8]:
        parts = key if isinstance(key, tuple) else (key,)
        parts = (*parts, *[slice(None)] * (2 - len(parts)))
        if not all(isinstance(part, slice) for part in parts):
            found: NDArray[np.uint8] = np.asarray(self)[key]
            return found
        spans = [range(*part.indices(length)) for part, length in zip(parts, self.shape, strict=True)]
        whole = [range(min(span, default=0), max(span, default=-1) + 1) for span in spans]
        drawn = self._outline.drawn(*whole, self._step)
        return drawn[tuple(slice(None, None, span.step) for span in spans)]

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        return np.array(self[:, :], dtype=dtype or self.dtype)


def _span(part: range, fine: int, width: int) -> tuple[int, int]:
    """Return the first pixel and the one past the last from which lines reach into a part."""
    reach = -(-width // fine) + 1
    return part.start // fine - reach, -(-part.stop // fine) + reach


def _widened(down: NDArray[np.bool_], across: NDArray[np.bool_], fine: int, width: int) -> NDArray[np.bool_]:
    """Return where lines along edges run, in pixels finer than those between which the edges lie.

    Parameters
    ----------
    down, across
        Whether there is an edge below each of (h - 1, w) pixels, and to the right of each of (h, w - 1).
    fine
        Pixels of the result along a side of a pixel.
    width
        Of those that a line has on each side of its edge.
    """
    if width < fine:
        return _strips(down, across, fine, width)
    height, length = down.shape[0] + 1, down.shape[1]
    lines = np.zeros((height * fine, length * fine), bool)
    rows = np.zeros_like(lines)
    rows[fine - 1 : -1 : fine] = np.repeat(down, fine, axis=1)  # the pixels just above the edges
    lines |= _reach(_reach(rows, width, 0, after=True), width, 1)
    columns = np.zeros_like(lines)
    columns[:, fine - 1 : -1 : fine] = np.repeat(across, fine, axis=0)
    lines |= _reach(_reach(columns, width, 1, after=True), width, 0)
    return lines


def _strips(down: NDArray[np.bool_], across: NDArray[np.bool_], fine: int, width: int) -> NDArray[np.bool_]:
    """Do it where a line does not reach past the pixels beside it, which touches little of the result."""
    height, length = down.shape[0] + 1, down.shape[1]
    lines = np.zeros((height, fine, length, fine), bool)
    lines[:-1, fine - width :] |= down[:, None, :, None]
    lines[1:, :width] |= down[:, None, :, None]
    lines[:, :, :-1, fine - width :] |= across[:, None, :, None]
    lines[:, :, 1:, :width] |= across[:, None, :, None]
    ends = down[:, :-1] | down[:, 1:] | across[:-1] | across[1:]  # where four pixels meet
    corner = ends[:, None, :, None]
    near, far = slice(None, width), slice(fine - width, None)
    lines[:-1, far, :-1, far] |= corner
    lines[:-1, far, 1:, near] |= corner
    lines[1:, near, :-1, far] |= corner
    lines[1:, near, 1:, near] |= corner
    return lines.reshape(height * fine, length * fine)


def _reach(lines: NDArray[np.bool_], width: int, axis: int, *, after: bool = False) -> NDArray[np.bool_]:
    """Make lines longer by a width at both ends; `after` one less before than after, as for an edge."""
    _ahead(lines if axis == 0 else lines.T, width)
    _ahead((lines if axis == 0 else lines.T)[::-1], width - 1 if after else width)
    return lines


def _ahead(lines: NDArray[np.bool_], by: int) -> None:
    """Make lines longer by so many pixels along the first axis, twice as far at each step."""
    reached = 0
    while reached < by:
        step = min(reached + 1, by - reached)
        lines[step:] |= lines[:-step]
        reached += step
