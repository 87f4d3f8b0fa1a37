"""Drawing a part of a refitted map, from no more of the features than that part takes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from pixelcam.localize.localization import Localization
from pixelcam.model.geometry import STRIP, Grid, interpolate
from pixelcam.refine.features import FieldFeatures

Span = tuple[int, int]
"""First cell along an axis, and the one past the last."""


@dataclass(frozen=True)
class MapGrid:
    """Where the pixels of a map lie on its image.

    Attributes
    ----------
    shape
        (height, width) of the map.
    scale, translate
        Level-0 pixels per map pixel, and the centre of map pixel (0, 0) in level-0 pixels, each as (y, x).
    """

    shape: tuple[int, int]
    scale: tuple[float, float] = (1.0, 1.0)
    translate: tuple[float, float] = (0.0, 0.0)

    @classmethod
    def of(cls, localization: Localization) -> MapGrid:
        """Return where the map of a localization lies."""
        height, width = localization.foreground.shape
        return cls((height, width), localization.scale, localization.translate)

    def centres(self, axis: int, indices: NDArray[np.integer]) -> NDArray[np.float64]:
        """Return the centres of map pixels along an axis, in level-0 pixels."""
        return indices.astype(np.float64) * self.scale[axis] + self.translate[axis]


@dataclass(frozen=True, eq=False)
class Nearby:
    """Gaussian surroundings of places.

    Attributes
    ----------
    places
        (n, 2) cells of the plain grid, (y, x).
    reach
        Standard deviation in cells.
    """

    places: Tensor
    reach: float

    def covariance(self) -> Tensor:
        """Return how much each place lies in each other's surroundings, (n, n) in [0, 1]."""
        return self._fading(self.places[:, :1] - self.places[:, 0]) * self._fading(
            self.places[:, 1:] - self.places[:, 1]
        )

    def spread(self, values: Tensor, rows: Span, columns: Span) -> Tensor:
        """Return the sum of the surroundings, each times its value of (n,), in a box (h, w) of cells."""
        down = self._fading(torch.arange(*rows)[:, None] - self.places[:, 0])
        along = self._fading(torch.arange(*columns)[:, None] - self.places[:, 1])
        return (down * values) @ along.T

    def _fading(self, distance: Tensor) -> Tensor:
        return torch.exp(-((distance / self.reach) ** 2) / 2)


@dataclass(frozen=True, eq=False)
class MapChange:
    """What a refit adds to the logits of a field: a linear head on means of features, and labels' own say.

    Attributes
    ----------
    sides
        Of the windows, in cells of the plain grid; odd.
    weights
        Of each level, (windows, channels).
    bias
        Added everywhere.
    nearby, nearby_values
        Around labels, and how much there, (n,).
    """

    sides: Sequence[int]
    weights: Sequence[Tensor]
    bias: float
    nearby: Nearby
    nearby_values: Tensor

    def logits(self, features: FieldFeatures, rows: Span, columns: Span) -> Tensor:
        """Return the field's logits after the change, (h, w), in a box of cells of the plain grid."""
        size = (features.prior.shape[0], features.prior.shape[1])
        halo = max(self.sides) - 1
        around = [
            (max(first - halo, 0), min(last + halo, side))
            for (first, last), side in zip((rows, columns), size, strict=True)
        ]
        scores = torch.zeros(len(self.sides), *(last - first for first, last in around))
        for values, grid, weights in zip(features.maps, features.grids, self.weights, strict=True):
            scores += _moved(values, grid, weights, Grid.plain(features.stride), around)
        inside = [
            slice(first - start, last - start)
            for (first, last), (start, _) in zip((rows, columns), around, strict=True)
        ]
        logits = features.prior[slice(*rows), slice(*columns)] + self.bias
        logits = logits + self.nearby.spread(self.nearby_values, rows, columns)
        for part, side in zip(scores, self.sides, strict=True):
            logits = logits + smooth(smooth(part[None], side, axis=-1), side, axis=-2)[0][tuple(inside)]
        return logits


def _moved(values: Tensor, grid: Grid, weights: Tensor, target: Grid, box: Sequence[Span]) -> Tensor:
    """Return the channels (c, h, w) of a level, weighted and summed (n, h, w), in a box of another grid."""
    places, parts = [], []
    for axis, (first, last) in enumerate(box):
        cells = torch.arange(first, last, dtype=torch.float64)
        position = (cells * target.stride + target.offset - grid.offset) / grid.stride
        position = position.clamp(0, values.shape[1 + axis] - 1)
        start, stop = int(position[0].floor()), min(int(position[-1].floor()) + 2, values.shape[1 + axis])
        places.append(position - start)
        parts.append(slice(start, stop))
    part = values[:, parts[0], parts[1]].float()
    scores = (weights @ part.flatten(1)).unflatten(1, part.shape[1:])
    return interpolate(interpolate(scores, -1, places[1]), -2, places[0])


def smooth(values: Tensor, side: int, axis: int) -> Tensor:
    """Average (n, h, w) twice over `side` cells along one axis, the ends repeated."""
    if side == 1:
        return values
    half = side // 2
    window, pad = ((1, side), (half, half, 0, 0)) if axis == -1 else ((side, 1), (0, 0, half, half))
    for _ in range(2):
        padded = functional.pad(values[None], pad, mode="replicate")
        values = functional.avg_pool2d(padded, window, stride=1)[0]
    return values


def smoothing_taps(
    cells: Tensor, side: int, size: int, source: Grid, source_size: int, target: Grid
) -> tuple[Tensor, Tensor]:
    """Return how `smooth` along an axis, of what is moved from one grid to another, comes about at few cells.

    Parameters
    ----------
    cells, side, size
        (n,) int64 cells of the target grid, the side of the averages, and the cells that the axis has.
    source, source_size, target
        The grid that is moved, its cells along the axis, and the grid that it is moved to.

    Returns
    -------
    index, weights
        (n, k) cells of the source grid, and what each counts for; the weights of a cell add up to 1.
    """
    offsets = torch.arange(-(side // 2), side // 2 + 1)
    once = (cells[:, None] + offsets).clamp(0, size - 1)
    twice = (once[:, :, None] + offsets).clamp(0, size - 1).flatten(1)
    position = ((twice * target.stride + target.offset - source.offset) / source.stride).double()
    position = position.clamp(0, source_size - 1)
    lower = position.floor().long()
    upper = (lower + 1).clamp(max=source_size - 1)
    share = (position - lower) / side**2
    first = lower.min(dim=1, keepdim=True).values
    length = int((upper - first).max()) + 1
    weights = torch.zeros(len(cells), length, dtype=torch.float64)
    weights.scatter_add_(1, lower - first, 1 / side**2 - share)
    weights.scatter_add_(1, upper - first, share)
    return (first + torch.arange(length)).clamp(max=source_size - 1), weights.float()


def draw(values: Tensor, places: Sequence[Tensor], out: NDArray[np.float32]) -> None:
    """Interpolate a map (h, w) at crossing rows and columns, given in its cells, into `out`."""
    across = interpolate(values, -1, places[1])
    for top in range(0, out.shape[0], STRIP):
        rows = slice(top, top + STRIP)
        out[rows] = interpolate(across, -2, places[0][rows]).clamp_(0, 1).numpy()
