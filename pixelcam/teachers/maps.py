"""WSOL methods that turn a trained classifier into localisation maps of its images.

Each method sees what one pass left at one level of the encoder - activations A (n, c, h, w) and, unless it is
plain CAM, the gradients G of the class score there - and gives a map (n, h, w), larger where the class is.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor


def grad_cam(activations: Tensor, gradients: Tensor) -> Tensor:
    """Grad-CAM: channels weighted by their mean gradient (Selvaraju et al. 2017)."""
    weights = gradients.mean(dim=(2, 3), keepdim=True)
    return (weights * activations).sum(dim=1).relu()


def grad_cam_plus_plus(activations: Tensor, gradients: Tensor) -> Tensor:
    """Grad-CAM++ of an exponential score: weights that favour every instance (Chattopadhay et al. 2018)."""
    squared, cubed = gradients**2, gradients**3
    denominator = 2 * squared + activations.sum(dim=(2, 3), keepdim=True) * cubed
    # Where the gradient is zero the quotient has no meaning and the pixel no weight.
    alpha = torch.where(gradients != 0, squared / (denominator + 1e-6), torch.zeros_like(squared))
    weights = (alpha * gradients.relu()).sum(dim=(2, 3), keepdim=True)
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
    "layercam": layer_cam,
    "layercam-abs": absolute_layer_cam,
}
TEACHERS = ("cam", *GRADIENT_METHODS)


def class_activation_map(final: Tensor, weights: Tensor) -> Tensor:
    """CAM: the final map weighted by the classifier's row of the class (Zhou et al. 2016).

    Parameters
    ----------
    final
        (n, c, h, w).
    weights
        (n, c): the row of each image's class.
    """
    return torch.einsum("nchw,nc->nhw", final, weights).relu()


def min_max(maps: Tensor) -> Tensor:
    """Scale each of (n, h, w) maps to [0, 1]; a constant map becomes 0."""
    low = maps.amin(dim=(1, 2), keepdim=True)
    span = maps.amax(dim=(1, 2), keepdim=True) - low
    return torch.where(
        span > 0, (maps - low) / span.clamp(min=torch.finfo(maps.dtype).tiny), torch.zeros_like(maps)
    )
