"""Open an image file, whatever its format, or say in one sentence why not."""

from __future__ import annotations

import stat
from pathlib import Path

from pixelcam.errors import ImageError
from pixelcam.slides.photos import open_photo
from pixelcam.slides.slide import LevelArray, Slide, picture_name
from pixelcam.slides.tiffs import open_tiff

READABLE = "PNG, JPEG, WebP, BMP, GIF, JPEG 2000, TIFF, OME-TIFF or SVS"

_TIFF_STARTS = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_MOST_SIZES = 4
_DICOM = "{} is a DICOM slide, which is not supported yet; convert it to a TIFF, for example with QuPath."


def open_slide(path: str | Path, series: int | None = None) -> Slide:
    """Open an image file; the format is told by its content, not by its name.

    PNG, JPEG, WebP, BMP, GIF and JPEG 2000 are read whole, up to 400 megapixels. TIFF, OME-TIFF, BigTIFF,
    Aperio SVS and the other pyramidal TIFFs are read whole when small, and lazily otherwise. Label, macro and
    thumbnail images of a slide are passed over.

    Gray becomes RGB; transparency is laid on white; CMYK, palette and YCbCr become RGB; an EXIF or TIFF
    orientation is applied; integers of more than 8 bits are scaled as `white_of_integers` says.
    The pixel size comes from OME metadata, Aperio's description, ImageJ's unit, or plausible TIFF resolution
    tags.

    Parameters
    ----------
    path
        The file.
    series
        Which picture of a file that holds several, such as scanned regions, planes of a stack or pictures of
        an animation; numbered from 1. None takes the only or the largest one, and `Slide.notes` say so.

    Raises
    ------
    ImageError
        The file is missing, a folder, unreadable, empty, truncated, damaged, no image, a DICOM slide, of
        unusual channels, or holds NaN; it has no such picture, or is a stack or an animation and none is
        chosen.
    """
    path = Path(path)
    start = first_bytes(path)
    if start[128:132] == b"DICM":
        raise ImageError(_DICOM.format(path))
    if is_tiff(start):
        return _slide_of_tiff(path, series)
    photo = open_photo(path, READABLE, series)
    notes = []
    if photo.count > 1 and series is None:
        notes.append(
            f"{path.name} holds {photo.count} pictures; the first is taken: choose another one by its number "
            "(--series)."
        )
    if photo.hidden:
        notes.append(f"The opacity of {path.name} would hide all of it; left out.")
    return _named(path, (photo.pixels,), None, photo.series, photo.default, photo.count, notes)


def _slide_of_tiff(path: Path, series: int | None) -> Slide:
    found = open_tiff(path, series)
    count, notes = len(found.sizes), []
    if count > 1 and series is None:
        sizes = [f"{width} x {height}" for width, height in found.sizes[:_MOST_SIZES]]
        more = f" and {count - _MOST_SIZES} more" if count > _MOST_SIZES else ""
        notes.append(
            f"{path.name} holds {count} pictures ({', '.join(sizes)}{more}); number {found.series}, the "
            "largest, is taken: choose another one by its number (--series)."
        )
    if found.note:
        notes.append(found.note)
    return _named(path, found.levels, found.mpp, found.series, found.default, count, notes)


def _named(
    path: Path,
    levels: tuple[LevelArray, ...],
    mpp: float | None,
    series: int,
    default: int,
    count: int,
    notes: list[str],
) -> Slide:
    """Return a slide whose name tells its picture where that is not the file's first choice."""
    name = picture_name(path, None if series == default else series)
    return Slide(name, path, levels, mpp, series, count, series == default, tuple(notes))


def is_tiff(start: bytes) -> bool:
    """Return whether a file that begins so is a TIFF or BigTIFF."""
    return start.startswith(_TIFF_STARTS)


def first_bytes(path: Path) -> bytes:
    """Return the beginning of a regular, readable, non-empty file."""
    try:
        status = path.stat()
        if stat.S_ISDIR(status.st_mode):
            if any(path.glob("*.dcm")):
                raise ImageError(_DICOM.format(path))
            raise ImageError(f"{path} is a folder; give an image file in it.")
        if not stat.S_ISREG(status.st_mode):
            raise ImageError(f"{path} is not a regular file; give an image file.")
        with path.open("rb") as file:
            start = file.read(132)
    except FileNotFoundError as error:
        raise ImageError(f"{path} does not exist; check the path.") from error
    except PermissionError as error:
        raise ImageError(f"{path} may not be read; ask for permission to read it.") from error
    except (OSError, ValueError) as error:
        raise ImageError(f"{path} cannot be read: {error}; check the path.") from error
    if not start:
        raise ImageError(f"{path} is empty (0 bytes); copy it again from its source.")
    return start
