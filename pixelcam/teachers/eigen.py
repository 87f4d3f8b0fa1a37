"""Eigen maps: what all images vary along most, turned by the classifier, made precise by refitting.

A small classifier's own maps are poor, because the label can be told from little of the tissue. But the
features of an encoder that knows natural images fall into two groups by themselves wherever an image shows
objects on a ground. The leading principal component of an image's features is Eigen-CAM (Muhammad & Yeasin
2020, IJCNN); taken over all training images together, each centred so that stain and brightness drop out, it
is one direction for all. It has no sign and no name: the classifier's maps give it both. What it shows at
the same place of whatever it is shown is the frame, which convolutions feel at the rim, and is taken away.
What is certain in it is then told to linear classifiers of pixel features of several levels and sizes, which
see what the single component cannot (see `pixelcam.teachers.selftaught`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn import functional

from pixelcam.errors import CancelledError, RunError
from pixelcam.events import Event, EventSink, Stop, StopCheck, ignore_events, never_stop
from pixelcam.model.encoder import Encoder
from pixelcam.teachers.maps import average_maps
from pixelcam.teachers.selftaught import EVERYTHING, FitSettings, SelfTaught, group_images, pooled

if TYPE_CHECKING:
    from pixelcam.training.data import ImageStack

Normalisation = Callable[[Tensor], Tensor]
"""From images (n, 3, h, w) in [0, 1] to what the encoder takes."""

NEUTRAL = 0.5
"""The value of an eigen map that says neither foreground nor background."""
SPREAD = 8.0
"""Standard deviations of the pooled map from 0 to 1."""
_WINDOWS = 64  # at least, whose mean is a frame
MIRRORED = ((), (2,), (3,), (2, 3))
"""Axes along which the four mirrored views of images (n, c, h, w) are flipped."""
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
    fit
        How it is fitted; with 0 rounds the component stays as it is.
    class_weight
        Of the class maps beside the component.
    grid
        Cells along a side of the maps.
    """

    level: int
    sides: tuple[int, ...]
    refit_levels: tuple[int, ...]
    refit_sides: tuple[int, ...]
    fit: FitSettings = field(default_factory=FitSettings)
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
        Receives a "step" for each batch that the encoder looks at and each fit, and a "warning" where the
        classifier's maps hardly tell the component's sign.

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
        self.width = len(settings.refit_sides) * sum(
            encoder.info.level_channels(each) for each in settings.refit_levels
        )
        most = max(8, _MEMORY // (2 * settings.grid**2 * self.width))
        by_group = group_images(data.labels, data.regionless).argsort(stable=True)
        self.chosen = by_group[_evenly(len(data), most)]
        self.groups = group_images(data.labels, data.regionless, self.chosen)
        self.steps, self.done = self._count_steps(), 0
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
        return self._refitted(prior) if s.fit.rounds else prior

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
        chosen = torch.arange(_windows(len(self.data))) % len(self.data)
        shown = torch.zeros(s.grid**2)
        for _, cells in self._features(
            (side,), (s.level,), chosen, view=lambda pixels: _elsewhere(pixels, generator)
        ):
            shown += (_balanced(_centred(cells), spread) @ direction).sum(dim=0)
        mean = shown.reshape(s.grid, s.grid) / len(chosen)
        turned = [torch.rot90(each, turns) for each in (mean, mean.flip(0)) for turns in range(4)]
        return torch.stack(turned).mean(dim=0)

    def _refitted(self, prior: Tensor) -> Tensor:
        """Let classifiers of each class and of each image teach themselves, beginning with the prior."""
        s, data, chosen, groups = self.settings, self.data, self.chosen, self.groups
        kept = self._kept(chosen)
        fitted = SelfTaught(
            s.fit, kept, prior[chosen].flatten(1), groups[chosen], data.regionless[chosen], self._step
        )
        others = torch.ones(len(data), dtype=torch.bool).index_fill(0, chosen, False).nonzero()[:, 0]
        further = self._features(s.refit_sides, s.refit_levels, others, MIRRORED) if len(others) else ()
        answers, own = torch.empty(2, len(data), s.grid**2)
        for images, features in chain([(chosen, kept)], further):
            for image, cells in zip(images.tolist(), features, strict=True):
                answers[image], own[image] = fitted.answer(cells, int(groups[image]))
        region = ~data.regionless
        found = pooled(answers, region) + s.fit.image_weight * pooled(own, region)
        return pooled(found, region).reshape(prior.shape)

    def _kept(self, chosen: Tensor) -> Tensor:
        """Return the features (n, grid * grid, c) in half precision of the images to fit."""
        s = self.settings
        features = torch.empty(len(chosen), s.grid**2, self.width, dtype=torch.half)
        found = self._features(s.refit_sides, s.refit_levels, chosen, MIRRORED)
        for part, (_, cells) in zip(features.split(self.batch), found, strict=True):
            part.copy_(cells)  # in place: never all of them twice
        return features

    def _features(
        self,
        sides: Sequence[int],
        levels: Sequence[int],
        images: Tensor,
        mirrors: Sequence[tuple[int, ...]] = ((),),
        view: Callable[[Tensor], Tensor] = lambda pixels: pixels,
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield batches of indices and their features (b, grid * grid, c) on the CPU.

        They are the mean over views mirrored along these axes: strided convolutions see an image and its
        mirror image from different cells.
        """
        for chosen in images.split(self.batch):
            self._obey()
            pixels = view(self.data.images[chosen].to(self.device).permute(0, 3, 1, 2).float() / 255)
            maps = [each for side in sides for each in self._mean(pixels, side, levels, mirrors)]
            yield chosen, torch.cat(maps, dim=1).flatten(2).transpose(1, 2).cpu()
            self._step()

    def _mean(
        self, pixels: Tensor, side: int, levels: Sequence[int], mirrors: Sequence[tuple[int, ...]]
    ) -> list[Tensor]:
        """Return each level's features (b, c, grid, grid) at one size, averaged over mirrored views."""
        views = [
            [torch.flip(found, axes) for found in self._encode(torch.flip(pixels, axes), side, levels)]
            for axes in mirrors
        ]
        return [torch.stack(found).mean(dim=0) for found in zip(*views, strict=True)]

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

    def _count_steps(self) -> int:
        """Return how many batches will be looked at, and how often a classifier is fitted."""
        s, images, fitted = self.settings, len(self.data), len(self.chosen)
        looks = [images, _windows(images)] * len(s.sides)
        fits = 0
        if s.fit.rounds:
            looks += [fitted, images - fitted]
            classes = self.groups[self.chosen].unique()
            fits = s.fit.rounds * (1 + int((classes != EVERYTHING).sum()))
        return fits + sum(-(-each // self.batch) for each in looks)

    def _step(self) -> None:
        self._obey()
        self.done += 1
        self.on_event(Event("step", stage="eigen", step=self.done, total=self.steps))

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


def _windows(images: int) -> int:
    """Return how many windows show what is the frame."""
    return max(_WINDOWS, images)


def _evenly(count: int, most: int) -> Tensor:
    """Return at most so many places, spread over all of them."""
    places: Tensor = torch.linspace(0, count - 1, min(most, count)).round().long().unique()
    return places
