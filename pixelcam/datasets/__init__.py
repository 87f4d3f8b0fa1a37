"""Data sets of histology images with image labels: GlaS, EBHI-SEG, CAMELYON512, and a plain folder."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Literal

from pixelcam.datasets.base import SPLITS, Dataset, Sample
from pixelcam.datasets.camelyon import open_camelyon
from pixelcam.datasets.ebhi import open_ebhi
from pixelcam.datasets.folder import open_folder
from pixelcam.datasets.glas import open_glas
from pixelcam.datasets.reading import IGNORE, load_image, load_mask
from pixelcam.errors import DatasetError
from pixelcam.folders import expanded

DATASETS = ("glas", "ebhi", "camelyon512", "folder")
SCHEMES = ("official", "patient", "slide")

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
    name: Literal["glas", "ebhi", "camelyon512", "folder"] | str,
    root: str | Path,
    split: Literal["train", "valcl", "valpx", "test"] | str = "train",
    fold: int = 0,
    scheme: Literal["official", "patient", "slide"] | str = "official",
) -> Dataset:
    """Open one split of a data set.

    Parameters
    ----------
    name
        "glas", "ebhi", "camelyon512" or "folder": see `open_glas`, `open_ebhi`, `open_camelyon` and
        `open_folder` for the layouts.
    root
        Folder of the data set.
    split
        "train", "valcl" (image labels), "valpx" (a few masked images of valcl) or "test".
    fold
        GlaS and CAMELYON512 0 to 4, EBHI-SEG 0 to 3, a folder any.
    scheme
        "official" or, for GlaS, "patient": no patient of a test image in training. EBHI-SEG is split
        by patient either way. For CAMELYON512 "slide": no slide in both training and validation.

    Raises
    ------
    DatasetError
        The name, split, fold or scheme is unknown, or the folder does not hold what the split needs.
    """
    root = expanded(root)
    _refuse_unknown("data set", name, DATASETS)
    _refuse_unknown("split", split, SPLITS)
    _refuse_unknown("scheme", scheme, SCHEMES)
    if fold < 0:
        raise DatasetError(f"There is no fold {fold}: the first one is 0.")
    if not os.path.isdir(root):  # noqa: PTH112 - Path raises for a name that is too long
        raise DatasetError(f"{root} is not a folder: give the folder of the data set.")
    if name == "camelyon512":
        if scheme == "patient":
            raise DatasetError(
                "CAMELYON512 knows no patients: choose the scheme slide, or official for the published folds."
            )
        return open_camelyon(root, split, fold, scheme)
    if scheme == "slide":
        other = "patient" if name == "glas" else "official"
        raise DatasetError(f"The data set {name} knows no slides: choose the scheme {other}.")
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
