"""EBHI-SEG: colorectal biopsies in six classes with masks, split by case."""

from __future__ import annotations

from pathlib import Path, PurePosixPath

from pixelcam.datasets.base import Dataset, Sample, refuse_look_alikes
from pixelcam.datasets.splits import split_by_patient
from pixelcam.datasets.tables import read_table
from pixelcam.errors import DatasetError
from pixelcam.files import inside

FOLDS = 4
VALPX_PER_CLASS = 5
IN_WORDS = {
    "low_grade_in": "low-grade neoplasia",
    "high_grade_in": "high-grade neoplasia",
    "serrated_adenoma": "serrated adenoma",
}
"""Classes of the index as a pathologist says them, others as they are; IN is intraepithelial neoplasia."""


def open_ebhi(root: Path, split: str, fold: int) -> Dataset:
    """Open a split of EBHI-SEG (Shi et al. 2023, Frontiers in Medicine 10:1114673).

    The folder holds ``index.csv`` with the columns image, mask, class and case, the first two relative
    to the folder. A case is one patient whatever the case of its letters, and goes wholly to one split:
    about 60 % of the images to train, 15 % to valcl, 25 % to test; each of the four folds tests on
    another quarter of the cases. The masks of five images a class at most make up valpx. The published
    images carry no pixel size. Classes are called as in `IN_WORDS`.

    Parameters
    ----------
    root
        Folder of the data set.
    split
        One of `SPLITS`.
    fold
        0 to 3.

    Raises
    ------
    DatasetError
        The index or a file that it names is missing, or a class has too few cases to be in every split.
    """
    path = root / "index.csv"
    rows = _read_index(path)
    classes = tuple(sorted({row["class"] for row in rows}))
    refuse_look_alikes(path, classes)
    if len(classes) < 2:
        raise DatasetError(f"{path} holds the one class {classes[0]}: at least two are needed.")
    samples = [_sample(root, row, classes) for row in rows]
    parts = split_by_patient(samples, classes, fold=fold, folds=FOLDS, valpx_per_class=VALPX_PER_CLASS)
    chosen = parts[split]
    absent = [
        file for sample in chosen for file in (sample.image, sample.mask) if file and not file.is_file()
    ]
    if absent:
        raise DatasetError(
            f"{len(absent)} files of the {split} split that {path} names are missing; "
            f"the first is {min(absent)}."
        )
    return Dataset("ebhi", tuple(map(_in_words, classes)), chosen, split=split, fold=fold)


def _read_index(path: Path) -> list[dict[str, str]]:
    rows = read_table(path, ("image", "mask", "class", "case"))
    for row in rows:
        if not (row.cells["image"] and row.cells["class"] and row.cells["case"]):
            raise DatasetError(f"Line {row.line} of {path} lacks its image, class or case.")
    return [{name: cell.replace("\\", "/") for name, cell in row.cells.items()} for row in rows]


def _in_words(name: str) -> str:
    return IN_WORDS.get(name.casefold().replace("-", "_").replace(" ", "_"), name)


def _sample(root: Path, row: dict[str, str], classes: tuple[str, ...]) -> Sample:
    # Some stems stand in two classes, so the class is part of the name.
    name = f"{row['class']}/{PurePosixPath(row['image']).stem}"
    table = root / "index.csv"
    mask = inside(root, row["mask"], error=DatasetError, source=table) if row["mask"] else None
    image = inside(root, row["image"], error=DatasetError, source=table)
    return Sample(name, image, classes.index(row["class"]), mask, row["case"].casefold())
