"""Foreground maps as OME-TIFF, for analysis, and as PNG, for looking at."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import tifffile
from numpy.typing import NDArray

from pixelcam.export.areas import about_map
from pixelcam.export.arrays import save_png
from pixelcam.export.marks import KEY, mark_text, printable, replacing

if TYPE_CHECKING:
    from pixelcam.localize import Localization

PYRAMID_ABOVE = 2048
"""A map longer than this on one side gets coarser levels, down to one that is not."""

_TILE = 256
_CLASSIC_TIFF_BYTES = 3_500_000_000


def write_foreground(path: str | Path, localization: Localization) -> Path:
    """Write the foreground probability as a float32 OME-TIFF.

    One channel named "foreground", deflate compression, the pixel size where the image has one. A map of more
    than 2048 pixels on a side is tiled and carries coarser levels as SubIFDs, each the mean of 2 x 2 pixels.

    Raises
    ------
    OutputError
        The file cannot be written, or another is in the way.
    """
    path = Path(path)
    with replacing(path, about_map(localization)) as temporary:
        save_foreground(temporary, localization)
    return path


def save_foreground(path: Path, localization: Localization) -> None:
    """Write as `write_foreground`, straight to `path`."""
    levels = [np.asarray(localization.foreground, np.float32)]
    while max(levels[-1].shape) > PYRAMID_ABOVE:
        levels.append(halve(levels[-1]))
    metadata: dict[str, Any] = {
        "axes": "YX",
        "Name": printable(localization.image_name),
        "Description": f'{{"{KEY}": {mark_text(about_map(localization))}}}',
        "Channel": {"Name": "foreground"},
    }
    if localization.mpp is not None:
        scale_y, scale_x = localization.scale
        metadata |= {
            "PhysicalSizeX": localization.mpp * scale_x,
            "PhysicalSizeXUnit": "µm",
            "PhysicalSizeY": localization.mpp * scale_y,
            "PhysicalSizeYUnit": "µm",
        }
    options: dict[str, Any] = {"photometric": "minisblack", "compression": "zlib"}
    if max(levels[0].shape) > _TILE:
        options["tile"] = (_TILE, _TILE)
    big = sum(level.nbytes for level in levels) > _CLASSIC_TIFF_BYTES
    with tifffile.TiffWriter(path, ome=True, bigtiff=big) as writer:
        writer.write(levels[0], subifds=len(levels) - 1, metadata=metadata, **options)
        for level in levels[1:]:
            writer.write(level, subfiletype=1, metadata=None, **options)


def halve(values: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the means of 2 x 2 pixels of (h, w); an odd last row or column is repeated before."""
    values = np.pad(values, [(0, size % 2) for size in values.shape], mode="edge")
    height, width = values.shape
    blocks = values.reshape(height // 2, 2, width // 2, 2)
    return np.asarray(blocks.mean(axis=(1, 3), dtype=np.float32))


def write_map_png(path: str | Path, localization: Localization) -> Path:
    """Write the foreground probability as an 8-bit gray PNG, 255 being certain foreground.

    Raises
    ------
    OutputError
        The file cannot be written, or another is in the way.
    """
    path = Path(path)
    gray = np.rint(np.clip(localization.foreground, 0, 1) * 255).astype(np.uint8)
    mark = about_map(localization)
    with replacing(path, mark) as temporary:
        save_png(temporary, gray, mark)
    return path
