"""One RGB image or pyramid of levels, read region by region, with what is known of its scale."""

from __future__ import annotations

import hashlib
import math
import re
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pixelcam.errors import ImageError
from pixelcam.slides.pixels import array_to_rgb


class LevelArray(Protocol):
    """What a level must offer: a shape, a dtype, and slicing that gives numpy arrays."""

    @property
    def shape(self) -> tuple[int, ...]:
        """(height, width, 3) in pixels of this level."""
        ...

    @property
    def dtype(self) -> np.dtype[Any]:
        """Always uint8."""
        ...

    @property
    def ndim(self) -> int:
        """Always 3."""
        ...

    def __getitem__(self, key: Any, /) -> Any:
        """Return the pixels of a numpy-style index."""
        ...


@dataclass(frozen=True, eq=False)
class Slide:
    """One RGB image or pyramid, lazy where the file is.

    Parameters
    ----------
    name
        The stem shown to people and used for output names.
    path
        The file, or None for pixels that came from memory.
    levels
        From the finest to the coarsest; each (height, width, 3), uint8, RGB. Level 0 is what every coordinate
        of the program refers to.
    mpp
        Micrometres per pixel of level 0, or None where the file does not say.
    series, pictures
        Which picture of the file this is, from 1, of how many.
    first_choice
        Whether it is the picture that the file gives where none is asked for.
    notes
        Sentences for people on what of the file was passed over.

    Raises
    ------
    ImageError
        The pixel size is none.
    """

    name: str
    path: Path | None
    levels: tuple[LevelArray, ...]
    mpp: float | None = None
    series: int = 1
    pictures: int = 1
    first_choice: bool = True
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.mpp is not None and not (math.isfinite(self.mpp) and self.mpp > 0):
            raise ImageError(
                f"The pixel size of {self.name} is {self.mpp} micrometres: give one above 0, or None."
            )

    @property
    def height(self) -> int:
        """Height of level 0 in pixels."""
        return self.levels[0].shape[0]

    @property
    def width(self) -> int:
        """Width of level 0 in pixels."""
        return self.levels[0].shape[1]

    @property
    def downsamples(self) -> tuple[tuple[float, float], ...]:
        """Level-0 pixels per pixel of each level, (y, x), from the true shapes."""
        return tuple((self.height / level.shape[0], self.width / level.shape[1]) for level in self.levels)

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 of the file's bytes, or of shape and pixels where there is no file; computed once, in hex.

        A picture that is not the file's first choice has its number before it, as in ``s2-``, so that what is
        kept of it stays apart; `series_of` reads it.

        Raises
        ------
        ImageError
            The file is gone or can no longer be read.
        """
        if self.path is not None:
            digest_of_file = hash_file(self.path)
            return digest_of_file if self.first_choice else f"s{self.series}-{digest_of_file}"
        pixels = self.read()
        digest = hashlib.sha256(f"{pixels.shape}".encode())
        digest.update(pixels.data)
        return digest.hexdigest()

    def read(self, region: tuple[slice, slice] | None = None, level: int = 0) -> NDArray[np.uint8]:
        """Read pixels.

        Parameters
        ----------
        region
            Rows and columns in pixels of `level`; what lies outside the image is cut off, as numpy does.
            The whole level where None.
        level
            0 is the finest.

        Returns
        -------
        NDArray[uint8]
            (height, width, 3), RGB, contiguous.

        Raises
        ------
        ImageError
            The part of the file that holds these pixels is damaged.
        """
        rows, columns = region if region is not None else (slice(None), slice(None))
        return np.ascontiguousarray(self.levels[level][rows, columns], dtype=np.uint8)

    @classmethod
    def from_array(
        cls,
        array: ArrayLike,
        name: str = "image",
        mpp: float | None = None,
        path: str | Path | None = None,
    ) -> Slide:
        """Make a one-level slide of pixels in memory.

        Parameters
        ----------
        array
            (h, w), (h, w, 1), (h, w, 3) or (h, w, 4), or (3, h, w) where the last axis cannot be the
            channels. bool; uint8; other integers by the rule of `pixels.white_of_integers`; or float in
            [0, 1]. A fourth channel is straight alpha and is laid on white.
        name, mpp, path
            As in `Slide`; `path` where the pixels are known to be those of a file.

        Raises
        ------
        ImageError
            The array is empty, holds NaN, or has a shape, channel count, type or range that is no RGB image;
            or the pixel size is none.
        """
        rgb = array_to_rgb(np.asarray(array), name)
        return cls(name=name, path=None if path is None else Path(path), levels=(rgb,), mpp=mpp)


def series_of(fingerprint: str) -> int | None:
    """Return which picture of its file a fingerprint is of, from 1; None for the file's first choice."""
    match = re.fullmatch(r"s(\d{1,9})-.*", fingerprint)
    return int(match.group(1)) if match else None


def picture_name(path: Path, series: int | None) -> str:
    """Return what a picture of a file is called: the stem, and its number where it is no first choice."""
    return path.stem if series is None else f"{path.stem}.series{series}"


def is_file_of(path: str | Path, fingerprint: str) -> bool:
    """Return whether a file is, byte for byte, the one that an image of this fingerprint is in.

    Raises
    ------
    ImageError
        The file is missing or cannot be read.
    """
    return hash_file(path) == fingerprint.rpartition("-")[2]


def hash_file(path: str | Path) -> str:
    """Return the SHA-256 of a file's bytes in hex.

    Raises
    ------
    ImageError
        The file is missing or cannot be read.
    """
    try:
        with Path(path).open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise ImageError(f"{path} cannot be read: {reason}; check the path and the permissions.") from error
