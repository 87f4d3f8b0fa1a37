"""Which files of a folder are images, and what is passed over, told by kind and number."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from pixelcam.errors import ImageError

SUFFIXES = frozenset(
    [
        ".bif",
        ".bmp",
        ".btf",
        ".gif",
        ".jfif",
        ".jp2",
        ".jpe",
        ".jpeg",
        ".jpg",
        ".ndpi",
        ".png",
        ".qptiff",
        ".scn",
        ".svs",
        ".tf8",
        ".tif",
        ".tiff",
        ".webp",
    ]
)
"""Endings, in lower case, of files that are opened as images where a folder is given."""
OWN_ENDINGS = (".fg.ome.tif", ".fg.png", ".mask.png", ".seeds.png")
"""Endings of files that PixelCAM itself writes, which are not images to look at."""
MASK_ENDINGS = (
    "mask",
    "masks",
    "anno",
    "annotation",
    "gt",
    "groundtruth",
    "ground_truth",
    "seg",
    "segmentation",
    "label",
    "labels",
)
"""What stands behind an image's stem in the name of its mask, after ``_``, ``-``, ``.`` or a blank."""

_MASKS = {"mask", "masks", "groundtruth", "groundtruths", "annotation", "annotations", "anno", "annos"}
_PERHAPS_MASKS = {"gt", "gts", "truth", "label", "labels", "seg", "segs", "segmentation", "segmentations"}
_BESIDE_MASKS = {
    *("binary", "bmp", "class", "gif", "ground", "image", "images", "img", "instance", "instances", "manual"),
    *("pixel", "png", "semantic", "tif", "tiff", "train", "val", "test"),
}
_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[^\W\d_]+")
_MASK_STEM = re.compile(
    rf"(.+?)[_\-. ]({'|'.join(sorted(MASK_ENDINGS, key=len, reverse=True))})", re.IGNORECASE
)
_PROJECT = "project.sqlite"
_MOST_KINDS = 6


def is_mask_folder(name: str) -> bool:
    """Return whether a folder's name says that it holds masks, as ``Masks``, ``GT`` or ``label_images`` do.

    Examples
    --------
    >>> [is_mask_folder(name) for name in ("Mask", "GroundTruth", "tumour_masks", "normal", "labelled")]
    [True, True, True, False, False]
    """
    words = {word.casefold() for word in _WORD.findall(name)}
    return bool(words & _MASKS) or (bool(words & _PERHAPS_MASKS) and words <= _PERHAPS_MASKS | _BESIDE_MASKS)


def stem_of_masked(stem: str) -> str | None:
    """Return the stem of the image that a file named like a mask is the mask of, else None.

    Examples
    --------
    >>> stem_of_masked("case 7_mask"), stem_of_masked("testA_3-GT"), stem_of_masked("masked")
    ('case 7', 'testA_3', None)
    """
    match = _MASK_STEM.fullmatch(stem)
    return match.group(1) if match else None


@dataclass(frozen=True)
class Listing:
    """What a folder and those in it hold.

    Attributes
    ----------
    root
        The folder.
    images
        The image files below it, in the order of their paths.
    passed
        Kind of what was passed over, in words, to how many of it.
    """

    root: Path
    images: tuple[Path, ...]
    passed: Mapping[str, int] = field(default_factory=dict)

    @property
    def passed_over(self) -> str:
        """One sentence on what was passed over; empty where nothing was."""
        kinds = sorted(self.passed.items(), key=lambda item: (-item[1], item[0]))
        if not kinds:
            return ""
        shown = [f"{count} {kind}" for kind, count in kinds[:_MOST_KINDS]]
        if rest := sum(count for _, count in kinds[_MOST_KINDS:]):
            shown.append(f"{rest} others")
        total = sum(self.passed.values())
        return f"{self.root}: {len(self.images)} images; {total} passed over ({', '.join(shown)})."


def list_images(folder: Path) -> Listing:
    """Return the images of a folder and of all folders in it.

    Passed over are files of other endings, hidden ones, results of PixelCAM, masks (in a folder that
    `is_mask_folder` tells, or named as the mask of an image beside it), projects of PixelCAM and zarr stores.
    A folder that is reached on two ways, by a link, counts once.

    Raises
    ------
    ImageError
        The folder cannot be read.
    """
    passed: Counter[str] = Counter()
    images: list[Path] = []
    seen: set[str] = set()

    def walk(place: Path, names: list[str]) -> None:
        seen.add(os.path.realpath(place))
        files = {name for name in names if os.path.isfile(place / name)}  # noqa: PTH113 - see `is_folder`
        stems = {Path(name).stem.casefold() for name in files}
        for name in sorted(names):
            path = place / name
            if name.startswith("."):
                passed["hidden"] += 1
            elif name in files:
                kind = _why_not(path, stems)
                passed.update([kind] if kind else [])
                images.extend([] if kind else [path])
            elif is_folder(path):
                enter(path)
            else:
                passed["that are no files, or links to nothing"] += 1

    def enter(path: Path) -> None:
        if os.path.realpath(path) in seen:
            passed["folders linked twice"] += 1
        elif path.suffix.lower() == ".zarr":
            passed["zarr stores"] += 1
        elif is_mask_folder(path.name):
            passed[f"folders of masks ({path.name})"] += 1
        else:
            try:
                names = os.listdir(path)  # noqa: PTH208 - names alone are needed
            except OSError:
                passed["folders that cannot be read"] += 1
                return
            if _PROJECT in names:
                passed["projects of PixelCAM"] += 1
            else:
                walk(path, names)

    try:
        names = os.listdir(folder)  # noqa: PTH208 - as above
    except OSError as error:
        raise ImageError(f"{folder} cannot be read: {error.strerror}.") from error
    walk(folder, names)
    return Listing(folder, tuple(images), dict(passed))


def is_folder(path: Path) -> bool:
    """Return whether a path is a folder; one that may not be looked at is none, and opening it will tell."""
    return os.path.isdir(path)  # noqa: PTH112 - pathlib's raises where permission is missing


def _why_not(path: Path, stems: set[str]) -> str:
    """Return what kind of other file this is, "" for an image to look at."""
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        return suffix or "without an ending"
    if path.name.lower().endswith(OWN_ENDINGS):
        return "results of PixelCAM"
    masked = stem_of_masked(path.stem)
    return "masks" if masked is not None and masked.casefold() in stems else ""
