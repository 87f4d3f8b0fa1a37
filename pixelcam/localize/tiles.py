"""Cutting a large image into tiles with enough context that the stitched map has no seams."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass


@dataclass(frozen=True)
class Tile:
    """One piece of the working image, along each axis (y, x), in working pixels.

    Attributes
    ----------
    start, stop
        What the network sees, context included.
    core_start, core_stop
        What the tile contributes to the map.
    """

    start: tuple[int, int]
    stop: tuple[int, int]
    core_start: tuple[int, int]
    core_stop: tuple[int, int]

    def cells(self, stride: int) -> tuple[tuple[slice, slice], tuple[slice, slice]]:
        """Return where the tile's own part lies on maps of a stride, which starts of tiles are multiples of.

        Returns
        -------
        there, here
            Rows and columns on the map of the whole working image, and on the tile's own map.
        """
        there, here = [], []
        for axis in (0, 1):
            first = self.core_start[axis] // stride
            last = math.ceil(self.core_stop[axis] / stride)
            start = self.start[axis] // stride
            there.append(slice(first, last))
            here.append(slice(first - start, last - start))
        return (there[0], there[1]), (here[0], here[1])


def plan_tiles(shape: tuple[int, int], *, core: int, context: int, step: int) -> list[Tile]:
    """Return the tiles that cover a working image.

    Every tile starts at a multiple of `step`, the network's largest stride, so that its feature grid is the
    whole image's.

    Parameters
    ----------
    shape
        Height and width of the working image.
    core
        Side of a tile's own part; a multiple of `step`. An image whose side is at most core + 2 context is
        not cut along that side.
    context
        Width of the surroundings that a tile sees beyond its core; a multiple of `step`.
    """
    if core % step or context % step:
        raise ValueError(f"core {core} and context {context} must be multiples of the stride {step}")
    return [
        Tile((y[0], x[0]), (y[1], x[1]), (y[2], x[2]), (y[3], x[3]))
        for y in _spans(shape[0], core, context)
        for x in _spans(shape[1], core, context)
    ]


def _spans(length: int, core: int, context: int) -> Iterator[tuple[int, int, int, int]]:
    if length <= core + 2 * context:
        yield 0, length, 0, length
        return
    for start in range(0, length, core):
        stop = min(start + core, length)
        yield max(start - context, 0), min(stop + context, length), start, stop
