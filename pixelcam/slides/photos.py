"""Images that are read whole: PNG, JPEG, WebP, BMP, GIF, JPEG 2000."""

from __future__ import annotations

import io
import re
import threading
import warnings
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFile, UnidentifiedImageError

from pixelcam.errors import ImageError, PixelCAMError, SeveralPicturesError
from pixelcam.limits import check_memory, file_bytes, webp_size
from pixelcam.slides.pixels import cmyk_to_rgb, hides_all, on_white, to_uint8, white_of

MAX_PIXELS = 400_000_000
"""The largest image read whole: 20,000 x 20,000 pixels, 1.2 GB as RGB."""

# Named at every opening, so that Pillow tries no format that runs an outside program, as EPS does.
Image.init()
PHOTO_FORMATS: list[str] = [
    name for name in ("PNG", "JPEG", "WEBP", "BMP", "GIF", "JPEG2000", "PPM") if name in Image.OPEN
]
"""Pillow's names of the formats that are read, without TIFF."""
FORMATS_AND_TIFF: list[str] = [*PHOTO_FORMATS, "TIFF"]
"""Those, and TIFF, where Pillow reads it too."""
_SAVE_AS_TIFF = "save it as a tiled, pyramidal TIFF"
_SMALLER = "give a smaller one, or free some memory"
_BAND = 4_000_000  # pixels that are converted at a time
_STORED = {"1": 1, "L": 1, "P": 1, "I;16": 2, "I;16B": 2, "I;16L": 2}
# What the decoders take beside the picture, in bytes a pixel: the coefficients of a progressive JPEG, the
# canvases of an animation, the 32-bit components of JPEG 2000.
_DECODING = {"JPEG": 6, "MPO": 6, "WEBP": 8, "GIF": 2, "JPEG2000": 20}
_AS_RGB = 3
_TURNING = (b"eXIf", b"XML:com.adobe.xmp", b"Raw profile type exif")  # where a PNG tells of it
_PNG_START = b"\x89PNG\r\n\x1a\n"
_PNG_END = b"\0\0\0\0IEND\xaeB`\x82"
_ADAM7 = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))
_INFLATED = 2**20  # bytes of rows that are unpacked at a time
_JPEG_START = b"\xff\xd8"
_JPEG_MARKER = re.compile(rb"\xff[^\x00\xff\xd0-\xd7]")  # none that belongs to the coded picture
_JPEG_END = 0xD9
ORIENTATION = 0x0112
"""The tag by which EXIF and TIFF say how an image is turned."""
_pillow_lock = threading.Lock()


@dataclass(frozen=True, eq=False)
class Photo:
    """One picture of a file that is read whole.

    Parameters
    ----------
    pixels
        (h, w, 3) RGB.
    series, count
        Which picture of the file this is, from 1, of how many.
    hidden
        Whether the file's opacity would hide all of it, and was left out.
    default
        The picture that is taken where none is asked for, 0 for none.
    """

    pixels: NDArray[np.uint8]
    series: int = 1
    count: int = 1
    hidden: bool = False
    default: int = 1


def open_photo(path: Path, readable: str, series: int | None = None) -> Photo:
    """Read a picture of a non-TIFF image as (h, w, 3) RGB.

    Parameters
    ----------
    path
        The file.
    readable
        The formats that people may give, for the message about a file that is none of them.
    series
        Which picture of several, from 1; None for the only one, or the first of a phone's JPEG.

    Raises
    ------
    ImageError
        The file is no image, truncated, damaged, larger than `MAX_PIXELS`, has no such picture, or is an
        animation of which none is chosen.
    """
    with opened_photo(path, readable) as (image, data):
        count = getattr(image, "n_frames", 1)
        _choose_frame(image, path, count, series)
        image.load()
        pixels, hidden = _to_rgb(image, data, str(path))
        return Photo(pixels, series or 1, count, hidden, 1 if count == 1 or image.format == "MPO" else 0)


