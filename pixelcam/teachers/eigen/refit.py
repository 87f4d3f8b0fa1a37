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
_SURE = 2.0  # standard errors of a difference between images, from where it is not taken for chance


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
        Further maps (n, grid, grid), without signs, that join the prior where their signs can be told: see
        `_Fit.joined`.
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
    weights = fit.run(fit.joined(prior[chosen], [each[chosen] for each in joining], where))
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

    def joined(self, prior: Tensor, joining: Sequence[Tensor], where: Tensor) -> Tensor:
        """Return the prior (n, grid, grid), in some kinds with the sum of further maps.

        Their sign is the one by which the images of these kinds hold more of what they show than all other
        images do: a label comes with its foreground. Where no images are left to compare with, or the
        difference may be chance, the prior stays as it is.
        """
        images = where[self.kinds.kind] & ~self.kinds.regionless
        if min(int(images.sum()), int((~images).sum())) < 2:
            return prior
        alike = [self.kinds.whole.signed(each, joining[0]) for each in joining]
        further = self.kinds.pooled(torch.stack(alike).sum(dim=0))
        surplus = self._surplus(further, images)
        if abs(surplus) < _SURE:
            return prior
        joined = self.kinds.pooled(prior + (further if surplus > 0 else -further))
        return torch.where(where[self.kinds.kind, None, None], joined, prior)

    def run(self, prior: Tensor) -> Tensor:
        """Return each kind's weights (c, kinds)."""
        weights = self._taught(prior.flatten())
        for _ in range(self.settings.rounds - 1):
            answer = self._answer(weights).gather(1, self.kind[:, None])[:, 0]
            weights = self._taught(pooled(pooled(answer) + prior.flatten()))
        return weights

    def _taught(self, target: Tensor) -> Tensor:
        """Return each kind's weights (c, kinds), learnt from what is certain in a map's cells."""
        labels = _labels(target, self.regionless, self.settings.certain)
        return torch.stack([self._weights(labels, mine) for mine in self.learnt_from], dim=1)

    def _surplus(self, maps: Tensor, images: Tensor) -> float:
        """Return how much more some images (n,) hold of what maps show than the others: Welch's t."""
        self.cells.obey()
        shown = (maps * images[:, None, None]).flatten()  # neutral in the others: their means stay free
        weights = self._ridge(shown, torch.ones_like(shown, dtype=torch.bool))
        held = self._answer(weights).reshape(len(images), -1).mean(dim=1)
        own, others = held[images], held[~images]
        error = (own.var() / len(own) + others.var() / len(others)).sqrt().clamp(min=1e-9)
        return float((own.mean() - others.mean()) / error)

    def _answer(self, weights: Tensor) -> Tensor:
        return torch.cat([((x.float() - self.mean) / self.spread) @ weights for x in _chunks(self.features)])

    def _weights(self, labels: Tensor, learnt_from: Tensor) -> Tensor:
        """Return the weights (c,) learnt from some cells; from all where none of these is certain."""
        self.cells.obey()
        own = labels * learnt_from
        labels = own if bool(own.any()) else labels
        return self._ridge(labels, labels != 0)

    def _ridge(self, wanted: Tensor, kept: Tensor) -> Tensor:
        """Return the weights (c,) of ridge regression of the kept cells' values on standardised features."""
        count = self.features.shape[1]
        gram = torch.zeros(count, count, dtype=torch.float64)
        towards = torch.zeros(count, dtype=torch.float64)
        for rows, values, these in zip(*map(_chunks, (self.features, wanted, kept)), strict=True):
            cells = (rows[these].float() - self.mean) / self.spread
            gram += (cells.T @ cells).double()
            towards += (cells.T @ values[these]).double()
        penalty = self.settings.decay * torch.eye(count, dtype=torch.float64)
        weights: Tensor = torch.linalg.solve(gram / kept.sum() + penalty, towards / kept.sum())
        return weights.float()


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


def _moments(features: Tensor) -> tuple[Tensor, Tensor]:
    """Return each channel's mean and standard deviation (c,)."""
    mean = torch.stack([each.float().sum(dim=0) for each in _chunks(features)]).sum(dim=0) / len(features)
    squares = torch.stack([(each.float() - mean).square().sum(dim=0) for each in _chunks(features)])
    return mean, (squares.sum(dim=0) / len(features)).sqrt().clamp(min=1e-6)


def _chunks(values: Tensor) -> Iterator[Tensor]:
    yield from values.split(16384)
