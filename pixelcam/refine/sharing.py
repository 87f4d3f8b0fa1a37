"""How many labelled cells of other images count beside those of the image at hand."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from pixelcam.refine.refiner import SeedSamples

MOST_SHARED = 400
"""A fit costs the cube of its cells: so many of other images are as much as one image has at most."""


def share(parts: Sequence[SeedSamples], most: int = MOST_SHARED) -> list[SeedSamples]:
    """Return of several images' cells so many in all that a fit stays quick.

    All images have the same share; what one does not use goes to the others. Which cells of an image are
    taken is drawn at random, but always alike, and the weights stay: the cells of all other images together
    shall not outweigh the image at hand.

    Parameters
    ----------
    parts
        One an image.
    most
        Cells in all; each image that has any keeps at least one.
    """
    taken = [0] * len(parts)
    left = most
    by_size = sorted((number for number, part in enumerate(parts) if len(part)), key=lambda n: len(parts[n]))
    for place, number in enumerate(by_size):
        taken[number] = min(len(parts[number]), max(left // (len(by_size) - place), 1))
        left -= taken[number]
    return [_drawn(part, count) for part, count in zip(parts, taken, strict=True) if count]


def _drawn(part: SeedSamples, count: int) -> SeedSamples:
    if count == len(part):
        return part
    order = torch.randperm(len(part), generator=torch.Generator().manual_seed(0))
    index = order[:count].sort().values
    return SeedSamples(part.features[index], part.prior[index], part.labels[index], part.weights[index])
