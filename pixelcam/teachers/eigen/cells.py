"""Features of images on a grid of cells, at any levels and sizes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn import functional

from pixelcam.errors import CancelledError
from pixelcam.events import Event, EventSink, Stop, StopCheck
from pixelcam.model.encoder import Encoder

if TYPE_CHECKING:
    from pixelcam.training.data import ImageStack

Normalisation = Callable[[Tensor], Tensor]
"""From images (n, 3, h, w) in [0, 1] to what the encoder takes."""


class Cells:
    """Runs the encoder over training images, and says how far it has come.

    Parameters
    ----------
    encoder
        In evaluation mode.
    data
        Images (n, s, s, 3).
    grid
        Cells along a side.
    batch
        Images in one forward pass.
    steps
        How many passes over images there will be.
    """

    def __init__(
        self,
        encoder: Encoder,
        data: ImageStack,
        normalisation: Normalisation,
        *,
        grid: int,
        batch: int,
        steps: int,
        on_event: EventSink,
        should_stop: StopCheck,
    ) -> None:
        self.encoder, self.data, self.normalisation = encoder, data, normalisation
        self.grid, self.batch, self.steps = grid, batch, steps
        self.on_event, self.should_stop = on_event, should_stop
        self.device = next(encoder.parameters()).device
        self.done = 0

    def channels(self, levels: Sequence[int]) -> list[int]:
        """Return how many features each level has."""
        return [self.encoder.info.level_channels(level) for level in levels]

    def features(
        self,
        sides: Sequence[int],
        levels: Sequence[int],
        images: Tensor,
        view: Callable[[Tensor], Tensor] = lambda pixels: pixels,
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield batches of indices and their features (b, grid * grid, channels) on the CPU."""
        for chosen in images.split(self.batch):
            self.obey()
            pixels = view(self.data.images[chosen].to(self.device).permute(0, 3, 1, 2).float() / 255)
            maps = [each for side in sides for each in self._encode(pixels, side, levels)]
            yield chosen, torch.cat(maps, dim=1).flatten(2).transpose(1, 2).cpu()
        self.done += 1
        self.on_event(Event("step", stage="eigen", step=self.done, total=self.steps))

    def obey(self) -> None:
        """End here where the user asked to."""
        if self.should_stop() is not Stop.NO:
            raise CancelledError

    def _encode(self, pixels: Tensor, side: int, levels: Sequence[int]) -> Iterator[Tensor]:
        """Yield each level's features (b, c, grid, grid) of images at one size, past mirrored margins."""
        info = self.encoder.info
        size = (side, side)
        seen = functional.interpolate(pixels, size, mode="bilinear", align_corners=False, antialias=True)
        seen = functional.pad(self.normalisation(seen), (info.step,) * 4, mode="reflect")
        for level, found in zip(levels, self.encoder(seen, levels)[1], strict=True):
            rim = info.step // info.strides[level]
            inner = found[:, :, rim:-rim, rim:-rim]
            if inner.shape[-1] < self.grid:
                yield functional.interpolate(inner, (self.grid,) * 2, mode="bilinear", align_corners=False)
            else:
                yield functional.adaptive_avg_pool2d(inner, self.grid)
