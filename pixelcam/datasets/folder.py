"""A plain folder with one subfolder a class or a table of labels, with masks where there are some."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import yaml

from pixelcam.datasets.base import Dataset, Sample, refuse_look_alikes
from pixelcam.datasets.labelled import find_label_table, read_label_table, table_parts
from pixelcam.datasets.masks import Masks, is_mask_beside, stem_uses
from pixelcam.datasets.reading import IMAGE_SUFFIXES
from pixelcam.datasets.splits import pick_masked, split_by_name
from pixelcam.errors import DatasetError, NoMasksError
from pixelcam.limits import parse_yaml
from pixelcam.listing import is_mask_folder, stem_of_masked
from pixelcam.slides.labels import picture_size
from pixelcam.slides.pixel_size import parse_length

VALPX_PER_CLASS = 5
_SPLITS = {
    "train": ("train", "training"),
    "val": ("val", "valid", "validation"),
    "test": ("test", "testing"),
}
_SETTINGS = ("dataset.yaml", "dataset.yml")
_MOST_KINDS = 4


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
    or ``<stem>_mask.png`` beside the image; with a table, ``<root>/masks/<path of the image>.png``. Other
    image endings and letter cases, other usual names of such folders (``GT``, ``annotations``) and endings
    (``-gt``, ``_anno``) will do as well, see `Masks`; such a folder is no class. The split folders may be
    called ``training``, ``valid``, ``validation`` and ``testing`` too.
    ``<root>/dataset.yaml`` may say ``regionless: [normal]`` and ``mpp: 0.5``; see `FolderSettings`. Names
    beginning with a dot and files that are not images are passed over; the data set's notes say how many.
    valpx is at most five masked images a class of valcl.

    Raises
    ------
    DatasetError
        Fewer than two classes, two that differ by letter case alone, a class without images or with fewer
        than three to split, an image with several masks, or a ``dataset.yaml`` or ``labels.csv`` that does
        not fit.
    ImageError
        A file is not the image that its suffix says.
    """
    layout = _Layout(root)
    settings = _read_settings(layout.settings)
    found = find_label_table(root)
    table = None if found is None else read_label_table(found)
    divided = layout.parts["train"] is not None
    classes = table.classes if table else _class_folders(layout.parts["train"] or root)
    refuse_look_alikes(table.path if table else root, classes)
    unknown = [name for name in settings.regionless if name not in classes]
    if unknown:
        raise DatasetError(
            f"{layout.settings} calls {unknown[0]} regionless, but the classes are {', '.join(classes)}."
        )
    regionless = frozenset(classes.index(name) for name in settings.regionless)
    if table is not None:
        parts = table_parts(table, layout.masks, regionless, fold)
        layout.note_images(root / image for image, _, _ in table.rows)
    else:
        layout.note_class_images(classes)
        sort = _divided_parts if divided else _hashed_parts
        parts = sort(layout, classes, regionless, split, fold)
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
        notes=layout.notes(named=() if table is None else {Path(image).stem for image, _, _ in table.rows}),
    )


