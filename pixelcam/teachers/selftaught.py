"""Linear classifiers of pixel features that teach themselves: one for each class, then one for each image.

Each is a ridge regression in closed form: of the cells that a map is certain of, then of those that its own
answer is certain of. The glands of one class look unlike those of another, so that each class has a
classifier of its own, as sure of itself as one of all classes is of it; and an image's own certain cells know
its stain and its tissue better than those of all others, so that each map leans towards what they say.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from pixelcam.errors import RunError

FEW = 8
"""Images that hold a region, below which a class is fitted together with all others."""
EVERYTHING = -1
"""The group of images whose class is too small, or has no region at all."""
_LABELLED = 10  # cells of either kind that an image's own fit needs
_BATCH = 16  # images whose features are held in single precision at once


@dataclass(frozen=True)
class FitSettings:
    """How the classifiers are fitted.

    Attributes
    ----------
    rounds
        Times that each class's classifier is fitted, first to the map it begins with, then to its own answer.
    decay, image_decay
        Ridge penalty of a class's and of an image's classifier, relative to features of unit variance.
    certain, image_certain
        Standard deviations from neutral past which a cell is a label of the fit.
    image_weight
        Of an image's own classifier beside its class's.
    """

    rounds: int = 3
    decay: float = 3.0
    certain: float = 1.25
    image_decay: float = 10.0
    image_certain: float = 1.0
    image_weight: float = 0.5


@dataclass(frozen=True)
class ClassFit:
    """The classifier of a class.

    Attributes
    ----------
    weights
        (c,), of standardised features.
    location, scale
        Mean and standard deviation of what it answers in images of the class.
    strength, level
        Standard deviation and mean there of what the classifier of all images answers.
    """

    weights: Tensor
    location: Tensor
    scale: Tensor
    strength: Tensor
    level: Tensor

    def deviations(self, cells: Tensor) -> Tensor:
        """Return standard deviations from the class's mean of features (..., c)."""
        return (cells @ self.weights - self.location) / self.scale


def pooled(values: Tensor, region: Tensor | None = None) -> Tensor:
    """Return maps (n, ...) less their mean over all images, divided by their standard deviation.

    Parameters
    ----------
    region
        (n,) bool: the images that mean and deviation are of; all by default.
    """
    location, scale = _spread(values if region is None else values[region])
    return (values - location) / scale


def group_images(labels: Tensor, regionless: Tensor, fitted: Tensor | None = None) -> Tensor:
    """Return the group (n,) of each image: those of the same labels, or `EVERYTHING`.

    Parameters
    ----------
    labels
        (n,) int64, or (n, classes) of 0 and 1.
    fitted
        Places of the images that will be fitted; all by default.
    """
    groups: Tensor = torch.unique(labels, dim=0, return_inverse=True)[1]
    counted = torch.arange(len(labels)) if fitted is None else fitted
    counts = torch.bincount(groups[counted[~regionless[counted]]], minlength=int(groups.max()) + 1)
    return torch.where(counts[groups] < FEW, EVERYTHING, groups)


