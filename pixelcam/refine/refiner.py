"""The refiner: a reviewer's labels in, the map of a head refitted to them out."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from pixelcam.model.geometry import Grid, interpolation_matrix, move_to_grid, resize_map
from pixelcam.refine.features import FieldFeatures
from pixelcam.refine.head import fit_dual
from pixelcam.seeds import BACKGROUND, FOREGROUND, UNLABELLED

L2 = 0.04
WINDOWS = (12, 28)
"""Sides in working pixels of the two neighbourhoods whose mean features a cell is judged by."""
FULL_WEIGHT = 29
"""A cell counts in full from so many labelled pixels on: those of a disc of radius 3."""
MOST_SAMPLES = 400
BIAS = 0.3


@dataclass(frozen=True, eq=False)
class SeedSamples:
    """Labelled cells of an image, as the fit takes them.

    Attributes
    ----------
    features
        (n, d) float32.
    prior, labels, weights
        (n,) float32: the model's own logit, 1 for foreground or 0, and how much the cell counts.
    """

    features: Tensor
    prior: Tensor
    labels: Tensor
    weights: Tensor

    def __len__(self) -> int:
        return len(self.labels)

    @classmethod
    def joined(cls, parts: Sequence[SeedSamples]) -> SeedSamples:
        """Return the samples of several images of one model as one."""
        names = ("features", "prior", "labels", "weights")
        return cls(*(torch.cat([getattr(part, name) for part in parts]) for name in names))


@dataclass(frozen=True, eq=False)
class RefinedMap:
    """A map after a refit.

    Attributes
    ----------
    foreground
        (h, w) float32 in [0, 1], of the image's own size; 1 and 0 where the reviewer painted.
    samples
        How many labelled cells the head was fitted to.
    own
        Those of this image.
    """

    foreground: NDArray[np.float32]
    samples: int
    own: SeedSamples


class Refiner:
    """Refits the pixel head to a reviewer's labels; the model itself stays as it is.

    The head is linear in the features of the cell's neighbourhood: the means over two windows, as single
    cells of the finest levels vary with every nucleus. Averaging is linear too, so that a map costs
    one 1x1 convolution a level and the averaging of its few channels.

    Parameters
    ----------
    features
        Of one image.
    l2
        How strongly the model's own head is kept.
    """

    def __init__(self, features: FieldFeatures, l2: float = L2) -> None:
        self.features = features
        self.l2 = l2
        self._grid = (features.prior.shape[0], features.prior.shape[1])
        sides = [2 * (window // (2 * features.stride)) + 1 for window in WINDOWS]
        self._sides = sorted(set(sides))
        self._known: dict[tuple[int, int], Tensor] = {}

    def refine(self, labels: NDArray[np.uint8], others: Sequence[SeedSamples] = ()) -> RefinedMap:
        """Refit to labels and return the map.

        Parameters
        ----------
        labels
            (h, w) uint8, on the grid of the image or of a level of it; 0 unlabelled, 1 background,
            2 foreground. With none, and no samples of others, the map is the model's own (the mean over the
            features' views).
        others
            Labelled cells of other images, which count as much.
        """
        own = self.samples(labels)
        joined = SeedSamples.joined([own, *others])
        logits = self.features.prior if not len(joined) else self._logits(joined)
        foreground = resize_map(torch.sigmoid(logits), self.features.shape, self.features.ratio)
        found = foreground.clamp_(0, 1).numpy()
        painted = _onto(labels, self.features.shape)
        found[painted == FOREGROUND] = 1
        found[painted == BACKGROUND] = 0
        return RefinedMap(found, len(joined), own)

    def samples(self, labels: NDArray[np.uint8]) -> SeedSamples:
        """Return the labelled cells of this image, at most `MOST_SAMPLES`; many are averaged in blocks.

        Parameters
        ----------
        labels
            As for `refine`.
        """
        rows, columns, counts, values = self._cells(labels)
        features = self._gathered(rows, columns)
        prior = self.features.prior[rows, columns]
        weights = torch.from_numpy(np.minimum(counts / FULL_WEIGHT, 1)).float()
        side = 1
        groups = np.arange(len(rows))
        while len(np.unique(groups)) > MOST_SAMPLES:
            side *= 2
            groups = ((rows // side) * self._grid[1] + columns // side) * 2 + values
        if side > 1:
            _, index = np.unique(groups, return_inverse=True)
            features, prior, values, weights = _averaged(features, prior, values, weights, index)
        return SeedSamples(features, prior, torch.from_numpy(values).float(), weights)

    def _cells(self, labels: NDArray[np.uint8]) -> tuple[NDArray[np.int64], ...]:
        """Return rows, columns, pixel counts and values (1 foreground) of the cells that hold labels."""
        at = np.nonzero(labels != UNLABELLED)
        ratios = [
            ratio * side / count
            for ratio, side, count in zip(self.features.ratio, self.features.shape, labels.shape, strict=True)
        ]
        cells = [
            np.clip(np.rint((place + 0.5) * ratio - 0.5).astype(np.int64), 0, size - 1)
            for place, ratio, size in zip(at, ratios, self._grid, strict=True)
        ]
        foreground = (labels[at] == FOREGROUND).astype(np.int64)
        keys, counts = np.unique((cells[0] * self._grid[1] + cells[1]) * 2 + foreground, return_counts=True)
        return (keys // 2) // self._grid[1], (keys // 2) % self._grid[1], counts, keys % 2

    def _gathered(self, rows: NDArray[np.int64], columns: NDArray[np.int64]) -> Tensor:
        """Return the features (n, d) of cells; those of a cell are computed once."""
        places = list(zip(rows.tolist(), columns.tolist(), strict=True))
        new = sorted({place for place in places if place not in self._known})
        for start in range(0, len(new), 256):
            part = new[start : start + 256]
            found = self._compute(np.array([y for y, _ in part]), np.array([x for _, x in part]))
            self._known.update(zip(part, found, strict=True))
        if not places:
            return torch.zeros(0, self._width)
        return torch.stack([self._known[place] for place in places])

    def _compute(self, rows: NDArray[np.int64], columns: NDArray[np.int64]) -> Tensor:
        blocks = []
        for vertical, horizontal in self._weights:
            for values, down, along, scale in zip(
                self.features.maps, vertical, horizontal, self._scales, strict=True
            ):
                blocks.append(_weighted(values, down[rows], along[columns]) * scale)
        blocks.append(torch.full((len(rows), 1), BIAS))
        return torch.cat(blocks, dim=1)

    @cached_property
    def _weights(self) -> list[tuple[list[Tensor], list[Tensor]]]:
        """For each window, each level's weights (cells, source cells) down and along."""
        levels = range(len(self.features.maps))
        return [
            (
                [self._along(0, side, level) for level in levels],
                [self._along(1, side, level) for level in levels],
            )
            for side in self._sides
        ]

    def _along(self, axis: int, side: int, level: int) -> Tensor:
        target, size = Grid.plain(self.features.stride), self._grid[axis]
        source = self.features.maps[level].shape[1 + axis]
        matrix = interpolation_matrix(
            self.features.grids[level], source, target, size, torch.empty(0, dtype=torch.float32)
        )
        return _smooth(matrix.T[None], side, axis=-1)[0].T.contiguous()

    @cached_property
    def _scales(self) -> list[float]:
        """What makes every level, and all windows together, weigh the same."""
        count = len(self.features.maps) * len(self._sides)
        return [1 / math.sqrt(each.shape[0] * count) for each in self.features.maps]

    @property
    def _width(self) -> int:
        return len(self._sides) * sum(each.shape[0] for each in self.features.maps) + 1

    def _logits(self, samples: SeedSamples) -> Tensor:
        features = samples.features.double()
        a = fit_dual(
            features, samples.prior.double(), samples.labels.double(), samples.weights.double(), self.l2
        )
        change = (features.T @ a).float()
        logits = self.features.prior + change[-1] * BIAS
        start = 0
        parts = [torch.zeros(self._grid) for _ in self._sides]
        heads: list[list[Tensor]] = []
        for _ in self._sides:
            heads.append([])
            for values, scale in zip(self.features.maps, self._scales, strict=True):
                heads[-1].append(change[start : start + values.shape[0]] * scale)
                start += values.shape[0]
        for level, (values, grid) in enumerate(zip(self.features.maps, self.features.grids, strict=True)):
            weights = torch.stack([head[level] for head in heads])
            scores = torch.einsum("sc,chw->shw", weights, values.float())
            moved = move_to_grid(scores, grid, Grid.plain(self.features.stride), self._grid)
            parts = [part + new for part, new in zip(parts, moved, strict=True)]
        for part, side in zip(parts, self._sides, strict=True):
            logits = logits + _smooth(_smooth(part[None], side, axis=-1), side, axis=-2)[0]
        return logits


