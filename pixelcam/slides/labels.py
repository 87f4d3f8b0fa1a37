"""Label images and masks: the values that stand in a file, not the colours that they are shown in."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import tifffile
from numpy.typing import NDArray
from PIL import Image
from tifffile import COMPRESSION, PHOTOMETRIC

from pixelcam.errors import ImageError
from pixelcam.slides.layout import CODECS_TO_RGB, channels_last, count_colours, palette_of
from pixelcam.slides.opening import READABLE, first_bytes, is_tiff
from pixelcam.slides.photos import (
    MAX_PIXELS,
    ORIENTATION,
    is_deep_colour,
    opened_photo,
    shown_size,
    upright,
)
from pixelcam.slides.pixels import cmyk_to_rgb, white_of
from pixelcam.slides.tiffs import (
    check_complete,
    damaged,
    opened_tiff,
    pictures_of,
    read_whole,
    worded,
)

_LOSSY = {COMPRESSION.OJPEG, COMPRESSION.JPEG, COMPRESSION.JPEG_LOSSY}
# A mask that was saved as a JPEG has all shades near the two that were meant.
_BLURRED_DARK, _BLURRED_BRIGHT, _BLURRED_SHARE = 80, 175, 0.1


@dataclass(frozen=True, eq=False)
class LabelImage:
    """What a label image holds.

    Parameters
    ----------
    values
        (h, w) bool or integers; (h, w, 3) where the file holds true colours that are no shades of gray.
    palette
        (entries, 3) uint8 colours that the values are shown in, None where the file has no colour table.
    lossy
        Whether values were changed when the file was saved.
    """

    values: NDArray[Any]
    palette: NDArray[np.uint8] | None = None
    lossy: bool = False


def read_label_image(path: str | Path) -> LabelImage:
    """Read a label image of one picture: PNG, TIFF, BMP, GIF, WebP or JPEG.

    A colour table is not followed: its values are the labels, whatever colour shows them. Opacity is left
    out. What else the image reader honours in a file counts here too: an EXIF or TIFF orientation, white as
    zero (the values are those shown), 16 bits a channel, planes stored apart. Shades of gray in three equal
    channels are one. Decimals count where they are whole numbers.

    Raises
    ------
    ImageError
        The file is missing, truncated, damaged or no image; it is of several pictures; its labels stand in
        its opacity alone; or its values are fractions or no numbers.
    """
    path = Path(path)
    start = first_bytes(path)
    found = _of_tiff(path) if is_tiff(start) else _of_photo(path)
    values = found.values
    if values.dtype.kind == "f":
        values = _whole_numbers(values, path)
    if values.ndim == 3 and (values == values[..., :1]).all():
        values = values[..., 0]
    return LabelImage(np.ascontiguousarray(values), found.palette, found.lossy)


def read_mask(path: str | Path) -> NDArray[np.bool_]:
    """Return the region of a mask, (h, w): where its value is not 0.

    Where no pixel has the value 0, the background is the value that a colour table shows black, if there is
    one. A mask that was saved as a JPEG is divided at half of its brightest shade.

    Raises
    ------
    ImageError
        As for `read_label_image`; and the mask is no two-valued one with a 0 or black, so that nobody can
        tell which of its values or colours is the region.
    """
    found = read_label_image(path)
    if found.lossy:
        return _divided(found.values, Path(path))
    region = (found.values != 0).any(axis=2) if found.values.ndim == 3 else found.values != 0
    if region.all() and found.values.size:
        return _without_zero(found, Path(path))
    return np.asarray(region)


def picture_size(path: str | Path) -> tuple[int, int]:
    """Return the (width, height) of a picture from its header, turned as it is to be shown.

    Of several pictures it is the size of the largest.

    Raises
    ------
    ImageError
        The file is missing, unreadable or no image.
    """
    path = Path(path)
    if is_tiff(first_bytes(path)):
        with opened_tiff(path) as (tiff, close), worded(path):
            picture = max(pictures_of(tiff, path), key=lambda one: one.size[0] * one.size[1])
            orientation = int(picture.series.keyframe.tags.valueof("Orientation", 1))
            size = picture.size
            close()
    else:
        try:
            return shown_size(path)
        except ImageError:
            raise
        except Exception as error:  # Pillow's readers raise whatever they stumble over
            raise ImageError(f"{path} is not an image that can be read; give a {READABLE} file.") from error
    return size[::-1] if orientation in (5, 6, 7, 8) else size


def _of_photo(path: Path) -> LabelImage:
    with opened_photo(path, READABLE) as (image, data):
        if (count := getattr(image, "n_frames", 1)) > 1 and image.format != "MPO":
            raise ImageError(f"{path} holds {count} pictures; save the one that is meant as a PNG.")
        image.load()
        orientation = image.getexif().get(ORIENTATION, 1)
        lossy = image.format in ("JPEG", "MPO") or (image.format == "WEBP" and _is_lossy_webp(data))
        palette = None
        if image.mode in ("P", "PA") and image.palette is not None:
            palette = np.asarray(image.getpalette("RGB"), np.uint8).reshape(-1, 3)
        values = _samples(image, data)
    alpha = None
    if image.mode in ("LA", "PA", "RGBA"):
        values, alpha = values[..., :-1], values[..., -1]
    _refuse_hidden(values, alpha, path)
    values = values[..., 0] if values.ndim == 3 and values.shape[-1] == 1 else values
    return LabelImage(upright(values, orientation), palette, lossy)


def _samples(image: Image.Image, data: bytes) -> NDArray[Any]:
    """Return what stands in a loaded picture, (h, w) or (h, w, channels), opacity as its last channel."""
    if is_deep_colour(data):
        return np.asarray(imagecodecs.png_decode(data))
    if image.mode == "CMYK":
        return cmyk_to_rgb(np.asarray(image))
    if image.mode not in ("1", "L", "P", "LA", "PA", "RGB", "RGBA", "F") and not image.mode.startswith("I"):
        return np.asarray(image.convert("RGB"))
    values = np.asarray(image)
    if image.format == "PNG" and image.mode == "L" and data[24] in (2, 4):
        # Pillow spreads 2 and 4 bits over 8.
        return values // {2: 85, 4: 17}[data[24]]
    return values


def _of_tiff(path: Path) -> LabelImage:
    with opened_tiff(path) as (tiff, close):
        with worded(path):
            pictures = pictures_of(tiff, path)
            if len(pictures) > 1:
                raise ImageError(
                    f"{path} holds {len(pictures)} pictures; save the one that is meant as one image."
                )
            (picture,) = pictures
            width, height = picture.size
            if width * height > MAX_PIXELS:
                raise ImageError(
                    f"{path} has {width} x {height} pixels, more than the {MAX_PIXELS // 10**6} megapixels "
                    "of labels that are read; save it smaller."
                )
            check_complete(tiff, picture.series, path)
            pixels = channels_last(read_whole(picture, path), picture.axes)
            found = _of_samples(pixels, picture.series.keyframe, path)
        close()
    return found


def _of_samples(pixels: NDArray[Any], page: tifffile.TiffPage, path: Path) -> LabelImage:
    """Return what the samples (h, w, channels) of a TIFF page mean."""
    colour = PHOTOMETRIC(page.photometric)
    if colour == PHOTOMETRIC.MINISBLACK and pixels.shape[-1] >= 3:
        colour = PHOTOMETRIC.RGB
    colours = count_colours(colour)
    if pixels.shape[-1] < colours:
        raise ImageError(damaged(path))
    values, extra = pixels[..., :colours], pixels[..., colours:]
    _refuse_hidden(values, extra[..., -1] if extra.size else None, path)
    palette = palette_of(page, str(path)) if colour == PHOTOMETRIC.PALETTE else None
    if colour == PHOTOMETRIC.MINISWHITE:
        white = 2**page.bitspersample - 1 if page.bitspersample < 8 else int(white_of(values, str(path)))
        values = ~values if values.dtype.kind == "b" else white - values
    if colour == PHOTOMETRIC.SEPARATED and values.dtype == np.uint8:
        values = cmyk_to_rgb(values)
    lossy = page.compression in _LOSSY and page.compression in CODECS_TO_RGB
    values = values[..., 0] if values.shape[-1] == 1 else values
    return LabelImage(upright(values, int(page.tags.valueof("Orientation", 1))), palette, lossy)


def _is_lossy_webp(data: bytes) -> bool:
    """Tell by the kind of its first picture; format: https://developers.google.com/speed/webp/docs/riff_container."""
    at = 12
    while at + 8 <= len(data):
        if data[at : at + 4] in (b"VP8 ", b"VP8L"):
            return data[at : at + 4] == b"VP8 "
        size = int.from_bytes(data[at + 4 : at + 8], "little")
        at += 8 + size + size % 2
    return False


