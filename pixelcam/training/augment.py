"""Random views of a batch of images, the same geometry for images and teacher maps, all from one generator.

The strong colour changes exist because histology labels can often be read from the stain of a patient or a
laboratory: a classifier that may look at the stain need not look at the tissue, and its maps then say
nothing.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Generator, Tensor
from torch.nn import functional


@dataclass(frozen=True)
class Augmentation:
    """Ranges of the random changes.

    Attributes
    ----------
    scale
        Side of the crop as a share of the image's side, least and most.
    hue
        Rotation of the hue, in turns to either side.
    saturation, brightness, contrast
        Factors, least and most.
    gain, gamma
        Spread of the logarithm of each channel's gain, and of the exponent.
    grey, blur
        Share of images turned grey, and blurred.
    """

    scale: tuple[float, float]
    hue: float
    saturation: tuple[float, float]
    brightness: tuple[float, float]
    contrast: tuple[float, float]
    gain: float = 0.0
    gamma: float = 0.0
    grey: float = 0.0
    blur: float = 0.0


PAPER = Augmentation((0.875, 0.875), 0.05, (0.5, 1.5), (0.5, 1.5), (0.5, 1.5))
STRONG = Augmentation(
    (0.5, 1.0), 0.5, (0.0, 2.0), (0.7, 1.3), (0.6, 1.4), gain=0.2, gamma=0.3, grey=0.3, blur=0.3
)
MODERATE = Augmentation(
    (0.5, 1.0), 0.1, (0.5, 1.5), (0.8, 1.2), (0.7, 1.3), gain=0.1, gamma=0.15, grey=0.1, blur=0.2
)
MILD = Augmentation((1.0, 1.0), 0.03, (0.8, 1.2), (0.9, 1.1), (0.9, 1.1))
AUGMENTATIONS = {"paper": PAPER, "moderate": MODERATE, "strong": STRONG}

_TO_YIQ = torch.tensor([[0.299, 0.587, 0.114], [0.596, -0.274, -0.322], [0.211, -0.523, 0.312]])
_LUMA = torch.tensor([0.299, 0.587, 0.114])


def random_views(
    images: Tensor, maps: Tensor | None, size: int, augmentation: Augmentation, generator: Generator
) -> tuple[Tensor, Tensor | None]:
    """Return a random crop, mirror image and recolouring of each image, with its map cropped alike.

    Parameters
    ----------
    images
        (n, s, s, 3) uint8.
    maps
        (n, m, m) float on a plain grid over the whole image, or `None`.
    size
        Side of the result.
    generator
        On the CPU.

    Returns
    -------
    images, maps
        (n, 3, size, size) float in [0, 1] and, where given, (n, size / 4, size / 4).
    """
    count = len(images)
    theta = _crops(count, augmentation.scale, generator).to(images.device)
    values = images.permute(0, 3, 1, 2).float() / 255
    views = _sample(values, theta, size)
    views = recolour(views, augmentation, generator)
    if maps is None:
        return views, None
    return views, _sample(maps[:, None], theta, size // 4)[:, 0]


def recolour(images: Tensor, augmentation: Augmentation, generator: Generator) -> Tensor:
    """Return images (n, 3, h, w) in [0, 1] with random colours, contrast and sharpness."""
    count, device = len(images), images.device

    def uniform(low: float, high: float, *shape: int) -> Tensor:
        drawn = torch.rand(count, *shape, generator=generator)
        return (low + (high - low) * drawn).to(device)

    matrix = _colour_matrix(uniform(-augmentation.hue, augmentation.hue), uniform(*augmentation.saturation))
    grey = uniform(0, 1) < augmentation.grey
    matrix = torch.where(grey[:, None, None], _LUMA.to(device).expand(3, 3), matrix)
    gains = torch.exp(augmentation.gain * torch.randn(count, 3, generator=generator)).to(device)
    changed = (
        torch.einsum("nij,njhw->nihw", matrix, images)
        * (gains * uniform(*augmentation.brightness, 1))[..., None, None]
    )
    mean = changed.mean(dim=(1, 2, 3), keepdim=True)
    changed = ((changed - mean) * uniform(*augmentation.contrast, 1, 1, 1) + mean).clamp(0, 1)
    if augmentation.gamma:
        exponent = torch.exp(augmentation.gamma * torch.randn(count, generator=generator)).to(device)
        changed = changed.clamp(min=1e-4) ** exponent[:, None, None, None]
    if augmentation.blur:
        sigma = torch.where(
            uniform(0, 1) < augmentation.blur, uniform(0.3, 1.5), torch.full((count,), 1e-3, device=device)
        )
        changed = _blur(changed, sigma)
    return changed


def _crops(count: int, scale: tuple[float, float], generator: Generator) -> Tensor:
    """Return (n, 2, 3) affine maps from the view's coordinates to the image's, both in [-1, 1]."""
    side = scale[0] + (scale[1] - scale[0]) * torch.rand(count, generator=generator)
    centre = (torch.rand(count, 2, generator=generator) * 2 - 1) * (1 - side)[:, None]
    mirror = torch.randint(0, 2, (count, 2), generator=generator) * 2.0 - 1
    transpose = torch.rand(count, generator=generator) < 0.5
    theta = torch.zeros(count, 2, 3)
    diagonal = torch.diag_embed(mirror * side[:, None])
    theta[:, :, :2] = torch.where(transpose[:, None, None], diagonal.flip(2), diagonal)
    theta[:, :, 2] = centre
    return theta


def _sample(values: Tensor, theta: Tensor, size: int) -> Tensor:
    grid = functional.affine_grid(theta, [len(values), values.shape[1], size, size], align_corners=False)
    return functional.grid_sample(
        values, grid, mode="bilinear", padding_mode="reflection", align_corners=False
    )


def _colour_matrix(turns: Tensor, saturation: Tensor) -> Tensor:
    """Return (n, 3, 3) matrices that rotate the hue and scale the saturation in YIQ."""
    to_yiq = _TO_YIQ.to(turns.device)
    cosine, sine = torch.cos(2 * math.pi * turns) * saturation, torch.sin(2 * math.pi * turns) * saturation
    change = torch.zeros(len(turns), 3, 3, device=turns.device)
    change[:, 0, 0] = 1
    change[:, 1, 1], change[:, 1, 2], change[:, 2, 1], change[:, 2, 2] = cosine, -sine, sine, cosine
    matrices: Tensor = torch.linalg.inv(to_yiq) @ change @ to_yiq
    return matrices


def _blur(images: Tensor, sigma: Tensor) -> Tensor:
    count, channels, height, width = images.shape
    offsets = torch.arange(-3, 4, device=images.device)
    kernel = torch.exp(-(offsets**2) / (2 * sigma[:, None] ** 2))
    kernel = (kernel / kernel.sum(dim=1, keepdim=True)).repeat_interleave(channels, dim=0)
    flat = functional.pad(images.reshape(1, count * channels, height, width), (3, 3, 3, 3), mode="reflect")
    flat = functional.conv2d(flat, kernel[:, None, :, None], groups=count * channels)
    flat = functional.conv2d(flat, kernel[:, None, None, :], groups=count * channels)
    return flat.reshape(count, channels, height, width)
