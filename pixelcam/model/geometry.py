"""Where the cells of a feature map lie in the image, and moving maps from one grid to another.

A pixel's centre is at its integer index. Cell i of a plain grid of stride s is centred at
``s * i + (s - 1) / 2``. That of an encoder's map need not be: a 3x3 convolution of stride 2 that pads one
pixel on both sides centres its output i on input 2 i, one that pads as TensorFlow does (only after) on
2 i + 1. Over four such layers that is a shift of 7.5 pixels to either side, visible in any overlay, so it is
undone wherever a map leaves the encoder.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor, nn


class Grid(NamedTuple):
    """Cell i of the grid is centred at ``offset + stride * i``, in pixels."""

    stride: float
    offset: float

    @classmethod
    def plain(cls, stride: float) -> Grid:
        """Return the grid whose cells tile the image from its edge on."""
        return cls(stride, (stride - 1) / 2)


def padding_side(body: nn.Module) -> int:
    """Return to which side strided layers look.

    -1 for symmetric padding, 1 for TensorFlow's, 0 for patches and where there is no one rule.
    """
    sides = {_side(module) for module in body.modules() if _is_strided(module)}
    return sides.pop() if len(sides) == 1 else 0


def _is_strided(module: nn.Module) -> bool:
    if isinstance(module, nn.Conv2d | nn.MaxPool2d):
        # A 1x1 convolution of stride 2 (a shortcut) picks what the main path is centred on.
        return _first(module.stride) > 1 and _first(module.kernel_size) > 1
    return False


def _side(module: Any) -> int:
    if "Same" in type(module).__name__:
        return 1
    return 0 if _first(module.padding) == 0 and _first(module.kernel_size) % 2 == 0 else -1


def _first(value: int | tuple[int, ...]) -> int:
    return value if isinstance(value, int) else value[0]


def encoder_grid(stride: int, side: int) -> Grid:
    """Return the grid of an encoder's map from its stride and `padding_side`."""
    return Grid(stride, (stride - 1) / 2 * (1 + side))


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


def resize_map(values: Tensor, size: tuple[int, int], ratio: tuple[float, float]) -> Tensor:
    """Interpolate one large plain map (h, w) to another size, without dense matrices.

    Parameters
    ----------
    values
        (h, w), its cells a plain grid.
    size
        Height and width of the result.
    ratio
        Source cells per result pixel, vertically and horizontally; the two grids share their upper left edge.
    """
    for axis in (0, 1):
        last = values.shape[axis] - 1
        positions = ((torch.arange(size[axis], dtype=torch.float64) + 0.5) * ratio[axis] - 0.5).clamp(0, last)
        lower = positions.floor().long()
        upper = (lower + 1).clamp(max=last)
        weight = (
            (positions - lower).to(values.dtype).reshape(-1, 1)
            if axis == 0
            else (positions - lower).to(values.dtype)
        )
        values = torch.lerp(values.index_select(axis, lower), values.index_select(axis, upper), weight)
    return values
