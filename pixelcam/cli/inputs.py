"""Which image files a command line means: files, and folders of them, each once, none in another's way."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from pixelcam.errors import ImageError
from pixelcam.listing import is_folder, list_images


@dataclass(frozen=True)
class Input:
    """An image that a command line means, or a file of another kind.

    Parameters
    ----------
    path
        The file.
    place
        The folders between the one that was named and the file; none where the file itself was named. What is
        made of it goes into such folders too.
    """

    path: Path
    place: Path = Path()


def gather_images(paths: Iterable[Path], tell: Callable[[str], None] = lambda sentence: None) -> list[Path]:
    """Return the images that the paths name; see `gather_inputs`."""
    return [each.path for each in gather_inputs(paths, tell)]


def gather_inputs(paths: Iterable[Path], tell: Callable[[str], None] = lambda sentence: None) -> list[Input]:
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
    found: dict[Path, Input] = {}
    for path in paths:
        if is_folder(path):
            inputs = [Input(image, image.parent.relative_to(path)) for image in _images_in(path, tell)]
        else:
            inputs = [Input(path)]
        for each in inputs:
            found.setdefault(each.path.absolute(), each)
    return list(found.values())


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
