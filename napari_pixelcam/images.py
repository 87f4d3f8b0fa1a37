"""From a napari image layer to the `Slide` that the core works on."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from pixelcam.errors import ImageError, PixelCAMError

if TYPE_CHECKING:
    from napari.layers import Image

    from pixelcam.slides import Slide

KEY = "pixelcam"
"""Where in a layer's metadata the plugin keeps what it knows of it."""


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
    """

    name: str
    levels: tuple[Any, ...]
    rgb: bool
    path: Path | None
    mpp: float | None
    slide: Slide | None = None

    def is_of(self, layer: Image) -> bool:
        """Return whether the layer still shows the same arrays."""
        now = _levels(layer)
        return len(now) == len(self.levels) and all(a is b for a, b in zip(now, self.levels, strict=True))


def source_of(layer: Image) -> LayerSource:
    """Take what a slide needs from a layer.

    Raises
    ------
    ImageError
        The layer is not one plain two-dimensional image.
    """
    if layer.ndim != 2:
        raise ImageError(
            f"{layer.name!r} has {layer.ndim} dimensions; choose a single two-dimensional image, "
            "splitting the stack first."
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
    )


def slide_of(source: LayerSource) -> Slide:
    """Return the slide of a layer's arrays; reads the file that it may have come from, so may take a while.

    Raises
    ------
    ImageError
        The arrays are not an RGB or gray image.
    """
    from pixelcam.slides import Slide

    if source.slide is not None:
        return source.slide
    finest = source.levels[0]
    lazy = not isinstance(finest, np.ndarray) or len(source.levels) > 1
    if lazy and source.rgb and finest.dtype == np.uint8 and finest.shape[-1] == 3:
        return Slide(name=source.name, path=None, levels=source.levels, mpp=source.mpp)
    slide = Slide.from_array(np.asarray(finest), name=source.name, mpp=source.mpp)
    path = source.path
    if path is not None and _same_pixels(path, slide):
        return Slide.from_array(np.asarray(finest), name=path.stem, mpp=source.mpp, path=path)
    return slide


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
