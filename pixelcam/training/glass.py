"""Bare glass: what a slide shows where there is no tissue, and is never foreground.

A teacher cannot tell it from the inside of a gland, which is as white, and few training images show much of
it; but most of a slide is glass. So what is large and white in the training images counts as background, and
glass is laid over parts of them.
"""

from __future__ import annotations

import math

import torch
from scipy import ndimage
from torch import Generator, Tensor
from torch.nn import functional

from pixelcam.teachers import MAP_STRIDE

BRIGHT, COLOURLESS = 215, 28
"""Glass is at least so bright, and its channels differ by no more, of 255."""
REACH = 1 / 12
"""Glass holds a disc of this radius, in sides of the image; the inside of a gland seldom does."""
CERTAINTY = 0.3
"""The map value of glass: background, nearly for certain."""
LEAST, MOST = 0.2, 0.7
"""The share of an image that glass is laid over."""


def find_glass(images: Tensor) -> Tensor:
    """Return where images show glass.

    Parameters
    ----------
    images
        (n, s, s, 3) uint8 on the CPU.

    Returns
    -------
    Tensor
        (n, s / 4, s / 4) bool, on the grid of teacher maps.
    """
    # One by one: as floats, a large data set would be four times what memory holds of it already.
    return torch.stack([_glass_of(image) for image in images])


def lay_glass(images: Tensor, maps: Tensor, share: float, generator: Generator) -> tuple[Tensor, Tensor]:
    """Lay glass with a wavy edge over a side of some images.

    Parameters
    ----------
    images
        (n, s, s, 3) uint8.
    maps
        (n, s / 4, s / 4) teacher maps.
    share
        Of the images that it is laid over.
    generator
        On the CPU.

    Returns
    -------
    images, maps
        Of the same shapes; maps are at most `CERTAINTY` under the glass.
    """
    chosen = torch.nonzero(torch.rand(len(images), generator=generator) < share)[:, 0]
    glass = _sides(len(chosen), images.shape[1], generator)
    white = 238 + 14 * torch.rand(len(chosen), 1, 1, 1, generator=generator)
    tint = 3 * torch.randn(len(chosen), 1, 1, 3, generator=generator)
    grain = 1.5 * torch.randn(*glass.shape, 1, generator=generator)
    painted = (white + tint + grain).clamp(0, 255).round().to(images)
    under = functional.avg_pool2d(glass[:, None].float(), MAP_STRIDE)[:, 0] > 0.5
    images, maps, chosen = images.clone(), maps.clone(), chosen.to(images.device)
    images[chosen] = torch.where(glass[..., None].to(images.device), painted, images[chosen])
    maps[chosen] = keep_down(maps[chosen], under.to(maps.device))
    return images, maps


def keep_down(maps: Tensor, glass: Tensor) -> Tensor:
    """Return maps that are at most `CERTAINTY` where there is glass."""
    return torch.where(glass, maps.clamp(max=CERTAINTY), maps)


def _glass_of(image: Tensor) -> Tensor:
    cells = functional.avg_pool2d(image.permute(2, 0, 1).float(), MAP_STRIDE)
    white = (cells.mean(dim=0) >= BRIGHT) & (cells.amax(dim=0) - cells.amin(dim=0) <= COLOURLESS)
    return _opened(white, REACH * len(white))


def _opened(white: Tensor, radius: float) -> Tensor:
    """Return the part of a mask (h, w) that is covered by discs of this radius that lie in it."""
    rim = math.ceil(radius) + 1
    wide = torch.from_numpy(ndimage.distance_transform_edt(_mirrored(white, rim).numpy())) > radius
    if not wide.any():
        return torch.zeros_like(white)
    near = torch.from_numpy(ndimage.distance_transform_edt(~wide.numpy())) <= radius
    return white & near[rim:-rim, rim:-rim]


def _mirrored(mask: Tensor, rim: int) -> Tensor:
    return functional.pad(mask[None, None].float(), (rim, rim, rim, rim), mode="reflect")[0, 0] > 0.5


def _sides(count: int, size: int, generator: Generator) -> Tensor:
    """Return (n, size, size) bool: what lies on one side of a wavy line through each square."""

    def drawn(low: float, high: float) -> Tensor:
        return (low + (high - low) * torch.rand(count, generator=generator))[:, None, None]

    places = torch.linspace(-1, 1, size)
    y, x = places[:, None], places[None, :]
    angle = drawn(0, 2 * math.pi)
    along, across = (
        torch.cos(angle) * x + torch.sin(angle) * y,
        torch.cos(angle) * y - torch.sin(angle) * x,
    )
    height = along + drawn(0, 0.2) * torch.sin(drawn(2, 10) * across + drawn(0, 2 * math.pi))
    ordered = height[:, ::8, ::8].flatten(1).sort(dim=1).values
    covered = (drawn(LEAST, MOST)[:, 0] * (ordered.shape[1] - 1)).long()
    return height < ordered.gather(1, covered)[..., None]
