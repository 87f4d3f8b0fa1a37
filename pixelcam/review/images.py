"""The images of a project, by reference: added, found again, known by their bytes."""

from __future__ import annotations

import io
import json
import os
import sqlite3
from contextlib import suppress
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from pixelcam.errors import ChangedImageError, ImageError, MissingImageError, OutputError
from pixelcam.export.atomic import write_bytes, write_text
from pixelcam.review.seedstore import image_part
from pixelcam.seeds.grid import SeedGrid, seed_grid
from pixelcam.slides import Slide, is_file_of, open_slide, picture_name, series_of
from pixelcam.slides.photos import MAX_PIXELS

THUMBNAIL = 160
"""Longest side of a thumbnail, in pixels."""
_BAND = 16_000_000  # pixels that are made smaller at a time


def insert_image(connection: sqlite3.Connection, folder: Path, slide: Slide) -> int:
    """Add an image to the tables, or find it there by its bytes; return its number."""
    assert slide.path is not None
    path = slide.path.absolute()
    status = path.stat()
    row = connection.execute("SELECT id FROM images WHERE fingerprint = ?", (slide.fingerprint,)).fetchone()
    if row is not None:
        return int(row[0])
    grid = seed_grid([(level.shape[0], level.shape[1]) for level in slide.levels])
    cursor = connection.execute(
        "INSERT INTO images (name, path, relative_path, fingerprint, bytes, modified, width, height, mpp, "
        "level, grid_height, grid_width) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            slide.name,
            str(path),
            relative_path(path, folder),
            slide.fingerprint,
            status.st_size,
            status.st_mtime_ns,
            slide.width,
            slide.height,
            slide.mpp,
            grid.level,
            *grid.shape,
        ),
    )
    assert cursor.lastrowid is not None
    return cursor.lastrowid


def describe_image(row: sqlite3.Row, folder: Path) -> None:
    """Write beside the pictures of an image which one it is, so that they mean something by themselves."""
    write_text(
        image_part(folder, row["id"], "image.json"),
        json.dumps(dict(zip(row.keys(), row, strict=True)), indent=1, ensure_ascii=False) + "\n",
    )


def find_file(row: sqlite3.Row, folder: Path) -> Path | None:
    """Return an image's file where it was, or where it lies from the project; None where it is neither."""
    return next(iter(_places(row, folder)), None)


def _places(row: sqlite3.Row, folder: Path) -> list[Path]:
    """Return the files that may be an image; none where they may not be looked at."""
    places = [Path(row["path"])]
    if row["relative_path"]:
        places.append(folder / row["relative_path"])
    return [place for place in places if os.path.isfile(place)]  # noqa: PTH113 - Path raises where it may not look


def verified_file(row: sqlite3.Row, folder: Path) -> tuple[Path, os.stat_result, bool]:
    """Return an image's file, its state, and whether that differs from the state that was noted.

    Size and time of the last change are compared first; only where they differ are the bytes read.

    Raises
    ------
    MissingImageError
        The file is neither where it was nor where it lies from the project.
    ChangedImageError
        The file's bytes are not those that were added.
    """
    places = _places(row, folder)
    if not places:
        raise MissingImageError(
            f"The image {row['path']} is missing; put it back, or tell the project where it is now "
            f"(pixelcam review relink {folder} PLACE)."
        )
    for path in places:
        status = path.stat()
        same_state = (status.st_size, status.st_mtime_ns) == (row["bytes"], row["modified"])
        if same_state or is_file_of(path, row["fingerprint"]):
            return path, status, not same_state or str(path) != row["path"]
    raise ChangedImageError(
        f"{places[0]} is not the image that the project knows (its content differs); put the original back, "
        "or add this one as a new image."
    )


