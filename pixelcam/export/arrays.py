"""A localization as plain arrays: the region as a mask, the map for numpy."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from pixelcam.export.areas import about_map
from pixelcam.export.marks import KEY, Mark, mark_text, replacing

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
        The file cannot be written, or another is in the way.
    """
    path = Path(path)
    mask = localization.region(threshold).astype(np.uint8) * 255
    mark = about_map(localization, threshold)
    with replacing(path, mark) as temporary:
        save_png(temporary, mask, mark)
    return path


def write_map_npz(path: str | Path, localization: Localization) -> Path:
    """Write ``foreground`` (h, w) float32, ``scale`` and ``translate`` as (y, x), and ``mpp`` or NaN.

    Raises
    ------
    OutputError
        The file cannot be written, or another is in the way.
    """
    path = Path(path)
    mpp = np.nan if localization.mpp is None else localization.mpp
    arrays = {
        "foreground": localization.foreground,
        "scale": np.array(localization.scale),
        "translate": np.array(localization.translate),
        "mpp": np.array(mpp),
    }
    mark = about_map(localization)
    with replacing(path, mark) as temporary:
        save_arrays(temporary, arrays, mark)
    return path


def save_png(path: Path, pixels: NDArray[np.uint8], mark: Mark, **options: Any) -> None:
    """Write pixels, (h, w) or (h, w, 3), straight to a PNG file with its mark as a text before them."""
    texts = PngInfo()
    texts.add_text(KEY, mark_text(mark))
    Image.fromarray(pixels).save(path, format="PNG", pnginfo=texts, **options)


def save_arrays(path: Path, arrays: dict[str, NDArray[Any]], mark: Mark) -> None:
    """Write arrays straight to a compressed NPZ file, the mark beside them as a text of its own."""
    with path.open("wb") as file:
        np.savez_compressed(file, allow_pickle=False, **arrays, **{KEY: np.array(mark_text(mark))})
