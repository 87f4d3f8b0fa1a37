"""TIFF families - plain, OME, ImageJ, Aperio SVS and other pyramids - as RGB levels."""

from __future__ import annotations

import logging
import math
import operator
import weakref
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
import zarr
from numpy.typing import NDArray

from pixelcam.errors import ImageError, SeveralPicturesError
from pixelcam.limits import check_memory, jpeg2000_size, jpeg_size, jpegxl_size, png_size, webp_size
from pixelcam.slides.layout import GRAYS, Layout
from pixelcam.slides.photos import check_series, upright
from pixelcam.slides.pixel_size import pixel_size
from pixelcam.slides.slide import LevelArray
from pixelcam.slides.tiff_structure import has_more_pages, is_complete

EAGER_PIXELS = 64_000_000
"""A single level up to this size is read at once: 192 MB as RGB."""

_SAMPLE = 4096
_Decode = Callable[..., Any]
_SizeOf = Callable[[bytes], tuple[int, int]]

# https://www.loc.gov/preservation/digital/formats/content/tiff_tags.shtml and tifffile's COMPRESSION
_BYTE_CODECS = frozenset({1, 2, 3, 4, 5, 8, 32773, 32946, 34925, 50000})
"""Those that are told how many bytes to make: fax, LZW, deflate, PackBits, LZMA, Zstandard."""
_SIZED_CODECS: Mapping[int, _SizeOf] = {
    **dict.fromkeys((6, 7, 33007, 34892), jpeg_size),
    **dict.fromkeys((33003, 33004, 33005, 34712), jpeg2000_size),
    **dict.fromkeys((50001,), webp_size),
    **dict.fromkeys((34933,), png_size),
    **dict.fromkeys((50002, 52546), jpegxl_size),
}
"""Those whose pieces are images of their own, and what tells the size of one."""
_SMALL_PIECE = 4096 * 4096
_MOST_PICTURES = 10_000
_ASIDE = {"label", "macro", "thumbnail", "overview", "label image", "macro image", "map"}

# tifffile logs what it forgives, which Python prints on stderr; refusals are ours to word.
logging.getLogger("tifffile").addHandler(logging.NullHandler())


@dataclass(frozen=True, eq=False)
class Picture:
    """One picture of a TIFF file: a series, or one plane of a series that is a stack.

    Parameters
    ----------
    series
        tifffile's.
    plane
        Place along the axes that stand before those of one picture; () where there are none.
    """

    series: tifffile.TiffPageSeries
    plane: tuple[int, ...] = ()

    @property
    def axes(self) -> str:
        """Tifffile's letters of the picture's own axes."""
        return self.series.axes[len(self.plane) :]

    @property
    def size(self) -> tuple[int, int]:
        """Width and height in pixels."""
        sizes = dict(zip(self.series.axes, self.series.shape, strict=True))
        return int(sizes.get("X", 1)), int(sizes.get("Y", 1))


@dataclass(frozen=True, eq=False)
class OpenedTiff:
    """What `open_tiff` gives.

    Parameters
    ----------
    levels
        From the finest to the coarsest, (h, w, 3) uint8 RGB; numpy where small, read on demand otherwise.
    mpp
        Micrometres per pixel of level 0, or None.
    series, default
        Which picture of the file this is, from 1, and which is taken where none is asked for, 0 for none.
    sizes
        Width and height of every picture of the file.
    note
        What of the picture's own channels was left out, or "".
    """

    levels: tuple[LevelArray, ...]
    mpp: float | None
    series: int
    default: int
    sizes: tuple[tuple[int, int], ...]
    note: str