def search_file(row: sqlite3.Row, place: Path) -> Path:
    """Return the file with an image's bytes: `place` itself, or one anywhere below it.

    Raises
    ------
    MissingImageError
        There is none below that folder.
    ChangedImageError
        `place` is a file with other bytes.
    ImageError
        It cannot be read.
    """
    if not place.is_dir():
        if not is_file_of(place, row["fingerprint"]):
            raise ChangedImageError(
                f"{place} is not the image {row['name']} that the project knows (its content differs); "
                "choose the original."
            )
        return place
    for parent, folders, names in os.walk(place):
        folders.sort()
        for path in (Path(parent) / name for name in sorted(names)):
            with suppress(OSError, ImageError):
                if path.stat().st_size == row["bytes"] and is_file_of(path, row["fingerprint"]):
                    return path
    raise MissingImageError(
        f"The image {row['name']} is not in {place}, nor below it; choose another folder."
    )


def note_place(connection: sqlite3.Connection, image: int, path: Path, folder: Path) -> None:
    """Note where an image lies now."""
    path = path.absolute()
    status = path.stat()
    (fingerprint,) = connection.execute("SELECT fingerprint FROM images WHERE id = ?", (image,)).fetchone()
    name = picture_name(path, series_of(fingerprint))
    connection.execute(
        "UPDATE images SET name = ?, path = ?, relative_path = ?, bytes = ?, modified = ? WHERE id = ?",
        (name, str(path), relative_path(path, folder), status.st_size, status.st_mtime_ns, image),
    )


def grid_of(row: sqlite3.Row) -> SeedGrid:
    """Return the seed grid of an image, as it was chosen when the image was added."""
    shape = (int(row["grid_height"]), int(row["grid_width"]))
    return SeedGrid(int(row["level"]), shape, (row["height"] / shape[0], row["width"] / shape[1]))


def relative_path(path: Path, folder: Path) -> str:
    """Return where a file lies from the project, with forward slashes; "" on another drive of Windows."""
    try:
        return Path(os.path.relpath(path, folder)).as_posix()
    except ValueError:
        return ""


def make_thumbnail(slide: Slide) -> NDArray[np.uint8]:
    """Return an image at most `THUMBNAIL` pixels wide and high, (h, w, 3) uint8."""
    fitting = [number for number, level in enumerate(slide.levels) if max(level.shape[:2]) >= THUMBNAIL]
    level = fitting[-1] if fitting else len(slide.levels) - 1
    height, width, _ = slide.levels[level].shape
    if height * width > MAX_PIXELS:
        raise ImageError(
            f"{slide.path or slide.name} has no level of less than {width} x {height} pixels; save it as a "
            "pyramidal TIFF."
        )
    step = max(1, max(height, width) // (8 * THUMBNAIL))
    rows = step * max(1, _BAND // (step * width))
    bands = [
        np.asarray(Image.fromarray(slide.read((slice(top, top + rows), slice(None)), level)).reduce(step))
        for top in range(0, height, rows)
    ]
    image = Image.fromarray(np.concatenate(bands))
    image.thumbnail((THUMBNAIL, THUMBNAIL), Image.Resampling.BOX)
    return np.asarray(image)


def thumbnail_path(folder: Path, image: int) -> Path:
    """Return where the thumbnail of an image is kept."""
    return image_part(folder, image, "thumbnail.png")


def keep_thumbnail(path: Path, pixels: NDArray[np.uint8]) -> None:
    """Write a thumbnail where it can be written; it is only a convenience."""
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, format="PNG")
    with suppress(OutputError):
        write_bytes(path, stream.getvalue())


def read_thumbnail(path: Path) -> NDArray[np.uint8] | None:
    """Return a kept thumbnail, None where there is none that can be read."""
    try:
        with Image.open(path, formats=["PNG"]) as image:
            if max(image.size) > THUMBNAIL:
                return None  # not one of ours, and nobody knows how much of it is decoded
            return np.array(image.convert("RGB"))
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        return None


def read_slide(path: Path, series: int | None = None) -> Slide:
    """Open an image, or one of several in a file, and compute its fingerprint, both outside transactions."""
    slide = open_slide(path, series)
    _ = slide.fingerprint
    return slide
