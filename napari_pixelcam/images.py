"""From a napari image layer to the `Slide` that the core works on."""

from __future__ import annotations

import math
import zlib
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from pixelcam.errors import ImageError, PixelCAMError

if TYPE_CHECKING:
    from napari.layers import Image

    from pixelcam.slides import Slide

KEY = "pixelcam"
"""Where in a layer's metadata the plugin keeps what it knows of it."""
PROJECT_IMAGE = "project_image"
"""Where in that stands which image of the open project a layer shows."""


@dataclass(frozen=True)
class LayerSource:
    """What a slide is made of, taken from a layer on the interface's thread and used in another.

    Parameters
    ----------
    name
        The layer's name.
    levels
        The layer's arrays, finest first.
    rgb
        Whether the last axis holds colours.
    path
        The file the layer says it comes from.
    mpp
        Microns per pixel, where the layer's units are a length.
    slide
        The slide that the plugin's own reader opened, if these are its arrays.
    mark
        A checksum of a sparse sample of the pixels, where they lie in memory and may be changed there.
    """

    name: str
    levels: tuple[Any, ...]
    rgb: bool
    path: Path | None
    mpp: float | None
    slide: Slide | None = None
    mark: int | None = None

    def is_of(self, layer: Image) -> bool:
        """Return whether the layer still shows the same pixels: its arrays, unchanged, read as before."""
        now = _levels(layer)
        same = len(now) == len(self.levels) and all(a is b for a, b in zip(now, self.levels, strict=True))
        return same and layer.rgb == self.rgb and mark_of(now[0]) == self.mark

    def named(self, layer: Image) -> LayerSource:
        """Return the same pixels with the name and the pixel size that their layer has now."""
        return replace(self, name=layer.name, mpp=microns_per_pixel(layer))

    def shows_as(self, other: LayerSource) -> bool:
        """Return whether another layer's pixels are the same, as those of a duplicated layer are."""
        mine, its = self.levels[0], other.levels[0]
        if mine is its:
            return self.rgb == other.rgb
        alike = self.mark is not None and self.mark == other.mark and self.rgb == other.rgb
        return alike and bool(np.array_equal(mine, its))


def mark_of(pixels: Any) -> int | None:
    """Return a checksum of an array's shape, type and sparse sample; `None` where it is not in memory."""
    if not isinstance(pixels, np.ndarray):
        return None
    steps = tuple(slice(None, None, max(side // 64, 1)) for side in pixels.shape[:2])
    return zlib.crc32(
        np.ascontiguousarray(pixels[steps]).tobytes(), zlib.crc32(f"{pixels.shape}{pixels.dtype}".encode())
    )


def source_of(layer: Image) -> LayerSource:
    """Take what a slide needs from a layer.

    Raises
    ------
    ImageError
        The layer is not one plain two-dimensional image.
    """
    if not is_single(layer):
        raise ImageError(
            f"{layer.name!r} is {describe_shape(layer)}: take it apart into single images first "
            "(right-click it in the layer list, Split Stack), and choose one of them."
        )
    levels = _levels(layer)
    slide = layer.metadata.get(KEY, {}).get("slide")
    if slide is not None and slide.levels[0] is not levels[0]:
        slide = None  # its data have been replaced since
    path = layer.source.path
    return LayerSource(
        name=layer.name,
        levels=levels,
        rgb=layer.rgb,
        path=Path(path) if path else None,
        mpp=microns_per_pixel(layer),
        slide=slide,
        mark=mark_of(levels[0]),
    )


def is_single(layer: Image) -> bool:
    """Return whether a layer shows one two-dimensional image, and no stack of them."""
    return len(_levels(layer)[0].shape) - bool(layer.rgb) == 2


def describe_shape(layer: Image) -> str:
    """Say in a few words how large a layer is, and of how many planes, where it is no single image."""
    shape = tuple(_levels(layer)[0].shape)
    sides = shape[:-1] if layer.rgb else shape
    if len(sides) < 2:
        return f"a row of {sides[0]} values" if sides else "a single value"
    size = f"{sides[-1]} × {sides[-2]} pixels"
    if len(sides) == 2:
        return size
    planes = int(np.prod(sides[:-2]))
    return f"a stack of {planes} {'plane' if planes == 1 else 'planes'} of {size}"


def slide_of(source: LayerSource) -> Slide:
    """Return the slide of a layer's arrays; reads the file that it may have come from, so may take a while.

    Raises
    ------
    ImageError
        The arrays are not an RGB or gray image.
    """
    from pixelcam.slides import Slide

    if source.slide is not None:
        return sized(source.slide, source.mpp)
    finest = source.levels[0]
    lazy = not isinstance(finest, np.ndarray) or len(source.levels) > 1
    if lazy and source.rgb and finest.dtype == np.uint8 and finest.shape[-1] == 3:
        return Slide(name=source.name, path=None, levels=source.levels, mpp=source.mpp)
    slide = Slide.from_array(np.asarray(finest), name=source.name, mpp=source.mpp)
    path = source.path
    if path is not None and _same_pixels(path, slide):
        return Slide.from_array(np.asarray(finest), name=path.stem, mpp=source.mpp, path=path)
    return slide


def sized(slide: Slide, mpp: float | None) -> Slide:
    """Return a slide with the pixel size that its layer has now, or with its own where the layer has none."""
    if mpp is None or (slide.mpp is not None and math.isclose(mpp, slide.mpp, rel_tol=1e-6)):
        return slide
    other = replace(slide, mpp=mpp)
    if "fingerprint" in vars(slide):  # of the same bytes, which took a while
        vars(other)["fingerprint"] = slide.fingerprint
    return other


def microns_per_pixel(layer: Image) -> float | None:
    """Return the side in µm of a square of a pixel's area, `None` where the units are no length."""
    try:
        factors = [_microns(unit) for unit in layer.units]
    except ValueError:
        return None
    sides = [abs(scale) * factor for scale, factor in zip(layer.scale, factors, strict=True)]
    return float(np.sqrt(sides[0] * sides[1]))


def _microns(unit: Any) -> float:
    import pint

    try:
        return float((1 * unit).to("micrometer").magnitude)
    except pint.DimensionalityError as error:
        raise ValueError(f"{unit} is not a length") from error


def _levels(layer: Image) -> tuple[Any, ...]:
    return tuple(layer.data) if layer.multiscale else (layer.data,)


def _same_pixels(path: Path, slide: Slide) -> bool:
    """Tell whether a file still holds the pixels that the layer shows, by its size and a sparse sample."""
    from pixelcam.slides import open_slide

    try:
        file = open_slide(path)
    except PixelCAMError:
        return False
    if (file.width, file.height) != (slide.width, slide.height):
        return False
    rows = np.unique(np.linspace(0, slide.height - 1, 16).astype(int))
    return all(
        np.array_equal(file.read((slice(r, r + 1), slice(None))), slide.read((slice(r, r + 1), slice(None))))
        for r in rows
    )
