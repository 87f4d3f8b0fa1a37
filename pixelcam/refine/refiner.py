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

from pixelcam.errors import CancelledError
from pixelcam.events import Stop, StopCheck, never_stop
from pixelcam.model.geometry import Grid
from pixelcam.refine.cells import CellCounter
from pixelcam.refine.drawing import MapChange, MapGrid, Nearby, draw, smoothing_taps
from pixelcam.refine.features import FieldFeatures
from pixelcam.refine.head import fit_dual
from pixelcam.seeds import BACKGROUND, FOREGROUND
from pixelcam.seeds.seedmap import SeedMap

Labels = NDArray[np.uint8] | SeedMap

L2 = 0.04
NEARNESS = 0.2
REACH = 20
"""How much a label speaks for its surroundings whatever the features tell (the variance, beside that of the
head's change), and how far: a standard deviation in working pixels."""
WINDOWS = (12, 28)
"""Sides in working pixels of the two neighbourhoods whose mean features a cell is judged by."""
ALIKE = WINDOWS[-1] / math.sqrt(3)
"""How far labels of one kind tell the same, so that together they count as one: a standard deviation in
working pixels, that of how two of the larger windows, averaged over twice, overlap."""
FULL_WEIGHT = 29
"""A cell counts in full from so many labelled pixels on: those of a disc of radius 3."""
MOST_SAMPLES = 400
"""Labelled cells that a fit takes; of more, those of a block are averaged."""
MOST_AVERAGED = 16
"""Cells whose features stand for a block's: an accepted region has tens of thousands."""
BIAS = 0.4
"""The constant feature where as much is labelled of both kinds: how easily a map as a whole is made lighter
or darker. A reviewer paints where the map is wrong: labels of one kind say nothing of the rest of it."""
SHARED = 0.25
"""How much of what a head changes holds on other images too, as a share of its variance."""
PART = 2**22
"""Pixels of a whole map that are drawn between two looks whether to go on."""


