"""The PixelCAM network: one encoder, an image head and a pixel head that share its features."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from pixelcam.errors import ConfigError
from pixelcam.model.encoder import FINAL, Encoder
from pixelcam.model.familiarity import Familiarity
from pixelcam.model.geometry import Grid, move_to_grid
from pixelcam.model.heads import Pooled, make_image_head


class Prediction(NamedTuple):
    """What one forward pass gives.

    Attributes
    ----------
    class_logits
        (n, classes).
    pixel_logits
        (n, 2, h, w): background, foreground, on the plain grid of the finest pixel-feature level's stride.
    """

    class_logits: Tensor
    pixel_logits: Tensor


class Part(NamedTuple):
    """What one forward pass gives of a part of an image.

    Attributes
    ----------
    pooled
        What the image head keeps of the part.
    means
        (n, `PixelCAM.measured`): mean features of the part, level by level.
    pixel_logits
        As in `Prediction`, of all pixels.
    """

    pooled: Pooled
    means: Tensor
    pixel_logits: Tensor


class PixelHead(nn.Module):
    """A linear classifier of pixel features from one or several levels into background and foreground.

    The features of a pixel are those of every level at its place, linearly interpolated at the finest stride.
    As both the interpolation and the classifier are linear, each level is classified on its own grid by a 1x1
    convolution and the logits are interpolated and added: the same result at a fraction of the memory. With
    one level it is the plain 1x1 convolution of PixelCAM (4,098 parameters on ResNet-50).

    Parameters
    ----------
    channels, grids
        Of each level.
    standardise
        Standardise each channel by running statistics first, so that levels of different magnitude learn
        alike. At inference that is an affine map, and the head stays linear.
    """

    def __init__(self, channels: Sequence[int], grids: Sequence[Grid], standardise: bool = True) -> None:
        super().__init__()
        self.grids = tuple(grids)
        self.stride = int(min(grid.stride for grid in grids))
        self.norms = nn.ModuleList(
            nn.BatchNorm2d(count, affine=False) if standardise else nn.Identity() for count in channels
        )
        self.convolutions = nn.ModuleList(
            nn.Conv2d(count, 2, kernel_size=1, bias=index == 0) for index, count in enumerate(channels)
        )
        for convolution in self.convolutions:
            nn.init.normal_(convolution.weight, std=0.001)  # type: ignore[arg-type]

    def forward(self, maps: Sequence[Tensor]) -> Tensor:
        """Return (n, 2, h, w) logits on the plain grid of the finest stride, of maps (n, c, h_i, w_i)."""
        return self.merge([work(feature) for work, feature in zip(self.level_works(), maps, strict=True)])

    def level_works(self) -> list[Callable[[Tensor], Tensor]]:
        """Return what makes of each level's map (n, c, h_i, w_i) its part (n, 2, h_i, w_i) of the logits."""
        return [
            partial(_classified, norm=norm, convolution=convolution)
            for norm, convolution in zip(self.norms, self.convolutions, strict=True)
        ]

    def merge(self, parts: Sequence[Tensor]) -> Tensor:
        """Return the sum (n, 2, h, w) of all levels' parts, on the plain grid of the finest stride."""
        finest = min(range(len(parts)), key=lambda index: self.grids[index].stride)
        size = (parts[finest].shape[-2], parts[finest].shape[-1])
        target = Grid.plain(self.stride)
        moved = [move_to_grid(part, grid, target, size) for part, grid in zip(parts, self.grids, strict=True)]
        return torch.stack(moved).sum(dim=0)


def _classified(feature: Tensor, norm: nn.Module, convolution: nn.Module) -> Tensor:
    """Return the 1x1 convolution of standardised features, in one pass over them where nothing is learned.

    Standardising by running statistics is affine, and the convolution takes it in: the same logits but for
    rounding, without a second pass over maps as large as the encoder's own, 3 % of a ResNet-50's time.
    """
    if not isinstance(norm, nn.BatchNorm2d) or norm.training or torch.is_grad_enabled():
        logits: Tensor = convolution(norm(feature))
        return logits
    mean, variance = norm.running_mean, norm.running_var
    assert isinstance(convolution, nn.Conv2d)
    assert mean is not None
    assert variance is not None
    weight = convolution.weight / torch.sqrt(variance + norm.eps)[:, None, None]
    shift = -(weight[:, :, 0, 0] @ mean)
    return functional.conv2d(feature, weight, shift if convolution.bias is None else shift + convolution.bias)


