"""GlaS (Warwick-QU): colon glands, benign or malignant, by the official folds or by patient."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path, PurePosixPath

from pixelcam.datasets.base import Dataset, Sample
from pixelcam.datasets.fold_files import has_fold, read_fold, refuse_missing
from pixelcam.datasets.reading import IMAGE_SUFFIXES
from pixelcam.datasets.splits import split_by_patient
from pixelcam.datasets.tables import read_rows
from pixelcam.errors import DatasetError
from pixelcam.files import inside

CLASSES = ("benign", "malignant")
MPP = 0.62005
"""Microns per pixel of the 20x images (Sirinukunwattana et al. 2017, Medical Image Analysis 35:489-502)."""

PATIENT_FOLDS = 5
VALPX_PER_CLASS = 3


class _Files:
    """The image and mask files at hand, found by stem because fold files name .bmp whatever the suffix."""

    def __init__(self, root: Path) -> None:
        self._root = root
        folders = [root / "images", root, *sorted(root.glob("Warwick*"))]
        self._images = _index(folders)
        self._masks = _index([root / "masks", *folders])

    def image(self, name: str) -> Path | None:
        exact = inside(self._root, name, error=DatasetError)
        return exact if exact.is_file() else self._images.get(PurePosixPath(name).stem)

    def mask(self, name: str) -> Path | None:
        exact = inside(self._root, name, error=DatasetError)
        if exact.is_file():
            return exact
        stem = PurePosixPath(name).stem
        plain = stem.removesuffix("_anno")
        masks = self._root / "masks"
        # Only the masks folder may hold a mask under the image's own stem.
        own = self._masks.get(plain)
        return self._masks.get(f"{plain}_anno") or (own if own is not None and own.parent == masks else None)

    def named(self, prefix: str) -> list[str]:
        return sorted(stem for stem in self._images if stem.startswith(prefix) and not stem.endswith("_anno"))


def open_glas(root: Path, split: str, fold: int, scheme: str) -> Dataset:
    """Open a split of GlaS.

    The folder holds ``folds/fold-<k>/<split>/{image_ids,class_labels,localization}.txt``, ``Grade.csv``,
    and the images either as released (``*.bmp`` with ``*_anno.bmp`` beside) or as ``images/<stem>.*``
    with ``masks/<stem>.png``. Fold files that name ``.bmp`` are resolved by stem. Only the asked-for
    split's images need be there.

    Parameters
    ----------
    root
        Folder of the data set.
    split
        One of `SPLITS`. The official test split of a folder without test fold files is every image
        named ``test*``, labelled by ``Grade.csv``: it is the same in all official folds.
    fold
        0 to 4.
    scheme
        "official": the published folds, whose test images nearly all share a patient with training.
        "patient": patient-disjoint folds of all images at hand, by the patient ids of ``Grade.csv``;
        other images at hand make other folds.

    Raises
    ------
    DatasetError
        A fold file, images or masks of the split are missing, or an entry contradicts another.
    """
    files = _Files(root)
    if scheme == "patient":
        samples = _patient_split(root, files, split, fold)
    else:
        samples = _official_split(root, files, split, fold)
    if split == "valpx" or any(sample.mask is not None for sample in samples):
        bare = [sample.name for sample in samples if sample.mask is None]
        refuse_missing(bare, len(samples), "masks", split, fold, "GlaS", root)
    return Dataset("glas", CLASSES, tuple(samples), mpp=MPP, split=split, fold=fold, scheme=scheme)


def _official_split(root: Path, files: _Files, split: str, fold: int) -> list[Sample]:
    folder = root / "folds" / f"fold-{fold}" / split
    patients = {name: patient for name, patient, _ in _grades(root)} if (root / "Grade.csv").is_file() else {}
    if not has_fold(folder):
        if split == "test":
            return _unlisted_test(root, files, fold)
        raise DatasetError(
            f"{folder / 'image_ids.txt'} is missing: {root} holds no official fold {fold} of GlaS."
        )
    entries = read_fold(folder, CLASSES)
    found = {entry.name: files.image(entry.name) for entry in entries}
    absent = [name for name, path in found.items() if path is None]
    refuse_missing(absent, len(entries), "images", split, fold, "GlaS", root)
    samples = []
    for entry in entries:
        stem, path = PurePosixPath(entry.name).stem, found[entry.name]
        ignore = files.mask(entry.ignore) if entry.ignore else None
        if entry.ignore and ignore is None:
            raise DatasetError(
                f"{folder / 'localization.txt'} names {entry.ignore}, which is missing under {root}."
            )
        mask = files.mask(entry.mask) if entry.mask else None
        assert path is not None
        samples.append(Sample(stem, path, entry.label, mask, patients.get(stem, stem), ignore))
    return samples


def _unlisted_test(root: Path, files: _Files, fold: int) -> list[Sample]:
    grades = {name: (patient, label) for name, patient, label in _grades(root)}
    names = [name for name in files.named("test") if name in grades]
    if not names:
        raise DatasetError(
            f"The test split of GlaS is not at hand: {root} has neither folds/fold-{fold}/test/image_ids.txt "
            "nor images named test* that Grade.csv lists."
        )
    return [_graded_sample(name, *grades[name], files) for name in names]


def _patient_split(root: Path, files: _Files, split: str, fold: int) -> list[Sample]:
    at_hand = [
        _graded_sample(name, patient, label, files)
        for name, patient, label in _grades(root)
        if files.image(name) is not None
    ]
    if not at_hand:
        raise DatasetError(
            f"None of the images that {root / 'Grade.csv'} lists are in {root} or {root / 'images'}."
        )
    parts = split_by_patient(
        at_hand, CLASSES, fold=fold, folds=PATIENT_FOLDS, valpx_per_class=VALPX_PER_CLASS
    )
    return list(parts[split])


def _graded_sample(name: str, patient: str, label: int, files: _Files) -> Sample:
    image = files.image(name)
    assert image is not None
    return Sample(name, image, label, files.mask(name), patient)


def _grades(root: Path) -> list[tuple[str, str, int]]:
    """Return (image, patient, label) of each line of Grade.csv; its cells carry stray spaces."""
    path = root / "Grade.csv"
    graded = []
    for row in read_rows(path, 3)[1:]:
        grade = row[2].casefold()
        if grade not in CLASSES:
            raise DatasetError(
                f"{path} gives {row[0]} the grade {row[2]!r}, which is neither benign nor malignant."
            )
        graded.append((row[0], row[1], CLASSES.index(grade)))
    return graded


def _index(folders: Iterable[Path]) -> dict[str, Path]:
    """Return stem to file over several folders; earlier folders, then lossless suffixes, win."""
    index: dict[str, Path] = {}
    for folder in folders:
        if not folder.is_dir():
            continue
        files = [path for path in folder.iterdir() if path.suffix.lower() in IMAGE_SUFFIXES]
        for path in sorted(files, key=lambda path: (IMAGE_SUFFIXES.index(path.suffix.lower()), path.name)):
            index.setdefault(path.stem, path)
    return index
