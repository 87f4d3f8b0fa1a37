"""Make a model's probabilities mean what they say by scaling its logits, without a new parameter.

Platt scaling of pixels needs masks, temperature scaling of classes image labels; both of validation images
that the weights were not fitted to. Without masks the foreground probabilities stay as the seeds taught them:
the share of foreground in tissue cannot be known from image labels, so nothing here promises that they are
calibrated. What is fitted on few images holds for images like them, not for another scanner or organ.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from pixelcam.model.heads import ImageHead, LogSumExpHead
from pixelcam.model.network import PixelHead

_IGNORE = 255
_LARGEST = 20.0
"""Scales lie within 1 / 20 and 20: past that, the validation images are told apart without error."""


@dataclass(frozen=True)
class Calibration:
    """Log-odds z become ``scale * z + bias``.

    Parameters
    ----------
    scale
        Above 0, so that no order of scores changes; PxAP stays as it is but for the binning of scores.
    bias
        Added log-odds of foreground.
    """

    scale: float = 1.0
    bias: float = 0.0


def fit_pixels(log_odds: Tensor, masks: Tensor) -> Calibration:
    """Fit scale and bias of foreground log-odds by maximum likelihood (Platt 1999).

    Parameters
    ----------
    log_odds
        Foreground minus background logit of pixels, any shape.
    masks
        1 foreground, 0 background, 255 ignored; same shape.

    Returns
    -------
    Calibration
        The identity where there is no foreground or no background, or where a higher score does not make
        foreground more probable: such scores can only be calibrated by turning the map round.

    Raises
    ------
    ValueError
        The shapes differ.
    """
    if log_odds.shape != masks.shape:
        raise ValueError(
            f"The log-odds have the shape {tuple(log_odds.shape)}, the masks {tuple(masks.shape)}."
        )
    kept = masks != _IGNORE
    scores, truth = log_odds[kept].double(), (masks[kept] == 1).double()
    if scores.numel() == 0 or truth.min() == truth.max():
        return Calibration()
    # Newton's method on standardised scores; a weak prior keeps it finite where both are told apart wholly.
    mean, spread = scores.mean(), scores.std(correction=0).clamp_min(1e-9)
    standard, ones = (scores - mean) / spread, torch.ones_like(scores)
    slope, bias = _newton(torch.stack([standard, ones], 1), torch.zeros_like(scores), truth).tolist()
    if slope <= 0:
        return Calibration()
    scale = slope / float(spread)
    if not 1 / _LARGEST <= scale <= _LARGEST:
        scale = min(max(scale, 1 / _LARGEST), _LARGEST)
        (bias,) = _newton(ones[:, None], scale * (scores - mean), truth).tolist()
    return Calibration(scale, bias - scale * float(mean))


def _newton(inputs: Tensor, offset: Tensor, truth: Tensor) -> Tensor:
    """Return the weights (k,) by which ``offset + inputs (n, k) @ weights`` are the likeliest log-odds."""
    weights = torch.zeros(inputs.shape[1], dtype=torch.float64)
    ridge = 1e-6 * torch.eye(len(weights), dtype=torch.float64)
    for _ in range(50):
        found = torch.sigmoid(offset + inputs @ weights)
        slope = inputs.T @ (found - truth) / len(truth) + ridge @ weights
        curvature = (inputs * (found * (1 - found))[:, None]).T @ inputs / len(truth) + ridge
        step = torch.linalg.solve(curvature, slope)
        weights = weights - step / max(1.0, float(step.norm()))
        if float(step.norm()) < 1e-10:
            break
    return weights


def fit_temperature(logits: Tensor, labels: Tensor) -> float:
    """Fit one scale of class logits, the inverse temperature (Guo et al. 2017, ICML).

    Parameters
    ----------
    logits
        (n, classes).
    labels
        (n,) int64; or (n, classes) of 0 and 1, where each class has a probability of its own.

    Returns
    -------
    float
        Above 0. A prior of one image's weight holds it near 1, without which a few validation images that
        are all told right would ask for certainty.

    Raises
    ------
    ValueError
        There are no images.
    """
    if len(logits) == 0:
        raise ValueError("A temperature needs validation images.")
    values = logits.double()

    def cost(log_scale: float) -> float:
        scaled = math.exp(log_scale) * values
        if labels.ndim == 1:
            loss = functional.cross_entropy(scaled, labels, reduction="sum")
        else:
            loss = functional.binary_cross_entropy_with_logits(scaled, labels.double(), reduction="sum")
        return float(loss) + 0.5 * log_scale**2

    low, high = -math.log(_LARGEST), math.log(_LARGEST)
    ratio = (math.sqrt(5) - 1) / 2  # golden section search: the cost has one minimum in the scale
    for _ in range(60):
        first, second = high - ratio * (high - low), low + ratio * (high - low)
        low, high = (low, second) if cost(first) < cost(second) else (first, high)
    return math.exp((low + high) / 2)


@torch.no_grad()
def fold_pixels(head: PixelHead, calibration: Calibration) -> None:
    """Put a calibration into a pixel head's own weights, so that its probabilities are calibrated.

    Exact, as the head is linear: of every level the weights are scaled, and the first level's bias is moved.
    """
    for convolution in head.convolutions:
        for parameter in convolution.parameters():
            parameter.mul_(calibration.scale)
    bias = head.convolutions[0].bias
    assert isinstance(bias, Tensor)
    bias[1] += calibration.bias


@torch.no_grad()
def fold_classes(head: ImageHead, scale: float) -> bool:
    """Put a scale of the class logits into an image head's classifier, and return whether that can be done.

    Exact for heads whose logits grow in proportion to the classifier's: average, max and attention.
    Log-sum-exp pooling is not such a head and stays as it is.
    """
    if isinstance(head, LogSumExpHead):
        return False
    head.classify.weight.mul_(scale)
    head.classify.bias.mul_(scale)
    return True
