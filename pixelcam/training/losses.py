"""The losses of PixelCAM and of the trained teachers."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional

_IGNORE = -1


def classification_loss(class_logits: Tensor, labels: Tensor) -> Tensor:
    """Return the mean loss of image labels.

    Parameters
    ----------
    class_logits
        (n, classes).
    labels
        (n,) int64, the class of each image: cross-entropy. Or (n, classes) float, 1 for each label that an
        image has and 0 for each that it has not: binary cross-entropy, averaged over the known labels; NaN
        is a label of which nothing is known.
    """
    if labels.dim() == 1:
        return functional.cross_entropy(class_logits.float(), labels)
    known = ~torch.isnan(labels)
    losses = functional.binary_cross_entropy_with_logits(
        class_logits.float(), labels.nan_to_num(), reduction="none"
    )
    return (losses * known).sum() / known.sum().clamp(min=1)


def guessing_loss(classes: int, multi_label: bool) -> float:
    """Return the `classification_loss` of a classifier that finds every label equally likely."""
    return math.log(2) if multi_label else math.log(classes)


def partial_cross_entropy(pixel_logits: Tensor, labels: Tensor) -> Tensor:
    """Return the mean cross-entropy over the labelled pixels, 0 where there are none.

    Parameters
    ----------
    pixel_logits
        (n, 2, h, w): background, foreground.
    labels
        (n, h, w) int64: 0 unlabelled, 1 background, 2 foreground.
    """
    # The contract's 0, 1, 2 becomes the loss's ignore index, 0, 1 here and nowhere else.
    target = labels - 1
    total = functional.cross_entropy(pixel_logits.float(), target, ignore_index=_IGNORE, reduction="sum")
    return total / (target != _IGNORE).sum().clamp(min=1)


def soft_cross_entropy(pixel_logits: Tensor, foreground: Tensor) -> Tensor:
    """Return the mean cross-entropy of all pixels with labels that are probabilities.

    The mean of `partial_cross_entropy` over labels drawn by these probabilities.

    Parameters
    ----------
    pixel_logits
        (n, 2, h, w): background, foreground.
    foreground
        (n, h, w) in [0, 1].
    """
    odds = (pixel_logits[:, 1] - pixel_logits[:, 0]).float()
    return functional.binary_cross_entropy_with_logits(odds, foreground)


def log_barrier(values: Tensor, t: float) -> Tensor:
    """Return the log-barrier extension of the constraint ``values <= 0``, elementwise.

    ``-log(-z) / t`` for ``z <= -1 / t**2`` and its tangent there beyond, so that it is finite, with a finite
    gradient, also where the constraint is broken (Kervadec et al. 2019, arXiv 1904.04205). The larger t, the
    closer it is to a wall at 0.
    """
    edge = -1 / t**2
    # Both branches are differentiated, so the logarithm must never see what belongs to the other one.
    inside = -torch.log(-values.clamp(max=edge)) / t
    beyond = t * values - math.log(1 / t**2) / t + 1 / t
    return torch.where(values <= edge, inside, beyond)


def area_log_barrier(probability: Tensor, t: float) -> Tensor:
    """Return the log-barriers that keep the areas of background and foreground above 0, summed.

    Favours neither: it is least where both are equally large, and steep only where one of them vanishes
    (the absolute size constraint of F-CAM, Belharbi et al. 2022, arXiv 2109.07069).

    Parameters
    ----------
    probability
        (n, 2, h, w): background, foreground. An area is the sum over its pixels.
    t
        See `log_barrier`.
    """
    areas = probability.float().sum(dim=(2, 3))
    return log_barrier(-areas, t).sum(dim=1).mean()


def colour_affinity_loss(
    probability: Tensor,
    images: Tensor,
    *,
    radius: int = 5,
    sigma_rgb: float = 15.0,
    sigma_xy: float = 6.0,
) -> Tensor:
    """Return how much neighbours of like colour differ in their labels, in 0 to 1.

    The relaxed Potts model of a dense conditional random field (Tang et al. 2018, arXiv 1803.09569) with a
    Gaussian kernel of colour and position, cut off at a window (Obukhov et al. 2019, arXiv 1906.04651): the
    mean of ``k(i, j) * (1 - sum_c p_i(c) p_j(c))`` over all pairs of pixels of one window. The kernel has no
    gradient.

    Parameters
    ----------
    probability
        (n, c, h, w), summing to 1 over c.
    images
        (n, 3, h, w) RGB in [0, 1]; pixels with a NaN channel have no neighbours.
    radius
        Half the side of the window less one, in pixels.
    sigma_rgb
        Of the kernel in colour, in steps of 8-bit channels.
    sigma_xy
        Of the kernel in position, in pixels.
    """
    colours = images.detach().float() * (255 / (math.sqrt(2) * sigma_rgb))
    total, pairs = probability.new_zeros(()), 0
    # Offsets to one side only: the other half of the window holds the same pairs.
    for down in range(radius + 1):
        for right in range(-radius if down else 1, radius + 1):
            near, far = _shifted(probability, down, right)
            if near.numel() == 0:
                continue
            distance = (torch.sub(*_shifted(colours, down, right)) ** 2).sum(dim=1)
            kernel = torch.exp(-distance - (down**2 + right**2) / (2 * sigma_xy**2)).nan_to_num(0.0)
            total = total + (kernel * (1 - (near * far).sum(dim=1))).sum()
            pairs += kernel.numel()
    return total / max(pairs, 1)


def _shifted(values: Tensor, down: int, right: int) -> tuple[Tensor, Tensor]:
    """Return the views of (n, c, h, w) whose pixels at one place are neighbours at an offset."""
    height, width = values.shape[2:]
    near = values[:, :, : max(height - down, 0), max(-right, 0) : max(width - max(right, 0), 0)]
    far = values[:, :, down:, max(right, 0) : max(width - max(-right, 0), 0)]
    return near, far
