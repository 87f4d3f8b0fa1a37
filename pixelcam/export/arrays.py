"""A localization as plain arrays: the region as a mask, the map for numpy."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from pixelcam.export.atomic import atomic_path

if TYPE_CHECKING:
    from pixelcam.localize import Localization


def write_mask_png(path: str | Path, localization: Localization, threshold: float | None = None) -> Path:
    """Write where the foreground probability reaches a threshold, as an 8-bit gray PNG of 0 and 255.

    Parameters
    ----------
    path
        The file to write; its pixels are the map's.
    localization
        The map.
    threshold
        Between 0 and 1; the localization's own where None.

    Raises
    ------
    OutputError
        The file cannot be written.
    """
    path = Path(path)
    mask = localization.region(threshold).astype(np.uint8) * 255
    with atomic_path(path) as temporary:
        Image.fromarray(mask).save(temporary, format="PNG")
    return path


def write_map_npz(path: str | Path, localization: Localization) -> Path:
    """Write ``foreground`` (h, w) float32, ``scale`` and ``translate`` as (y, x), and ``mpp`` or NaN.

    Raises
    ------
    OutputError
        The file cannot be written.
    """
    path = Path(path)
    mpp = np.nan if localization.mpp is None else localization.mpp
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        np.savez_compressed(
            file,
            foreground=localization.foreground,
            scale=np.array(localization.scale),
            translate=np.array(localization.translate),
            mpp=np.array(mpp),
        )
    return path
