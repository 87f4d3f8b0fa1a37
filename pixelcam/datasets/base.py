"""What every data set is here: named samples with an image label, and a mask where there is one."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from pixelcam.errors import DatasetError

SPLITS = ("train", "valcl", "valpx", "test")
"""Training; validation of the image label; the few masked validation images; test."""
NO_LABEL = -1
"""The label of an image that has none."""


@dataclass(frozen=True)
class Sample:
    """One image with its label.

    Parameters
    ----------
    name
        Unique in its data set. It may hold ``/`` (``"polyp/GT2010-1-400-002"``): it is no file name.
    image
        The image file.
    label
        Index into the data set's classes; of several labels the first, of none `NO_LABEL`.
    mask
        The file whose non-zero pixels are the class's region; None where no mask is at hand.
    patient
        Whose tissue it is; samples of one patient never stand on two sides of a patient-wise split.
        The name itself where no patient is known.
    ignore
        A file whose non-zero pixels count neither as foreground nor as background.
    regionless
        The class holds no region: the image is background all over, and needs no mask to say so.
    label_set
        Every label of an image that may have several or none, in the order of the classes; None where images
        have one label each.
    """

    name: str
    image: Path
    label: int
    mask: Path | None
    patient: str
    ignore: Path | None = None
    regionless: bool = False
    label_set: tuple[int, ...] | None = None

    @property
    def labels(self) -> tuple[int, ...]:
        """Every label of the image."""
        return (self.label,) if self.label_set is None else self.label_set

    @property
    def has_mask(self) -> bool:
        """Whether the region of this image is known."""
        return self.mask is not None or self.regionless


@dataclass(frozen=True)
class Dataset:
    """One split of a data set, its samples in the order of their names.

    Parameters
    ----------
    name
        "glas", "ebhi", "camelyon512" or "folder".
    classes
        Names of the image labels, in the order of their indices.
    samples
        Sorted by name on the way in, so that the order of a folder's listing changes nothing.
    mpp
        Microns per pixel of the images, None where unknown.
    regionless
        The labels whose images hold no region.
    split, fold, scheme
        Which part of the data set this is.
    multi_label
        Whether an image may have several labels or none.
    notes
        Sentences for people on what of the folder was passed over.

    Raises
    ------
    DatasetError
        No samples, two samples of one name, or a label without a class.
    """

    name: str
    classes: tuple[str, ...]
    samples: tuple[Sample, ...]
    mpp: float | None = None
    regionless: frozenset[int] = field(default_factory=frozenset)
    split: str = ""
    fold: int = 0
    scheme: str = "official"
    multi_label: bool = False
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not self.samples:
            raise DatasetError(f"The {self.split or 'whole'} part of data set {self.name} holds no images.")
        object.__setattr__(self, "samples", tuple(sorted(self.samples, key=lambda sample: sample.name)))
        name, uses = Counter(sample.name for sample in self.samples).most_common(1)[0]
        if uses > 1:
            raise DatasetError(f"Data set {self.name} lists {name} {uses} times: keep one of them.")
        for sample in self.samples:
            strange = [label for label in sample.labels if not 0 <= label < len(self.classes)]
            if strange:
                raise DatasetError(
                    f"{sample.name} has the label {strange[0]}, but data set {self.name} has only "
                    f"the classes 0 to {len(self.classes) - 1}."
                )
            if not self.multi_label and len(sample.labels) != 1:
                raise DatasetError(
                    f"{sample.name} has {len(sample.labels)} labels, "
                    f"but images of data set {self.name} have one each."
                )

    def __len__(self) -> int:
        return len(self.samples)

    @property
    def masked(self) -> tuple[Sample, ...]:
        """The samples whose region is known."""
        return tuple(sample for sample in self.samples if sample.has_mask)

    def counts(self) -> dict[str, int]:
        """Return the number of images of each class; an image of several labels counts for each."""
        labels = Counter(label for sample in self.samples for label in sample.labels)
        return {name: labels[index] for index, name in enumerate(self.classes)}

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 over the names, labels and file sizes of the samples: tells whether the data changed."""
        digest = hashlib.sha256()
        for sample in self.samples:
            mask = sample.mask.stat().st_size if sample.mask is not None else 0
            labels = ";".join(self.classes[label] for label in sample.labels)
            line = (sample.name, labels, sample.image.stat().st_size, mask)
            digest.update(repr(line).encode())
        return digest.hexdigest()


def refuse_look_alikes(place: Path, classes: Sequence[str]) -> None:
    """Raise `DatasetError` where two classes differ in upper and lower case alone."""
    known: dict[str, str] = {}
    for name in classes:
        twin = known.setdefault(name.casefold(), name)
        if twin != name:
            raise DatasetError(
                f"{place} has the classes {twin!r} and {name!r}, which differ in upper and lower case alone: "
                "write them alike where they mean the same, else give them names that differ."
            )
