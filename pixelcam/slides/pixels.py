"""Pixels of any sort - gray, alpha, 16-bit, CMYK, float - as 8-bit RGB."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from pixelcam.errors import ImageError

Alpha = Literal["straight", "premultiplied"]

# Interpolation overshoots by a little; anything more means that the range is another one.
_OVERSHOOT = 1e-3


def white_of_integers(maximum: int) -> int:
    """Return the value that stands for white in integers whose depth nobody states.

    Cameras store 10, 12 or 14 bits in 16. The background of a bright-field image is close to white, so the
    smallest of the usual depths (8, 10, 12, 14, 16 bits) that holds the largest value is taken for the depth.

    Parameters
    ----------
    maximum
        The largest value of the image.
    """
    return next(2**bits - 1 for bits in (8, 10, 12, 14, 16) if maximum < 2**bits)


def white_of(pixels: NDArray[Any], subject: str) -> float:
    """Return the value of `pixels` that stands for white.

    Parameters
    ----------
    pixels
        Any shape; bool, integers or floats.
    subject
        What the error is about, e.g. the file.

    Raises
    ------
    ImageError
        Negative values, values past 16 bits, floats outside [0, 1], NaN, infinity, or no real numbers.
    """
    kind = pixels.dtype.kind
    if kind == "b":
        return 1.0
    if kind == "f":
        check_floats(pixels, subject)
        return 1.0
    if kind not in "ui":
        raise ImageError(
            f"{subject} holds values of type {pixels.dtype}, which is no image; save it as 8-bit RGB."
        )
    if pixels.dtype == np.uint8:
        return 255.0
    low, high = int(pixels.min()), int(pixels.max())
    if low < 0 or high > 65535:
        raise ImageError(f"{subject} holds values from {low} to {high}; scale them to 8 or 16 bits first.")
    return float(white_of_integers(high))


def check_floats(pixels: NDArray[Any], subject: str) -> None:
    """Raise `ImageError` unless all of the float `pixels` are finite and in [0, 1]."""
    if not np.isfinite(pixels).all():
        count = int(pixels.size - np.isfinite(pixels).sum())
        raise ImageError(f"{subject} holds {count} NaN or infinite values; replace them by numbers first.")
    low, high = float(pixels.min()), float(pixels.max())
    if low < -_OVERSHOOT or high > 1 + _OVERSHOOT:
        raise ImageError(
            f"{subject} holds decimal values from {low:.4g} to {high:.4g}; scale them to 0 to 1 first."
        )


def to_uint8(pixels: NDArray[Any], white: float) -> NDArray[np.uint8]:
    """Scale values from [0, white] to [0, 255], rounded; of any shape."""
    if pixels.dtype == np.uint8 and white == 255:
        return pixels
    scaled = pixels.astype(np.float32)
    scaled *= np.float32(255 / white)
    scaled += np.float32(0.5)
    return np.clip(scaled, 0, 255, out=scaled).astype(np.uint8)


def hides_all(alpha: NDArray[Any]) -> bool:
    """Tell whether an opacity would hide the whole picture: then it is none, but an empty or another channel.

    Values up to 2 of integers, and up to a hundredth of decimals, show nothing to anybody.
    """
    return bool(alpha.size) and bool(alpha.max() <= {"b": 0, "f": 0.01}.get(alpha.dtype.kind, 2))


def on_white(
    colour: NDArray[np.uint8], alpha: NDArray[np.uint8], kind: Alpha = "straight"
) -> NDArray[np.uint8]:
    """Lay pixels on a white page.

    Parameters
    ----------
    colour
        (h, w, c).
    alpha
        (h, w); 255 is opaque.
    kind
        Whether `colour` was multiplied by alpha before it was stored.

    Returns
    -------
    NDArray[uint8]
        (h, w, c).
    """
    if bool((alpha == 255).all()):
        return colour
    opaque = alpha[..., np.newaxis].astype(np.float32) / 255
    paint = colour.astype(np.float32)
    if kind == "straight":
        paint *= opaque
    paint += 255 * (1 - opaque) + 0.5
    return np.clip(paint, 0, 255).astype(np.uint8)


def cmyk_to_rgb(inks: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Convert (h, w, 4) inks, 255 being full ink, to RGB without a colour profile."""
    paper = 255 - inks.astype(np.uint32)
    return ((paper[..., :3] * paper[..., 3:] + 127) // 255).astype(np.uint8)


def ycbcr_to_rgb(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Convert full-range YCbCr (ITU-R BT.601, as in JFIF), (h, w, 3), to RGB."""
    luma, blue, red = (pixels[..., i].astype(np.float32) for i in range(3))
    blue -= 128
    red -= 128
    rgb = np.stack(
        [luma + 1.402 * red, luma - 0.344136 * blue - 0.714136 * red, luma + 1.772 * blue], axis=-1
    )
    return np.clip(rgb + 0.5, 0, 255).astype(np.uint8)


def gray_to_rgb(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Repeat (h, w) or (h, w, 1) to (h, w, 3)."""
    if pixels.ndim == 2:
        pixels = pixels[..., np.newaxis]
    return np.repeat(pixels, 3, axis=-1)


def array_to_rgb(array: NDArray[Any], subject: str) -> NDArray[np.uint8]:
    """Convert an array of unstated meaning to (h, w, 3) RGB; see `Slide.from_array` for what it may be."""
    if array.size == 0:
        raise ImageError(f"{subject} is empty (shape {array.shape}); an image has at least one pixel.")
    if array.ndim == 3 and array.shape[0] == 3 and array.shape[-1] not in (1, 3, 4):
        array = np.moveaxis(array, 0, -1)
    if array.ndim not in (2, 3):
        raise ImageError(
            f"{subject} has {array.ndim} dimensions; one image of shape (height, width, 3) is needed."
        )
    channels = 1 if array.ndim == 2 else array.shape[-1]
    if channels not in (1, 3, 4):
        raise ImageError(f"{subject} has {channels} channels; gray, RGB or RGBA is needed.")
    colour = array[..., :3] if channels == 4 else array
    pixels = to_uint8(colour, white_of(colour, subject))
    if channels == 4:
        # Opacity may use the whole range of its type where a camera's colour uses 12 bits of it.
        alpha = array[..., 3]
        if not hides_all(alpha):
            pixels = on_white(pixels, to_uint8(alpha, white_of(alpha, subject)))
    return np.ascontiguousarray(pixels if channels >= 3 else gray_to_rgb(pixels))
