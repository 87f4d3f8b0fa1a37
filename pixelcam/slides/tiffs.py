"""TIFF families - plain, OME, ImageJ, Aperio SVS and other pyramids - as RGB levels."""

from __future__ import annotations

import logging
import operator
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
import zarr
from numpy.typing import NDArray

from pixelcam.errors import ImageError
from pixelcam.slides.layout import Layout
from pixelcam.slides.photos import MAX_PIXELS, upright
from pixelcam.slides.pixel_size import pixel_size
from pixelcam.slides.slide import LevelArray
from pixelcam.slides.tiff_structure import is_complete

EAGER_PIXELS = 64_000_000
"""A single level up to this size is read at once: 192 MB as RGB."""

_SAMPLE = 4096
_ASIDE = {"label", "macro", "thumbnail", "overview", "label image", "macro image"}

# tifffile logs what it forgives, which Python prints on stderr; refusals are ours to word.
logging.getLogger("tifffile").addHandler(logging.NullHandler())


def open_tiff(path: Path) -> tuple[tuple[LevelArray, ...], float | None]:
    """Open a TIFF file.

    Returns
    -------
    levels
        From the finest to the coarsest, (h, w, 3) uint8 RGB; numpy where small, read on demand otherwise.
    mpp
        Micrometres per pixel of level 0, or None.

    Raises
    ------
    ImageError
        The file is truncated or damaged, a stack of planes, of unusual channels, or holds NaN.
    """
    with _worded(path):
        tiff = tifffile.TiffFile(path)
    close = weakref.finalize(tiff, lambda handle: handle.close(), tiff.filehandle)
    try:
        with _worded(path):
            series = _main_series(tiff, path)
            _check_complete(tiff, series, path)
            mpp = pixel_size(tiff, series)
        return _levels(tiff, series, path), mpp
    except BaseException:
        close()
        raise


def _main_series(tiff: tifffile.TiffFile, path: Path) -> tifffile.TiffPageSeries:
    """Return the largest image that is no label, macro or thumbnail."""
    named = [series for series in tiff.series if series.name.strip().lower() not in _ASIDE]
    if not named:
        raise ImageError(_damaged(path))
    return max(named, key=_area)


def _area(series: tifffile.TiffPageSeries) -> int:
    sizes = dict(zip(series.axes, series.shape, strict=True))
    return int(sizes.get("Y", 1)) * int(sizes.get("X", 1))


