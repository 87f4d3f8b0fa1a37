"""A slide at the scale that a model works at, read in pieces."""

from __future__ import annotations

import math

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from pixelcam.events import StopCheck, never_stop
from pixelcam.localize.interruption import heed
from pixelcam.localize.tiles import Tile
from pixelcam.slides import Slide

STRIP = 512
"""Rows that are averaged or interpolated between two looks whether to go on."""


class WorkingImage:
    """A slide seen at another size; each piece is computed when it is read, from the nearest finer level.

    Parameters
    ----------
    slide
        The image.
    shape
        Height and width of the working image.
    """

    def __init__(self, slide: Slide, shape: tuple[int, int]) -> None:
        self.slide = slide
        self.shape = shape
        wanted = slide.height / shape[0]
        self.level = max(
            index for index, each in enumerate(slide.downsamples) if index == 0 or each[0] <= wanted * 1.01
        )

    def read(
        self, tile: Tile, pad_to: int | None = None, *, should_stop: StopCheck = never_stop
    ) -> NDArray[np.uint8]:
        """Return what the tile sees, (h, w, 3) uint8, mirrored at its end up to `pad_to` pixels a side.

        Raises
        ------
        ImageError
        CancelledError
            `should_stop` said so; it is asked between the parts of the work.
        """
        pixels = self._read(tile, should_stop)
        if pad_to is None:
            return pixels
        return np.pad(
            pixels, ((0, pad_to - pixels.shape[0]), (0, pad_to - pixels.shape[1]), (0, 0)), mode="symmetric"
        )

    def _read(self, tile: Tile, should_stop: StopCheck) -> NDArray[np.uint8]:
        shape = self.slide.levels[self.level].shape
        if shape[:2] == self.shape:
            rows, columns = (slice(tile.start[axis], tile.stop[axis]) for axis in (0, 1))
            return self.slide.read((rows, columns), self.level)
        # A border of source pixels around the tile keeps interpolation at its rim the same as inside.
        spans = [_Span.of(tile, axis, shape[axis], self.shape[axis]) for axis in (0, 1)]
        return _sample(self.slide.read((spans[0].source, spans[1].source), self.level), spans, should_stop)


class _Span:
    """One axis of a tile, and the source pixels that it needs."""

    def __init__(self, start: int, stop: int, source: slice, ratio: float) -> None:
        self.start, self.stop, self.source, self.ratio = start, stop, source, ratio

    @classmethod
    def of(cls, tile: Tile, axis: int, source_length: int, length: int) -> _Span:
        ratio = source_length / length
        border = math.ceil(2 * max(ratio, 1))
        start, stop = tile.start[axis], tile.stop[axis]
        first = max(0, math.floor(start * ratio) - border)
        return cls(start, stop, slice(first, min(source_length, math.ceil(stop * ratio) + border)), ratio)


def _sample(pixels: NDArray[np.uint8], spans: list[_Span], should_stop: StopCheck) -> NDArray[np.uint8]:
    heed(should_stop)
    values = torch.from_numpy(np.array(pixels)).permute(2, 0, 1)[None].float()
    if (
        max(span.ratio for span in spans) > 1
    ):  # average before picking, so that fine texture does not turn into noise
        sides = [2 * round((max(span.ratio, 1) - 1) / 2) + 1 for span in spans]
        border = (sides[1] // 2, sides[1] // 2, sides[0] // 2, sides[0] // 2)
        padded = functional.pad(values, border, mode="replicate")
        for top in range(0, values.shape[2], STRIP):  # in strips, to look between them whether to go on
            heed(should_stop)
            part = padded[:, :, top : top + STRIP + sides[0] - 1]
            values[:, :, top : top + STRIP] = functional.avg_pool2d(part, sides, stride=1)
    axes = []
    for axis, span in enumerate(spans):
        centres = (
            (torch.arange(span.start, span.stop, dtype=torch.float64) + 0.5) * span.ratio
            - 0.5
            - span.source.start
        )
        axes.append(((2 * centres + 1) / values.shape[2 + axis] - 1).float())
    grid = torch.stack(torch.meshgrid(axes[1], axes[0], indexing="xy"), dim=-1)[None]
    sampled = []
    for part in grid.split(STRIP, dim=1):
        heed(should_stop)
        found = functional.grid_sample(
            values, part, mode="bilinear", padding_mode="border", align_corners=False
        )
        sampled.append(found[0].permute(1, 2, 0).round().clamp(0, 255).byte())
    return torch.cat(sampled).numpy()