def _refuse_hidden(values: NDArray[Any], alpha: NDArray[Any] | None, path: Path) -> None:
    """Refuse labels that only the opacity tells: every pixel has one value, and some are hidden."""
    if alpha is not None and values.size and alpha.min() != alpha.max() and _is_one_value(values):
        raise ImageError(
            f"{path} has one value in all pixels, and a shape in its opacity alone; save the labels as gray "
            "values."
        )


def _is_one_value(values: NDArray[Any]) -> bool:
    first = values[0, 0]
    return bool((values == first).all())


def _whole_numbers(values: NDArray[Any], path: Path) -> NDArray[np.int64]:
    whole = np.isfinite(values) & (values == np.round(values)) & (np.abs(values) < 2**53)
    if not whole.all():
        raise ImageError(
            f"{path} is no label image: its pixels are fractions; export the labels as integers."
        )
    return values.astype(np.int64)


def _divided(values: NDArray[Any], path: Path) -> NDArray[np.bool_]:
    """Return the bright part of a picture that should have two shades and has all near them."""
    bright = values.max(axis=2) if values.ndim == 3 else values
    top = int(bright.max())
    between = float(((bright > _BLURRED_DARK * top / 255) & (bright < _BLURRED_BRIGHT * top / 255)).mean())
    if 0 < top < _BLURRED_BRIGHT or between > _BLURRED_SHARE:
        raise ImageError(
            f"{path} is a JPEG whose shades are not two, so that its region cannot be told; save the mask as "
            "a PNG."
        )
    return np.asarray(bright > top / 2) if top else np.zeros(bright.shape, bool)


def _without_zero(found: LabelImage, path: Path) -> NDArray[np.bool_]:
    """Return the region of a mask that has no 0: all of it where it has one value."""
    values = found.values
    present = (
        np.unique(values.reshape(-1, values.shape[2]), axis=0) if values.ndim == 3 else np.unique(values)
    )
    if len(present) == 1:
        return np.ones(values.shape[:2], bool)
    if found.palette is not None:
        black = [value for value in present if value < len(found.palette) and not found.palette[value].any()]
        if black:
            return np.asarray(~np.isin(values, black))
    what = "colours and none of them is black" if values.ndim == 3 else "values and none of them is 0"
    raise ImageError(
        f"{path} has {len(present)} {what}, so that its region cannot be told; save the mask with 0 outside "
        "of it."
    )