def open_tiff(path: Path, series: int | None = None) -> OpenedTiff:
    """Open a picture of a TIFF file.

    Parameters
    ----------
    path
        The file.
    series
        Which picture, from 1; None for the largest.

    Raises
    ------
    ImageError
        The file is truncated or damaged, has no such picture, is a stack of planes of which none is chosen,
        of unusual channels, or holds NaN.
    """
    with opened_tiff(path) as (tiff, close):
        with worded(path):
            pictures = pictures_of(tiff, path)
            default = _default(pictures)
            number = _chosen(pictures, default, series, path)
            picture = pictures[number - 1]
            check_complete(tiff, picture.series, path)
            mpp = pixel_size(tiff, picture.series)
        levels, note = _levels(tiff, picture, path)
        if isinstance(levels[0], np.ndarray):
            close()
        sizes = tuple(one.size for one in pictures)
        return OpenedTiff(levels, mpp, number, default, sizes, note)


@contextmanager
def opened_tiff(path: Path) -> Iterator[tuple[tifffile.TiffFile, Callable[[], object]]]:
    """Open a TIFF file, and give what closes it before the last reference to it is gone; errors close it.

    Raises
    ------
    ImageError
        The file is no TIFF that can be read.
    """
    with worded(path):
        with path.open("rb") as file:
            if has_more_pages(file, _MOST_PICTURES):
                raise ImageError(
                    f"{path} holds more than {_MOST_PICTURES} pages; save the one that is meant as one image."
                )
        # Else tifffile opens whatever files the metadata name, anywhere on the machine.
        tiff = tifffile.TiffFile(path, _multifile=False)
    close = weakref.finalize(tiff, lambda handle: handle.close(), tiff.filehandle)
    try:
        with worded(path):
            # NDPI stretches classic TIFF past 4 GB in a way of its own.
            if not tiff.is_ndpi:
                with path.open("rb") as file:
                    if not is_complete(file, tiff.filehandle.size):
                        raise ImageError(damaged(path))
            _refuse_entities(tiff, path)
        yield tiff, close
    except BaseException:
        close()
        raise


def pictures_of(tiff: tifffile.TiffFile, path: Path) -> list[Picture]:
    """Return the pictures of a file, each plane for itself, without label, macro, thumbnail and small copies.

    Raises
    ------
    ImageError
        There is none, or all are empty.
    """
    scenes = [series for index, series in enumerate(tiff.series) if not _is_aside(series, index)]
    count = sum(math.prod(_plane_axes(series)) for series in scenes)
    if count > _MOST_PICTURES:
        raise ImageError(f"{path} holds {count} planes; save the one that is meant as one image.")
    pictures = [Picture(series, plane) for series in scenes for plane in np.ndindex(*_plane_axes(series))]
    if not pictures:
        raise ImageError(damaged(path))
    if not all(all(one.size) for one in pictures):
        raise ImageError(f"{path} is empty: its width or height is 0; save the image again.")
    return pictures


def _is_aside(series: tifffile.TiffPageSeries, index: int) -> bool:
    kind = int(series.keyframe.subfiletype)
    reduced_or_mask = bool(kind & 0b101) and index > 0
    return series.name.strip().lower() in _ASIDE or reduced_or_mask


def _plane_axes(series: tifffile.TiffPageSeries) -> tuple[int, ...]:
    """Return the lengths of the axes that count pictures: channels that are no colours are pictures too."""
    axes, shape = series.axes, series.shape
    own = next((tail for tail in ("YXS", "SYX", "YX") if axes.endswith(tail)), axes)
    if axes == "CYX" and (shape[0] == 3 or series.keyframe.photometric not in GRAYS):
        own = axes
    return tuple(int(side) for side in shape[: len(axes) - len(own)])


def _default(pictures: list[Picture]) -> int:
    """Return the number of the largest picture, from 1; 0 where it is one plane of several."""
    largest = max(pictures, key=lambda one: one.size[0] * one.size[1])
    siblings = sum(one.series is largest.series for one in pictures)
    return pictures.index(largest) + 1 if siblings == 1 else 0


