"""A plain folder with one subfolder a class or a table of labels, with masks where there are some."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import yaml

from pixelcam.datasets.base import Dataset, Sample
from pixelcam.datasets.labelled import LABELS_FILE, read_label_table, table_parts
from pixelcam.datasets.reading import IMAGE_SUFFIXES
from pixelcam.datasets.splits import pick_masked, split_by_name
from pixelcam.errors import DatasetError, NoMasksError
from pixelcam.limits import parse_yaml
from pixelcam.slides.labels import picture_size

VALPX_PER_CLASS = 5
MASK_ENDING = "_mask"
_SPLIT_FOLDERS = ("train", "val", "test")


@dataclass(frozen=True)
class FolderSettings:
    """What ``dataset.yaml`` may say about a folder of images.

    Parameters
    ----------
    regionless
        Classes whose images hold no region, e.g. normal tissue beside tumour: background all over.
    mpp
        Microns per pixel of the images.
    """

    regionless: tuple[str, ...] = ()
    mpp: float | None = None


def open_folder(root: Path, split: str, fold: int) -> Dataset:
    """Open a split of a folder of class folders, or of images with a table of their labels.

    ``<root>/<class>/<stem>.<suffix>`` is split by the hash of the names into about 60 % train, 15 %
    valcl and 25 % test within each class, and `fold` rotates the parts; ``<root>/{train,val,test}/
    <class>/`` is taken as it is (without ``val``, a fifth of train is valcl). Images of one patient are
    not known to be so: who has several should lay out the three folders by patient.

    Where there is a ``<root>/labels.csv``, it is a data set of several labels an image instead: its column
    image holds paths relative to the root, its column labels the names of all labels of that image, separated
    by ``;`` (``tumour;necrosis``; nothing for an image of none), and a column split, if there is one, train,
    val or test. An image of no label, or of regionless ones only, is background all over.

    A mask is ``<root>/masks/<class>/<stem>.png`` (with split folders also ``<root>/masks/<split>/...``)
    or ``<stem>_mask.png`` beside the image; with a table, ``<root>/masks/<path of the image>.png``.
    ``<root>/dataset.yaml`` may say ``regionless: [normal]`` and ``mpp: 0.5``; see `FolderSettings`. Names
    beginning with a dot and files that are not images are left out. valpx is at most five masked images a
    class of valcl.

    Raises
    ------
    DatasetError
        Fewer than two classes, two that differ by letter case alone, a class without images or with fewer
        than three to split, or a ``dataset.yaml`` or ``labels.csv`` that does not fit.
    ImageError
        A file is not the image that its suffix says.
    """
    settings = _read_settings(root / "dataset.yaml")
    table = read_label_table(root / LABELS_FILE) if (root / LABELS_FILE).is_file() else None
    divided = (root / "train").is_dir()
    classes = table.classes if table else _class_folders(root / "train" if divided else root)
    _refuse_look_alikes(table.path if table else root, classes)
    unknown = [name for name in settings.regionless if name not in classes]
    if unknown:
        raise DatasetError(
            f"{root / 'dataset.yaml'} calls {unknown[0]} regionless, "
            f"but the classes are {', '.join(classes)}."
        )
    regionless = frozenset(classes.index(name) for name in settings.regionless)
    if table is not None:
        parts = table_parts(table, regionless, fold)
    elif divided:
        parts = _divided_parts(root, classes, regionless, split, fold)
    else:
        parts = _hashed_parts(root, classes, regionless, fold)
    samples = pick_masked(parts["valcl"], VALPX_PER_CLASS) if split == "valpx" else parts[split]
    lost = set(range(len(classes))) - {sample.label for sample in parts["train"]} if table is None else set()
    if lost and parts["train"]:
        raise DatasetError(f"No training image of {root} is of the class {classes[min(lost)]}: add some.")
    if not samples and split != "valpx":
        raise DatasetError(f"{root} holds no images for the {split} split; put some there.")
    if not samples or (split == "valpx" and all(sample.mask is None for sample in samples)):
        raise NoMasksError(
            f"{root} holds no masks of validation images: the valpx split needs some, "
            f"as masks/{'<path of the image>' if table else '<class>/<stem>'}.png."
        )
    for sample in samples:
        picture_size(sample.image)
    return Dataset(
        "folder",
        classes,
        tuple(samples),
        settings.mpp,
        regionless,
        split,
        fold,
        multi_label=table is not None,
    )


def _hashed_parts(
    root: Path, classes: Sequence[str], regionless: frozenset[int], fold: int
) -> dict[str, list[Sample]]:
    parts: dict[str, list[Sample]] = {"train": [], "valcl": [], "test": []}
    for samples in _samples_by_class(root, "", classes, regionless):
        if len(samples) < 3:
            name = classes[samples[0].label]
            raise DatasetError(
                f"Class folder {root / name} holds {len(samples)} images: at least 3 are needed to split it."
            )
        for side, own in split_by_name(samples, fold=fold, valcl_share=0.15, test_share=0.25).items():
            parts[side] += own
    return parts


def _divided_parts(
    root: Path, classes: Sequence[str], regionless: frozenset[int], split: str, fold: int
) -> dict[str, list[Sample]]:
    parts: dict[str, list[Sample]] = {"train": [], "valcl": [], "test": []}
    for part in ("val", "test"):
        extra = sorted(set(_subfolders(root / part)) - set(classes))
        if extra:
            raise DatasetError(
                f"{root / part} has a class folder {extra[0]} that {root / 'train'} has not: name them alike."
            )
    if split == "test":
        if not (root / "test").is_dir():
            raise DatasetError(
                f"{root} has a train folder but no test folder: the test split is not at hand."
            )
        parts["test"] = list(chain.from_iterable(_samples_by_class(root, "test", classes, regionless)))
        return parts
    own_validation = (root / "val").is_dir()
    for samples in _samples_by_class(root, "train", classes, regionless):
        share = 0.0 if own_validation else 0.2
        for side, own in split_by_name(samples, fold=fold, valcl_share=share, test_share=0.0).items():
            parts[side] += own
    if own_validation:
        parts["valcl"] = list(chain.from_iterable(_samples_by_class(root, "val", classes, regionless)))
    return parts


def _samples_by_class(
    root: Path, part: str, classes: Sequence[str], regionless: frozenset[int]
) -> list[list[Sample]]:
    return [
        _class_samples(root, part, name, label, label in regionless)
        for label, name in enumerate(classes)
        # A class may be absent from a validation or test folder; an empty folder is a mistake.
        if (root / part / name).is_dir()
    ]


def _class_samples(root: Path, part: str, name: str, label: int, regionless: bool) -> list[Sample]:
    folder = root / part / name
    files = _image_files(folder)
    stems = {path.stem for path in files}
    images = [path for path in files if not _is_mask(path, stems)]
    if not images:
        raise DatasetError(f"Class folder {folder} holds no images: fill it or remove it.")
    twin = next((stem for stem, uses in Counter(path.stem for path in images).items() if uses > 1), None)
    if twin is not None:
        raise DatasetError(f"{folder} holds several images named {twin}: keep one of them.")
    mask_folders = [root / "masks" / part / name, root / "masks" / name, root / part / "masks" / name]
    samples = []
    for path in images:
        candidates = [mask_folder / f"{path.stem}.png" for mask_folder in mask_folders]
        candidates.append(folder / f"{path.stem}{MASK_ENDING}.png")
        mask = next((file for file in candidates if file.is_file()), None)
        sample = "/".join(filter(None, (part, name, path.stem)))
        samples.append(Sample(sample, path, label, mask, sample, regionless=regionless))
    return samples


def _is_mask(path: Path, stems: set[str]) -> bool:
    return path.stem.endswith(MASK_ENDING) and path.stem.removesuffix(MASK_ENDING) in stems


def _image_files(folder: Path) -> list[Path]:
    return sorted(
        path
        for path in folder.iterdir()
        if not path.name.startswith(".") and path.suffix.lower() in IMAGE_SUFFIXES and path.is_file()
    )


def _subfolders(folder: Path) -> list[str]:
    return sorted(
        path.name
        for path in (folder.iterdir() if folder.is_dir() else ())
        if path.is_dir() and not path.name.startswith(".") and path.name != "masks"
    )


def _class_folders(folder: Path) -> tuple[str, ...]:
    names = _subfolders(folder)
    if len(names) < 2:
        found = f"only the class folder {names[0]}" if names else "no class folders"
        raise DatasetError(
            f"{folder} holds {found}: put the images of each of two or more classes in its own folder."
        )
    return tuple(names)


def _refuse_look_alikes(place: Path, classes: Sequence[str]) -> None:
    known: dict[str, str] = {}
    for name in classes:
        twin = known.setdefault(name.casefold(), name)
        if twin != name:
            raise DatasetError(
                f"{place} has the classes {twin!r} and {name!r}, which differ in upper and lower case alone: "
                "write them alike where they mean the same, else give them names that differ."
            )


def _read_settings(path: Path) -> FolderSettings:
    if not path.is_file():
        return FolderSettings()
    try:
        values = parse_yaml(path.read_text(encoding="utf-8")) or {}
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise DatasetError(f"{path} cannot be read as YAML.") from error
    if not isinstance(values, dict):
        raise DatasetError(f"{path} must hold names with values, e.g. 'mpp: 0.5'.")
    unknown = sorted(str(key) for key in values if key not in ("regionless", "mpp"))
    if unknown:
        raise DatasetError(f"{path} has the unknown entry {unknown[0]}: it may hold regionless and mpp.")
    regionless = values.get("regionless") or []
    if not isinstance(regionless, list) or not all(isinstance(name, str) for name in regionless):
        raise DatasetError(f"regionless in {path} must be a list of class names, e.g. [normal].")
    mpp = values.get("mpp")
    if mpp is not None and (isinstance(mpp, bool) or not isinstance(mpp, int | float) or not 0 < mpp < 1000):
        raise DatasetError(f"mpp in {path} must be a positive number of microns per pixel.")
    return FolderSettings(tuple(regionless), None if mpp is None else float(mpp))
