"""Running a model on images of any size."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pixelcam.errors import ConfigError, ImageError
from pixelcam.events import Event, EventSink, StopCheck, ignore_events, never_stop
from pixelcam.localize.interruption import heed, interruptible
from pixelcam.localize.localization import Localization, ModelRef
from pixelcam.localize.tiles import Tile, plan_tiles
from pixelcam.localize.working import WorkingImage
from pixelcam.model.checkpoint import ModelCard, file_sha256, load_checkpoint
from pixelcam.model.device import device_memory_guard, free_device_memory, resolve_device
from pixelcam.model.encoder import FINAL
from pixelcam.model.familiarity import towards_chance
from pixelcam.model.geometry import MIRRORINGS, resize_map
from pixelcam.model.heads import Pooled, class_probabilities
from pixelcam.model.network import Part, PixelCAM, foreground_probability
from pixelcam.model.registry import resolve_model
from pixelcam.slides import Slide, open_slide
from pixelcam.slides.stain import stain_caution

VIEWS = (1, 4)
"""From how many mirrored views a model can localize."""
CORE = 1280
"""Side of a tile's own part, in working pixels."""
CONTEXT = 256
"""What a tile sees around it: at half as much the starter's map shows where tiles meet."""
ASSUMED_MPP = 0.5
MAX_WORKING_SCALE = 8.0
"""The most an image is enlarged to reach the model's pixel size: past it, the pixel size is surely wrong."""


class Seen(NamedTuple):
    """What the network gives of a working image.

    Attributes
    ----------
    logits
        (classes,): of what the tiles' own parts show together, pooled as the image head pools a whole image.
    grid
        (h / s, w / s): foreground probability on the plain grid of the pixel head's stride s, NaN where no
        tile lies.
    means
        (`PixelCAM.measured`,): mean features of the tiles' own parts.
    """

    logits: Tensor
    grid: Tensor
    means: Tensor