@contextmanager
def opened_photo(path: Path, readable: str) -> Iterator[tuple[Image.Image, bytes]]:
    """Open a non-TIFF image whose size is checked, and give its bytes too; no pixel is decoded yet.

    Raises
    ------
    ImageError
        As for `open_photo`, also for what goes wrong inside of the block; or it is larger than memory allows.
    """
    check_memory(
        2 * file_bytes(path),
        f"{path} is a very large file for an image of one piece",
        _SAVE_AS_TIFF,
        ImageError,
    )
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ImageError(f"{path} cannot be read: {(error.strerror or str(error)).lower()}.") from error
    if _ends_early(data):
        raise ImageError(_damaged(path))
    _check_webp(data, path)
    with pillow_as_needed():
        try:
            with Image.open(io.BytesIO(data), formats=PHOTO_FORMATS) as image:
                _refuse_pixels(*image.size, path)
                _check_cost(image, data, path)
                if image.format == "PNG" and _png_lacks_rows(data):
                    raise ImageError(_damaged(path))
                yield image, data
        except UnidentifiedImageError as error:
            if data.startswith((_PNG_START, _JPEG_START)):
                raise ImageError(_damaged(path)) from error
            raise ImageError(f"{path} is not an image that can be read; give a {readable} file.") from error
        except PixelCAMError:
            raise
        except MemoryError as error:
            raise ImageError(f"{path} does not fit into memory; save it as a pyramidal TIFF.") from error
        except Exception as error:  # Pillow's decoders raise whatever they stumble over
            raise ImageError(_damaged(path)) from error


def _damaged(path: Path) -> str:
    return f"{path} is truncated or damaged; copy it again from its source."


@contextmanager
def pillow_as_needed() -> Iterator[None]:
    """Let Pillow open large images and refuse truncated ones, whatever the rest of the process has set.

    `MAX_PIXELS` replaces Pillow's own limit, which is too low for a scan. A plugin that has switched
    `LOAD_TRUNCATED_IMAGES` on would otherwise give gray where the file ends early.
    """
    with _pillow_lock, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        before = Image.MAX_IMAGE_PIXELS, ImageFile.LOAD_TRUNCATED_IMAGES
        Image.MAX_IMAGE_PIXELS, ImageFile.LOAD_TRUNCATED_IMAGES = None, False
        try:
            yield
        finally:
            Image.MAX_IMAGE_PIXELS, ImageFile.LOAD_TRUNCATED_IMAGES = before


def _ends_early(data: bytes) -> bool:
    """Tell whether a PNG or JPEG lacks its end mark, which decoders forgive."""
    if data.startswith(_PNG_START):
        return _PNG_END not in data
    if data.startswith(_JPEG_START):
        return not _jpeg_ends(data)
    return False


def _jpeg_ends(data: bytes) -> bool:
    """Return whether a JPEG's own end is there, whatever follows it, such as a phone's film."""
    place = len(_JPEG_START)
    while (marker := _JPEG_MARKER.search(data, place)) is not None:
        place = marker.end()
        if data[place - 1] == _JPEG_END:
            return True
        place += max(int.from_bytes(data[place : place + 2], "big"), 2)
    return False


