"""Where the cells of a feature map lie in the image, and moving maps from one grid to another.

A pixel's centre is at its integer index. Cell i of a plain grid of stride s is centred at
``s * i + (s - 1) / 2``, and so are the cells of an encoder's maps taken to be. By its padding alone a strided
convolution would centre its output i on input 2 i, or as TensorFlow pads on 2 i + 1, up to half a stride to
either side. But encoders learn on mirrored images, and what sees an image and its mirror image alike can only
look at the middle: on EfficientNet-Lite0, whose padding says 7.5 pixels at stride 16, mirroring images shows
at most 1.5 pixels off the plain grid at any level.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

MIRRORINGS: tuple[tuple[int, ...], ...] = ((), (2,), (3,), (2, 3))
"""The axes of images (n, c, h, w) along which each of their four mirrored views is turned; none first."""


STRIP = 128
"""Rows of a large map that are drawn at once, so that they stay in the processor's cache."""


class Grid(NamedTuple):
    """Cell i of the grid is centred at ``offset + stride * i``, in pixels."""

    stride: float
    offset: float

    @classmethod
    def plain(cls, stride: float) -> Grid:
        """Return the grid whose cells tile the image from its edge on."""
        return cls(stride, (stride - 1) / 2)


def interpolation_matrix(
    source: Grid, source_size: int, target: Grid, target_size: int, like: Tensor
) -> Tensor:
    """Return the (target_size, source_size) matrix of linear interpolation, constant past the ends."""
    positions = (
        torch.arange(target_size, dtype=torch.float64) * target.stride + target.offset - source.offset
    ) / source.stride
    positions = positions.clamp(0, source_size - 1)
    lower = positions.floor().long().clamp(max=max(source_size - 2, 0))
    upper = (lower + 1).clamp(max=source_size - 1)
    weight = positions - lower
    rows = torch.arange(target_size)
    matrix = torch.zeros(target_size, source_size, dtype=torch.float64)
    matrix[rows, lower] += 1 - weight
    matrix[rows, upper] += weight
    return matrix.to(device=like.device, dtype=like.dtype)


def move_to_grid(maps: Tensor, source: Grid, target: Grid, size: tuple[int, int]) -> Tensor:
    """Interpolate maps (..., h, w) linearly from one grid to another of the given size.

    Done by two small matrix products, whose gradient is deterministic on every device.
    """
    if source == target and tuple(maps.shape[-2:]) == size:
        return maps
    vertical = interpolation_matrix(source, maps.shape[-2], target, size[0], maps)
    horizontal = interpolation_matrix(source, maps.shape[-1], target, size[1], maps)
    return vertical @ maps @ horizontal.T


def resize_map(
    values: Tensor,
    size: tuple[int, int],
    ratio: tuple[float, float],
    out: Tensor | None = None,
    look: Callable[[], None] = lambda: None,
) -> Tensor:
    """Interpolate one large plain map (h, w) to another size, without dense matrices.

    Parameters
    ----------
    values
        (h, w), its cells a plain grid.
    size
        Height and width of the result.
    ratio
        Source cells per result pixel, vertically and horizontally; the two grids share their upper left edge.
    out
        Where to write the result, of that size; a new tensor where None.
    look
        Called before each strip of it; what it raises ends the work.
    """
    out = values.new_empty(size) if out is None else out
    rows, columns = (
        (torch.arange(side, dtype=torch.float64) + 0.5) * per - 0.5
        for side, per in zip(size, ratio, strict=True)
    )
    # In strips, so that nothing else is as large as the result.
    for strip, positions in zip(out.split(STRIP), rows.split(STRIP), strict=True):
        look()
        strip.copy_(interpolate(interpolate(values, -2, positions), -1, columns))
    return out


def interpolate(values: Tensor, axis: int, positions: Tensor) -> Tensor:
    """Interpolate maps (..., h, w) linearly along one axis, constant past the ends.

    Parameters
    ----------
    values
        The maps.
    axis
        -2 or -1.
    positions
        (n,) float64, in cells along that axis.
    """
    last = values.shape[axis] - 1
    positions = positions.clamp(0, last)
    lower = positions.floor().long()
    upper = (lower + 1).clamp(max=last)
    weight = (positions - lower).to(values.dtype)
    if axis == -2:
        weight = weight[:, None]
    return torch.lerp(values.index_select(axis, lower), values.index_select(axis, upper), weight)
