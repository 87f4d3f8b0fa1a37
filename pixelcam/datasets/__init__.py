"""Data sets of histology images with image labels: GlaS, EBHI-SEG, and a plain folder of class folders."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pixelcam.datasets.base import SPLITS, Dataset, Sample
from pixelcam.datasets.ebhi import open_ebhi
from pixelcam.datasets.folder import open_folder
from pixelcam.datasets.glas import open_glas
from pixelcam.datasets.reading import IGNORE, load_image, load_mask
from pixelcam.errors import DatasetError

DATASETS = ("glas", "ebhi", "folder")
SCHEMES = ("official", "patient")

__all__ = [
    "DATASETS",
    "IGNORE",
    "SCHEMES",
    "SPLITS",
    "Dataset",
    "Sample",
    "load_image",
    "load_mask",
    "open_dataset",
]


def open_dataset(
    name: Literal["glas", "ebhi", "folder"] | str,
    root: str | Path,
    split: Literal["train", "valcl", "valpx", "test"] | str = "train",
    fold: int = 0,
    scheme: Literal["official", "patient"] | str = "official",
) -> Dataset:
    """Open one split of a data set.

    Parameters
    ----------
    name
        "glas", "ebhi" or "folder": see `open_glas`, `open_ebhi` and `open_folder` for the layouts.
    root
        Folder of the data set.
    split
        "train", "valcl" (image labels), "valpx" (a few masked images of valcl) or "test".
    fold
        GlaS 0 to 4, EBHI-SEG 0 to 3, a folder any.
    scheme
        "official" or, for GlaS, "patient": no patient of a test image in training. EBHI-SEG is split
        by patient either way.

    Raises
    ------
    DatasetError
        The name, split, fold or scheme is unknown, or the folder does not hold what the split needs.
    """
    root = Path(root).expanduser()
    _refuse_unknown("data set", name, DATASETS)
    _refuse_unknown("split", split, SPLITS)
    _refuse_unknown("scheme", scheme, SCHEMES)
    if fold < 0:
        raise DatasetError(f"There is no fold {fold}: the first one is 0.")
    if not root.is_dir():
        raise DatasetError(f"{root} is not a folder: give the folder of the data set.")
    if name == "glas":
        return open_glas(root, split, fold, scheme)
    if name == "ebhi":
        return open_ebhi(root, split, fold)
    if scheme == "patient":
        raise DatasetError(
            "A plain folder knows no patients: lay it out as train, val and test folders instead."
        )
    return open_folder(root, split, fold)


def _refuse_unknown(what: str, value: str, known: tuple[str, ...]) -> None:
    if value not in known:
        raise DatasetError(f"There is no {what} {value!r}: choose one of {', '.join(known)}.")
