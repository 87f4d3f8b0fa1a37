"""The PixelCAM network: one encoder, an image head and a pixel head that share its features."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from pixelcam.errors import ConfigError
from pixelcam.model.encoder import FINAL, Encoder
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
        finest = min(range(len(maps)), key=lambda index: self.grids[index].stride)
        size = (maps[finest].shape[-2], maps[finest].shape[-1])
        target = Grid.plain(self.stride)
        parts = [
            move_to_grid(convolution(norm(feature)), grid, target, size)
            for feature, norm, convolution, grid in zip(
                maps, self.norms, self.convolutions, self.grids, strict=True
            )
        ]
        return torch.stack(parts).sum(dim=0)


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

    def forward(self, images: Tensor) -> Prediction:
        """Classify images and their pixels in one pass.

        Parameters
        ----------
        images
            (n, 3, h, w) float, normalised; h and w multiples of `stride`.
        """
        final, maps = self.encoder(images, self.levels)
        return Prediction(self.image_head(final), self.pixel_head(maps))

    def forward_part(
        self, images: Tensor, rows: tuple[int, int | None], columns: tuple[int, int | None]
    ) -> tuple[Pooled, Tensor]:
        """Pool the image head's positions of one part of the final map, and classify all pixels.

        For tiles of a large image: what their own parts gave is merged by ``image_head.merge``, and
        ``image_head.logits`` tells the classes of the whole.

        Parameters
        ----------
        images
            As for `forward`.
        rows, columns
            First and last (excluded, `None` for the end) cell of the part on the final map.

        Returns
        -------
        pooled, pixel_logits
            See `Pooled`; and (n, 2, h, w) as in `Prediction`.
        """
        final, maps = self.encoder(images, self.levels)
        part = final[:, :, slice(*rows), slice(*columns)]
        return self.image_head.pool(part), self.pixel_head(maps)

    def classify(self, images: Tensor) -> Tensor:
        """Return only the class logits (n, classes)."""
        logits: Tensor = self.image_head(self.encoder(images)[0])
        return logits

    @property
    def stride(self) -> int:
        """What image sides must be divisible by."""
        return self.encoder.info.step


def foreground_probability(pixel_logits: Tensor) -> Tensor:
    """Return the foreground probability (n, h, w) in [0, 1] of pixel logits (n, 2, h, w)."""
    return torch.softmax(pixel_logits.float(), dim=1)[:, 1]