@dataclass(frozen=True, eq=False)
class SeedSamples:
    """Labelled cells of an image, as the fit takes them.

    Attributes
    ----------
    features
        (n, d) float32.
    prior, labels, weights
        (n,) float32: the model's own logit, 1 for foreground or 0, and how much the cell counts beside those
        of its kind that lie near.
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
class Refit:
    """A head refitted to labels, from which any part of its map is drawn.

    Attributes
    ----------
    seeds
        The labels of this image; they stand in the map as they are.
    own
        The labelled cells of this image.
    samples
        How many labelled cells the head was fitted to, other images' included.
    change
        What it adds to the model's own logits; `None` where there were no labels at all.
    """

    seeds: SeedMap
    own: SeedSamples
    samples: int
    change: MapChange | None


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
    one 1x1 convolution a level and the averaging of its few channels. What features do not tell, a label
    still says of its surroundings: beside the head's change, the fit has a smooth one that fades around
    labels (a Gaussian process of linear and radial covariance).

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
        height, width = (ratio * side for ratio, side in zip(features.ratio, features.shape, strict=True))
        self._cells = CellCounter(self._grid, (height, width))

    def refine(self, labels: Labels, others: Sequence[SeedSamples] = ()) -> RefinedMap:
        """Refit to labels and return the whole map at the image's own size.

        Parameters
        ----------
        labels, others
            As for `fit`.
        """
        refit = self.fit(labels, others)
        return RefinedMap(self.draw_all(refit, MapGrid(self.features.shape)), refit.samples, refit.own)

    def fit(self, labels: Labels, others: Sequence[SeedSamples] = ()) -> Refit:
        """Refit to labels.

        Parameters
        ----------
        labels
            (h, w) uint8, on the grid of the image or of a level of it; 0 unlabelled, 1 background,
            2 foreground. With none, and no samples of others, the map is the model's own (the mean over the
            features' views).
        others
            Labelled cells of other images, one part an image. They speak of what images have in common
            (`SHARED`), and nothing of how light this one's map is as a whole.
        """
        seeds = _seeds(labels)
        own, places = self._own(seeds)
        parts = [own, *others]
        count = sum(len(part) for part in parts)
        return Refit(seeds, own, count, self._change(parts, places) if count else None)

    def draw_all(
        self, refit: Refit, grid: MapGrid, should_stop: StopCheck = never_stop
    ) -> NDArray[np.float32]:
        """Return the whole map of a refit, (h, w) float32.

        Parameters
        ----------
        refit, grid
            As for `draw`.
        should_stop
            Asked before each part of it.

        Raises
        ------
        CancelledError
        """
        found = np.empty(grid.shape, np.float32)
        height = max(PART // max(grid.shape[1], 1), 1)
        for top in range(0, grid.shape[0], height):
            if should_stop() is not Stop.NO:
                raise CancelledError
            bottom = min(top + height, grid.shape[0])
            self._draw(refit, grid, np.arange(top, bottom), np.arange(grid.shape[1]), found[top:bottom])
        return found

    def draw(
        self, refit: Refit, grid: MapGrid, rows: NDArray[np.int64], columns: NDArray[np.int64]
    ) -> NDArray[np.float32]:
        """Return the map of a refit at crossing rows and columns.

        Parameters
        ----------
        refit
            Of this image.
        grid
            Where the map's pixels lie.
        rows, columns
            (n,) and (m,) indices of map pixels, in growing order.

        Returns
        -------
        (n, m) float32 in [0, 1]; 1 and 0 where the reviewer painted.
        """
        found = np.empty((len(rows), len(columns)), np.float32)
        self._draw(refit, grid, rows, columns, found)
        return found

    def _draw(
        self,
        refit: Refit,
        grid: MapGrid,
        rows: NDArray[np.int64],
        columns: NDArray[np.int64],
        out: NDArray[np.float32],
    ) -> None:
        places, spans, painted = [], [], []
        for axis, indices in enumerate((rows, columns)):
            centres = grid.centres(axis, indices)
            place = np.clip((centres + 0.5) * self.features.ratio[axis] - 0.5, 0, self._grid[axis] - 1)
            first, last = int(place[0]), min(int(place[-1]) + 2, self._grid[axis])
            places.append(torch.from_numpy(place - first))
            spans.append((first, last))
            count = refit.seeds.shape[axis]
            nearest = np.floor((centres + 0.5) * count / self.features.shape[axis]).astype(np.int64)
            painted.append(np.clip(nearest, 0, count - 1))
        if refit.change is None:
            logits = self.features.prior[slice(*spans[0]), slice(*spans[1])]
        else:
            logits = refit.change.logits(self.features, spans[0], spans[1])
        draw(torch.sigmoid(logits), places, out)
        for ys, xs, labels in refit.seeds.sampled(painted[0], painted[1]):
            part = out[ys, xs]
            part[labels == FOREGROUND] = 1
            part[labels == BACKGROUND] = 0

    def samples(self, labels: Labels) -> SeedSamples:
        """Return the labelled cells of this image, at most `MOST_SAMPLES`; many are averaged in blocks.

        Parameters
        ----------
        labels
            As for `fit`.
        """
        return self._own(_seeds(labels))[0]

    def _own(self, seeds: SeedMap) -> tuple[SeedSamples, Tensor]:
        """Return the samples of this image, and the cells (n, 2) that they lie at."""
        cells = self._cells.count(seeds)
        rows, columns = cells.rows, cells.columns
        weights = torch.from_numpy(np.minimum(cells.counts / FULL_WEIGHT, 1)).float()
        blocks = cells.blocks(MOST_SAMPLES)
        first = np.unique(blocks, return_index=True)[1]
        shown = cells.some_of_each(blocks, MOST_AVERAGED)
        block, block_shown = torch.from_numpy(blocks), torch.from_numpy(blocks[shown])
        cell_places = torch.from_numpy(np.stack([rows, columns], axis=1)).float()
        places, labels = _means(cell_places, weights, block), torch.from_numpy(cells.values[first]).float()
        counts = torch.zeros(len(first)).index_add_(0, block, weights)
        own = SeedSamples(
            _means(self._gathered(rows[shown], columns[shown]), weights[shown], block_shown),
            _means(self.features.prior[rows, columns][:, None], weights, block)[:, 0],
            labels,
            _thinned(counts, labels, Nearby(places, ALIKE / self.features.stride)),
        )
        return own, places

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
        for side in self._sides:
            for level, (values, scale) in enumerate(zip(self.features.maps, self._scales, strict=True)):
                down, along = self._taps(0, rows, side, level), self._taps(1, columns, side, level)
                blocks.append(_weighted(values, down, along) * scale)
        return torch.cat(blocks, dim=1)

    def _taps(self, axis: int, cells: NDArray[np.int64], side: int, level: int) -> tuple[Tensor, Tensor]:
        return smoothing_taps(
            torch.from_numpy(cells),
            side,
            self._grid[axis],
            self.features.grids[level],
            self.features.maps[level].shape[1 + axis],
            Grid.plain(self.features.stride),
        )

    @cached_property
    def _scales(self) -> list[float]:
        """What makes every level, and all windows together, weigh the same."""
        count = len(self.features.maps) * len(self._sides)
        return [1 / math.sqrt(each.shape[0] * count) for each in self.features.maps]

    @property
    def _cut(self) -> float:
        """The logit of the model's threshold."""
        threshold = min(max(self.features.threshold, 1e-6), 1 - 1e-6)
        return math.log(threshold / (1 - threshold))

    @property
    def _width(self) -> int:
        return len(self._sides) * sum(each.shape[0] for each in self.features.maps)

    def _change(self, parts: Sequence[SeedSamples], places: Tensor) -> MapChange:
        """Return what a refit changes; the first part is of this image, its samples at `places`."""
        nearby = Nearby(places, REACH / self.features.stride)
        a = self._solved(parts, nearby)
        own = a[: len(places)]
        shared = torch.cat([own, SHARED * a[len(places) :]]).float()
        change = shared @ torch.cat([part.features for part in parts])
        channels = [values.shape[0] for values in self.features.maps]
        heads = change.view(len(self._sides), -1).split(channels, dim=1)
        scaled = [head * scale for head, scale in zip(heads, self._scales, strict=True)]
        bias = _bias(parts[0]) ** 2 * float(own.sum())
        return MapChange(self._sides, scaled, bias, nearby, NEARNESS * own.float())

    def _solved(self, parts: Sequence[SeedSamples], nearby: Nearby) -> Tensor:
        """Return the fit's weights of the samples of all parts, (n,) float64."""
        samples, own = SeedSamples.joined(parts), len(nearby.places)
        features = samples.features.double()
        gram = features @ features.T
        if len(parts) > 1:
            image = torch.arange(len(parts)).repeat_interleave(torch.tensor([len(part) for part in parts]))
            gram[image[:, None] != image] *= SHARED
        gram[:own, :own] += NEARNESS * nearby.covariance().double() + _bias(parts[0]) ** 2
        # Where the map is cut is where a label says that it was wrong.
        prior = samples.prior.double() - self._cut
        return fit_dual(gram, prior, samples.labels.double(), samples.weights.double(), self.l2)