def _chosen(pictures: list[Picture], default: int, series: int | None, path: Path) -> int:
    if series is not None:
        check_series(path, series, len(pictures))
        return series
    if default:
        return default
    largest = max(pictures, key=lambda one: one.size[0] * one.size[1]).series
    numbers = [number for number, one in enumerate(pictures, start=1) if one.series is largest]
    what = f"has {len(numbers)} channels" if largest.axes == "CYX" else f"is a stack of {len(numbers)} planes"
    raise SeveralPicturesError(
        f"{path} {what}; choose one by its number, {numbers[0]} to {numbers[-1]} (--series), "
        "or save the one that is meant as one image."
    )


def _levels(tiff: tifffile.TiffFile, picture: Picture, path: Path) -> tuple[tuple[LevelArray, ...], str]:
    """Return the levels of a picture, and what of its channels was left out."""
    series, plane, page = picture.series, picture.plane, picture.series.keyframe
    orientation = int(page.tags.valueof("Orientation", 1))
    width, height = picture.size
    if len(series.levels) == 1 and width * height <= EAGER_PIXELS:
        with worded(path):
            pixels = read_whole(picture, path)
            layout = Layout.of(series, picture.axes, [pixels], str(path))
            return (upright(layout.to_rgb(pixels), orientation),), layout.note
    if orientation != 1:
        raise ImageError(f"{path} is stored turned or mirrored, and too large to turn; save it upright.")
    with worded(path):
        arrays = [_zarr_level(series, level) for level in range(len(series.levels))]
        layout = Layout.of(series, picture.axes, _samples(arrays[-1], picture), str(path))
    return tuple(TiffLevel(tiff, array, layout, path, plane) for array in arrays), layout.note


def read_whole(picture: Picture, path: Path) -> NDArray[Any]:
    """Return the stored samples of a picture at its finest level, in its own axes; white where left out.

    Raises
    ------
    ImageError
        They are more than memory allows.
    """
    _check_memory_of(picture, path)
    series, plane = picture.series, picture.plane
    sparse = any(page is not None and 0 in page.databytecounts for page in series.pages)
    if sparse or plane:
        return np.asarray(_zarr_level(series, 0)[plane or ...])
    return np.asarray(series.asarray())


def read_tiff_array(path: Path) -> NDArray[Any]:
    """Return the first image of a TIFF file as it is stored, its finest level.

    Raises
    ------
    ImageError
        It is larger than memory allows.
    Exception
        It is damaged: whatever the decoders stumble over.
    """
    with tifffile.TiffFile(path, _multifile=False) as tiff:
        _refuse_entities(tiff, path)
        series = tiff.series[0].levels[0]
        _check_sizes(series, path)
        return read_whole(Picture(series), path)


def _refuse_entities(tiff: tifffile.TiffFile, path: Path) -> None:
    """Refuse OME metadata that define entities: a few lines of them can stand for gigabytes of text."""
    described = tiff.pages.first.tags.valueof("ImageDescription") or ""
    if isinstance(described, str) and "<!ENTITY" in described:
        raise ImageError(damaged(path))


def _check_memory_of(picture: Picture, path: Path) -> None:
    """Refuse a picture that is read at once where it, and its samples as decimals, do not fit."""
    shape, (width, height) = picture.series.shape[len(picture.plane) :], picture.size
    needed = math.prod(int(side) for side in shape) * (2 * picture.series.dtype.itemsize + 4)
    needed += 2 * 3 * width * height
    subject = f"{path} has {' x '.join(str(side) for side in shape)} values"
    check_memory(needed, subject, "save it as a tiled, pyramidal TIFF", ImageError)


def _check_sizes(series: tifffile.TiffPageSeries, path: Path) -> None:
    """Refuse pieces that are too large, and let none be decoded that is larger than it should be.

    A tile or strip is decoded whole, however little of it is asked for.
    """
    for level in series.levels:
        page = level.keyframe
        if 0 in page.shaped or page.dtype is None:
            raise ImageError(f"{path} has no pixels that can be read; save it as a plain RGB TIFF.")
        if page.compression not in (*_BYTE_CODECS, *_SIZED_CODECS):
            raise NotImplementedError
        if page.is_tiled:
            pixels = page.tiledepth * page.tilelength * page.tilewidth
        else:
            pixels = min(page.rowsperstrip, page.imagelength) * page.imagewidth
        samples = page.samplesperpixel if page.planarconfig == tifffile.PLANARCONFIG.CONTIG else 1
        check_memory(
            3 * pixels * samples * page.dtype.itemsize,
            f"{path} is stored in pieces of {pixels} pixels",
            "save it as a tiled, pyramidal TIFF",
            ImageError,
        )
        size_of = _SIZED_CODECS.get(int(page.compression))
        if size_of is not None:
            page.decode = _guarded(page.decode, size_of, pixels, path)


