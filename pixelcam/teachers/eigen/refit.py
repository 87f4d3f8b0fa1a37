"""Self-training in closed form: ridge regression of a map's certain cells on pixel features, in rounds."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from pixelcam.errors import RunError
from pixelcam.teachers.eigen.cells import Cells
from pixelcam.teachers.eigen.kinds import Kinds
from pixelcam.teachers.eigen.scale import pooled
from pixelcam.teachers.eigen.settings import EigenSettings

_MEMORY = 2**30  # bytes of features that a fit may hold at once


def refitted(
    settings: EigenSettings,
    cells: Cells,
    kinds: Kinds,
    prior: Tensor,
    joining: Sequence[Tensor],
    where: Tensor,
) -> Tensor:
    """Fit each kind's linear classifier to the certain cells of the prior and, in turn, of its own answer.

    Parameters
    ----------
    prior
        (n, grid, grid), pooled.
    joining
        Further maps (n, grid, grid), without signs, that join the prior; what is answered without them signs
        them.
    where
        (kinds,) bool: the kinds that they join in.

    Returns
    -------
    maps
        (n, grid, grid): the last answer, pooled.

    Raises
    ------
    RunError
        No cell is certain.
    """
    s, count = settings, len(prior)
    width = len(s.refit_sides) * sum(cells.channels(s.refit_levels))
    most = max(8, _MEMORY // (2 * s.grid**2 * width))
    chosen = torch.linspace(0, count - 1, min(most, count)).round().long().unique()
    features = torch.empty(len(chosen), s.grid**2, width, dtype=torch.half)
    found = cells.features(s.refit_sides, s.refit_levels, chosen)
    for part, (_, each) in zip(features.split(cells.batch), found, strict=True):
        part.copy_(each)  # in place: never all of them twice
    fit = _Fit(settings, cells, features, kinds.take(chosen))
    del features
    own = prior[chosen]
    weights, answer = fit.run(own)
    if bool(where.any()):
        signed = torch.stack([fit.kinds.signed(each[chosen], answer) for each in joining]).sum(dim=0)
        joined = fit.kinds.pooled(own + fit.kinds.pooled(signed))
        weights, _ = fit.run(torch.where(where[fit.kinds.kind, None, None], joined, own))
    mean, spread = fit.mean, fit.spread
    del fit
    answers = [
        (((each - mean) / spread) @ weights)[torch.arange(len(images)), :, kinds.kind[images]]
        for images, each in cells.features(s.refit_sides, s.refit_levels, torch.arange(count))
    ]
    return pooled(torch.cat(answers).reshape(prior.shape))


class _Fit:
    """Features (n, cells, c) half of images, and the classifiers that are fitted to them."""

    def __init__(self, settings: EigenSettings, cells: Cells, features: Tensor, kinds: Kinds) -> None:
        self.settings, self.cells, self.kinds = settings, cells, kinds
        self.features = features.flatten(0, 1)
        self.mean, self.spread = _moments(self.features)
        count = features.shape[1]
        self.kind = kinds.kind.repeat_interleave(count)
        self.learnt_from = kinds.learnt_from.repeat_interleave(count, dim=1)
        self.regionless = kinds.regionless.repeat_interleave(count)

    def run(self, own: Tensor) -> tuple[Tensor, Tensor]:
        """Return each kind's weights (c, kinds) and what they answer (n, grid, grid)."""
        target = own.flatten()
        for _ in range(self.settings.rounds):
            labels = _labels(target, self.regionless, self.settings.certain)
            weights = torch.stack([self._weights(labels, mine) for mine in self.learnt_from], dim=1)
            answers = [((x.float() - self.mean) / self.spread) @ weights for x in _chunks(self.features)]
            answer = pooled(torch.cat(answers).gather(1, self.kind[:, None])[:, 0])
            target = pooled(answer + own.flatten())
        return weights, answer.reshape(own.shape)

    def _weights(self, labels: Tensor, learnt_from: Tensor) -> Tensor:
        """Return the weights (c,) learnt from some cells; from all where none of these is certain."""
        self.cells.obey()
        own = labels * learnt_from
        labels = own if bool(own.any()) else labels
        return _ridge(self.features, self.mean, self.spread, labels, self.settings.decay)


def _labels(values: Tensor, regionless: Tensor, certain: float) -> Tensor:
    """Return -1, 0 or 1 for each cell; cells of images without a region are background."""
    labels = torch.where(values.abs() > certain, values.sign(), torch.zeros_like(values))
    labels[regionless] = -1
    if not labels.any():
        raise RunError(
            "The training images hold nothing that stands out, so eigen maps cannot be made: "
            "check the images, or choose another teacher, such as layercam-abs."
        )
    return labels


def _ridge(features: Tensor, mean: Tensor, spread: Tensor, labels: Tensor, decay: float) -> Tensor:
    """Return the weights (c,) of ridge regression of the labelled cells on standardised features."""
    gram = torch.zeros(features.shape[1], features.shape[1], dtype=torch.float64)
    towards = torch.zeros(features.shape[1], dtype=torch.float64)
    for rows, wanted in zip(_chunks(features), _chunks(labels), strict=True):
        kept = wanted != 0
        cells = (rows[kept].float() - mean) / spread
        gram += (cells.T @ cells).double()
        towards += (cells.T @ wanted[kept]).double()
    count = int((labels != 0).sum())
    penalty = decay * torch.eye(len(gram), dtype=torch.float64)
    weights: Tensor = torch.linalg.solve(gram / count + penalty, towards / count)
    return weights.float()


def _moments(features: Tensor) -> tuple[Tensor, Tensor]:
    """Return each channel's mean and standard deviation (c,)."""
    mean = torch.stack([each.float().sum(dim=0) for each in _chunks(features)]).sum(dim=0) / len(features)
    squares = torch.stack([(each.float() - mean).square().sum(dim=0) for each in _chunks(features)])
    return mean, (squares.sum(dim=0) / len(features)).sqrt().clamp(min=1e-6)


def _chunks(values: Tensor) -> Iterator[Tensor]:
    yield from values.split(16384)
