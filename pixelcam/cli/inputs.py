"""Which image files a command line means: files, and folders of them, each once, none in another's way."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from pixelcam.errors import ImageError, OutputError

SUFFIXES = frozenset(
    [
        ".bmp",
        ".gif",
        ".jp2",
        ".jpeg",
        ".jpg",
        ".ndpi",
        ".png",
        ".scn",
        ".svs",
        ".tif",
        ".tiff",
        ".webp",
        ".bif",
        ".qptiff",
    ]
)
OWN_ENDINGS = (".fg.ome.tif", ".fg.png", ".mask.png", ".seeds.png")
"""Endings of files that PixelCAM itself writes, which are not images to look at."""


def gather_images(paths: Iterable[Path]) -> list[Path]:
    """Return the images that the paths name, in their order; a folder stands for the images right in it.

    A file is taken as it is, whatever its name, and whether it is there or not: opening it will tell.

    Raises
    ------
    ImageError
        A folder holds no image.
    """
    found: dict[Path, Path] = {}
    for path in paths:
        for image in _images_in(path) if is_folder(path) else [path]:
            found.setdefault(image.absolute(), image)
    return list(found.values())


def refuse_same_stems(images: Iterable[Path]) -> None:
    """Raise `OutputError` when two images would be written under one name (case aside)."""
    from pixelcam.export.results import safe_stem

    taken: dict[str, Path] = {}
    for image in images:
        other = taken.setdefault(safe_stem(image.stem).casefold(), image)
        if other is not image:
            raise OutputError(
                f"{other} and {image} would be written under the same name; "
                "localize them one by one into different folders, or rename one."
            )


def is_folder(path: Path) -> bool:
    """Return whether a path is a folder; one that may not be looked at is none, and opening it will tell."""
    return os.path.isdir(path)  # noqa: PTH112 - pathlib's raises where permission is missing


def list_folder(folder: Path) -> list[Path]:
    """Return what is in a folder, sorted.

    Raises
    ------
    ImageError
        The folder may not be read.
    """
    try:
        return sorted(folder.iterdir())
    except OSError as error:
        raise ImageError(f"{folder} cannot be read: {error.strerror}.") from error


def _images_in(folder: Path) -> list[Path]:
    images = [
        path
        for path in list_folder(folder)
        if path.suffix.lower() in SUFFIXES
        and not path.name.startswith(".")
        and not path.name.lower().endswith(OWN_ENDINGS)
        and os.path.isfile(path)  # noqa: PTH113 - as above
    ]
    if not images:
        raise ImageError(f"There is no image in the folder {folder}.")
    return images
