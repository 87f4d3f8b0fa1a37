"""What localizing an image gives."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property
from typing import overload

import numpy as np
from numpy.typing import NDArray

UNFAMILIAR = 0.5
"""Familiarity below which people are told that an image is unlike the training images."""


@dataclass(frozen=True)
class ModelRef:
    """Which model made a result, and how it looked.

    Attributes
    ----------
    name
        Its own name.
    sha256
        Of its file.
    views
        How many mirrored views of the image the result is the mean of, 1 or 4.
    """

    name: str
    sha256: str
    views: int = 1

    def to_json(self) -> dict[str, str | int]:
        """Return what files tell of it: the views only where they are several."""
        several = {"views": self.views} if self.views != 1 else {}
        return {"name": self.name, "sha256": self.sha256, **several}


@dataclass(frozen=True)
class Localization:
    """Class probabilities of an image and its foreground probability map.

    Attributes
    ----------
    image_name
        Stem of the image's name, used for the names of exported files.
    width, height
        Of the image, in level-0 pixels.
    mpp
        Microns per level-0 pixel, `None` where unknown.
    classes
        Class name to probability. They sum to 1, unless the model is one of several labels an image, which
        gives each class a probability of its own. Where `familiarity` is below 1, they are drawn towards
        chance.
    foreground
        (h, w) float32 in [0, 1]; (h, w) is (height, width) unless `scale` says otherwise.
    threshold
        The model's default foreground threshold.
    model
        Who made it.
    refined
        To how many labelled cells of a reviewer's seeds the pixel head was refitted for this map; 0 where the
        map is the model's own.
    scale, translate
        Level-0 pixels per map pixel, and the centre of map pixel (0, 0) in level-0 pixels, each as (y, x).
    familiarity
        How much the image looks like the training images, in [0, 1], 1 for nineteen of twenty like them;
        `None` where the model cannot tell.
    image_file
        Name of the image's file with its ending, "" where it is in none.
    fingerprint
        SHA-256 of that file, or of shape and pixels where the image is in none; "" where unknown.
    image_caution
        A sentence on why the image is no stained tissue in bright light, see `stain_caution`; "" where it is.
    notes
        Sentences on what of the image's file was passed over, see `Slide.notes`.
    foreground_name
        What the foreground is, as the model's card says, such as "glands"; "" where unknown.
    """

    image_name: str
    width: int
    height: int
    mpp: float | None
    classes: dict[str, float]
    foreground: NDArray[np.float32]
    threshold: float
    model: ModelRef
    scale: tuple[float, float] = (1.0, 1.0)
    translate: tuple[float, float] = (0.0, 0.0)
    refined: int = 0
    familiarity: float | None = None
    image_file: str = ""
    fingerprint: str = ""
    image_caution: str = ""
    notes: tuple[str, ...] = ()
    foreground_name: str = ""

    @property
    def predicted(self) -> str:
        """The most probable class."""
        return max(self.classes, key=lambda name: self.classes[name])

    @property
    def present(self) -> tuple[str, ...]:
        """The classes that are at least as probable as not, in the model's order; there may be none."""
        return tuple(name for name, probability in self.classes.items() if probability >= 0.5)

    @cached_property
    def map_digest(self) -> str:
        """The beginning of the SHA-256 of the map's values, by which files of one map know each other."""
        values = np.ascontiguousarray(self.foreground, np.float32)
        return hashlib.sha256(values.data).hexdigest()[:16]

    @property
    def caution(self) -> str:
        """One line for people where the image is no stained tissue or unlike the training images, else ""."""
        if self.familiarity is None or self.familiarity >= UNFAMILIAR:
            return self.image_caution
        unlike = (
            f"Unlike the training images: {self.model.name} knows little of it "
            f"(familiarity {self.familiarity:.0%})."
        )
        return f"{self.image_caution} {unlike}".strip()

    @property
    def background(self) -> NDArray[np.float32]:
        """One minus the foreground probability."""
        return 1 - self.foreground

    def region(self, threshold: float | None = None) -> NDArray[np.bool_]:
        """Return where the foreground probability reaches the threshold (the model's own by default)."""
        return self.foreground >= (self.threshold if threshold is None else threshold)

    def foreground_fraction(self, threshold: float | None = None) -> float:
        """Return the share of the image, in [0, 1], that is foreground at the threshold."""
        return float(self.region(threshold).mean())

    def area_mm2(self, threshold: float | None = None) -> float | None:
        """Return the foreground's area in square millimetres, `None` where the pixel size is unknown."""
        if self.mpp is None:
            return None
        return area_mm2(self.foreground_fraction(threshold), self.width, self.height, self.mpp)


@overload
def area_mm2(fraction: float, width: int, height: int, mpp: float) -> float: ...
@overload
def area_mm2(fraction: float, width: int, height: int, mpp: float | None) -> float | None: ...
def area_mm2(fraction: float, width: int, height: int, mpp: float | None) -> float | None:
    """Return a share of an image as an area in square millimetres.

    Parameters
    ----------
    fraction
        In [0, 1].
    width, height
        Of the image, in level-0 pixels.
    mpp
        Microns per level-0 pixel; None where unknown, and then the area is.
    """
    return None if mpp is None else fraction * width * height * (mpp / 1000) ** 2