def _onto(labels: NDArray[np.uint8], shape: tuple[int, int]) -> NDArray[np.uint8]:
    """Return labels on another grid of the same image, by nearest pixel."""
    if labels.shape == shape:
        return labels
    axes = [
        ((np.arange(size) + 0.5) * count / size).astype(np.int64)
        for size, count in zip(shape, labels.shape, strict=True)
    ]
    return labels[np.ix_(*axes)]


def _smooth(values: Tensor, side: int, axis: int) -> Tensor:
    """Average (n, h, w) twice over `side` cells along one axis, the ends repeated."""
    if side == 1:
        return values
    window, pad = (
        ((1, side), (side // 2, side // 2, 0, 0))
        if axis == -1
        else (
            (side, 1),
            (0, 0, side // 2, side // 2),
        )
    )
    for _ in range(2):
        values = functional.avg_pool2d(functional.pad(values[None], pad, mode="replicate"), window, stride=1)[
            0
        ]
    return values


def _weighted(values: Tensor, down: Tensor, along: Tensor) -> Tensor:
    """Return the sums (n, c) of (c, h, w) by weights (n, h) and (n, w), which are 0 but in a window."""
    rows, down = _window(down)
    columns, along = _window(along)
    parts = values[:, rows[:, :, None], columns[:, None, :]].float()
    return torch.einsum("cnij,ni,nj->nc", parts, down, along)


def _window(weights: Tensor) -> tuple[Tensor, Tensor]:
    """Return the indices (n, k) of the window that holds each row's non-zero weights, and these (n, k)."""
    used = weights != 0
    first = used.float().argmax(dim=1)
    last = weights.shape[1] - 1 - used.flip(1).float().argmax(dim=1)
    length = int((last - first).max()) + 1
    index = (first[:, None] + torch.arange(length)).clamp(max=weights.shape[1] - 1)
    inside = first[:, None] + torch.arange(length) < weights.shape[1]
    return index, torch.where(inside, weights.gather(1, index), 0)


def _averaged(
    features: Tensor, prior: Tensor, values: NDArray[np.int64], weights: Tensor, index: NDArray[np.int64]
) -> tuple[Tensor, Tensor, NDArray[np.int64], Tensor]:
    """Return the weighted means of each group's cells, whose weights add up."""
    group = torch.from_numpy(index)
    count = int(group.max()) + 1
    total = torch.zeros(count).index_add_(0, group, weights)
    mean = torch.zeros(count, features.shape[1]).index_add_(0, group, features * weights[:, None])
    means = torch.zeros(count).index_add_(0, group, prior * weights)
    first = np.zeros(count, dtype=np.int64)
    first[index] = values
    return mean / total[:, None], means / total, first, total
