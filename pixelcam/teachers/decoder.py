"""A small decoder in the style of U-Net, from a frozen encoder's levels to a mask."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from pixelcam.model.geometry import Grid, move_to_grid
from pixelcam.teachers.teacher import MAP_STRIDE


class MaskDecoder(nn.Module):
    """Classifies pixels into background and foreground from several levels of an encoder.

    The deepest level first, each is brought to the next finer grid and merged with the level there by a 3x3
    convolution (Ronneberger et al. 2015); a transformer's levels, all of one grid, are merged there and
    brought to finer grids after. NEGEV and F-CAM decode to the image's own size with 9 million parameters;
    this one ends at a quarter of it, where all maps of this package lie, with a tenth of them or less.

    Parameters
    ----------
    channels, strides
        Of each level, which lie on plain grids.
    width
        Channels of every layer of the decoder, a multiple of 8.
    """

    def __init__(self, channels: Sequence[int], strides: Sequence[int], width: int = 64) -> None:
        super().__init__()
        # Of two levels of one stride the later is the deeper.
        self.order = sorted(range(len(strides)), key=lambda index: (-strides[index], -index))
        self.strides = [int(strides[index]) for index in self.order]
        self.lateral = nn.ModuleList(
            nn.Sequential(nn.Conv2d(channels[index], width, 1, bias=False), nn.GroupNorm(8, width))
            for index in self.order
        )
        self.merge = nn.ModuleList(_block(2 * width, width) for _ in self.order[1:])
        finer = []
        stride = self.strides[-1]
        while stride > MAP_STRIDE:
            stride //= 2
            finer.append(max(stride, MAP_STRIDE))
        self.finer_strides = finer
        self.refine = nn.ModuleList(_block(width, width) for _ in finer)
        self.classify = nn.Conv2d(width, 2, 1)

    def forward(self, maps: Sequence[Tensor], size: tuple[int, int]) -> Tensor:
        """Return (n, 2, h / 4, w / 4) logits: background, foreground.

        Parameters
        ----------
        maps
            Of each level, in the order of the constructor, (n, c, h_i, w_i).
        size
            Height and width of the images, multiples of 4.
        """
        ordered = [lateral(maps[index]) for lateral, index in zip(self.lateral, self.order, strict=True)]
        found, stride = ordered[0].relu(), self.strides[0]
        for merge, skip, finer in zip(self.merge, ordered[1:], self.strides[1:], strict=True):
            moved = _moved(found, stride, finer, (skip.shape[2], skip.shape[3]))
            found, stride = merge(torch.cat([moved, skip], dim=1)), finer
        for refine, finer in zip(self.refine, self.finer_strides, strict=True):
            found, stride = refine(_moved(found, stride, finer, (size[0] // finer, size[1] // finer))), finer
        target = (size[0] // MAP_STRIDE, size[1] // MAP_STRIDE)
        return _moved(self.classify(found), stride, MAP_STRIDE, target)


def _moved(maps: Tensor, stride: int, finer: int, size: tuple[int, int]) -> Tensor:
    return move_to_grid(maps, Grid.plain(stride), Grid.plain(finer), size)


def _block(channels: int, width: int) -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(channels, width, 3, padding=1, bias=False), nn.GroupNorm(8, width), nn.ReLU()
    )