def _png_lacks_rows(data: bytes) -> bool:
    """Return whether a PNG's stream ends before its last row, which decoders leave black without a word."""
    width, height, bits, colour, interlaced = (
        int.from_bytes(data[first:last], "big")
        for first, last in ((16, 20), (20, 24), (24, 25), (25, 26), (28, 29))
    )
    samples = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}.get(colour, 1)
    passes = _ADAM7 if interlaced else ((0, 0, 1, 1),)
    missing = 0
    for left, top, across, down in passes:
        columns, rows = -(-(width - left) // across), -(-(height - top) // down)
        if columns > 0 and rows > 0:
            missing += rows * (1 + (columns * bits * samples + 7) // 8)  # each begins with its filter
    stream = zlib.decompressobj()
    for packed in _png_pieces(data):
        while packed and not stream.eof and missing > 0:
            missing -= len(stream.decompress(packed, _INFLATED))
            packed = stream.unconsumed_tail
    return missing > len(stream.flush())  # of what it was given, zlib holds back less than a match


def _png_pieces(data: bytes) -> Iterator[bytes]:
    """Yield the pieces of a PNG's packed rows."""
    place = len(_PNG_START)
    while place + 12 <= len(data):
        size = int.from_bytes(data[place : place + 4], "big")
        if data[place + 4 : place + 8] == b"IDAT":
            yield data[place + 8 : place + 8 + size]
        place += 12 + size


def _refuse_pixels(width: int, height: int, path: Path | str) -> None:
    """Refuse what is too large, before any pixel is decoded."""
    if width * height > MAX_PIXELS:
        raise ImageError(
            f"{path} has {width} x {height} pixels, more than the {MAX_PIXELS // 10**6} megapixels that "
            f"are read whole; {_SAVE_AS_TIFF}."
        )


def open_picture(source: Path | bytes, subject: str, formats: Sequence[str] = ("PNG",)) -> Image.Image:
    """Open a picture of ours, or a label image, for decoding as it is; a context manager, as Pillow's own.

    Call it, and decode, within `pillow_as_needed`.

    Parameters
    ----------
    source
        The file, or its bytes.
    subject
        What to call it.
    formats
        Pillow's names of those that it may have.

    Raises
    ------
    ImageError
        It is larger than `MAX_PIXELS`, or than memory allows.
    OSError, ValueError, SyntaxError
        It is none of these, or damaged.
    """
    if "WEBP" in formats and isinstance(source, Path):
        with source.open("rb") as file:
            _check_webp(file.read(64), subject)
    image = Image.open(io.BytesIO(source) if isinstance(source, bytes) else source, formats=[*formats])
    try:
        _refuse_pixels(*image.size, subject)
        pixels = image.width * image.height
        cost = 2 * _STORED.get(image.mode, 4) + _AS_RGB + _DECODING.get(image.format or "", 0)
        check_memory(
            pixels * cost, f"{subject} has {image.width} x {image.height} pixels", _SMALLER, ImageError
        )
    except ImageError:
        image.close()
        raise
    return image


def _check_webp(data: bytes, path: Path | str) -> None:
    """Refuse a WebP whose canvas is too large, which Pillow makes before it tells its size."""
    width, height = webp_size(data)
    _refuse_pixels(width, height, path)
    needed = len(data) + width * height * (_DECODING["WEBP"] + 4 + _AS_RGB)
    check_memory(needed, f"{path} has {width} x {height} pixels", _SAVE_AS_TIFF, ImageError)


def _check_cost(image: Image.Image, data: bytes, path: Path) -> None:
    """Refuse an image whose reading takes more memory than can be had."""
    stored = _STORED.get(image.mode, 4)
    cost = stored + _AS_RGB
    if is_deep_colour(data):
        cost += 2 * {2: 3, 4: 2, 6: 4}[data[25]]
    elif image.mode.startswith("I") or image.mode == "F":
        cost += stored
    cost += 0 if image.format == "JPEG" and not image.info.get("progressive") else _decoding(image)
    if _may_be_turned(image, data):
        cost += _AS_RGB
    pixels = image.width * image.height
    band = max(image.width, min(pixels, _BAND))
    needed = len(data) + pixels * cost + 40 * band
    check_memory(needed, f"{path} has {image.width} x {image.height} pixels", _SAVE_AS_TIFF, ImageError)


def _decoding(image: Image.Image) -> int:
    return _DECODING.get(image.format or "", 0)


def _may_be_turned(image: Image.Image, data: bytes) -> bool:
    """Tell whether an image may be turned; Pillow would decode a PNG to look behind its pixels."""
    if image.format == "PNG" and "exif" not in image.info:
        return any(word in data for word in _TURNING)
    return bool(image.getexif().get(ORIENTATION, 1) != 1)


def shown_size(path: Path) -> tuple[int, int]:
    """Return the (width, height) of a non-TIFF image, turned as it is to be shown, from its header.

    Raises
    ------
    Exception
        It is none: whatever Pillow's readers stumble over.
    """
    with path.open("rb") as file:
        _check_webp(file.read(64), path)
    with pillow_as_needed(), Image.open(path, formats=PHOTO_FORMATS) as image:
        size = image.size
        # Not decoded: how large it is does not matter.
        if image.format == "PNG" and "exif" not in image.info:
            data = path.read_bytes()
            if not _may_be_turned(image, data):
                return size
            _check_cost(image, data, path)
        turned = image.getexif().get(ORIENTATION, 1) in (5, 6, 7, 8)
    return size[::-1] if turned else size


def _choose_frame(image: Image.Image, path: Path, count: int, series: int | None) -> None:
    # The further pictures of a phone's JPEG (MPO) are previews and views of the first.
    if series is None and count > 1 and image.format != "MPO":
        raise SeveralPicturesError(
            f"{path} is an animation of {count} pictures; choose one by its number, 1 to {count} (--series), "
            "or save the one that is meant as a PNG."
        )
    if series is not None:
        check_series(path, series, count)
        image.seek(series - 1)


def check_series(path: Path, series: int, count: int) -> None:
    """Raise `ImageError` where a file of `count` pictures has none of the number `series`, from 1."""
    if not 1 <= series <= count:
        holds = "one picture, number 1" if count == 1 else f"{count} pictures, numbered from 1 to {count}"
        raise ImageError(f"{path} has no picture {series}: it holds {holds}.")


def _to_rgb(image: Image.Image, data: bytes, subject: str) -> tuple[NDArray[np.uint8], bool]:
    """Convert a loaded Pillow image to (h, w, 3), upright; and tell whether its opacity hides all of it."""
    orientation = image.getexif().get(ORIENTATION, 1)
    if is_deep_colour(data):
        # Pillow would keep the upper byte of each sample, which is black for 12 bits in 16.
        deep = imagecodecs.png_decode(data)
        hidden = deep.shape[-1] in (2, 4) and hides_all(deep[..., -1])
        return upright(_deep_to_rgb(deep[..., :-1] if hidden else deep, subject), orientation), hidden
    if image.mode.startswith("I") or image.mode == "F":
        return upright(_deep_to_rgb(np.asarray(image), subject), orientation), False
    hidden = image.has_transparency_data and all(
        hides_all(np.asarray(band.convert("RGBA"))[..., 3]) for _, band in _bands(image)
    )
    rgb = np.empty((image.height, image.width, 3), np.uint8)
    for top, band in _bands(image):
        rgb[top : top + band.height] = _band_to_rgb(band, image.has_transparency_data and not hidden)
    return upright(rgb, orientation), hidden


def _bands(image: Image.Image) -> Iterator[tuple[int, Image.Image]]:
    """Yield some rows of an image at a time, with the first one's number: whole, it would be copied."""
    for rows in _row_bands(image.width, image.height):
        yield rows.start, image.crop((0, rows.start, image.width, rows.stop))


def _row_bands(width: int, height: int) -> Iterator[slice]:
    step = max(1, _BAND // width)
    return (slice(top, min(height, top + step)) for top in range(0, height, step))


def _band_to_rgb(band: Image.Image, transparent: bool) -> NDArray[np.uint8]:
    """Convert some rows (h, w) of 8 bits a sample to (h, w, 3)."""
    if band.mode == "CMYK":
        return cmyk_to_rgb(np.asarray(band))
    if not transparent:
        return np.asarray((band.convert("RGBA") if band.has_transparency_data else band).convert("RGB"))
    pixels = np.asarray(band.convert("RGBA"))
    return on_white(pixels[..., :3], pixels[..., 3])


def is_deep_colour(data: bytes) -> bool:
    """Tell whether `data` is a PNG of 16 bits a sample in more than one channel."""
    return data.startswith(_PNG_START) and data[24] == 16 and data[25] in (2, 4, 6)


def _deep_to_rgb(pixels: NDArray[Any], subject: str) -> NDArray[np.uint8]:
    """Convert (h, w), or (h, w, 1 | 2 | 3 | 4) uint16, to RGB, band by band as above."""
    pixels = pixels[..., np.newaxis] if pixels.ndim == 2 else pixels
    transparent = pixels.shape[-1] in (2, 4)
    colour = pixels[..., :-1] if transparent else pixels
    white = white_of(colour, subject)
    # Opacity may use all of 16 bits where the colour uses 12 of them.
    opaque = 65535.0 if pixels.shape[-1] == 2 else white_of(pixels[..., -1], subject) if transparent else 1.0
    rgb = np.empty((*pixels.shape[:2], 3), np.uint8)
    for rows in _row_bands(pixels.shape[1], pixels.shape[0]):
        band = to_uint8(colour[rows], white)
        rgb[rows] = on_white(band, to_uint8(pixels[rows][..., -1], opaque)) if transparent else band
    return rgb


def upright(pixels: NDArray[Any], orientation: int) -> NDArray[Any]:
    """Turn (h, w) or (h, w, c) pixels as the EXIF or TIFF orientation tag (1 to 8) says."""
    if orientation in (5, 6, 7, 8):
        pixels = pixels.swapaxes(0, 1)
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    return np.ascontiguousarray(pixels)
