"""Read fold files of weakly supervised localization: a split's images, their labels and masks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pixelcam.datasets.tables import read_rows
from pixelcam.errors import DatasetError

_NOTHING = ("", "none")
"""What stands in ``localization.txt`` where an image has no mask."""


@dataclass(frozen=True)
class FoldEntry:
    """What the files of a split say of one image; paths are as written there, and may name other suffixes.

    Parameters
    ----------
    name
        The path that all files of the split know the image by.
    label
        Index of its class.
    mask, ignore
        The path of its mask and of its ignore mask, "" where none is named.
    """

    name: str
    label: int
    mask: str = ""
    ignore: str = ""


def has_fold(folder: Path) -> bool:
    """Return whether the folder of a split lists images."""
    return (folder / "image_ids.txt").is_file()


def read_fold(folder: Path, classes: Sequence[str]) -> list[FoldEntry]:
    """Return the entries of ``{image_ids,class_labels,localization}.txt``, in the order of the first.

    A line is ``path``, ``path,label`` or ``path,mask,ignore``. Paths may hold parentheses and blanks. The
    last file may be absent; ``image_sizes.txt`` is not read, for the images themselves tell their sizes.

    Parameters
    ----------
    folder
        The folder of one split, ``folds/fold-<k>/<split>``.
    classes
        Names of the labels 0, 1, ...

    Raises
    ------
    DatasetError
        A file is missing or unreadable, a line too short, or an image has no label or an unknown one.
    """
    names = [row[0] for row in read_rows(folder / "image_ids.txt", 1)]
    labels = {row[0]: row[1] for row in read_rows(folder / "class_labels.txt", 2)}
    masks: dict[str, tuple[str, str]] = {}
    if (folder / "localization.txt").is_file():
        for row in read_rows(folder / "localization.txt", 3):
            masks[row[0]] = _named(row[1]), _named(row[2])
    return [
        FoldEntry(name, _label(labels.get(name), name, folder, classes), *masks.get(name, ("", "")))
        for name in names
    ]


def refuse_missing(
    missing: Sequence[str], of: int, what: str, split: str, fold: int, title: str, root: Path
) -> None:
    """Raise `DatasetError` where files of a split are not at hand.

    Parameters
    ----------
    missing
        Names of the images concerned.
    of
        How many files the split has.
    what
        "images" or "masks".
    split, fold, title
        Of which data set's part.
    root
        Where they were looked for.
    """
    if missing:
        raise DatasetError(
            f"{len(missing)} of the {of} {what} of the {split} split (fold {fold}) of {title} "
            f"are not in {root}; the first is that of {min(missing)}."
        )


def _named(cell: str) -> str:
    return "" if cell.casefold() in _NOTHING else cell


def _label(text: str | None, name: str, folder: Path, classes: Sequence[str]) -> int:
    if text is None:
        raise DatasetError(f"{folder / 'class_labels.txt'} gives no label for {name}.")
    if not text.isdecimal() or int(text) >= len(classes):
        known = " or ".join(str(index) for index in range(len(classes)))
        raise DatasetError(
            f"{folder / 'class_labels.txt'} gives {name} the label {text!r} instead of {known}."
        )
    return int(text)
