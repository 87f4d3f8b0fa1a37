"""Read a sample's image and mask in the form that training and evaluation take."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from pixelcam.datasets.base import Sample
from pixelcam.errors import DatasetError, ImageError
from pixelcam.slides import open_slide
from pixelcam.slides.labels import picture_size, read_mask
from pixelcam.slides.photos import FORMATS_AND_TIFF, open_picture, pillow_as_needed

IGNORE = 255
"""Mask value of pixels that count neither as foreground nor as background."""

IMAGE_SUFFIXES = (".bmp", ".png", ".tif", ".tiff", ".webp", ".jpg", ".jpeg")
"""Suffixes read as images; of several files with one stem the lossless ones, first in this order, win."""

_PLAIN_MODES = frozenset({"RGB", "L", "P", "1"})
_EXIF_ORIENTATION = 0x0112
_TIFF_CHANNELS = 277
_SAME_SHAPE = 0.05  # by how much of its side a mask's shape may differ from its image's, for rounded sizes


def load_image(sample: Sample, size: int | None = None) -> NDArray[np.uint8]:
    """Return the image of a sample.

    Parameters
    ----------
    sample
        Which image.
    size
        Side in pixels of the square that the image is resized to, bilinearly and regardless of its
        aspect ratio, as the evaluation protocol of weakly supervised localization does; None keeps the
        image's own size.

    Returns
    -------
    ndarray of uint8, (size, size, 3) or (height, width, 3)
        Red, green and blue.

    Raises
    ------
    ImageError
        The file is missing, unreadable, truncated or no image.
    """
    image = _open_rgb(sample.image)
    if size is not None and image.size != (size, size):
        image = image.resize((size, size), Image.Resampling.BILINEAR)
    return np.array(image)


def load_mask(sample: Sample, size: int | tuple[int, int] | None = None) -> NDArray[np.uint8]:
    """Return the region of a sample.

    Parameters
    ----------
    sample
        Which image.
    size
        Side in pixels of the square, or (height, width), that the mask is resized to, by nearest neighbour
        at the pixel centres; None keeps the mask's own size.

    Returns
    -------
    ndarray of uint8, (height, width)
        1 in the region, 0 outside, 255 where to be ignored. All 0 for an image of a regionless class.

    Raises
    ------
    DatasetError
        The sample has no mask, or one of another shape than its image.
    ImageError
        A mask file is missing, unreadable, truncated or no image.
    """
    if sample.mask is None:
        if not sample.regionless:
            raise DatasetError(f"{sample.name} has no mask: only images with masks can be measured by pixel.")
        return np.zeros(picture_size(sample.image)[::-1] if size is None else _sides(size), np.uint8)
    if sample.image.is_file():
        _refuse_other_shape(sample.image, sample.mask)
    mask = _read_nonzero(sample.mask, size).astype(np.uint8)
    if sample.ignore is not None:
        ignored = _read_nonzero(sample.ignore, size)
        if ignored.shape != mask.shape:
            raise DatasetError(f"The ignore mask of {sample.name} is not of the size of its mask.")
        mask[ignored] = IGNORE
    return mask


def _sides(size: int | tuple[int, int]) -> tuple[int, int]:
    return (size, size) if isinstance(size, int) else size


def _read_nonzero(path: Path, size: int | tuple[int, int] | None) -> NDArray[np.bool_]:
    nonzero = read_mask(path)
    if size is None:
        return nonzero
    rows, columns = map(_nearest, nonzero.shape, _sides(size))
    return nonzero[np.ix_(rows, columns)]


def _refuse_other_shape(image: Path, mask: Path) -> None:
    """Raise `DatasetError` where a mask is of another shape than its image; it may be of another size."""
    (width, height), (mask_width, mask_height) = picture_size(image), picture_size(mask)
    if abs(width * mask_height - height * mask_width) > _SAME_SHAPE * max(width, height) * mask_height:
        raise DatasetError(
            f"{mask} is {mask_width} x {mask_height} pixels, but its image {width} x {height}: it is turned, "
            "cut, or of another image."
        )


def _nearest(length: int, size: int) -> NDArray[np.intp]:
    """Return for each of `size` pixels the one of `length` whose area holds its centre."""
    return ((np.arange(size) * 2 + 1) * length // (2 * size)).astype(np.intp)


def _open_rgb(path: Path) -> Image.Image:
    try:
        with pillow_as_needed(), open_picture(path, str(path), FORMATS_AND_TIFF) as image:
            plain = image.mode in _PLAIN_MODES and "transparency" not in image.info
            plain = plain and getattr(image, "n_frames", 1) == 1 and not _has_more_channels(image)
            if plain and image.getexif().get(_EXIF_ORIENTATION, 1) == 1:
                return image.convert("RGB")
    except UnidentifiedImageError:
        pass  # for the other reader to judge
    except (OSError, ValueError, SyntaxError) as error:
        raise _image_error(path, error) from error
    # Everything unusual (16 bits, transparency, CMYK, orientation, several pages or channels) must look in
    # training as it does when a user localizes it, so the one reader of images decides.
    return Image.fromarray(open_slide(path).read())


def _has_more_channels(image: Image.Image) -> bool:
    """Return whether a TIFF has more channels than Pillow shows."""
    tags = getattr(image, "tag_v2", {})
    return bool(tags.get(_TIFF_CHANNELS, 1) > len(image.getbands()))


def _image_error(path: Path, error: Exception) -> ImageError:
    if isinstance(error, FileNotFoundError):
        return ImageError(f"{path} does not exist.")
    if isinstance(error, PermissionError):
        return ImageError(f"{path} cannot be read: permission denied.")
    if isinstance(error, UnidentifiedImageError):
        return ImageError(f"{path} is not an image, or of a format that cannot be read.")
    return ImageError(f"{path} is damaged or truncated and cannot be read: {error}.".replace("..", "."))
