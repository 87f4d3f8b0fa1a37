"""The zarr arrays of a project: a reviewer's seeds chunk by chunk, and localization maps."""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from zarr.codecs import ZstdCodec

from pixelcam.errors import ProjectError
from pixelcam.files import refuse_links_below
from pixelcam.limits import check_zarr

if TYPE_CHECKING:
    from pixelcam.review.journal import Piece

# With a checksum: a rotten chunk would else be unpacked into other values without a word.
_CHECKED = ZstdCodec(checksum=True)

Box = tuple[int, int, int, int]
"""(y0, x0, y1, x1), the last two past the end."""

CHUNK = 512
"""Rows and columns of a chunk of seeds: what one stroke rewrites."""
MOST_HELD = 256
"""Chunks of seeds that are in memory while many edits are drawn: 64 MB."""
MAP_CHUNK = 1024
MAP_NAME = r"(?:map|accepted)-(?:(\w{1,24}-[0-9a-f]{8})-)?[0-9a-f]{8}\.zarr"
"""The names of maps in the folder of their image; the group is the slug of the reviewer who made it."""


class SeedPicture:
    """One reviewer's seeds of one image as a zarr array, which follows the journal.

    Parameters
    ----------
    path
        The array's folder, made by `begin`.
    shape
        (height, width) of the seed grid.
    attributes
        What the array says of itself, in JSON, so that it can be known again without the database.
    """

    def __init__(self, path: Path, shape: tuple[int, int], attributes: dict[str, Any]) -> None:
        self.path, self.shape, self._attributes = path, shape, attributes
        self._array: Any = None

    def read(self, box: Box) -> NDArray[np.uint8]:
        """Return the labels of a box, (h, w) uint8.

        Raises
        ------
        ProjectError
            The array is missing or damaged.
        """
        y0, x0, y1, x1 = box
        try:
            return np.asarray(self._open()[y0:y1, x0:x1], np.uint8)
        except Exception as error:  # the decoders raise whatever they stumble over
            self._array = None
            raise ProjectError(f"{self.path} is damaged.") from error

    def draw(self, pieces: Iterable[Piece]) -> None:
        """Paint pieces one over the other; each chunk is replaced whole or not at all, and on the disk then.

        A chunk is read and written once for however many pieces lie in it.
        """
        held: dict[tuple[int, int], NDArray[np.uint8]] = {}
        for piece in pieces:
            y0, x0, y1, x1 = piece.box
            for row in range(y0 // CHUNK, -(-y1 // CHUNK)):
                for column in range(x0 // CHUNK, -(-x1 // CHUNK)):
                    if (row, column) not in held:
                        if len(held) >= MOST_HELD:
                            self._keep(held)
                            held.clear()
                        held[row, column] = self._read_chunk(row, column)
                    piece.apply(held[row, column], (row * CHUNK, column * CHUNK))
        self._keep(held)

    def _read_chunk(self, row: int, column: int) -> NDArray[np.uint8]:
        top, left = row * CHUNK, column * CHUNK
        return np.array(self._open()[top : top + CHUNK, left : left + CHUNK], np.uint8)

    def _keep(self, chunks: dict[tuple[int, int], NDArray[np.uint8]]) -> None:
        for place, labels in chunks.items():
            self.write(place, labels)
        self.flush(chunks)

    def write(self, place: tuple[int, int], labels: NDArray[np.uint8]) -> None:
        """Write the labels of a chunk, which is replaced whole or not at all."""
        top, left = place[0] * CHUNK, place[1] * CHUNK
        self._open()[top : top + labels.shape[0], left : left + labels.shape[1]] = labels

    def flush(self, places: Iterable[tuple[int, int]]) -> None:
        """Wait until these chunks are on the disk."""
        chunks = sorted(places)
        for row, column in chunks:
            _sync(self.path / "c" / str(row) / str(column))
        for row in sorted({row for row, _ in chunks}):
            _sync_folder(self.path / "c" / str(row))
        _sync_folder(self.path / "c")

    def remove(self) -> None:
        """Remove the array, to be made anew."""
        self._array = None
        shutil.rmtree(self.path, ignore_errors=True)

    def begin(self) -> None:
        """Make the array, with no label, where there is none."""
        if self.path.exists():
            return
        import zarr  # here and below: who only lists images need not wait for it

        self._array = zarr.create_array(
            self.path,
            shape=self.shape,
            chunks=(min(CHUNK, self.shape[0]), min(CHUNK, self.shape[1])),
            dtype="uint8",
            fill_value=0,
            compressors=_CHECKED,
            attributes=self._attributes,
            zarr_format=3,
        )
        _sync(self.path / "zarr.json")
        _sync_folder(self.path)

    def _open(self) -> Any:
        if self._array is None:
            import zarr

            refuse_links_below(self.path, ProjectError)
            array: Any = zarr.open_array(self.path, mode="r+", zarr_format=3)
            check_zarr(array, self.path, ProjectError, "paint it anew")
            if array.shape != self.shape or array.dtype != np.uint8:
                raise ValueError("an array of another image")
            self._array = array
        return self._array


def new_map_name(kind: str, writer: str) -> str:
    """Return a name for a map that no other map has: "map" or "accepted", and whose process makes it."""
    return f"{kind}-{writer}-{secrets.token_hex(4)}.zarr"


def write_map(path: Path, values: NDArray[np.floating], said: dict[str, Any] | None = None) -> None:
    """Write a map as a float16 array that is on the disk when this returns; `said` are its attributes."""
    import zarr

    array = zarr.create_array(
        path,
        shape=values.shape,
        chunks=(min(MAP_CHUNK, values.shape[0]), min(MAP_CHUNK, values.shape[1])),
        dtype="float16",
        compressors=_CHECKED,
        attributes=said,
        zarr_format=3,
    )
    array[...] = values.astype(np.float16)
    for parent, _, names in os.walk(path):
        for name in names:
            _sync(Path(parent) / name)
        _sync_folder(Path(parent))


def read_map(path: Path) -> NDArray[np.float32] | None:
    """Return a map as (h, w) float32, None where it is missing or damaged."""
    import zarr

    try:
        refuse_links_below(path, ProjectError)
        array: Any = zarr.open_array(path, mode="r", zarr_format=3)
        check_zarr(array, path, ProjectError, "localize the image again")
        values = np.asarray(array[...], np.float32)
    except Exception:  # as above
        return None
    return values if values.ndim == 2 and np.isfinite(values).all() else None


def _sync(path: Path) -> None:
    """Wait until a file is on the disk; a chunk without a label has none."""
    with suppress(FileNotFoundError), path.open("r+b") as file:
        os.fsync(file.fileno())


def _sync_folder(path: Path) -> None:
    with suppress(OSError):  # Windows flushes no folder
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
