"""Eigen maps: what all images vary along most, turned by the classifier, made precise by refitting.

A small classifier's own maps are poor, because the label can be told from little of the tissue. But the
features of an encoder that knows natural images fall into two groups by themselves wherever an image shows
objects on a ground. The leading principal component of an image's features is Eigen-CAM (Muhammad & Yeasin
2020, IJCNN); taken over all training images together, each centred so that stain and brightness drop out, it
is one direction for all. It has no sign and no name: the classifier's maps give it both. What it shows at
the same place of whatever it is shown is the frame, which convolutions feel at the rim, and is taken away.
What is certain in it is then told to a linear classifier of pixel features of several levels and sizes, twice
over with its own answer (self-training in closed form), which learns what the single component cannot see.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn import functional

from pixelcam.errors import CancelledError, RunError
from pixelcam.events import Event, EventSink, Stop, StopCheck, ignore_events, never_stop
from pixelcam.model.encoder import Encoder
from pixelcam.teachers.maps import average_maps

if TYPE_CHECKING:
    from pixelcam.training.data import ImageStack

Normalisation = Callable[[Tensor], Tensor]
"""From images (n, 3, h, w) in [0, 1] to what the encoder takes."""

NEUTRAL = 0.5
"""The value of an eigen map that says neither foreground nor background."""
SPREAD = 8.0
"""Standard deviations of the pooled map from 0 to 1."""
_WINDOWS = 64  # at least, whose mean is a frame
_MEMORY = 2**30  # bytes of features that a fit may hold at once


@dataclass(frozen=True)
class EigenSettings:
    """How eigen maps are made.

    Attributes
    ----------
    level
        Encoder level whose leading component is taken.
    sides
        Sizes in pixels that images are resized to for it, small enough for one object to fill the receptive
        field; the maps are averaged.
    refit_levels, refit_sides
        Levels and sizes whose features together the linear classifier sees.
    rounds
        Times that it is fitted; 0 leaves the component as it is.
    decay
        Ridge penalty, relative to features of unit variance.
    certain
        Standard deviations from neutral past which a cell is a label of the fit.
    class_weight
        Of the class maps beside the component.
    grid
        Cells along a side of the maps.
    """

    level: int
    sides: tuple[int, ...]
    refit_levels: tuple[int, ...]
    refit_sides: tuple[int, ...]
    rounds: int = 3
    decay: float = 3.0
    certain: float = 1.5
    class_weight: float = 0.2
    grid: int = 28


def eigen_maps(
    settings: EigenSettings,
    encoder: Encoder,
    data: ImageStack,
    class_maps: Tensor,
    normalisation: Normalisation,
    *,
    batch: int = 16,
    on_event: EventSink = ignore_events,
    should_stop: StopCheck = never_stop,
) -> Tensor:
    """Return the eigen maps of training images.

    Parameters
    ----------
    encoder
        With the weights that it began from, in evaluation mode.
    data
        Images (n, s, s, 3).
    class_maps
        (n, m, m): any teacher's maps of the images' labels.
    on_event
        Receives a "step" an encoder pass over the images, and a "warning" where the classifier's maps hardly
        tell the component's sign.

    Returns
    -------
    maps
        (n, grid, grid) float32 in [0, 1]; 0.5 is neutral, and 1/8 a standard deviation over all images.

    Raises
    ------
    RunError
        No image holds a region, or no cell is certain.
    CancelledError
    """
    maker = _Maker(settings, encoder, data, normalisation, batch, on_event, should_stop)
    with torch.inference_mode():
        maps = maker.run(class_maps)
    return on_scale(maps).clone()


def on_scale(deviations: Tensor) -> Tensor:
    """Return maps in [0, 1] of standard deviations from neutral."""
    return (NEUTRAL + deviations / SPREAD).clamp(0, 1)


def pooled(values: Tensor, region: Tensor | None = None) -> Tensor:
    """Return maps (n, h, w) less their mean over all images, divided by their standard deviation.

    Parameters
    ----------
    region
        (n,) bool: the images that mean and deviation are of; all by default.
    """
    kept = values if region is None else values[region]
    return (values - kept.mean()) / kept.std().clamp(min=1e-6)


class _Maker:
    def __init__(
        self,
        settings: EigenSettings,
        encoder: Encoder,
        data: ImageStack,
        normalisation: Normalisation,
        batch: int,
        on_event: EventSink,
        should_stop: StopCheck,
    ) -> None:
        self.settings, self.encoder, self.data = settings, encoder, data
        self.normalisation, self.batch = normalisation, batch
        self.on_event, self.should_stop = on_event, should_stop
        self.device = next(encoder.parameters()).device
        self.steps = 2 * len(settings.sides) + (2 if settings.rounds else 0)
        self.done = 0
        if bool(data.regionless.all()):
            raise RunError("No training image holds a region: there is nothing to localise.")

    def run(self, class_maps: Tensor) -> Tensor:
        s = self.settings
        wanted = average_maps([class_maps], "rank")[:, None] - 0.5
        classes = pooled(functional.adaptive_avg_pool2d(wanted, s.grid)[:, 0])
        components = [self._component(side, classes) for side in s.sides]
        component = pooled(torch.stack(components).sum(dim=0))
        agreement = float((component * classes).mean())
        self.on_event(Event("step", stage="eigen", metrics={"agreement": agreement}))
        if abs(agreement) < 0.05:
            self.on_event(
                Event(
                    "warning",
                    stage="eigen",
                    message="The classifier's maps hardly tell foreground from background: "
                    "check the maps, which may be inverted, or choose another teacher.",
                )
            )
        prior = pooled(component + s.class_weight * classes)
        return self._refitted(prior) if s.rounds else prior

    def _component(self, side: int, classes: Tensor) -> Tensor:
        """Return the maps (n, grid, grid) of the leading component at one size, signed by the class maps."""
        s, region = self.settings, ~self.data.regionless
        channels = self.encoder.info.level_channels(s.level)
        total, squares = torch.zeros(channels, channels, dtype=torch.float64), torch.zeros(())
        parts = []
        everything = torch.arange(len(self.data))
        for chosen, cells in self._features((side,), (s.level,), everything):
            parts.append(_centred(cells).half())
            squares = squares + parts[-1][region[chosen]].double().square().sum(dim=(0, 1))
        spread = (squares / (region.sum() * s.grid**2)).sqrt().clamp(min=1e-6).float()
        scaled = []
        for part, chosen in zip(parts, everything.split(self.batch), strict=True):
            scaled.append(_balanced(part.float(), spread).half())
            kept = scaled[-1][region[chosen]].float().reshape(-1, channels).double()
            total += kept.T @ kept
        direction = torch.linalg.eigh(total).eigenvectors[:, -1].float()
        found = torch.cat([each.float() @ direction for each in scaled]).reshape(-1, s.grid, s.grid)
        found = pooled(found - self._frame(side, spread, direction))
        return found if float((found * classes).mean()) >= 0 else -found

    def _frame(self, side: int, spread: Tensor, direction: Tensor) -> Tensor:
        """Return what a component shows (grid, grid) of tissue that lies anywhere: the rim of the view.

        The images are tiled by their mirror images and seen through windows anywhere in the tiling, so that
        objects which stand in the middle of all images are not taken for the frame.
        """
        s = self.settings
        generator = torch.Generator().manual_seed(0)
        chosen = torch.arange(max(_WINDOWS, len(self.data))) % len(self.data)
        shown = torch.zeros(s.grid**2)
        for _, cells in self._features(
            (side,), (s.level,), chosen, lambda pixels: _elsewhere(pixels, generator)
        ):
            shown += (_balanced(_centred(cells), spread) @ direction).sum(dim=0)
        mean = shown.reshape(s.grid, s.grid) / len(chosen)
        turned = [torch.rot90(each, turns) for each in (mean, mean.flip(0)) for turns in range(4)]
        return torch.stack(turned).mean(dim=0)

    def _refitted(self, prior: Tensor) -> Tensor:
        """Fit a linear classifier to the certain cells of the prior and, in turn, of its own answer."""
        s, data = self.settings, self.data
        width = len(s.refit_sides) * sum(self.encoder.info.level_channels(each) for each in s.refit_levels)
        most = max(8, _MEMORY // (2 * s.grid**2 * width))
        chosen = torch.linspace(0, len(data) - 1, min(most, len(data))).round().long().unique()
        features = torch.empty(len(chosen), s.grid**2, width, dtype=torch.half)
        found = self._features(s.refit_sides, s.refit_levels, chosen)
        for part, (_, cells) in zip(features.split(self.batch), found, strict=True):
            part.copy_(cells)  # in place: never all of them twice
        features = features.reshape(-1, width)
        mean, spread = _moments(features)
        regionless = data.regionless[chosen].repeat_interleave(s.grid**2)
        own = prior[chosen].reshape(-1)
        target = own
        for _ in range(s.rounds):
            self._obey()
            weights = _ridge(features, mean, spread, _labels(target, regionless, s.certain), s.decay)
            answer = pooled(torch.cat([((x.float() - mean) / spread) @ weights for x in _chunks(features)]))
            target = pooled(answer + own)
        del features
        everything = self._features(s.refit_sides, s.refit_levels, torch.arange(len(data)))
        answer = torch.cat([((cells - mean) / spread) @ weights for _, cells in everything])
        return pooled(answer.reshape(prior.shape))

    def _features(
        self,
        sides: Sequence[int],
        levels: Sequence[int],
        images: Tensor,
        view: Callable[[Tensor], Tensor] = lambda pixels: pixels,
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield batches of indices and their features (b, grid * grid, channels) on the CPU."""
        for chosen in images.split(self.batch):
            self._obey()
            pixels = view(self.data.images[chosen].to(self.device).permute(0, 3, 1, 2).float() / 255)
            maps = [each for side in sides for each in self._encode(pixels, side, levels)]
            yield chosen, torch.cat(maps, dim=1).flatten(2).transpose(1, 2).cpu()
        self.done += 1
        self.on_event(Event("step", stage="eigen", step=self.done, total=self.steps))

    def _encode(self, pixels: Tensor, side: int, levels: Sequence[int]) -> Iterator[Tensor]:
        """Yield each level's features (b, c, grid, grid) of images at one size, past mirrored margins."""
        info = self.encoder.info
        size = (side, side)
        seen = functional.interpolate(pixels, size, mode="bilinear", align_corners=False, antialias=True)
        seen = functional.pad(self.normalisation(seen), (info.step,) * 4, mode="reflect")
        for level, found in zip(levels, self.encoder(seen, levels)[1], strict=True):
            rim = info.step // info.strides[level]
            inner = found[:, :, rim:-rim, rim:-rim]
            if inner.shape[-1] < self.settings.grid:
                yield functional.interpolate(
                    inner, (self.settings.grid,) * 2, mode="bilinear", align_corners=False
                )
            else:
                yield functional.adaptive_avg_pool2d(inner, self.settings.grid)

    def _obey(self) -> None:
        if self.should_stop() is not Stop.NO:
            raise CancelledError