class PixelCAM(nn.Module):
    """Image classifier and foreground/background pixel classifier, trained jointly.

    The method of PMLR 301:547-587, arXiv 2503.24135.

    Parameters
    ----------
    encoder
        timm name of a CNN or transformer.
    classes
        Number of image classes, at least two.
    levels
        Encoder levels whose features the pixel head classifies; ``(FINAL,)`` is the paper's own setting.
    output_stride
        Of a CNN's deepest map; ``None`` keeps the encoder's own.
    dropout
        Share of final channels dropped before the image head while training.
    standardise
        See `PixelHead`.
    pretrained
        Start from timm's ImageNet weights, fetched from the hub.
    image_head
        How the final map becomes class logits; one of `pixelcam.model.heads.IMAGE_HEADS`.
    """

    def __init__(
        self,
        encoder: str,
        classes: int,
        *,
        levels: Sequence[int] = (FINAL,),
        output_stride: int | None = None,
        dropout: float = 0.0,
        standardise: bool = True,
        pretrained: bool = False,
        image_head: str = "average",
    ) -> None:
        super().__init__()
        self.encoder = Encoder(encoder, output_stride=output_stride, pretrained=pretrained)
        info = self.encoder.info
        if not levels or any(level != FINAL and not 0 <= level < len(info.channels) for level in levels):
            raise ConfigError(
                f"{encoder} has pixel-feature levels 0 to {len(info.channels) - 1}, "
                f"and -1 for its final map; got {list(levels)}."
            )
        self.levels = tuple(levels)
        self.image_head = make_image_head(image_head, info.final_channels, classes, dropout)
        self.pixel_head = PixelHead(
            [info.level_channels(level) for level in self.levels],
            [info.grid(level) for level in self.levels],
            standardise,
        )
        # None until there is something to tell by: see `pixelcam.training.familiarity`.
        self.familiarity: Familiarity | None
        self.register_module("familiarity", None)

    def forward(self, images: Tensor) -> Prediction:
        """Classify images and their pixels in one pass.

        Parameters
        ----------
        images
            (n, 3, h, w) float, normalised; h and w multiples of `stride`.
        """
        final, pixel_logits = self._final_and_pixels(images, self.pixel_head.level_works())
        return Prediction(self.image_head(final), pixel_logits)

    def forward_part(
        self, images: Tensor, rows: tuple[int, int | None], columns: tuple[int, int | None]
    ) -> Part:
        """Pool the image head's positions of one part of the final map, and classify all pixels.

        For tiles of a large image: what their own parts gave is merged by ``image_head.merge``, and
        ``image_head.logits`` tells the classes of the whole; `Familiarity` judges the mean of their means.

        Parameters
        ----------
        images
            As for `forward`.
        rows, columns
            First and last (excluded, `None` for the end) cell of the part on the final map.
        """
        means = [images.new_empty(len(images), 0)] * len(self.levels)

        def measured(place: int, work: Callable[[Tensor], Tensor], feature: Tensor) -> Tensor:
            if self.levels[place] != FINAL:
                finer = int(self.encoder.info.grid(FINAL).stride / self.pixel_head.grids[place].stride)
                means[place] = _cut(feature, rows, columns, finer).mean(dim=(2, 3))
            return work(feature)

        works = [partial(measured, place, work) for place, work in enumerate(self.pixel_head.level_works())]
        final, pixel_logits = self._final_and_pixels(images, works)
        pooled = self.image_head.pool(_cut(final, rows, columns))
        return Part(pooled, torch.cat(means, dim=1), pixel_logits)

    def forward_views(
        self,
        images: Tensor,
        rows: tuple[int, int | None],
        columns: tuple[int, int | None],
        mirrorings: Sequence[tuple[int, ...]],
    ) -> Part:
        """Return what `forward_part` gives of several mirrored views of images together.

        The image head pools the positions of all views; features and pixel logits are their means.

        Parameters
        ----------
        images, rows, columns
            As for `forward_part`, of the images as they are.
        mirrorings
            The axes along which each view is turned, see `pixelcam.model.geometry.MIRRORINGS`.
        """
        stride = int(self.encoder.info.grid(FINAL).stride)
        pooled: Pooled | None = None
        means, logits = [], []
        for axes in mirrorings:
            there = [
                _mirrored(part, images.shape[axis] // stride) if axis in axes else part
                for axis, part in ((2, rows), (3, columns))
            ]
            seen = self.forward_part(images.flip(axes), *there)
            pooled = seen.pooled if pooled is None else self.image_head.merge(pooled, seen.pooled)
            means.append(seen.means)
            logits.append(seen.pixel_logits.flip(axes))
        assert pooled is not None
        return Part(pooled, torch.stack(means).mean(dim=0), torch.stack(logits).mean(dim=0))

    def _final_and_pixels(
        self, images: Tensor, works: Sequence[Callable[[Tensor], Tensor]]
    ) -> tuple[Tensor, Tensor]:
        if torch.is_grad_enabled():
            final, maps = self.encoder(images, self.levels)
            parts = [work(feature) for work, feature in zip(works, maps, strict=True)]
        else:
            final, parts = self.encoder.forward_each(images, self.levels, works)
        return final, self.pixel_head.merge(parts)

    def classify(self, images: Tensor) -> Tensor:
        """Return only the class logits (n, classes)."""
        logits: Tensor = self.image_head(self.encoder(images)[0])
        return logits

    @property
    def measured(self) -> int:
        """How many mean features `forward_part` gives: those of all levels but the final map.

        The final map's are made to tell the classes apart, and are alike for whatever is none of them.
        """
        return sum(self.encoder.info.level_channels(level) for level in self.levels if level != FINAL)

    @property
    def stride(self) -> int:
        """What image sides must be divisible by."""
        return self.encoder.info.step


def _mirrored(part: tuple[int, int | None], size: int) -> tuple[int, int]:
    """Return first and last (excluded) cell of a part of `size` cells as they lie in the mirror image."""
    first, last = part
    return size - (size if last is None else last), size - first


def _cut(
    feature: Tensor, rows: tuple[int, int | None], columns: tuple[int, int | None], finer: int = 1
) -> Tensor:
    """Return the part of a map (n, c, h, w) that lies under these cells of one `finer` times as coarse."""
    parts = (slice(first * finer, None if last is None else last * finer) for first, last in (rows, columns))
    return feature[(slice(None), slice(None), *parts)]


def foreground_probability(pixel_logits: Tensor) -> Tensor:
    """Return the foreground probability (n, h, w) in [0, 1] of pixel logits (n, 2, h, w)."""
    return torch.softmax(pixel_logits.float(), dim=1)[:, 1]
