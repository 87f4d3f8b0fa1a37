"""Drawing pseudo-labelled pixels from teacher maps, by the samplers of PixelCAM (arXiv 2503.24135).

A sampler sees a batch of maps, (n, h, w) float in [0, 1] on the CPU, NaN where the augmented image shows
nothing, and returns partial labels (n, h, w) int64: 0 unlabelled, 1 background, 2 foreground. A pixel drawn
for both is left unlabelled; a constant map yields no seeds.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from skimage.filters import threshold_otsu
from skimage.morphology import erosion, footprint_rectangle
from torch import Generator, Tensor

from pixelcam.errors import ConfigError
from pixelcam.seeds.labels import BACKGROUND, FOREGROUND, UNLABELLED


@dataclass(frozen=True)
class SamplerSettings:
    """How seeds are drawn.

    Attributes
    ----------
    name
        One of `SAMPLERS`.
    count
        Pixels drawn for each of foreground and background in each image at each step.
    low_area
        Share of the map, lowest first, that background may come from (samplers other than "probability").
    high_area
        Share of the map, highest first, that foreground may come from ("extremes").
    erosion
        Side in map cells of the square that erodes Otsu's foreground ("threshold").
    certain
        How far from 0.5 a pixel must be to be a seed at all ("certain"); an image has as few seeds of a class
        as it has such pixels.
    """

    name: str = "probability"
    count: int = 5
    low_area: float = 0.4
    high_area: float = 0.2
    erosion: int = 11
    certain: float = 0.1

    def __post_init__(self) -> None:
        if self.name not in SAMPLERS:
            raise ConfigError(f"There is no sampler {self.name!r}; choose one of: {', '.join(SAMPLERS)}.")
        if self.count < 1 or not 0 < self.low_area <= 1 or not 0 < self.high_area <= 1 or self.erosion < 1:
            raise ConfigError("A sampler needs a count and erosion of at least 1 and areas between 0 and 1.")
        if not 0 <= self.certain < 0.5:
            raise ConfigError("A sampler's certainty lies between 0 and 0.5, 0.5 excluded.")


def draw_seeds(
    maps: Tensor, settings: SamplerSettings, generator: Generator, regionless: Tensor | None = None
) -> Tensor:
    """Draw seeds for a batch of teacher maps.

    Parameters
    ----------
    maps
        (n, h, w) in [0, 1], NaN where there is no image.
    settings
        Which sampler, how many seeds.
    generator
        On the CPU; the only source of chance.
    regionless
        (n,) bool: images without a region, which get background seeds only, drawn over the whole map.

    Returns
    -------
    labels
        (n, h, w) int64 in {0, 1, 2}.
    """
    flat = maps.reshape(len(maps), -1).double()
    valid = ~torch.isnan(flat)
    known = torch.where(valid, flat, 0)
    foreground, background = SAMPLERS[settings.name](known, valid, settings, maps.shape)
    varied = (torch.where(valid, flat, -1).amax(1) - torch.where(valid, flat, 2).amin(1)) > 1e-6
    foreground, background = foreground * varied[:, None], background * varied[:, None]
    if regionless is not None:
        foreground = foreground * ~regionless[:, None]
        background = torch.where(regionless[:, None], valid.double(), background)
    drawn_foreground = _draw(foreground, settings.count, generator)
    drawn_background = _draw(background, settings.count, generator)
    labels = torch.full(flat.shape, UNLABELLED, dtype=torch.long)
    labels[drawn_foreground & ~drawn_background] = FOREGROUND
    labels[drawn_background & ~drawn_foreground] = BACKGROUND
    return labels.reshape(maps.shape)


def _draw(weights: Tensor, count: int, generator: Generator) -> Tensor:
    drawn = torch.zeros(weights.shape, dtype=torch.bool)
    # Exponential races: the `count` smallest of E/w are a weighted draw without replacement, for a whole
    # batch at once.
    race = torch.empty_like(weights).exponential_(generator=generator) / weights.clamp(min=1e-12)
    order = race.masked_fill(weights <= 0, torch.inf)
    values, indices = order.topk(min(count, weights.shape[1]), dim=1, largest=False)
    drawn.scatter_(1, indices, torch.isfinite(values))
    return drawn


def _probability(
    known: Tensor, valid: Tensor, settings: SamplerSettings, shape: torch.Size
) -> tuple[Tensor, Tensor]:
    return known * valid, (1 - known) * valid


def _probability_low_area(
    known: Tensor, valid: Tensor, settings: SamplerSettings, shape: torch.Size
) -> tuple[Tensor, Tensor]:
    return known * valid, _lowest(known, valid, settings.low_area)


def _threshold(
    known: Tensor, valid: Tensor, settings: SamplerSettings, shape: torch.Size
) -> tuple[Tensor, Tensor]:
    foreground = torch.zeros_like(known)
    square = footprint_rectangle((settings.erosion, settings.erosion))
    for index, (values, inside) in enumerate(zip(known, valid, strict=True)):
        chosen = values[inside].numpy()
        if chosen.size and chosen.max() > chosen.min():
            above = ((values > threshold_otsu(chosen)) & inside).reshape(shape[1:]).numpy()
            foreground[index] = torch.from_numpy(erosion(above, square)).reshape(-1).double()
    return foreground, _lowest(known, valid, settings.low_area)


def _extremes(
    known: Tensor, valid: Tensor, settings: SamplerSettings, shape: torch.Size
) -> tuple[Tensor, Tensor]:
    return _lowest(1 - known, valid, settings.high_area), _lowest(known, valid, settings.low_area)


def _certain(
    known: Tensor, valid: Tensor, settings: SamplerSettings, shape: torch.Size
) -> tuple[Tensor, Tensor]:
    above, below = known > 0.5 + settings.certain, known < 0.5 - settings.certain
    return (above & valid).double(), (below & valid).double()


def _lowest(known: Tensor, valid: Tensor, share: float) -> Tensor:
    # The other extreme is never among the lowest, not even in a map of one value all over but for a spot.
    ranked = known.masked_fill(~valid, torch.inf).sort(dim=1).values
    last = (valid.sum(1) * share).long().clamp(min=1, max=known.shape[1]) - 1
    below = known < known.masked_fill(~valid, -torch.inf).amax(1, keepdim=True)
    return ((known <= ranked.gather(1, last[:, None])) & below & valid).double()


SAMPLERS: dict[str, Callable[[Tensor, Tensor, SamplerSettings, torch.Size], tuple[Tensor, Tensor]]] = {
    "probability": _probability,
    "probability-low-area": _probability_low_area,
    "threshold": _threshold,
    "extremes": _extremes,
    "certain": _certain,
}
