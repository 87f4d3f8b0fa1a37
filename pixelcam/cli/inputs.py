"""Which image files a command line means: files, and folders of them, each once, none in another's way."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

from pixelcam.errors import ImageError, OutputError
from pixelcam.listing import is_folder, list_images


def gather_images(paths: Iterable[Path], tell: Callable[[str], None] = lambda sentence: None) -> list[Path]:
    """Return the images that the paths name, in their order; a folder stands for those in it and below it.

    A file is taken as it is, whatever its name, and whether it is there or not: opening it will tell.

    Parameters
    ----------
    paths
        Files and folders.
    tell
        Receives a sentence on what of a folder was passed over.

    Raises
    ------
    ImageError
        A folder holds no image.
    """
    found: dict[Path, Path] = {}
    for path in paths:
        for image in _images_in(path, tell) if is_folder(path) else [path]:
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


def _images_in(folder: Path, tell: Callable[[str], None]) -> tuple[Path, ...]:
    listing = list_images(folder)
    if not listing.images:
        rest = f" {listing.passed_over}" if listing.passed else ""
        raise ImageError(f"There is no image in the folder {folder} or below it.{rest}")
    if listing.passed:
        tell(listing.passed_over)
    return listing.images
