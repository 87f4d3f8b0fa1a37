"""Leading principal components of features over many images: Eigen-CAM (Muhammad & Yeasin 2020, IJCNN)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from pixelcam.teachers.eigen.cells import Cells
from pixelcam.teachers.eigen.kinds import Kinds
from pixelcam.teachers.eigen.scale import pooled

_WINDOWS = 64  # at least, whose mean is a frame


@dataclass(frozen=True)
class Component:
    """Leading components of one level's features at one size, without signs.

    Attributes
    ----------
    common, maps
        (n, grid, grid): of all images together, and of each kind.
    share
        (kinds,): how much of the variation of each kind's features its component holds.
    """

    common: Tensor
    maps: Tensor
    share: Tensor


def leading_components(cells: Cells, side: int, levels: Sequence[int], kinds: Kinds) -> list[Component]:
    """Return the leading components of several levels at one size in pixels."""
    parts = [_Level(count, kinds, cells.batch) for count in cells.channels(levels)]
    everything = torch.arange(len(kinds.kind))
    for chosen, found in cells.features((side,), levels, everything):
        for part, each in zip(parts, found.split(cells.channels(levels), dim=2), strict=True):
            part.add(chosen, each)
    for part in parts:
        part.balance()
    generator = torch.Generator().manual_seed(0)
    windows = torch.arange(max(_WINDOWS, len(everything))) % len(everything)
    for _, found in cells.features((side,), levels, windows, lambda x: _elsewhere(x, generator)):
        for part, each in zip(parts, found.split(cells.channels(levels), dim=2), strict=True):
            part.add_elsewhere(each)
    return [part.component() for part in parts]


class _Level:
    """Collects the features of one level, each image centred, and finds their components."""

    def __init__(self, channels: int, kinds: Kinds, batch: int) -> None:
        self.kinds, self.batch = kinds, batch
        self.parts: list[Tensor] = []  # batches (b, cells, channels) half
        self.squares, self.count = torch.zeros(channels, dtype=torch.float64), 0
        self.spread = torch.ones(channels)
        self.frame, self.windows = torch.zeros(1, channels), 0

    def add(self, chosen: Tensor, features: Tensor) -> None:
        self.parts.append(_centred(features).half())
        kept = self.parts[-1][~self.kinds.regionless[chosen]].double()
        self.squares += kept.square().sum(dim=(0, 1))
        self.count += kept.shape[0] * kept.shape[1]

    def balance(self) -> None:
        """Bring the features to units of their spread, now that all are there."""
        self.spread = (self.squares / self.count).sqrt().clamp(min=1e-6).float()
        for part in self.parts:
            part.copy_(_balanced(part.float(), self.spread))

    def add_elsewhere(self, features: Tensor) -> None:
        """Add features of tissue that lies anywhere: what they show of a component is the rim of the view."""
        self.frame = self.frame + _balanced(_centred(features), self.spread).sum(dim=0)
        self.windows += len(features)

    def component(self) -> Component:
        region = ~self.kinds.regionless
        common = pooled(self._shown(self._leading(region)[0]))
        maps, shares = torch.empty_like(common), []
        for number, learnt_from in enumerate(self.kinds.learnt_from):
            direction, share = self._leading(learnt_from & region)
            own = self.kinds.kind == number
            maps[own] = pooled(self._shown(direction)[own])
            shares.append(share)
        return Component(common, maps, torch.stack(shares))

    def _leading(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Return the leading direction (channels,) of images (n,), and its share of their variation."""
        total = torch.zeros(len(self.spread), len(self.spread), dtype=torch.float64)
        for part, chosen in zip(self.parts, images.split(self.batch), strict=True):
            kept = part[chosen].float().flatten(0, 1).double()
            total += kept.T @ kept
        values, directions = torch.linalg.eigh(total)
        return directions[:, -1].float(), (values[-1] / values.sum().clamp(min=1e-12)).float()

    def _shown(self, direction: Tensor) -> Tensor:
        """Return what a direction shows in all images (n, h, h), less what it shows of the frame."""
        found = torch.cat([part.float() @ direction for part in self.parts])
        side = math.isqrt(found.shape[1])
        frame = (self.frame @ direction / self.windows).reshape(side, side)
        turned = [torch.rot90(each, turns) for each in (frame, frame.flip(0)) for turns in range(4)]
        return found.reshape(-1, side, side) - torch.stack(turned).mean(dim=0)


def _centred(cells: Tensor) -> Tensor:
    """Return features (b, cells, channels) less each image's mean."""
    return cells - cells.mean(dim=1, keepdim=True)


def _balanced(centred: Tensor, spread: Tensor) -> Tensor:
    """Return centred features in units of each channel's spread, every image of the same size in all."""
    scaled = centred / spread
    return scaled / scaled.square().mean(dim=(1, 2), keepdim=True).sqrt().clamp(min=1e-6)


def _elsewhere(pixels: Tensor, generator: torch.Generator) -> Tensor:
    """Return windows anywhere in the images (n, c, h, w) tiled by their mirror images.

    So that objects which stand in the middle of all images are not taken for the frame.
    """
    tiles = torch.cat([pixels, pixels.flip(3)], dim=3)
    tiles = torch.cat([tiles, tiles.flip(2)], dim=2)
    height, width = pixels.shape[2:]
    shifts = torch.rand(len(pixels), 2, generator=generator) * torch.tensor([2 * height, 2 * width])
    windows = [
        torch.roll(tile, (int(down), int(right)), (1, 2))[:, :height, :width]
        for tile, (down, right) in zip(tiles, shifts, strict=True)
    ]
    return torch.stack(windows)