def _centred(cells: Tensor) -> Tensor:
    """Return features (b, cells, channels) less each image's mean."""
    return cells - cells.mean(dim=1, keepdim=True)


def _balanced(centred: Tensor, spread: Tensor) -> Tensor:
    """Return centred features in units of each channel's spread, every image of the same size in all."""
    scaled = centred / spread
    return scaled / scaled.square().mean(dim=(1, 2), keepdim=True).sqrt().clamp(min=1e-6)


def _elsewhere(pixels: Tensor, generator: torch.Generator) -> Tensor:
    """Return windows anywhere in the images (n, c, h, w) tiled by their mirror images."""
    tiles = torch.cat([pixels, pixels.flip(3)], dim=3)
    tiles = torch.cat([tiles, tiles.flip(2)], dim=2)
    height, width = pixels.shape[2:]
    shifts = torch.rand(len(pixels), 2, generator=generator) * torch.tensor([2 * height, 2 * width])
    windows = [
        torch.roll(tile, (int(down), int(right)), (1, 2))[:, :height, :width]
        for tile, (down, right) in zip(tiles, shifts, strict=True)
    ]
    return torch.stack(windows)


def _labels(values: Tensor, regionless: Tensor, certain: float) -> Tensor:
    """Return -1, 0 or 1 for each cell; cells of images without a region are background."""
    labels = torch.where(values.abs() > certain, values.sign(), torch.zeros_like(values))
    labels[regionless] = -1
    if not labels.any():
        raise RunError(
            "The training images hold nothing that stands out, so eigen maps cannot be made: "
            "check the images, or choose another teacher, such as layercam-abs."
        )
    return labels