def _guarded(decode: _Decode, size_of: _SizeOf, pixels: int, path: Path) -> _Decode:
    """Return a decoder that first looks at how large a coded piece says it is.

    Such a piece has a size of its own, which the codec believes rather than the size in the TIFF's tags.
    """

    def decode_checked(data: bytes | None, index: int, /, **options: Any) -> Any:
        if data is not None:
            width, height = size_of(bytes(data))
            if width * height > max(4 * pixels, _SMALL_PIECE):
                raise ImageError(damaged(path))
        return decode(data, index, **options)

    return decode_checked


def _samples(array: zarr.Array[Any], picture: Picture) -> Iterator[NDArray[Any]]:
    """Yield parts of a picture's level: its middle, and then some from all over it."""
    shape = array.shape[len(picture.plane) :]
    middle = [slice(max(0, (n - _SAMPLE) // 2), (n + _SAMPLE) // 2) for n in shape]
    yield np.asarray(array[_place(picture.plane, middle)])
    if any(part.stop - part.start < n for part, n in zip(middle, shape, strict=True)):
        for row, column in np.ndindex(5, 5):
            places = {"Y": row, "X": column}
            starts = [n * places.get(axis, 0) // 5 for axis, n in zip(picture.axes, shape, strict=True)]
            yield np.asarray(array[_place(picture.plane, [slice(at, at + 512) for at in starts])])


def _place(plane: tuple[int, ...], window: Iterable[slice]) -> tuple[int | slice, ...]:
    """Return the index of a window of one plane."""
    return (*plane, *window)


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

    def __init__(
        self,
        tiff: tifffile.TiffFile,
        array: zarr.Array[Any],
        layout: Layout,
        path: Path,
        plane: tuple[int, ...] = (),
    ) -> None:
        self._tiff = tiff
        self._array = array
        self._layout = layout
        self._path = path
        self._plane = plane
        sizes = dict(zip(layout.axes, array.shape[len(plane) :], strict=True))
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
        window = [windows.get(axis, slice(None)) for axis in self._layout.axes]
        with worded(self._path):
            return self._layout.to_rgb(np.asarray(self._array[_place(self._plane, window)]))


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


def check_complete(tiff: tifffile.TiffFile, series: tifffile.TiffPageSeries, path: Path) -> None:
    """Refuse a file that ends before its pages or pixels do; decoders would give fewer levels, or gray."""
    _check_sizes(series, path)
    size = tiff.filehandle.size
    for page in tiff.pages:
        _check_ends(page, size, path)
    for level in series.levels:
        for part in level.pages:
            if part is None or not _is_written(part):
                raise ImageError(damaged(path))
            _check_ends(part, size, path)


def _check_ends(page: tifffile.TiffPage | tifffile.TiffFrame, size: int, path: Path) -> None:
    """Refuse a page one of whose tiles or strips lies beyond the end of the file."""
    offsets, counts = np.asarray(page.dataoffsets, np.int64), np.asarray(page.databytecounts, np.int64)
    if len(offsets) != len(counts):
        raise ImageError(damaged(path))
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


def damaged(path: Path) -> str:
    """Return the sentence on a file that ends early or holds what it must not."""
    return f"{path} is truncated or damaged; copy it again from its source."


@contextmanager
def worded(path: Path) -> Iterator[None]:
    """Turn whatever tifffile, zarr, the codecs or tags that contradict each other lead to into a sentence."""
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
        raise ImageError(damaged(path)) from error