class _Layout:
    """A data folder: its masks, its folders of splits, and what of it was passed over."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.masks = Masks(root)
        self.parts = {part: _find_folder(root, names) for part, names in _SPLITS.items()}
        self.settings = next(
            (root / name for name in _SETTINGS if (root / name).is_file()), root / _SETTINGS[0]
        )
        self.uses: Counter[str] = Counter()
        self._passed: Counter[str] = Counter()

    def folder_of(self, part: str, name: str) -> Path:
        """Return the folder of a class, of a split where `part` is not ""."""
        return (self.parts[part] or self.root / part if part else self.root) / name

    def images_of(self, folder: Path) -> list[Path]:
        """Return the images of a class folder, without masks beside them."""
        files = _image_files(folder)
        stems = {path.stem.casefold() for path in files}
        return [path for path in files if not is_mask_beside(path, stems)]

    def note_class_images(self, classes: Sequence[str]) -> None:
        """Learn which stems there are in the folders of all classes, and count what else lies there."""
        parts = [part for part, folder in self.parts.items() if folder] if self.parts["train"] else [""]
        folders = [self.folder_of(part, name) for part in parts for name in classes]
        images = [path for folder in folders if folder.is_dir() for path in self.images_of(folder)]
        self.note_images(images)
        known = {*images, *self.masks.files, self.settings}
        for folder in (self.root, *filter(None, self.parts.values()), *folders):
            for path in folder.iterdir() if folder.is_dir() else ():
                if path in known or path.name.startswith("."):
                    continue
                if path.is_file() and not is_mask_beside(path, {one.stem.casefold() for one in images}):
                    self._passed[f"{path.suffix.lower() or 'without an ending'}"] += 1
                elif path.is_dir() and folder in folders and not is_mask_folder(path.name):
                    self._passed["folders in class folders"] += 1

    def note_images(self, images: Iterable[Path]) -> None:
        """Learn which stems there are."""
        self.uses = stem_uses(str(path) for path in images)

    def notes(self, named: Iterable[str] = ()) -> tuple[str, ...]:
        """Return sentences on what was passed over.

        Parameters
        ----------
        named
            The stems that a table names, where there is one: other images are passed over.
        """
        passed = Counter(self._passed)
        passed["masks of no image"] = self.masks.count_orphans(self.uses)
        stems = {stem.casefold() for stem in named}
        if stems:
            passed["images that the table does not name"] = sum(
                path.suffix.lower() in IMAGE_SUFFIXES
                and path.stem.casefold() not in stems
                and (stem_of_masked(path.stem) or "").casefold() not in stems
                and not path.name.startswith(".")
                for path in set(self.root.rglob("*")) - set(self.masks.files)
            )
        kinds = [(kind, count) for kind, count in passed.most_common() if count]
        shown = [f"{count} {kind}" for kind, count in kinds[:_MOST_KINDS]]
        if rest := sum(count for _, count in kinds[_MOST_KINDS:]):
            shown.append(f"{rest} others")
        notes = [f"{self.root}: passed over {', '.join(shown)}."] if shown else []
        unusual = sorted({path.name for path in self.masks.folders} - {"masks"})
        if unusual:
            notes.append(f"{self.root}: {', '.join(unusual)} taken for masks, not for a class.")
        return tuple(notes)


def _hashed_parts(
    layout: _Layout, classes: Sequence[str], regionless: frozenset[int], split: str, fold: int
) -> dict[str, list[Sample]]:
    parts: dict[str, list[Sample]] = {"train": [], "valcl": [], "test": []}
    for samples in _samples_by_class(layout, "", classes, regionless):
        if len(samples) < 3:
            folder = layout.folder_of("", classes[samples[0].label])
            raise DatasetError(
                f"Class folder {folder} holds {len(samples)} images: at least 3 are needed to split it."
            )
        for side, own in split_by_name(samples, fold=fold, valcl_share=0.15, test_share=0.25).items():
            parts[side] += own
    return parts


def _divided_parts(
    layout: _Layout, classes: Sequence[str], regionless: frozenset[int], split: str, fold: int
) -> dict[str, list[Sample]]:
    root = layout.root
    parts: dict[str, list[Sample]] = {"train": [], "valcl": [], "test": []}
    for part in ("val", "test"):
        folder = layout.parts[part]
        extra = sorted(set(_subfolders(folder)) - set(classes)) if folder else []
        if extra:
            raise DatasetError(
                f"{folder} has a class folder {extra[0]} that {layout.parts['train']} has not: "
                "name them alike."
            )
    if split == "test":
        if layout.parts["test"] is None:
            raise DatasetError(
                f"{root} has a train folder but no test folder: the test split is not at hand."
            )
        parts["test"] = list(chain.from_iterable(_samples_by_class(layout, "test", classes, regionless)))
        return parts
    own_validation = layout.parts["val"] is not None
    for samples in _samples_by_class(layout, "train", classes, regionless):
        share = 0.0 if own_validation else 0.2
        for side, own in split_by_name(samples, fold=fold, valcl_share=share, test_share=0.0).items():
            parts[side] += own
    if own_validation:
        parts["valcl"] = list(chain.from_iterable(_samples_by_class(layout, "val", classes, regionless)))
    return parts


def _samples_by_class(
    layout: _Layout, part: str, classes: Sequence[str], regionless: frozenset[int]
) -> list[list[Sample]]:
    return [
        _class_samples(layout, part, name, label, label in regionless)
        for label, name in enumerate(classes)
        # A class may be absent from a validation or test folder; an empty folder is a mistake.
        if layout.folder_of(part, name).is_dir()
    ]


def _class_samples(layout: _Layout, part: str, name: str, label: int, regionless: bool) -> list[Sample]:
    folder = layout.folder_of(part, name)
    images = layout.images_of(folder)
    if not images:
        raise DatasetError(f"Class folder {folder} holds no images: fill it or remove it.")
    twin = next((stem for stem, uses in Counter(path.stem for path in images).items() if uses > 1), None)
    if twin is not None:
        raise DatasetError(f"{folder} holds several images named {twin}: keep one of them.")
    samples = []
    for path in images:
        mask = layout.masks.of(path, alone=layout.uses[path.stem.casefold()] == 1)
        sample = "/".join(filter(None, (part, name, path.stem)))
        samples.append(Sample(sample, path, label, mask, sample, regionless=regionless))
    return samples


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
        if path.is_dir() and not path.name.startswith(".") and not is_mask_folder(path.name)
    )


def _find_folder(root: Path, names: Sequence[str]) -> Path | None:
    """Return the folder that is called by one of several names, in whichever letter case."""
    found = sorted(path for path in root.iterdir() if path.name.casefold() in names and path.is_dir())
    if len(found) > 1:
        raise DatasetError(f"{root} has {found[0].name} and {found[1].name}: keep one of them.")
    return found[0] if found else None


def _class_folders(folder: Path) -> tuple[str, ...]:
    names = _subfolders(folder)
    if len(names) < 2:
        found = f"only the class folder {names[0]}" if names else "no class folders"
        raise DatasetError(
            f"{folder} holds {found}: put the images of each of two or more classes in its own folder."
        )
    return tuple(names)


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
    if isinstance(mpp, str):
        mpp = parse_length(mpp)
    if mpp is not None and (isinstance(mpp, bool) or not isinstance(mpp, int | float) or not 0 < mpp < 1000):
        raise DatasetError(f"mpp in {path} must be a positive number of microns per pixel.")
    return FolderSettings(tuple(regionless), None if mpp is None else float(mpp))
