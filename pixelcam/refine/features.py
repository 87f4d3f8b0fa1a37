"""The pixel features of one field, computed once and kept, so that no stroke waits for the encoder."""

from __future__ import annotations

import math
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pixelcam.errors import ImageError, OutputError
from pixelcam.events import Event, EventSink, StopCheck, ignore_events, never_stop
from pixelcam.localize.interruption import heed, interruptible
from pixelcam.localize.localizer import Localizer, normalise
from pixelcam.localize.tiles import Tile
from pixelcam.model.device import device_memory_guard
from pixelcam.model.geometry import MIRRORINGS, Grid
from pixelcam.slides import Slide

MOST_MIRRORED = 1792**2
"""Working pixels; more are seen once only, unless the localizer is one of four views: it takes its time."""
IN_MEMORY = 512 * 2**20
"""Bytes of one field's features that are kept in memory; more of them lie in a file."""
MOST_BYTES = 8 * 2**30
"""Bytes of one field's features, in memory or not, past which live refinement is refused."""
_LARGEST = float(torch.finfo(torch.float16).max)


@dataclass(frozen=True, eq=False)
class FieldFeatures:
    """What the pixel head sees of one image.

    Attributes
    ----------
    maps
        Of each of the pixel head's levels, (c, h, w) float16 on the CPU: the mean over mirrored views,
        standardised channel by channel over the field.
    grids
        Where the cells of each level lie, in working pixels.
    prior
        (h, w) float32 on the plain grid of `stride`: the model's own logit of foreground, the mean over the
        same views.
    stride
        Working pixels per cell of `prior`.
    shape
        (height, width) of the image in level-0 pixels.
    ratio
        Cells of `prior` per level-0 pixel, (y, x).
    threshold
        The model's foreground threshold.
    """

    maps: tuple[Tensor, ...]
    grids: tuple[Grid, ...]
    prior: Tensor
    stride: int
    shape: tuple[int, int]
    ratio: tuple[float, float]
    threshold: float

    @property
    def nbytes(self) -> int:
        """Bytes of the maps, in memory or in their file."""
        return sum(each.numel() * each.element_size() for each in self.maps)


def extract_features(
    localizer: Localizer,
    slide: Slide,
    *,
    scratch: str | Path | None = None,
    in_memory: int = IN_MEMORY,
    only: Sequence[Tile] | None = None,
    on_event: EventSink = ignore_events,
    should_stop: StopCheck = never_stop,
) -> FieldFeatures:
    """Run the encoder over an image and keep what the pixel head classifies.

    Small fields are seen four times, mirrored along each axis, whatever the localizer's own views:
    features and logits are the means, which are steadier than those of one view.

    Parameters
    ----------
    localizer
        The model.
    slide
        The image.
    scratch
        Folder of the file that features past `in_memory` bytes are spilled to; the system's own by default.
        The file has no name any more once it is open, so that it goes with the process.
    in_memory
        Bytes that stay in memory.
    only
        Those of the localizer's tiles that are looked at; all by default. Elsewhere there is nothing.
    on_event
        Receives one "step" event a tile.
    should_stop
        Asked before each tile, each layer of the network, and each channel that is standardised.

    Raises
    ------
    ImageError
        The image is too large to be refined live, or cannot be read.
    OutputError
        There is no room for the file.
    DeviceError, CancelledError
    """
    working = localizer.working_image(slide)
    tiles = localizer.plan_tiles(working) if only is None else only
    head = localizer.network.pixel_head
    looked_at = sum(math.prod(np.subtract(tile.core_stop, tile.core_start).tolist()) for tile in tiles)
    maps = _make_maps(localizer, working.shape, looked_at, scratch, in_memory)
    prior = torch.zeros([math.ceil(side / head.stride) for side in working.shape])
    views = MIRRORINGS if looked_at <= MOST_MIRRORED else localizer.mirrorings
    on_event(Event("started", stage="features", total=len(tiles)))
    for index, tile in enumerate(tiles):
        heed(should_stop)
        pixels = working.read(tile, should_stop=should_stop)
        with interruptible(localizer.network, should_stop):
            found, logits = _seen(localizer, pixels, views)
        for target, part, grid in zip(maps, found, head.grids, strict=True):
            there, here = tile.cells(int(grid.stride))
            target[:, *there] = part[:, *here].clamp(-_LARGEST, _LARGEST).to(target.dtype)
        there, here = tile.cells(head.stride)
        prior[there] = logits[here]
        on_event(Event("step", stage="features", step=index + 1, total=len(tiles)))
    for each, grid in zip(maps, head.grids, strict=True):
        parts = None if only is None else [tile.cells(int(grid.stride))[0] for tile in only]
        _standardise(each, parts, should_stop)
    on_event(Event("done", stage="features"))
    return FieldFeatures(
        maps=tuple(maps),
        grids=head.grids,
        prior=prior,
        stride=head.stride,
        shape=(slide.height, slide.width),
        ratio=(
            working.shape[0] / slide.height / head.stride,
            working.shape[1] / slide.width / head.stride,
        ),
        threshold=localizer.card.threshold,
    )


