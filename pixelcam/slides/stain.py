"""Whether an image looks like stained tissue in bright light at all, told by its pixels."""

from __future__ import annotations

from itertools import product

import numpy as np
from numpy.typing import NDArray

from pixelcam.slides.slide import Slide

# Found on GlaS, 150 images of EBHI-SEG and as many lung crops, lung, prostate, CAMELYON17 and three slides,
# two fluorescence slides, and gray and inverted copies of the former. The lightest hundredth of H&E has at
# least 141 in all channels (fluorescence 3 to 18); of its coloured pixels at least 64 % have least green (of
# inverted ones none); at most 6 % of it is dark; and the chroma of its tenth of strongest colours reaches 50
# (gray copies 0). On the 1,645 other images of EBHI-SEG and 172 other crops it gives no alarm.
_BRIGHT = 90
_DARK, _DARK_SHARE = 50, 0.5
_PALE, _GROUND_SHARE = 180, 0.12
_COLOURED, _COLOURS_SHARE = 15, 0.001
_GREENEST_SHARE = 0.5
_CONTRAST, _CONTRAST_SHARE = 12, 0.002
_SIDE = 384
_WINDOWS, _WINDOW = 6, 64
_WHOLE = 16_000_000

_BEWARE = "do not rely on its class or its map"


def stain_caution(slide: Slide) -> str:
    """Return a sentence for people where an image is no stained tissue in bright light, else "".

    Told are an image that is blank; one without colours; one on a dark ground, as fluorescence is; and one in
    the colours of a negative. Brown stains (DAB) on a bright ground are stained tissue like H&E and pass.

    Raises
    ------
    ImageError
        The file is damaged where it is read.
    """
    pixels = _overview(slide).reshape(-1, 3).astype(np.int16)
    brightest, least = pixels.max(axis=1), pixels.min(axis=1)
    chroma = brightest - least
    middle = np.median(pixels, axis=0)
    if (np.abs(pixels - middle).max(axis=1) > _CONTRAST).mean() < _CONTRAST_SHARE:
        return f"The image is blank, all of one shade: {_BEWARE}."
    ground, lightest = (brightest < _DARK).mean(), np.percentile(least, 99)
    if lightest < _BRIGHT or ground > _DARK_SHARE or (lightest < _PALE and ground > _GROUND_SHARE):
        return f"The image has a dark ground, as fluorescence has, and is no H&E: {_BEWARE}."
    coloured = chroma > _COLOURED
    if coloured.mean() < _COLOURS_SHARE:
        return f"The image has no colours, so it is no H&E: {_BEWARE}."
    red, green, blue = pixels[coloured].T
    if (green >= np.maximum(red, blue)).mean() > _GREENEST_SHARE:
        return f"The image has the colours of a negative, and is no H&E: {_BEWARE}."
    return ""


def _overview(slide: Slide) -> NDArray[np.uint8]:
    """Return some hundred pixels a side from all over a slide, whatever its size."""
    level = len(slide.levels) - 1
    height, width = slide.levels[level].shape[:2]
    if height * width <= _WHOLE or isinstance(slide.levels[level], np.ndarray):
        step = max(1, max(height, width) // _SIDE)
        return np.asarray(slide.levels[level][::step, ::step])
    starts = [
        [int(place * max(0, side - _WINDOW) / (_WINDOWS - 1)) for place in range(_WINDOWS)]
        for side in (height, width)
    ]
    parts = [
        slide.read((slice(row, row + _WINDOW), slice(column, column + _WINDOW)), level)
        for row, column in product(*starts)
    ]
    return np.concatenate([part.reshape(-1, 3) for part in parts])
