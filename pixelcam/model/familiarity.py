"""How familiar an image looks to a model, by the encoder's features on the way to its map.

A classifier is sure of itself on what it has never seen: its last features are made to tell its classes
apart, whatever the image. The features before them still tell lymph nodes from colon. Their means over an
image are compared with those of the training images, which are also shown recoloured and enlarged as in
training: directions in which only stain, scanner and magnification move are so counted as known.
"""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn

PREFIX = "familiarity."
"""Of the names of these tensors in a checkpoint."""
EXPLAINED = 0.9
"""Share of the variance that is described axis by axis; the rest is taken to be alike in all directions."""
MOST_AXES = 256
FEWEST = 5
"""Images on each side, fewer than which say nothing of what is usual."""
USUAL = 0.05
"""Share of images like the training images, the strangest of them, that are not wholly familiar."""
MOVED = 0.5
"""How familiar an image must be to what it was itself before a fine-tuning, or all that is known is moot."""
MOST_SHOWN = 64
"""Images shown later that are kept, the last ones."""
_LEAST = 1e-4


class Familiarity(nn.Module):
    """What the training images' mean features look like, and how far from it held-out ones lie.

    The distance is that of probabilistic principal component analysis (Tipping & Bishop 1999, J. R. Stat.
    Soc. B 61:611): squared coordinates along the leading components by their variance, and what is left of
    the squared length by the mean variance of the other components.

    Parameters
    ----------
    channels, axes, shown
        How many features, components and images shown later; the values come from `fit`, `with_shown` or a
        checkpoint.

    Attributes
    ----------
    centre, spread
        (c,): mean and standard deviation of each feature.
    axes, variances
        (d, c) and (d,): leading components of the standardised features.
    rest
        Scalar: mean variance along any other direction.
    usual
        (3,): mean and standard deviation of the logarithm of held-out images' distances, and their number.
    shown
        (k, c): mean features of the images that it was fine-tuned on, or `None`. What is as near to one of
        them as held-out images are to the centre is as familiar.
    """

    centre: Tensor
    spread: Tensor
    axes: Tensor
    variances: Tensor
    rest: Tensor
    usual: Tensor
    shown: Tensor | None

    def __init__(self, channels: int, axes: int, shown: int = 0) -> None:
        super().__init__()
        self.register_buffer("centre", torch.zeros(channels))
        self.register_buffer("spread", torch.ones(channels))
        self.register_buffer("axes", torch.zeros(axes, channels))
        self.register_buffer("variances", torch.ones(axes))
        self.register_buffer("rest", torch.ones(()))
        self.register_buffer("usual", torch.tensor([0.0, 1.0, FEWEST]))
        self.register_buffer("shown", torch.zeros(shown, channels) if shown else None)

    @classmethod
    def fit(cls, known: Tensor, held_out: Tensor) -> Familiarity | None:
        """Describe what is known.

        Parameters
        ----------
        known
            (n, c): mean features of training images and of their recoloured, enlarged views.
        held_out
            (m, c): of images like them that the weights were not fitted to.

        Returns
        -------
        Familiarity or None
            None of fewer than `FEWEST` images on either side, or where the features do not vary.
        """
        if min(len(known), len(held_out)) < FEWEST:
            return None
        values = known.double()
        centre, spread = values.mean(dim=0), values.std(dim=0) + _LEAST
        standard = (values - centre) / spread
        _, singular, axes = torch.linalg.svd(standard, full_matrices=False)
        variances = singular**2 / len(known)
        if float(variances.sum()) < _LEAST:
            return None
        shares = variances.cumsum(dim=0) / variances.sum()
        count = min(int((shares < EXPLAINED).sum()) + 1, MOST_AXES)
        others = max(standard.shape[1] - count, 1)
        made = cls(standard.shape[1], count)
        made.centre.copy_(centre)
        made.spread.copy_(spread)
        made.axes.copy_(axes[:count])
        made.variances.copy_(variances[:count].clamp(min=_LEAST))
        made.rest.copy_((variances[count:].sum() / others).clamp(min=_LEAST))
        deviation, mean = torch.std_mean(made.log_distance(held_out))
        made.usual.copy_(torch.stack([mean, deviation.clamp(min=_LEAST), torch.tensor(len(held_out))]))
        return made

    def with_shown(self, before: Tensor, after: Tensor) -> Familiarity | None:
        """Return what is known once the model was fine-tuned.

        Parameters
        ----------
        before, after
            (k, c): mean features of the images that it was fine-tuned on, by the model before it and after.

        Returns
        -------
        Familiarity or None
            With these images, the last `MOST_SHOWN` of all, among what is known. None where an image's own
            features have moved so far that what is known of others holds no more.
        """
        pairs = zip(before, after, strict=True)
        if any(float(self._familiar(new[None], old[None])) < MOVED for old, new in pairs):
            return None
        known = after if self.shown is None else torch.cat([self.shown.to(after), after])
        made = copy.deepcopy(self)
        made.shown = known[-MOST_SHOWN:].to(self.centre)
        return made

    def log_distance(self, means: Tensor) -> Tensor:
        """Return the logarithm (n,) of the distance of mean features (n, c) from the nearest known ones."""
        return self._log_distance(means, self._known)

    @property
    def _known(self) -> Tensor:
        centre = self.centre[None]
        return centre if self.shown is None else torch.cat([centre, self.shown])

    def _log_distance(self, means: Tensor, known: Tensor) -> Tensor:
        return torch.stack([self._log_distance_from(each, means) for each in known]).amin(dim=0)

    def _log_distance_from(self, centre: Tensor, means: Tensor) -> Tensor:
        standard = (means.to(self.centre) - centre.to(self.centre)) / self.spread
        along = standard @ self.axes.T
        across = (standard.square().sum(dim=1) - along.square().sum(dim=1)).clamp(min=0)
        distance = (along.square() / self.variances).sum(dim=1) + across / self.rest
        return torch.log(distance.clamp(min=_LEAST))

    def forward(self, means: Tensor) -> Tensor:
        """Return the familiarity (n,) in [0, 1] of images by their mean features (n, c).

        It is the probability that an image like the held-out ones lies at least as far off, in terms of
        `USUAL` and 1 at most: so 1 for nineteen of twenty such images. Logarithms of distances are taken to
        be normally distributed, with the mean and deviation of a sample: Student's t.
        """
        return self._familiar(means, self._known)

    def _familiar(self, means: Tensor, known: Tensor) -> Tensor:
        from scipy import special

        mean, deviation, count = self.usual.tolist()
        distances = self._log_distance(means, known).cpu().double()
        scores = (distances - mean) / (deviation * (1 + 1 / count) ** 0.5)
        beyond = torch.from_numpy(special.stdtr(count - 1, -scores.numpy()))
        return (beyond / USUAL).clamp(max=1.0)


def towards_chance(probabilities: Tensor, familiarity: Tensor | float, multi_label: bool) -> Tensor:
    """Draw class probabilities towards those of somebody who knows nothing.

    ``familiarity * p + (1 - familiarity) * chance``: the mixture of what the model says where it knows the
    image and of chance where it does not. No order changes, and no class is called present or absent that
    was not.

    Parameters
    ----------
    probabilities
        (..., classes).
    familiarity
        In [0, 1]; a tensor is one that broadcasts against the probabilities.
    multi_label
        Whether each class has a probability of its own: chance is then one half, else one by the number of
        classes.
    """
    chance = 0.5 if multi_label else 1 / probabilities.shape[-1]
    return familiarity * probabilities + (1 - familiarity) * chance