class SelfTaught:
    """Classifiers fitted to features and the maps to begin with.

    Parameters
    ----------
    features
        (n, cells, c), half precision is enough.
    prior
        (n, cells): the map to begin with, in standard deviations from neutral.
    groups, regionless
        (n,): see `group_images`; images that hold no region are background to every group.
    on_round
        Called before each fit; raises where the user asks to stop.

    Raises
    ------
    RunError
        No cell of a group is certain.
    """

    def __init__(
        self,
        settings: FitSettings,
        features: Tensor,
        prior: Tensor,
        groups: Tensor,
        regionless: Tensor,
        on_round: Callable[[], None],
    ) -> None:
        self.settings, self.features, self.on_round = settings, features, on_round
        self.mean, self.deviation = self._moments()
        self.fits = self._fit(prior, groups, regionless)

    def answer(self, cells: Tensor, group: int) -> tuple[Tensor, Tensor]:
        """Return what the class's and the image's own classifier say (cells,) of an image's features.

        Parameters
        ----------
        cells
            (cells, c).
        """
        standardised, fit = (cells.float() - self.mean) / self.deviation, self.fits[group]
        deviations = fit.deviations(standardised)
        return fit.level + fit.strength * deviations, fit.strength * self._own(standardised, deviations)

    def _fit(self, prior: Tensor, groups: Tensor, regionless: Tensor) -> dict[int, ClassFit]:
        """Fit a classifier to all images, and one to those of each group.

        What a class is told apart by, its own classifier knows best; how well, and how much of it is
        foreground, only one that has seen all classes can compare.
        """
        everywhere = torch.arange(len(groups))
        shared = self._taught(prior, everywhere, regionless)
        said = self._answers(everywhere, shared)
        fits = {}
        for group in groups.unique().tolist():
            members = torch.ones_like(regionless) if group == EVERYTHING else groups == group
            rows = torch.where(members | regionless)[0]
            weights = shared if group == EVERYTHING else self._taught(prior, rows, regionless)
            inside = torch.where(members & ~regionless)[0]
            level, strength = _spread(said[inside])
            fits[group] = ClassFit(weights, *_spread(self._answers(inside, weights)), strength, level)
        return fits

    def _taught(self, prior: Tensor, rows: Tensor, regionless: Tensor) -> Tensor:
        """Return the weights (c,) that certain cells of these images teach."""
        s = self.settings
        region = ~regionless[rows]
        target = begin = pooled(prior[rows], region)
        weights = torch.empty(0)
        for _ in range(s.rounds):
            self.on_round()
            labels = torch.where(target.abs() > s.certain, target.sign(), 0.0)
            labels[~region] = -1
            weights = self._ridge(rows, labels)
            target = pooled(pooled(self._answers(rows, weights), region) + begin, region)
        return weights

    def _answers(self, rows: Tensor, weights: Tensor) -> Tensor:
        """Return what a classifier says (n, cells) of the cells of images."""
        return torch.cat([cells @ weights for _, cells in self._standardised(rows)])

    def _ridge(self, rows: Tensor, labels: Tensor) -> Tensor:
        """Return the weights (c,) of a ridge regression of the labelled cells, -1 or 1, of images."""
        width = self.features.shape[2]
        gram = torch.zeros(width, width, dtype=torch.float64)
        towards = torch.zeros(width, dtype=torch.float64)
        for part, cells in self._standardised(rows):
            wanted = labels[part]
            kept = cells[wanted != 0]
            gram += (kept.T @ kept).double()
            towards += (kept.T @ wanted[wanted != 0]).double()
        count = int((labels != 0).sum())
        if not count:
            raise RunError(
                "No cell of the eigen maps is certain: the images hardly vary; choose another teacher."
            )
        penalty = self.settings.decay * torch.eye(width, dtype=torch.float64)
        weights: Tensor = torch.linalg.solve(gram / count + penalty, towards / count)
        return weights.float()

    def _own(self, cells: Tensor, answer: Tensor) -> Tensor:
        """Return the answer of a classifier of the image's own certain cells; 0 where there are too few."""
        s = self.settings
        certain = answer.abs() > s.image_certain
        wanted = answer[certain].sign()
        if min(int((wanted > 0).sum()), int((wanted < 0).sum())) < _LABELLED:
            return torch.zeros_like(answer)
        centred = cells - cells.mean(dim=0)
        kept = centred[certain]  # fewer cells than features: solved in the dual
        penalty = s.image_decay * len(kept) * torch.eye(len(kept))
        own: Tensor = centred @ (kept.T @ torch.linalg.solve(kept @ kept.T + penalty, wanted))
        return own

    def _standardised(self, rows: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield places among the rows, and the standardised features (b, cells, c) of those images."""
        for part in torch.arange(len(rows)).split(_BATCH):
            yield part, (self.features[rows[part]].float() - self.mean) / self.deviation

    def _moments(self) -> tuple[Tensor, Tensor]:
        """Return each channel's mean and standard deviation (c,)."""
        parts = self.features.split(_BATCH)
        count = self.features.shape[0] * self.features.shape[1]
        mean = torch.stack([part.float().sum(dim=(0, 1)) for part in parts]).sum(dim=0) / count
        squares = torch.stack([(part.float() - mean).square().sum(dim=(0, 1)) for part in parts])
        return mean, (squares.sum(dim=0) / count).sqrt().clamp(min=1e-6)


def _spread(values: Tensor) -> tuple[Tensor, Tensor]:
    return values.mean(), values.std().clamp(min=1e-6)
