"""Running a model on images of any size."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from pixelcam.errors import CancelledError, ImageError
from pixelcam.events import Event, EventSink, Stop, StopCheck, ignore_events, never_stop
from pixelcam.localize.localization import Localization, ModelRef
from pixelcam.localize.tiles import Tile, plan_tiles
from pixelcam.model.checkpoint import ModelCard, file_sha256, load_checkpoint
from pixelcam.model.device import device_memory_guard, free_device_memory, resolve_device
from pixelcam.model.geometry import resize_map
from pixelcam.model.network import PixelCAM, foreground_probability
from pixelcam.model.registry import resolve_model
from pixelcam.slides import Slide, open_slide

CORE = 768
CONTEXT = 128
MAX_WORKING_SCALE = 8.0
"""An image is enlarged at most so much to reach the model's pixel size: past it, the pixel size is surely wrong."""


class Localizer:
    """A loaded model, ready to localize.

    Attributes
    ----------
    network
        In evaluation mode, on `device`.
    card
        The checkpoint's metadata.
    model
        Its name and sha256.
    """

    def __init__(self, network: PixelCAM, card: ModelCard, model: ModelRef, device: torch.device) -> None:
        self.network = network.eval().to(device)
        self.card = card
        self.model = model
        self.device = device

    def localize(
        self,
        image: NDArray[Any] | Slide | str | Path,
        *,
        on_event: EventSink = ignore_events,
        should_stop: StopCheck = never_stop,
    ) -> Localization:
        """Classify an image and map its foreground.

        The image is scaled to the model's pixel size where both are known, cut into overlapping tiles where it is large,
        and the map comes back at the image's own size.

        Parameters
        ----------
        image
            A file, a `Slide`, or an array as `Slide.from_array` takes it.
        on_event
            Receives one "step" event a tile.
        should_stop
            Asked before each tile.

        Raises
        ------
        ImageError, DeviceError, CancelledError
        """
        slide = _as_slide(image)
        scale = self._working_scale(slide)
        shape = (max(1, round(slide.height * scale)), max(1, round(slide.width * scale)))
        tiles = self._plan(shape)
        stride = self.network.pixel_head.stride
        grid = torch.zeros(math.ceil(shape[0] / stride), math.ceil(shape[1] / stride))
        logits, seen = torch.zeros(len(self.card.classes), dtype=torch.float64), 0.0
        reader = _WorkingReader(slide, shape)
        on_event(Event("started", stage="localize", total=len(tiles)))
        for index, tile in enumerate(tiles):
            if should_stop() is not Stop.NO:
                raise CancelledError
            class_logits, foreground = self._run_tile(reader.read(tile))
            _place(grid, foreground, tile, stride)
            area = float((tile.core_stop[0] - tile.core_start[0]) * (tile.core_stop[1] - tile.core_start[1]))
            logits, seen = logits + class_logits.double() * area, seen + area
            on_event(Event("step", stage="localize", step=index + 1, total=len(tiles)))
        ratio = (shape[0] / slide.height / stride, shape[1] / slide.width / stride)
        foreground = resize_map(grid, (slide.height, slide.width), ratio).clamp_(0, 1)
        on_event(Event("done", stage="localize"))
        probabilities = torch.softmax(logits / seen, dim=0).tolist()
        return Localization(
            image_name=slide.name,
            width=slide.width,
            height=slide.height,
            mpp=slide.mpp,
            classes=dict(zip(self.card.classes, probabilities, strict=True)),
            foreground=foreground.numpy(),
            threshold=self.card.threshold,
            model=self.model,
        )

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
        prediction = self._forward(torch.from_numpy(np.ascontiguousarray(images)))
        stride = self.network.pixel_head.stride
        size = (images.shape[1], images.shape[2])
        maps = [
            resize_map(each, size, (1 / stride, 1 / stride)).clamp_(0, 1).numpy()
            for each in foreground_probability(prediction[1]).cpu()
        ]
        return torch.softmax(prediction[0].float(), dim=1).cpu().numpy(), np.stack(maps)

    def release(self) -> None:
        """Move the network off the device and give its memory back; it returns at the next use."""
        self.network.to("cpu")
        free_device_memory()

    def _working_scale(self, slide: Slide) -> float:
        if slide.mpp is None or self.card.mpp is None:
            return 1.0
        return min(slide.mpp / self.card.mpp, MAX_WORKING_SCALE)

    def _plan(self, shape: tuple[int, int]) -> list[Tile]:
        step = self.network.stride
        if (
            self.network.encoder.info.transformer
        ):  # position embeddings hold near the size they were trained at
            context = step * max(1, round(self.card.input_size / 8 / step))
            core = step * max(1, self.card.input_size // step) - 2 * context
            return plan_tiles(shape, core=max(core, step), context=context, step=step)
        return plan_tiles(shape, core=CORE - CORE % step, context=CONTEXT - CONTEXT % step, step=step)

    def _run_tile(self, pixels: NDArray[np.uint8]) -> tuple[Tensor, Tensor]:
        step = self.network.stride
        height, width = pixels.shape[:2]
        padded = np.pad(pixels, ((0, -height % step), (0, -width % step), (0, 0)), mode="symmetric")
        class_logits, pixel_logits = self._forward(torch.from_numpy(padded)[None])
        return class_logits[0].float().cpu(), foreground_probability(pixel_logits)[0].cpu()

    @torch.inference_mode()
    def _forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        with device_memory_guard("choose the device cpu, or close other programs that use it"):
            self.network.to(self.device)
            prediction = self.network(normalise(images.to(self.device), self.card))
        if not torch.isfinite(prediction.pixel_logits).all():
            raise ImageError(
                f"The model {self.model.name} gives values that are not numbers on this image; use another model."
            )
        return prediction.class_logits, prediction.pixel_logits


def normalise(images: Tensor, card: ModelCard) -> Tensor:
    """Return uint8 images (n, h, w, 3) as normalised float32 (n, 3, h, w)."""
    return standardise(images.permute(0, 3, 1, 2).float() / 255, card)


def standardise(images: Tensor, card: ModelCard) -> Tensor:
    """Return images (n, 3, h, w) in [0, 1] less the card's mean, divided by its standard deviation."""
    mean = torch.tensor(card.mean, device=images.device).view(1, 3, 1, 1)
    std = torch.tensor(card.std, device=images.device).view(1, 3, 1, 1)
    return (images - mean) / std


def load(model: str | Path = "starter", device: str = "auto") -> Localizer:
    """Load a model by name, file or hub id.

    Parameters
    ----------
    model
        See `pixelcam.model.resolve_model`.
    device
        See `pixelcam.model.resolve_device`.

    Raises
    ------
    ModelNotFoundError, CheckpointError, DeviceError

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
    return Localizer(network, card, ModelRef(card.name, file_sha256(path)), chosen)


def _as_slide(image: NDArray[Any] | Slide | str | Path) -> Slide:
    if isinstance(image, Slide):
        return image
    return open_slide(image) if isinstance(image, str | Path) else Slide.from_array(image)


class _WorkingReader:
    """Reads pieces of a slide at the working size, from the level that is nearest above it."""

    def __init__(self, slide: Slide, shape: tuple[int, int]) -> None:
        self.slide = slide
        self.shape = shape
        wanted = slide.height / shape[0]
        self.level = max(i for i, d in enumerate(slide.downsamples) if i == 0 or d[0] <= wanted * 1.01)

    def read(self, tile: Tile) -> NDArray[np.uint8]:
        """Return the tile's pixels, (h, w, 3) uint8."""
        level = self.slide.levels[self.level]
        if level.shape[:2] == self.shape:
            return self.slide.read(
                (slice(tile.start[0], tile.stop[0]), slice(tile.start[1], tile.stop[1])), self.level
            )
        # A border of source pixels around the tile keeps interpolation at its rim the same as inside.
        bounds = [
            _source_span(tile.start[a], tile.stop[a], level.shape[a] / self.shape[a], level.shape[a])
            for a in (0, 1)
        ]
        pixels = self.slide.read((slice(*bounds[0][:2]), slice(*bounds[1][:2])), self.level)
        return _sample(pixels, tile, bounds)


def _source_span(start: int, stop: int, ratio: float, length: int) -> tuple[int, int, float]:
    border = math.ceil(2 * max(ratio, 1))
    first = max(0, math.floor(start * ratio) - border)
    return first, min(length, math.ceil(stop * ratio) + border), ratio


def _sample(pixels: NDArray[np.uint8], tile: Tile, bounds: list[tuple[int, int, float]]) -> NDArray[np.uint8]:
    values = torch.from_numpy(np.ascontiguousarray(pixels)).permute(2, 0, 1)[None].float()
    ratios = [bound[2] for bound in bounds]
    if max(ratios) > 1:  # average before picking, so that fine texture does not turn into noise
        sides = [2 * round((ratio - 1) / 2) + 1 for ratio in ratios]
        values = functional.avg_pool2d(
            functional.pad(
                values, (sides[1] // 2, sides[1] // 2, sides[0] // 2, sides[0] // 2), mode="replicate"
            ),
            sides,
            stride=1,
        )
    axes = []
    for axis in (0, 1):
        first, _, ratio = bounds[axis]
        centres = (
            (torch.arange(tile.start[axis], tile.stop[axis], dtype=torch.float64) + 0.5) * ratio - 0.5 - first
        )
        axes.append(((2 * centres + 1) / values.shape[2 + axis] - 1).float())
    grid = torch.stack(torch.meshgrid(axes[1], axes[0], indexing="xy"), dim=-1)[None]
    sampled = functional.grid_sample(
        values, grid, mode="bilinear", padding_mode="border", align_corners=False
    )
    return sampled[0].permute(1, 2, 0).round().clamp(0, 255).byte().numpy()


def _place(grid: Tensor, foreground: Tensor, tile: Tile, stride: int) -> None:
    rows = slice(tile.core_start[0] // stride, math.ceil(tile.core_stop[0] / stride))
    columns = slice(tile.core_start[1] // stride, math.ceil(tile.core_stop[1] / stride))
    top, left = rows.start - tile.start[0] // stride, columns.start - tile.start[1] // stride
    grid[rows, columns] = foreground[
        top : top + rows.stop - rows.start, left : left + columns.stop - columns.start
    ]
