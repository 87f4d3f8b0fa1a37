"""WSOL methods that turn a trained classifier into localisation maps of its images.

Each method sees what one pass left at one level of the encoder - activations A (n, c, h, w) and, unless it is
plain CAM, the gradients G of the class score there - and gives a map (n, h, w), larger where the class is.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal

import torch
from torch import Tensor

from pixelcam.errors import ConfigError


def grad_cam(activations: Tensor, gradients: Tensor) -> Tensor:
    """Grad-CAM: channels weighted by their mean gradient (Selvaraju et al. 2017)."""
    weights = gradients.mean(dim=(2, 3), keepdim=True)
    return (weights * activations).sum(dim=1).relu()


def grad_cam_plus_plus(activations: Tensor, gradients: Tensor) -> Tensor:
    """Grad-CAM++ of an exponential score: weights that favour every instance (Chattopadhay et al. 2018)."""
    return _plus_plus(activations, gradients, gradients**2, gradients**3)


def smooth_grad_cam_plus_plus(activations: Tensor, gradients: Tensor) -> Tensor:
    """Smooth Grad-CAM++: powers of the gradient averaged over noisy copies (Omeiza et al. 2019).

    Parameters
    ----------
    activations
        (n, c, h, w), of the image itself.
    gradients
        (k, n, c, h, w), of k noisy copies.
    """
    return _plus_plus(activations, gradients.mean(0), (gradients**2).mean(0), (gradients**3).mean(0))


def _plus_plus(activations: Tensor, first: Tensor, second: Tensor, third: Tensor) -> Tensor:
    denominator = 2 * second + activations.sum(dim=(2, 3), keepdim=True) * third
    # Where the gradient is zero the quotient has no meaning and the pixel no weight.
    alpha = torch.where(first != 0, second / (denominator + 1e-6), torch.zeros_like(second))
    weights = (alpha * first.relu()).sum(dim=(2, 3), keepdim=True)
    return (weights * activations).sum(dim=1).relu()


def x_grad_cam(activations: Tensor, gradients: Tensor) -> Tensor:
    """XGrad-CAM: channels weighted by their gradient where they are active (Fu et al. 2020)."""
    active = activations.sum(dim=(2, 3), keepdim=True) + 1e-7
    weights = (gradients * activations).sum(dim=(2, 3), keepdim=True) / active
    return (weights * activations).sum(dim=1).relu()


def layer_cam(activations: Tensor, gradients: Tensor) -> Tensor:
    """LayerCAM: every position weighted by its own positive gradient (Jiang et al. 2021)."""
    return (gradients.relu() * activations).sum(dim=1).relu()


def absolute_layer_cam(activations: Tensor, gradients: Tensor) -> Tensor:
    """Absolute gradient times absolute activation: where the score is sensitive, whichever its sign."""
    return (gradients.abs() * activations.abs()).sum(dim=1)


GRADIENT_METHODS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "grad-cam": grad_cam,
    "grad-cam++": grad_cam_plus_plus,
    "smooth-grad-cam++": smooth_grad_cam_plus_plus,
    "xgrad-cam": x_grad_cam,
    "layercam": layer_cam,
    "layercam-abs": absolute_layer_cam,
}
FINAL_METHODS = ("cam", "ts-cam", "attention", "deep-mil")
"""Those that know no level but the final one."""
MAP_METHODS = ("cam", *GRADIENT_METHODS, *FINAL_METHODS[1:])
"""What a trained classifier can be asked for as it is."""
TRAINED_TEACHERS = ("negev", "f-cam", "maxmin", "maxmin-sem")
"""Localizers that are trained after the classifier; see `pixelcam.teachers.trained`."""
EIGEN = "eigen"
"""Maps of all training images together; see `pixelcam.teachers.eigen`. They exist for those images only."""
TEACHERS = (*MAP_METHODS, *TRAINED_TEACHERS, EIGEN)


def class_activation_map(final: Tensor, weights: Tensor) -> Tensor:
    """CAM: what speaks for the class in the final map (Zhou et al. 2016); see `semantic_map`."""
    return semantic_map(final, weights).relu()


def semantic_map(final: Tensor, weights: Tensor) -> Tensor:
    """Return the final map weighted by the classifier's row of the class, for and against it.

    Parameters
    ----------
    final
        (n, c, h, w).
    weights
        (n, c): the row of each image's class.
    """
    return torch.einsum("nchw,nc->nhw", final, weights)


def class_rows(weights: Tensor, labels: Tensor) -> Tensor:
    """Return each image's row (n, c) of a classifier's weights (classes, c): of several labels, their sum.

    Parameters
    ----------
    labels
        (n,) int64, or (n, classes) float of 0 and 1.
    """
    return weights[labels] if labels.dim() == 1 else labels.to(weights.dtype) @ weights


def min_max(maps: Tensor) -> Tensor:
    """Scale each of (n, h, w) maps to [0, 1]; a constant map becomes 0."""
    low = maps.amin(dim=(1, 2), keepdim=True)
    span = maps.amax(dim=(1, 2), keepdim=True) - low
    return torch.where(
        span > 0, (maps - low) / span.clamp(min=torch.finfo(maps.dtype).tiny), torch.zeros_like(maps)
    )


def average_maps(maps: Sequence[Tensor], scale: Literal["min-max", "rank"] = "min-max") -> Tensor:
    """Return the mean of several teachers' maps of the same images, each brought to one scale first.

    Of the same classifier's epochs, of several classifiers, or of several methods.

    Parameters
    ----------
    maps
        Of each teacher (n, h, w).
    scale
        "min-max", or "rank": the share of the image's own pixels that are lower (ties: half of them), which
        a map's few extreme values do not sway.

    Returns
    -------
    mean
        (n, h, w) float32 in [0, 1], each scaled to its own minimum and maximum.
    """
    if not maps:
        raise ConfigError("An average of maps needs at least one map.")
    scaled = [_ranks(each.float()) if scale == "rank" else min_max(each.float()) for each in maps]
    return min_max(torch.stack(scaled).mean(dim=0))


def _ranks(maps: Tensor) -> Tensor:
    flat = maps.flatten(1)
    ordered = flat.sort(dim=1).values.contiguous()
    below, to = (torch.searchsorted(ordered, flat.contiguous(), right=side) for side in (False, True))
    return ((below + to) / (2 * flat.shape[1])).reshape(maps.shape)
