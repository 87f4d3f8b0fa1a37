"""CAMELYON512: patches of lymph node slides, normal or tumour, by the published folds or by slide."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath

from pixelcam.datasets.base import Dataset, Sample
from pixelcam.datasets.fold_files import FoldEntry, has_fold, read_fold, refuse_missing
from pixelcam.datasets.reading import IMAGE_SUFFIXES
from pixelcam.datasets.splits import split_validation
from pixelcam.errors import DatasetError
from pixelcam.files import inside

CLASSES = ("normal", "tumor")
NORMAL = 0
MPP = 0.25
"""Microns per pixel of the patches, cut at level 0 of slides that were scanned at 40x."""

SLIDE_FOLDS = 5
VALPX_PER_CLASS = 5

_NAMED_SLIDE = re.compile(
    r"(?<![a-z0-9])((?:normal|tumor|test)_\d+|patient_\d+_node_\d+)(?!\d)", re.IGNORECASE
)
_SLIDE_FILE = re.compile(r"file_(.+?)\.(?:tiff?|svs|ndpi|mrxs)_", re.IGNORECASE)
_BEFORE_PLACE = re.compile(r"(.+?)[_-](?:patch_\d+[_-])?x[_-]?\d+[_-]y[_-]?\d+", re.IGNORECASE)


def open_camelyon(root: Path, split: str, fold: int, scheme: str) -> Dataset:
    """Open a split of CAMELYON512, 512x512 patches of CAMELYON16 (Litjens et al. 2018, GigaScience 7(6)).

    The folder holds ``folds/fold-<k>/<split>/{image_ids,class_labels,localization}.txt`` and, at the paths
    that these name below it, the patches and the masks of tumour patches. A file of another image suffix in
    the same place will do, and so will a folder that lacks the first parts of the paths. Normal patches hold
    no region and need no mask. Patches that are absent matter to the splits that list them alone, and absent
    masks to valpx and test alone.

    Parameters
    ----------
    root
        Folder of the data set.
    split
        One of `SPLITS`.
    fold
        The published folds are 0 to 4.
    scheme
        "official": the published folds. They divide training and validation patch by patch, so that the two
        share slides, and validation accuracy flatters.
        "slide": the official test split; and the fold's training and validation patches, less those of
        slides that the test split has too, dealt anew so that no slide is in both training and validation.
        Other patches at hand make no other folds: what counts is what the fold files list.

    Raises
    ------
    DatasetError
        A fold file, patches or needed masks of the split are missing; or by "slide", a path does not tell
        its slide.
    """
    if scheme == "slide" and split != "test":
        chosen = _slide_split(root, split, fold)
    else:
        chosen = [(entry, slide_of(entry.name) or entry.name) for entry in _entries(root, split, fold)]
    samples = _samples(root, chosen, split, fold)
    return Dataset(
        "camelyon512",
        CLASSES,
        tuple(samples),
        mpp=MPP,
        regionless=frozenset({NORMAL}),
        split=split,
        fold=fold,
        scheme=scheme,
    )


def slide_of(path: str) -> str | None:
    """Return the slide that a patch was cut from, as its path tells, or None where it does not.

    A slide's own name in CAMELYON (``tumor_062``, ``normal_084``, ``test_001``, ``patient_012_node_3``) is
    taken from the file's name, else from the nearest folder that has it. Failing that, it is the slide's file
    in a name such as ``Patch_file_<slide>.tif_..._x_<x>_y_<y>_...png``, or what stands before
    ``_x_<x>_y_<y>`` there.

    Examples
    --------
    >>> slide_of("w-512xh-512/Patch_file_training-tumor-tumor_062.tif_reg_0_x_84107_y_117472_w_512_h_512.png")
    'tumor_062'
    >>> slide_of("patches/S12-034_x_1024_y_512.png")
    'S12-034'
    """
    place = PurePosixPath(path)
    for part in (place.stem, *reversed(place.parent.parts)):
        found = _NAMED_SLIDE.findall(part)
        if found:
            return str(found[-1]).lower()
    for pattern in (_SLIDE_FILE, _BEFORE_PLACE):
        match = pattern.search(place.name)
        if match:
            return match.group(1)
    return None


def _entries(root: Path, split: str, fold: int) -> list[FoldEntry]:
    folder = root / "folds" / f"fold-{fold}" / split
    if not has_fold(folder):
        raise DatasetError(
            f"{folder / 'image_ids.txt'} is missing: {root} holds no {split} split of fold {fold} "
            "of CAMELYON512."
        )
    return read_fold(folder, CLASSES)


def _slide_split(root: Path, split: str, fold: int) -> list[tuple[FoldEntry, str]]:
    entries = {entry.name: entry for part in ("train", "valcl") for entry in _entries(root, part, fold)}
    # Masks are told of in valpx too, where the other files may leave them out.
    if has_fold(root / "folds" / f"fold-{fold}" / "valpx"):
        entries |= {entry.name: entry for entry in _entries(root, "valpx", fold)}
    slides = {name: _told_slide(name) for name in entries}
    if has_fold(root / "folds" / f"fold-{fold}" / "test"):
        tested = {_told_slide(entry.name) for entry in _entries(root, "test", fold)}
        slides = {name: slide for name, slide in slides.items() if slide not in tested}
    # Which files are at hand must not change the split, so their paths stand in for them.
    listed = [
        Sample(
            name,
            Path(name),
            entries[name].label,
            Path(entries[name].mask) if entries[name].mask else None,
            slide,
            regionless=entries[name].label == NORMAL,
        )
        for name, slide in slides.items()
    ]
    parts = split_validation(listed, CLASSES, fold=fold, folds=SLIDE_FOLDS, valpx_per_class=VALPX_PER_CLASS)
    return [(entries[sample.name], sample.patient) for sample in parts[split]]


def _told_slide(name: str) -> str:
    slide = slide_of(name)
    if slide is None:
        raise DatasetError(
            f"The path {name} does not tell which slide the patch is from, so patches cannot be split by "
            "slide: put each slide's patches into a folder of its name (tumor_062, patient_012_node_3), or "
            "choose the scheme official."
        )
    return slide


def _samples(root: Path, chosen: Sequence[tuple[FoldEntry, str]], split: str, fold: int) -> list[Sample]:
    images = [_find(root, entry.name) for entry, _ in chosen]
    absent = [entry.name for (entry, _), image in zip(chosen, images, strict=True) if image is None]
    refuse_missing(absent, len(chosen), "images", split, fold, "CAMELYON512", root)
    samples, bare = [], []
    for (entry, slide), image in zip(chosen, images, strict=True):
        assert image is not None
        normal = entry.label == NORMAL
        mask = _find(root, entry.mask) if entry.mask and not normal else None
        ignore = _find(root, entry.ignore) if entry.ignore and mask is not None else None
        if entry.ignore and ignore is None:
            mask = None
        if mask is None and not normal:
            bare.append(entry.name)
        name = str(PurePosixPath(entry.name).with_suffix(""))
        samples.append(Sample(name, image, entry.label, mask, slide, ignore, regionless=normal))
    if split == "valpx" or (split == "test" and any(sample.mask for sample in samples)):
        refuse_missing(bare, len(samples), "masks", split, fold, "CAMELYON512", root)
    return samples


def _find(root: Path, name: str) -> Path | None:
    """Return the file at a path of the fold files, or of its name with another suffix."""
    places = (inside(root, place, error=DatasetError) for place in _places(name))
    return next((path for path in places if path.is_file()), None)


def _places(name: str) -> Iterator[str]:
    """Yield where a file may lie from the root: at its path, or without the first folders of that."""
    parts = PurePosixPath(name).parts
    # A path of whoever wrote the fold files is known by its end.
    for first in range(int(PurePosixPath(name).is_absolute()), len(parts)):
        path = PurePosixPath(*parts[first:])
        yield str(path)
        # Names hold dots of their own, in numbers: only what stands behind the last one is a suffix.
        yield from (str(path.with_suffix(suffix)) for suffix in IMAGE_SUFFIXES if suffix != path.suffix)