def _make_maps(
    localizer: Localizer, shape: tuple[int, int], looked_at: int, scratch: str | Path | None, in_memory: int
) -> list[Tensor]:
    head, info = localizer.network.pixel_head, localizer.network.encoder.info
    shapes = [
        (info.level_channels(level), *(math.ceil(side / grid.stride) for side in shape))
        for level, grid in zip(localizer.network.levels, head.grids, strict=True)
    ]
    sizes = [math.prod(each) for each in shapes]
    filled = 2 * sum(sizes) * looked_at / math.prod(shape)  # what is not looked at takes no room
    if filled > MOST_BYTES:
        raise ImageError(
            f"The image is too large to be refined live: {filled / 2**30:.0f} GB of features, "
            f"at most {MOST_BYTES / 2**30:.0f}; open a part of it, or fine-tune on its seeds instead."
        )
    if 2 * sum(sizes) <= in_memory:
        return [torch.zeros(each, dtype=torch.float16) for each in shapes]
    place = scratch or tempfile.gettempdir()
    refusal = OutputError(f"{place} cannot take {filled / 2**30:.1f} GB of features; make room there.")
    try:
        # Memory that has no room on the disk is told by a signal that ends the program.
        if shutil.disk_usage(place).free < filled:
            raise refusal
        with tempfile.TemporaryFile(dir=place) as file:
            array = np.memmap(file, dtype=np.float16, mode="w+", shape=(sum(sizes),))
    except OSError as error:
        raise refusal from error
    parts = torch.from_numpy(array).split(sizes)
    return [part.view(each) for part, each in zip(parts, shapes, strict=True)]


def _seen(
    localizer: Localizer, pixels: NDArray[np.uint8], views: Sequence[tuple[int, ...]]
) -> tuple[list[Tensor], Tensor]:
    """Return the mean level maps (c, h, w) and logits (h, w) of a tile's views."""
    network, device = localizer.network, localizer.device
    height, width = pixels.shape[:2]
    padded = np.pad(
        pixels, ((0, -height % network.stride), (0, -width % network.stride), (0, 0)), mode="symmetric"
    )
    with device_memory_guard():
        network.to(device)  # outside of inference mode, or it could never be trained again
        with torch.inference_mode():
            images = normalise(torch.from_numpy(padded)[None].to(device), localizer.card)
            sums: list[Tensor] = []
            for axes in views:
                maps = network.encoder(images.flip(axes), network.levels)[1]
                logits = network.pixel_head(maps)
                seen = [each.flip(axes)[0] for each in (*maps, logits[:, 1:] - logits[:, :1])]
                sums = [total + new for total, new in zip(sums, seen, strict=True)] if sums else seen
            *found, logits = [(total / len(views)).cpu() for total in sums]
    if not torch.isfinite(logits).all():
        raise ImageError(
            f"The model {localizer.model.name} gives values that are not numbers on this image; "
            "use another model."
        )
    return found, logits[0]


def _standardise(
    features: Tensor, parts: Sequence[tuple[slice, slice]] | None, should_stop: StopCheck
) -> None:
    """Bring each channel of (c, h, w) to mean 0 and variance 1 over parts of it, or all of it, in place."""
    for channel in features:
        heed(should_stop)
        views = [channel] if parts is None else [channel[part] for part in parts]
        values = torch.cat([each.float().flatten() for each in views])
        spread, mean = torch.std_mean(values, correction=0)
        for each in views:
            each.copy_((each.float() - mean) / (spread + 1e-6))
