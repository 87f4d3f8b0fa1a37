"""Which file of a data folder is the mask of which image: by stem, whatever its ending and letter case."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Container, Iterable, Iterator
from pathlib import Path, PurePosixPath

from pixelcam.datasets.reading import IMAGE_SUFFIXES
from pixelcam.errors import DatasetError
from pixelcam.listing import is_mask_folder, stem_of_masked

MASK_SUFFIXES = (*IMAGE_SUFFIXES, ".gif")
"""Suffixes of files that are masks where their stem says so."""


class Masks:
    """The masks of a data folder.

    Looked for in every folder that `is_mask_folder` knows, at the root or in one of its folders: at the
    image's path below it, at parts of that path, or, where no other image has its stem, anywhere; and beside
    the image, under its stem and a usual ending (``_mask``, ``-gt``, ...).

    Parameters
    ----------
    root
        The data folder.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.folders = tuple(_mask_folders(root))
        self._places: dict[tuple[str, ...], dict[str, list[Path]]] = defaultdict(lambda: defaultdict(list))
        self._stems: dict[str, list[Path]] = defaultdict(list)
        self._named: dict[Path, dict[str, list[Path]]] = {}
        self.files: list[Path] = []
        for folder in self.folders:
            above = folder.relative_to(root).parent.parts
            for path in _files(folder):
                below = path.relative_to(folder).parent.parts
                place = tuple(part.casefold() for part in (*above, *below))
                self.files.append(path)
                for stem in _stems(path):
                    self._places[place][stem].append(path)
                    self._stems[stem].append(path)

    def of(self, image: Path, *, alone: bool) -> Path | None:
        """Return the mask of an image, None where there is none.

        Parameters
        ----------
        image
            A file below the root.
        alone
            Whether no other image of the data set has its stem, so that a mask may lie in any folder.

        Raises
        ------
        DatasetError
            Several files may be its mask.
        """
        stem = image.stem.casefold()
        parts = tuple(part.casefold() for part in image.relative_to(self.root).parent.parts)
        found = [path for first in range(len(parts)) for path in self._places[parts[first:]].get(stem, ())]
        found += self._beside(image.parent).get(stem, ())
        if not found and alone:
            found = self._stems.get(stem, [])
        found = list(dict.fromkeys(found))
        if len(found) > 1:
            raise DatasetError(f"{image} has several masks, {found[0]} and {found[1]}: keep one of them.")
        return found[0] if found else None

    def _beside(self, folder: Path) -> dict[str, list[Path]]:
        """Return the files of a folder that are named as masks of others, by the stem of those."""
        if folder not in self._named:
            named = self._named[folder] = defaultdict(list)
            for path in sorted(folder.iterdir()):
                masked = stem_of_masked(path.stem)
                if masked and path.suffix.lower() in MASK_SUFFIXES and not path.name.startswith("."):
                    named[masked.casefold()].append(path)
        return self._named[folder]

    def count_orphans(self, stems: Container[str]) -> int:
        """Return how many masks are of none of the images with these stems, which are in lower case."""
        return sum(not any(stem in stems for stem in _stems(path)) for path in self.files)


def is_mask_beside(path: Path, stems: Iterable[str]) -> bool:
    """Return whether a file is named as the mask of another one in its folder; stems in lower case."""
    masked = stem_of_masked(path.stem)
    return masked is not None and masked.casefold() in stems


def stem_uses(images: Iterable[str]) -> Counter[str]:
    """Return how many images have each stem, in lower case."""
    return Counter(PurePosixPath(image).stem.casefold() for image in images)


def _mask_folders(root: Path) -> Iterator[Path]:
    """Yield the folders of masks at the root and in its folders, two deep."""
    pending = [(root, 0)]
    while pending:
        folder, depth = pending.pop(0)
        for path in sorted(folder.iterdir()):
            if path.name.startswith(".") or not path.is_dir():
                continue
            if is_mask_folder(path.name):
                yield path
            elif depth < 2:
                pending.append((path, depth + 1))


def _files(folder: Path) -> list[Path]:
    return sorted(
        path
        for path in folder.rglob("*")
        if path.suffix.lower() in MASK_SUFFIXES and not path.name.startswith(".") and path.is_file()
    )


def _stems(path: Path) -> list[str]:
    masked = stem_of_masked(path.stem)
    return [path.stem.casefold(), *([masked.casefold()] if masked else [])]