def _levels(tiff: tifffile.TiffFile, series: tifffile.TiffPageSeries, path: Path) -> tuple[LevelArray, ...]:
    page = series.keyframe
    orientation = int(page.tags.valueof("Orientation", 1))
    if len(series.levels) == 1 and _area(series) <= EAGER_PIXELS:
        with _worded(path):
            sparse = any(page is not None and 0 in page.databytecounts for page in series.pages)
            pixels = np.asarray(_zarr_level(series, 0)[...] if sparse else series.asarray())
        layout = Layout.of(series, pixels, str(path))
        tiff.close()
        return (upright(layout.to_rgb(pixels), orientation),)
    if orientation != 1:
        raise ImageError(f"{path} is stored turned or mirrored, and too large to turn; save it upright.")
    segment = page.tilelength * page.tilewidth if page.is_tiled else page.rowsperstrip * page.imagewidth
    if min(segment, page.imagelength * page.imagewidth) > MAX_PIXELS:
        raise ImageError(f"{path} is too large to be read in one piece; save it as a tiled, pyramidal TIFF.")
    with _worded(path):
        arrays = [_zarr_level(series, level) for level in range(len(series.levels))]
        middle = tuple(slice(max(0, (n - _SAMPLE) // 2), (n + _SAMPLE) // 2) for n in arrays[-1].shape)
        sample = np.asarray(arrays[-1][middle])
    layout = Layout.of(series, sample, str(path))
    return tuple(TiffLevel(tiff, array, layout, path) for array in arrays)


def _zarr_level(series: tifffile.TiffPageSeries, level: int) -> zarr.Array[Any]:
    """Open one level as zarr: the one place that knows tifffile's store, which later versions change."""
    # Scanners leave out tiles that hold only glass, which is white: no ink, or all light.
    dark = series.keyframe.photometric in (tifffile.PHOTOMETRIC.MINISWHITE, tifffile.PHOTOMETRIC.SEPARATED)
    fill = (0 if dark else 255) if series.dtype == np.uint8 else None
    array = zarr.open(series.aszarr(level=level, fillvalue=fill), mode="r")
    assert isinstance(array, zarr.Array)
    return array


class TiffLevel:
    """One level of a TIFF file, decoded where it is sliced; (h, w, 3), uint8, RGB.

    It takes integers and slices, and may be read from several threads. The file stays open as long as one of
    its levels is in use.
    """

    dtype = np.dtype(np.uint8)
    ndim = 3

    def __init__(self, tiff: tifffile.TiffFile, array: zarr.Array[Any], layout: Layout, path: Path) -> None:
        self._tiff = tiff
        self._array = array
        self._layout = layout
        self._path = path
        sizes = dict(zip(layout.axes, array.shape, strict=True))
        self.shape = (int(sizes["Y"]), int(sizes["X"]), 3)

    @property
    def size(self) -> int:
        """Number of values, as napari asks of the arrays that it shows."""
        return self.shape[0] * self.shape[1] * self.shape[2]

    def __repr__(self) -> str:
        return f"TiffLevel({self._path.name!r}, shape={self.shape})"

    def __getitem__(self, key: Any, /) -> NDArray[Any]:
        parts = key if isinstance(key, tuple) else (key,)
        if Ellipsis in parts:
            at = parts.index(Ellipsis)
            parts = parts[:at] + (slice(None),) * (4 - len(parts)) + parts[at + 1 :]
        rows, columns, channels = parts + (slice(None),) * (3 - len(parts))
        row_window, row_rest = _window(rows, self.shape[0])
        column_window, column_rest = _window(columns, self.shape[1])
        return self._read(row_window, column_window)[row_rest, column_rest, channels]

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        return np.asarray(self[...], dtype=dtype)

    def _read(self, rows: slice, columns: slice) -> NDArray[np.uint8]:
        if rows.start >= rows.stop or columns.start >= columns.stop:
            return np.empty(
                (max(0, rows.stop - rows.start), max(0, columns.stop - columns.start), 3), np.uint8
            )
        windows = {"Y": rows, "X": columns}
        with _worded(self._path):
            pixels = np.asarray(
                self._array[tuple(windows.get(axis, slice(None)) for axis in self._layout.axes)]
            )
        return self._layout.to_rgb(pixels)


def _window(part: Any, size: int) -> tuple[slice, int | slice]:
    """Split an index along one axis into the run of pixels to read and what to take of it."""
    if isinstance(part, slice):
        start, stop, step = part.indices(size)
        run = slice(start, stop) if step > 0 else slice(stop + 1, start + 1)
        return run, slice(None, None, step)
    index = operator.index(part)
    if not -size <= index < size:
        raise IndexError(f"index {index} is out of bounds for an axis of {size} pixels")
    index %= size
    return slice(index, index + 1), 0


def _check_complete(tiff: tifffile.TiffFile, series: tifffile.TiffPageSeries, path: Path) -> None:
    """Refuse a file that ends before its pages or pixels do; decoders would give fewer levels, or gray."""
    size = tiff.filehandle.size
    # NDPI stretches classic TIFF past 4 GB in a way of its own.
    if not tiff.is_ndpi:
        with path.open("rb") as file:
            if not is_complete(file, size):
                raise ImageError(_damaged(path))
    for page in tiff.pages:
        _check_ends(page, size, path)
    for level in series.levels:
        for part in level.pages:
            if part is None or not _is_written(part):
                raise ImageError(_damaged(path))
            _check_ends(part, size, path)


def _check_ends(page: tifffile.TiffPage | tifffile.TiffFrame, size: int, path: Path) -> None:
    """Refuse a page one of whose tiles or strips lies beyond the end of the file."""
    offsets, counts = np.asarray(page.dataoffsets, np.int64), np.asarray(page.databytecounts, np.int64)
    if len(offsets) != len(counts):
        raise ImageError(_damaged(path))
    late = offsets + counts > size
    if late.any():
        piece = f"{'tile' if _is_tiled(page) else 'strip'} {late.argmax()}"
        raise ImageError(f"{path} is truncated: {piece} ends past the end of the file; copy it again.")


def _is_written(page: tifffile.TiffPage | tifffile.TiffFrame) -> bool:
    """Tell whether a page has its pixels: only tiles may be left out on purpose, and not all of them."""
    written = (np.asarray(page.dataoffsets) > 0) & (np.asarray(page.databytecounts) > 0)
    return bool(written.any() if _is_tiled(page) else written.all() and written.size)


def _is_tiled(page: tifffile.TiffPage | tifffile.TiffFrame) -> bool:
    return page.keyframe is not None and page.keyframe.is_tiled


def _damaged(path: Path) -> str:
    return f"{path} is truncated or damaged; copy it again from its source."


@contextmanager
def _worded(path: Path) -> Iterator[None]:
    """Turn whatever tifffile, zarr and the codecs stumble over into one sentence."""
    try:
        yield
    except ImageError:
        raise
    except PermissionError as error:
        raise ImageError(f"{path} may not be read; ask for permission to read it.") from error
    except MemoryError as error:
        raise ImageError(f"{path} does not fit into memory; save it as a tiled, pyramidal TIFF.") from error
    except NotImplementedError as error:
        raise ImageError(
            f"{path} is stored in a way that cannot be read; save it as a plain RGB TIFF."
        ) from error
    except Exception as error:
        raise ImageError(_damaged(path)) from error
