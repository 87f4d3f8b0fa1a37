"""Open an image file, whatever its format, or say in one sentence why not."""

from __future__ import annotations

import stat
from pathlib import Path

from pixelcam.errors import ImageError
from pixelcam.slides.photos import open_photo
from pixelcam.slides.slide import Slide
from pixelcam.slides.tiffs import open_tiff

READABLE = "PNG, JPEG, WebP, BMP, GIF, JPEG 2000, TIFF, OME-TIFF or SVS"

_TIFF_STARTS = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_DICOM = "{} is a DICOM slide, which is not supported yet; convert it to a TIFF, for example with QuPath."


def open_slide(path: str | Path) -> Slide:
    """Open an image file; the format is told by its content, not by its name.

    PNG, JPEG, WebP, BMP, GIF and JPEG 2000 are read whole, up to 400 megapixels. TIFF, OME-TIFF, BigTIFF,
    Aperio SVS and the other pyramidal TIFFs are read whole when small, and lazily otherwise. Label, macro and
    thumbnail images of a slide are passed over.

    Gray becomes RGB; transparency is laid on white; CMYK, palette and YCbCr become RGB; an EXIF or TIFF
    orientation is applied; integers of more than 8 bits are scaled as `white_of_integers` says.
    The pixel size comes from OME metadata, Aperio's description, ImageJ's unit, or plausible TIFF resolution
    tags.

    Raises
    ------
    ImageError
        The file is missing, a folder, unreadable, empty, truncated, damaged, no image, a DICOM slide, a stack
        of planes, of unusual channels, or holds NaN.
    """
    path = Path(path)
    start = _first_bytes(path)
    if start[128:132] == b"DICM":
        raise ImageError(_DICOM.format(path))
    if start.startswith(_TIFF_STARTS):
        levels, mpp = open_tiff(path)
        return Slide(name=path.stem, path=path, levels=levels, mpp=mpp)
    return Slide(name=path.stem, path=path, levels=(open_photo(path, READABLE),))


def _first_bytes(path: Path) -> bytes:
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