def _bias(samples: SeedSamples) -> float:
    """Return the constant feature of an image with these labels: nothing while all are of one kind."""
    kinds = [float(samples.weights[samples.labels == value].sum()) for value in (0, 1)]
    return BIAS * (min(kinds) / max(kinds)) ** 2 if any(kinds) else 0.0


def _thinned(weights: Tensor, labels: Tensor, alike: Nearby) -> Tensor:
    """Return the weights (n,) of labels that tell the same: a stroke is one answer, however long and wide."""
    near = alike.covariance() * (labels[:, None] == labels)
    return weights / (near @ weights).clamp(min=1)


def _seeds(labels: Labels) -> SeedMap:
    return labels if isinstance(labels, SeedMap) else SeedMap.of(labels)


def _weighted(values: Tensor, down: tuple[Tensor, Tensor], along: tuple[Tensor, Tensor]) -> Tensor:
    """Return the sums (n, c) of (c, h, w) over windows, each given by indices and weights, (n, k)."""
    parts = values[:, down[0][:, :, None], along[0][:, None, :]].float()
    return torch.einsum("cnij,ni,nj->nc", parts, down[1], along[1])


def _means(values: Tensor, weights: Tensor, blocks: Tensor) -> Tensor:
    """Return the weighted means (blocks, d) of values (n, d)."""
    count = int(blocks.max()) + 1 if len(blocks) else 0
    total = torch.zeros(count).index_add_(0, blocks, weights)
    sums = torch.zeros(count, values.shape[1]).index_add_(0, blocks, values * weights[:, None])
    return sums / total[:, None]
