"""Images with any number of labels each, listed in a table beside them."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from pixelcam.datasets.base import NO_LABEL, Sample
from pixelcam.datasets.masks import Masks, stem_uses
from pixelcam.datasets.reading import IMAGE_SUFFIXES
from pixelcam.datasets.splits import split_by_name
from pixelcam.datasets.tables import read_table, split_labels
from pixelcam.errors import DatasetError
from pixelcam.files import inside

SEPARATOR = ";"
_LABELS_FILES = ("labels.csv", "labels.tsv", "labels.txt")
_SPLITS = {"train": "train", "val": "valcl", "test": "test"}


@dataclass(frozen=True)
class LabelTable:
    """What ``labels.csv`` says.

    Attributes
    ----------
    path
        The file.
    classes
        Every label that an image has, by name.
    rows
        Of each image its path relative to the file's folder, its labels, and its split ("" where unsaid).
    """

    path: Path
    classes: tuple[str, ...]
    rows: tuple[tuple[str, frozenset[str], str], ...]


def find_label_table(root: Path) -> Path | None:
    """Return the table of labels of a data folder, ``labels.csv`` in whichever letter case, None without.

    Raises
    ------
    DatasetError
        There are several.
    """
    found = sorted(
        path for path in root.iterdir() if path.name.casefold() in _LABELS_FILES and path.is_file()
    )
    if len(found) > 1:
        raise DatasetError(f"{root} has {found[0].name} and {found[1].name}: keep one of them.")
    return found[0] if found else None


def read_label_table(path: Path) -> LabelTable:
    """Read ``labels.csv``: columns image and labels, the latter separated by ``;``, and perhaps split.

    Raises
    ------
    DatasetError
        The file cannot be read, lacks a column or an image, lists an image twice, names fewer than two labels
        or a split other than train, val and test, or gives a split to some images only.
    """
    rows = []
    for row in read_table(path, ("image", "labels")):
        image = row.cells["image"].replace("\\", "/").removeprefix("./")
        split = row.cells.get("split", "").casefold()
        if not image:
            raise DatasetError(f"Line {row.line} of {path} lacks its image.")
        if split and split not in _SPLITS:
            raise DatasetError(
                f"Line {row.line} of {path} has the split {row.cells['split']!r}: use train, val or test."
            )
        rows.append((image, split_labels(row.cells["labels"], row.separator), split))
    image, uses = Counter(_name(image) for image, _, _ in rows).most_common(1)[0]
    if uses > 1:
        raise DatasetError(f"{path} lists {image} {uses} times: keep one of them.")
    if len({bool(split) for _, _, split in rows}) > 1:
        raise DatasetError(
            f"{path} gives some images a split and others none: give all of them one, or none."
        )
    classes = tuple(sorted(set().union(*(names for _, names, _ in rows))))
    if len(classes) < 2:
        raise DatasetError(
            f"{path} names {len(classes)} labels: at least two are needed, separated by {SEPARATOR} where an "
            "image has several."
        )
    return LabelTable(path, classes, tuple(rows))


def table_parts(
    table: LabelTable, masks: Masks, regionless: frozenset[int], fold: int
) -> dict[str, list[Sample]]:
    """Return the samples of a table in train, valcl and test.

    Parameters
    ----------
    table
        See `read_label_table`. Without splits of its own it is split by the hash of the names into about
        60 % train, 15 % valcl and 25 % test; with them but without val, a fifth of train is valcl.
    masks
        Of the table's folder.
    regionless
        Labels that are no region. An image with no other label is background all over.
    fold
        Rotates the parts.

    Raises
    ------
    DatasetError
        An image is missing, or a label has no training image.
    """
    samples: dict[str, list[Sample]] = defaultdict(list)
    uses = stem_uses(image for image, _, _ in table.rows)
    folders: dict[Path, dict[str, list[str]]] = {}
    for image, names, split in table.rows:
        path = _find(table, image, folders)
        mask = masks.of(path, alone=uses[path.stem.casefold()] == 1)
        samples[split].append(_sample(table, image, path, mask, names, regionless))
    parts: dict[str, list[Sample]] = {"train": [], "valcl": [], "test": []}
    for split, own in samples.items():
        if split == "":
            shares = (0.15, 0.25)
        elif split == "train" and "val" not in samples:
            shares = (0.2, 0.0)
        else:
            parts[_SPLITS[split]] += own
            continue
        for stratum in _strata(own):
            divided = split_by_name(stratum, fold=fold, valcl_share=shares[0], test_share=shares[1])
            for side, chosen in divided.items():
                parts[side] += chosen
    lost = set(range(len(table.classes))) - {label for sample in parts["train"] for label in sample.labels}
    if lost:
        raise DatasetError(
            f"No training image of {table.path} has the label {table.classes[min(lost)]}: add images of it, "
            "or a column split that says which are for training."
        )
    return parts


def _find(table: LabelTable, image: str, folders: dict[Path, dict[str, list[str]]]) -> Path:
    """Return the file of an image, whose name in the table may differ by letter case or lack its ending."""
    path = inside(table.path.parent, image, error=DatasetError, source=table.path)
    if path.is_file():
        return path
    if path.parent not in folders:
        named = folders[path.parent] = defaultdict(list)
        for other in sorted(path.parent.iterdir()) if path.parent.is_dir() else ():
            if other.suffix.lower() in IMAGE_SUFFIXES:
                for name in {other.name.casefold(), other.stem.casefold()}:
                    named[name].append(other.name)
    found = folders[path.parent].get(path.name.casefold(), [])
    if len(found) > 1:
        raise DatasetError(
            f"{table.path} names {image}, which may be {found[0]} or {found[1]}: name it with its ending."
        )
    if not found:
        raise DatasetError(
            f"{table.path} names {image}, which is not there: correct the table or add the file."
        )
    place = PurePosixPath(image).with_name(found[0]).as_posix()
    return inside(table.path.parent, place, error=DatasetError, source=table.path)


def _sample(
    table: LabelTable,
    image: str,
    path: Path,
    mask: Path | None,
    names: frozenset[str],
    regionless: frozenset[int],
) -> Sample:
    name = _name(image)
    labels = tuple(index for index, known in enumerate(table.classes) if known in names)
    return Sample(
        name,
        path,
        labels[0] if labels else NO_LABEL,
        mask,
        name,
        regionless=set(labels) <= regionless,
        label_set=labels,
    )


def _name(image: str) -> str:
    """Return the path without the ending of an image; names may hold dots of their own."""
    path = PurePosixPath(image)
    return (path.with_suffix("") if path.suffix.lower() in IMAGE_SUFFIXES else path).as_posix()


def _strata(samples: Sequence[Sample]) -> list[list[Sample]]:
    """Return the samples grouped by the rarest of their labels; groups too small to be split go together."""
    counts = Counter(label for sample in samples for label in sample.labels)
    groups: dict[int, list[Sample]] = defaultdict(list)
    for sample in samples:
        rarest = min(sample.labels, key=lambda label: (counts[label], label), default=NO_LABEL)
        groups[rarest].append(sample)
    large = [groups[label] for label in sorted(groups) if len(groups[label]) >= 3]
    rest = [sample for label in sorted(groups) if len(groups[label]) < 3 for sample in groups[label]]
    if len(rest) >= 3 or not large:
        return [*large, rest]
    return [[*large[0], *rest], *large[1:]]