def _ridge(features: Tensor, mean: Tensor, spread: Tensor, labels: Tensor, decay: float) -> Tensor:
    """Return the weights (c,) of ridge regression of the labelled cells on standardised features."""
    gram = torch.zeros(features.shape[1], features.shape[1], dtype=torch.float64)
    towards = torch.zeros(features.shape[1], dtype=torch.float64)
    for rows, wanted in zip(_chunks(features), _chunks(labels), strict=True):
        kept = wanted != 0
        cells = (rows[kept].float() - mean) / spread
        gram += (cells.T @ cells).double()
        towards += (cells.T @ wanted[kept]).double()
    count = int((labels != 0).sum())
    penalty = decay * torch.eye(len(gram), dtype=torch.float64)
    weights: Tensor = torch.linalg.solve(gram / count + penalty, towards / count)
    return weights.float()


def _moments(features: Tensor) -> tuple[Tensor, Tensor]:
    """Return each channel's mean and standard deviation (c,)."""
    mean = torch.stack([each.float().sum(dim=0) for each in _chunks(features)]).sum(dim=0) / len(features)
    squares = torch.stack([(each.float() - mean).square().sum(dim=0) for each in _chunks(features)])
    return mean, (squares.sum(dim=0) / len(features)).sqrt().clamp(min=1e-6)


def _chunks(values: Tensor) -> Iterator[Tensor]:
    yield from values.split(16384)
