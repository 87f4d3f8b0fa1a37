"""The first map that a model made of an image, kept small, so that a report shows what learning changed."""

from __future__ import annotations

import io
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from pixelcam.errors import OutputError
from pixelcam.export.atomic import write_bytes
from pixelcam.localize.localization import ModelRef
from pixelcam.review.seedstore import image_part

SIDE = 320
"""Longest side in pixels."""
_KEY = "map"


@dataclass(frozen=True, eq=False)
class FirstMap:
    """What the first model said of where.

    Attributes
    ----------
    foreground
        (h, w) float32 in [0, 1], in steps of 1/255; it covers the whole image, at most `SIDE` pixels a side.
    threshold
        The model's own.
    model
        Which one.
    """

    foreground: NDArray[np.float32]
    threshold: float
    model: ModelRef


def first_map_path(project: Path, image: int) -> Path:
    """Return where the first map of an image is kept."""
    return image_part(project, image, "first-map.png")


def keep_first_map(path: Path, foreground: NDArray[np.float32], name: str) -> None:
    """Write a map (h, w) in small, as 8-bit PNG, where it can be written; it is a convenience.

    Parameters
    ----------
    path
        The file.
    foreground
        In [0, 1].
    name
        Which map of the project it is, for there may be others of the image by the time it is read.
    """
    image = Image.fromarray(np.rint(255 * np.clip(foreground, 0, 1)).astype(np.uint8))
    image.thumbnail((SIDE, SIDE), Image.Resampling.BOX)
    said, stream = PngInfo(), io.BytesIO()
    said.add_text(_KEY, name)
    image.save(stream, format="PNG", pnginfo=said)
    with suppress(OutputError):
        write_bytes(path, stream.getvalue())


def read_first_map(path: Path, name: str) -> NDArray[np.float32] | None:
    """Return a map as it was kept, None where there is none of this name that can be read."""
    try:
        with Image.open(path, formats=["PNG"]) as image:
            if image.info.get(_KEY) != name or max(image.size) > SIDE:
                return None
            return np.asarray(image.convert("L"), np.float32) / np.float32(255)
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        return None