class Localizer:
    """A loaded model, ready to localize.

    Attributes
    ----------
    network
        In evaluation mode, on `device`.
    card
        The checkpoint's metadata.
    model
        Its name and sha256, and from how many mirrored views it localizes.
    """

    def __init__(self, network: PixelCAM, card: ModelCard, model: ModelRef, device: torch.device) -> None:
        if model.views not in VIEWS:
            raise ConfigError(f"A model looks at 1 or 4 mirrored views of an image, not at {model.views}.")
        self.network = network.eval().to(device)
        self.card = card
        self.model = model
        self.device = device

    @property
    def mirrorings(self) -> tuple[tuple[int, ...], ...]:
        """The axes of images (n, c, h, w) along which each of its views is turned; none first."""
        return MIRRORINGS[: self.model.views]

    def seen_from(self, views: int) -> Localizer:
        """Return a localizer of the same network that looks at this many mirrored views, 1 or 4.

        Raises
        ------
        ConfigError
            There is no such number of views.
        """
        return Localizer(self.network, self.card, dataclasses.replace(self.model, views=views), self.device)

    def localize(
        self,
        image: NDArray[Any] | Slide | str | Path,
        *,
        on_event: EventSink = ignore_events,
        should_stop: StopCheck = never_stop,
    ) -> Localization:
        """Classify an image and map its foreground.

        The image is scaled to the model's pixel size where both are known, cut into overlapping tiles where
        it is large, and the map comes back at the image's own size. Where the model can tell that the image
        is unlike what it was trained on, its class probabilities are drawn towards chance, see
        `towards_chance`.

        Parameters
        ----------
        image
            A file, a `Slide`, or an array as `Slide.from_array` takes it.
        on_event
            Receives one "step" event a tile.
        should_stop
            Asked before each tile, each layer of the network, and each strip of the map.

        Raises
        ------
        ImageError, DeviceError, CancelledError
        """
        slide = _as_slide(image)
        working = self.working_image(slide)
        foreground = _room_for_map(slide)
        seen = self.run_tiles(working, self.plan_tiles(working), on_event, should_stop)
        stride = self.network.pixel_head.stride
        ratio = (working.shape[0] / slide.height / stride, working.shape[1] / slide.width / stride)
        out = torch.from_numpy(foreground)
        resize_map(seen.grid, foreground.shape, ratio, out, partial(heed, should_stop)).clamp_(0, 1)
        probabilities = class_probabilities(seen.logits, self.card.multi_label)
        familiarity = None
        if self.network.familiarity is not None:
            familiarity = float(self.network.familiarity(seen.means[None]))
            probabilities = towards_chance(probabilities, familiarity, self.card.multi_label)
        return Localization(
            image_name=slide.name,
            width=slide.width,
            height=slide.height,
            mpp=slide.mpp,
            classes=dict(zip(self.card.classes, probabilities.tolist(), strict=True)),
            foreground=foreground,
            threshold=self.card.threshold,
            model=self.model,
            familiarity=familiarity,
            image_file="" if slide.path is None else slide.path.name,
            fingerprint=slide.fingerprint,
            image_caution=stain_caution(slide),
            notes=slide.notes,
            foreground_name=self.card.foreground_name,
        )

    def working_image(self, slide: Slide) -> WorkingImage:
        """Return the slide at the model's pixel size.

        Where one of the two pixel sizes is unknown, the image is taken for one field of view like those
        that the model was trained on and brought to their size, but not below the size that it has at
        `ASSUMED_MPP`, the usual scan at 20x, and never enlarged.
        """
        if slide.mpp is not None and self.card.mpp is not None:
            scale = min(slide.mpp / self.card.mpp, MAX_WORKING_SCALE)
        else:
            floor = ASSUMED_MPP / (self.card.mpp or 2 * ASSUMED_MPP)
            scale = min(max(self.card.input_size / min(slide.height, slide.width), floor), 1.0)
        return WorkingImage(slide, (max(1, round(slide.height * scale)), max(1, round(slide.width * scale))))

    def plan_tiles(self, working: WorkingImage) -> list[Tile]:
        """Return the tiles that the working image is run in."""
        step = self.network.stride
        if (
            self.network.encoder.info.transformer
        ):  # position embeddings hold near the size they were trained at
            context = step * max(1, round(self.card.input_size / 8 / step))
            core = step * max(1, self.card.input_size // step) - 2 * context
            return plan_tiles(working.shape, core=max(core, step), context=context, step=step)
        return plan_tiles(working.shape, core=CORE - CORE % step, context=CONTEXT - CONTEXT % step, step=step)

    def run_tiles(
        self,
        working: WorkingImage,
        tiles: Sequence[Tile],
        on_event: EventSink = ignore_events,
        should_stop: StopCheck = never_stop,
    ) -> Seen:
        """Run the network on tiles of a working image.

        Raises
        ------
        ValueError
            There are no tiles.
        ImageError, DeviceError, CancelledError
        """
        stride = self.network.pixel_head.stride
        grid = torch.full([math.ceil(side / stride) for side in working.shape], torch.nan)
        pooled: Pooled | None = None
        means, cells = torch.zeros(self.network.measured, dtype=torch.float64), 0
        on_event(Event("started", stage="localize", total=len(tiles)))
        for index, tile in enumerate(tiles):
            heed(should_stop)
            pixels = working.read(tile, should_stop=should_stop)
            with interruptible(self.network, should_stop):
                part, own = self._run_tile(pixels, tile)
            there, here = tile.cells(stride)
            grid[there] = foreground_probability(part.pixel_logits)[0][here]
            means += own * part.means[0]
            cells += own
            pooled = part.pooled if pooled is None else self.network.image_head.merge(pooled, part.pooled)
            on_event(Event("step", stage="localize", step=index + 1, total=len(tiles)))
        if pooled is None:
            raise ValueError("an image has at least one tile")
        on_event(Event("done", stage="localize"))
        return Seen(self._class_logits(pooled)[0], grid, means / cells)

    def predict_batch(self, images: NDArray[np.uint8]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Classify a batch of images of the model's input size, as the evaluation protocol does.

        Parameters
        ----------
        images
            (n, s, s, 3) uint8.

        Returns
        -------
        class_probabilities, foreground
            (n, classes) and (n, s, s) float32.
        """
        part = self._forward(torch.from_numpy(np.ascontiguousarray(images)))
        class_logits = self._class_logits(part.pooled)
        stride = self.network.pixel_head.stride
        size = (images.shape[1], images.shape[2])
        maps = [
            resize_map(each, size, (1 / stride, 1 / stride)).clamp_(0, 1).numpy()
            for each in foreground_probability(part.pixel_logits).cpu()
        ]
        probabilities = class_probabilities(class_logits.float(), self.card.multi_label)
        return probabilities.numpy(), np.stack(maps)

    def mean_features(self, images: NDArray[np.uint8]) -> Tensor:
        """Return what familiarity is judged by, (n, `PixelCAM.measured`), of whole images (n, h, w, 3)."""
        return self._forward(torch.from_numpy(np.ascontiguousarray(images))).means.cpu().double()

    def release(self) -> None:
        """Move the network off the device and give its memory back; it returns at the next use."""
        self.network.to("cpu")
        free_device_memory()

    def _run_tile(self, pixels: NDArray[np.uint8], tile: Tile) -> tuple[Part, int]:
        """Return what a tile gives, on the CPU, and how many cells of its final map are its own."""
        step = self.network.stride
        height, width = pixels.shape[:2]
        padded = np.pad(pixels, ((0, -height % step), (0, -width % step), (0, 0)), mode="symmetric")
        stride = int(self.network.encoder.info.grid(FINAL).stride)
        rows, columns = (_own_cells(tile, axis, stride) for axis in (0, 1))
        part = self._forward(torch.from_numpy(padded)[None], rows, columns)
        # In double precision, so that many tiles add up as well as few.
        pooled = Pooled(*(value.cpu().double() for value in part.pooled))
        cells = math.prod(
            len(range(side // stride)[slice(*own)])
            for side, own in zip(padded.shape[:2], (rows, columns), strict=True)
        )
        return Part(pooled, part.means.cpu().double(), part.pixel_logits.cpu()), cells

    def _class_logits(self, pooled: Pooled) -> Tensor:
        with torch.inference_mode():
            on_device = Pooled(*(value.float().to(self.device) for value in pooled))
            logits: Tensor = self.network.image_head.logits(on_device)
            return logits.cpu().double()

    def _forward(
        self,
        images: Tensor,
        rows: tuple[int, int | None] = (0, None),
        columns: tuple[int, int | None] = (0, None),
    ) -> Part:
        """Return what all views of uint8 images (n, h, w, 3) give, see `PixelCAM.forward_views`."""
        with device_memory_guard():
            self.network.to(self.device)  # outside of inference mode, or it could never be trained again
            with torch.inference_mode():
                inputs = normalise(images.to(self.device), self.card)
                found = self.network.forward_views(inputs, rows, columns, self.mirrorings)
        if not torch.isfinite(found.pixel_logits).all():
            raise ImageError(
                f"The model {self.model.name} gives values that are not numbers on this image; "
                "use another model."
            )
        return found


def normalise(images: Tensor, card: ModelCard) -> Tensor:
    """Return uint8 images (n, h, w, 3) as normalised float32 (n, 3, h, w)."""
    return standardise(images.permute(0, 3, 1, 2).float() / 255, card)


def standardise(images: Tensor, card: ModelCard) -> Tensor:
    """Return images (n, 3, h, w) in [0, 1] less the card's mean, divided by its standard deviation."""
    mean = torch.tensor(card.mean, device=images.device).view(1, 3, 1, 1)
    std = torch.tensor(card.std, device=images.device).view(1, 3, 1, 1)
    return (images - mean) / std


def load(model: str | Path = "starter", device: str = "auto", *, views: int = 1) -> Localizer:
    """Load a model by name, file or hub id.

    Parameters
    ----------
    model
        See `pixelcam.model.resolve_model`.
    device
        See `pixelcam.model.resolve_device`.
    views
        1, or 4 for the mean over an image and its three mirror images: steadier maps by four passes.

    Raises
    ------
    ModelNotFoundError, CheckpointError, DeviceError
    ConfigError
        There is no such number of views.

    Examples
    --------
    >>> import pixelcam, skimage
    >>> found = pixelcam.load("starter").localize(skimage.data.immunohistochemistry())
    >>> found.foreground.shape
    (512, 512)
    """
    chosen = resolve_device(device)
    path = resolve_model(model)
    network, card = load_checkpoint(path)
    return Localizer(network, card, ModelRef(card.name, file_sha256(path), views), chosen)


def _as_slide(image: NDArray[Any] | Slide | str | Path) -> Slide:
    if isinstance(image, Slide):
        return image
    return open_slide(image) if isinstance(image, str | Path) else Slide.from_array(image)


def _room_for_map(slide: Slide) -> NDArray[np.float32]:
    """Return an array (height, width) for the map, before the work that would be lost without it."""
    try:
        return np.empty((slide.height, slide.width), np.float32)
    except MemoryError as error:
        raise ImageError(
            f"The map of {slide.name} needs {4 * slide.height * slide.width / 2**30:.1f} GB of memory; "
            "close other programs, or localize a part of the image or a smaller copy of it."
        ) from error


def _own_cells(tile: Tile, axis: int, stride: int) -> tuple[int, int | None]:
    """Return the first and last (excluded) cell of the tile's own part on its final map; `None`: to the end.

    At the image's end the mirrored cells beyond it count, as they do where the image is run whole.
    """
    first = (tile.core_start[axis] - tile.start[axis]) // stride
    if tile.core_stop[axis] == tile.stop[axis]:
        return first, None
    return first, (tile.core_stop[axis] - tile.start[axis]) // stride
