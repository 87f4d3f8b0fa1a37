"""How the samples of a TIFF image become RGB: axes, photometric interpretation, alpha, depth."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import chain
from math import prod
from typing import Any

import numpy as np
import tifffile
from numpy.typing import NDArray
from tifffile import COMPRESSION, EXTRASAMPLE, PHOTOMETRIC

from pixelcam.errors import ImageError
from pixelcam.slides.pixels import (
    Alpha,
    check_floats,
    cmyk_to_rgb,
    gray_to_rgb,
    hides_all,
    on_white,
    to_uint8,
    white_of,
    ycbcr_to_rgb,
)

# These codecs give RGB, whatever the photometric tag says of the compressed data.
CODECS_TO_RGB = {
    COMPRESSION.OJPEG,
    COMPRESSION.JPEG,
    COMPRESSION.JPEG_LOSSY,
    COMPRESSION.JPEG2000,
    COMPRESSION.APERIO_JP2000_RGB,
    COMPRESSION.WEBP,
    COMPRESSION.JPEGXL,
    COMPRESSION.JPEGXL_DNG,
}
_OPACITIES = (EXTRASAMPLE.ASSOCALPHA, EXTRASAMPLE.UNASSALPHA)
GRAYS = (PHOTOMETRIC.MINISBLACK, PHOTOMETRIC.MINISWHITE)
"""Photometric interpretations of one gray channel."""


@dataclass(frozen=True, eq=False)
class Layout:
    """What the samples of one TIFF image mean; all of its levels share it.

    Parameters
    ----------
    axes
        tifffile's letters of the stored axes: "YX", "YXS", "SYX" or "CYX".
    colour
        What the first channels are.
    colours
        How many channels are colour.
    alpha
        How the colour was stored with its alpha, which is the next channel; None without.
    white
        The value that stands for white (full ink for CMYK, opaque for alpha).
    palette
        (entries, 3) uint8 where `colour` is PALETTE.
    subject
        The file, for messages.
    note
        What was left out, for people, or "".
    """

    axes: str
    colour: PHOTOMETRIC
    colours: int
    alpha: Alpha | None
    white: float
    palette: NDArray[np.uint8] | None
    subject: str
    note: str = ""

    @classmethod
    def of(
        cls, series: tifffile.TiffPageSeries, axes: str, samples: Iterable[NDArray[Any]], subject: str
    ) -> Layout:
        """Read the layout from a series' tags, and what no tag tells from samples.

        Parameters
        ----------
        series
            The image.
        axes
            Those of one picture of it.
        samples
            Pixels of it, in these axes: the whole, or parts of a coarse level. The first gives the depth; all
            are looked at where the first has no opacity at all.
        subject
            The file, for messages.

        Raises
        ------
        ImageError
            Channels that are no gray, RGB, RGBA, CMYK or palette image.
        """
        page = series.keyframe
        rest = iter(samples)
        first = next(rest)
        channels = _count_channels(axes, first.shape, subject)
        colour = _colour(page, channels, subject)
        colours = count_colours(colour)
        if channels not in (colours, colours + 1) or (colour == PHOTOMETRIC.SEPARATED and channels != 4):
            raise ImageError(f"{subject} has {channels} channels; gray, RGB or RGBA is needed.")
        # The tag names every sample past the colours; who leaves it out means an opacity.
        extra = page.extrasamples[-1] if page.extrasamples else None
        if channels == 2 and extra not in _OPACITIES:
            raise ImageError(f"{subject} has 2 channels; gray, RGB or RGBA is needed.")
        alpha: Alpha | None = None
        note = ""
        if channels > colours:
            parts = (channels_last(part, axes)[..., colours] for part in chain([first], rest))
            if extra not in (None, *_OPACITIES):
                note = f"The channel past the colours of {subject} is no opacity by its own tags; left out."
            elif all(map(hides_all, parts)):
                note = f"The opacity of {subject} would hide all of it; left out."
            else:
                alpha = "premultiplied" if extra == EXTRASAMPLE.ASSOCALPHA else "straight"
        palette = palette_of(page, subject) if colour == PHOTOMETRIC.PALETTE else None
        pixels = channels_last(first, axes)[..., :colours]
        return cls(axes, colour, colours, alpha, _white(page, pixels, subject), palette, subject, note)

    def to_rgb(self, pixels: NDArray[Any]) -> NDArray[np.uint8]:
        """Convert stored samples, in the axes of the layout, to (h, w, 3) RGB.

        Raises
        ------
        ImageError
            Float samples that are NaN, infinite, or outside [0, 1].
        """
        pixels = channels_last(pixels, self.axes)[..., : self.colours + (self.alpha is not None)]
        if pixels.dtype.kind == "f":
            check_floats(pixels, self.subject)
        if self.palette is not None:
            rgb: NDArray[np.uint8] = self.palette[np.minimum(pixels[..., 0], len(self.palette) - 1)]
            return rgb
        samples = to_uint8(pixels, self.white)
        colour = samples[..., : self.colours]
        if self.colour == PHOTOMETRIC.MINISWHITE:
            colour = 255 - colour
        elif self.colour == PHOTOMETRIC.YCBCR:
            left_out = (colour == 255).all(axis=-1, keepdims=True)  # no colour: what tiles are filled with
            colour = np.where(left_out, colour, ycbcr_to_rgb(colour))
        elif self.colour == PHOTOMETRIC.SEPARATED:
            colour = cmyk_to_rgb(colour)
        if self.alpha is not None:
            colour = on_white(colour, self._opacity(pixels), self.alpha)
        return np.ascontiguousarray(gray_to_rgb(colour) if colour.shape[-1] == 1 else colour)

    def _opacity(self, pixels: NDArray[Any]) -> NDArray[np.uint8]:
        """Return alpha as (h, w) uint8; it may use all of 16 bits where the colour uses 12 of them."""
        alpha = pixels[..., self.colours]
        full = 65535.0 if alpha.dtype == np.uint16 and alpha.max() > self.white else self.white
        return to_uint8(alpha, full)


def channels_last(pixels: NDArray[Any], axes: str) -> NDArray[Any]:
    """Return pixels of "YX", "YXS", "SYX" or "CYX" axes as (h, w, channels)."""
    if len(axes) == 2:
        return pixels[..., np.newaxis]
    return np.moveaxis(pixels, 0, -1) if axes[0] in "SC" else pixels


def count_colours(colour: PHOTOMETRIC) -> int:
    """Return how many channels a photometric interpretation has."""
    return {PHOTOMETRIC.RGB: 3, PHOTOMETRIC.YCBCR: 3, PHOTOMETRIC.SEPARATED: 4}.get(colour, 1)


def _count_channels(axes: str, shape: tuple[int, ...], subject: str) -> int:
    if axes not in ("YX", "YXS", "SYX", "CYX"):
        planes = prod(n for axis, n in zip(axes, shape, strict=True) if axis not in "YXS")
        raise ImageError(f"{subject} is a stack of {planes} planes; save the one that is meant as one image.")
    return prod(n for axis, n in zip(axes, shape, strict=True) if axis in "SC")


def _colour(page: tifffile.TiffPage, channels: int, subject: str) -> PHOTOMETRIC:
    """Return what the decoded samples are: MINISBLACK, MINISWHITE, RGB, PALETTE, SEPARATED or YCBCR."""
    if page.compression == COMPRESSION.APERIO_JP2000_YCBC:
        return PHOTOMETRIC.YCBCR
    colour = PHOTOMETRIC(page.photometric)
    if colour == PHOTOMETRIC.YCBCR and page.compression in CODECS_TO_RGB:
        return PHOTOMETRIC.RGB
    if colour == PHOTOMETRIC.MINISBLACK and channels == 3:
        # OME and ImageJ files may hold red, green and blue as three gray planes.
        return PHOTOMETRIC.RGB
    if colour in (*GRAYS, PHOTOMETRIC.RGB, PHOTOMETRIC.PALETTE, PHOTOMETRIC.SEPARATED, PHOTOMETRIC.YCBCR):
        return colour
    raise ImageError(f"{subject} stores its colours as {colour.name}, which cannot be read; save it as RGB.")


def palette_of(page: tifffile.TiffPage, subject: str) -> NDArray[np.uint8]:
    """Return the colour map as (entries, 3) uint8."""
    if page.colormap is None:
        raise ImageError(f"{subject} lacks its colour palette; save it as RGB.")
    entries = np.asarray(page.colormap).T
    # The format says 16 bits, but some writers store 8.
    return to_uint8(entries, 255.0 if entries.max() < 256 else 65535.0)


def _white(page: tifffile.TiffPage, pixels: NDArray[Any], subject: str) -> float:
    bits = page.bitspersample
    if pixels.dtype.kind == "f":
        return 1.0
    if pixels.dtype.kind == "u" and bits < 16 and bits != 8:
        return float(2**bits - 1)
    return white_of(pixels, subject)
