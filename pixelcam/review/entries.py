"""What a project says of its images, as plain values."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from pixelcam.figures import foreground_figures
from pixelcam.localize.localization import UNFAMILIAR, ModelRef

STATUSES = ("to do", "in review", "done", "skipped")


@dataclass(frozen=True)
class Accepted:
    """What a reviewer saw when saying that an image is done: its figures, and how its map came about.

    Attributes
    ----------
    seq, time
        Its number, which grows over the whole project, and when it was.
    map
        The name of the folder that holds the map, among what belongs to the image.
    threshold
        At which the region was cut.
    fraction
        Share of the image, in [0, 1], that was foreground.
    area_mm2
        The same in square millimetres, None where the pixel size is unknown.
    model
        Which made the map, or whose map was refitted.
    model_threshold
        That model's own.
    classes, familiarity
        What it said of the image then.
    refined
        To how many labelled places its pixel head was refitted for this map, those on other images included;
        0 where the map is the model's own.
    other_images, other_cells
        How many other images counted for that, and how many labelled places on them.
    save
        The reviewer's latest edit of seeds then, 0 without one.
    """

    seq: int
    time: datetime
    map: str
    threshold: float
    fraction: float
    area_mm2: float | None
    model: ModelRef
    model_threshold: float
    classes: dict[str, float]
    familiarity: float | None
    refined: int
    other_images: int
    other_cells: int
    save: int

    @property
    def figures(self) -> str:
        """Share and area as the dock shows them, such as "29.4 %, 0.48 mm²"."""
        return foreground_figures(self.fraction, self.area_mm2)

    @property
    def origin(self) -> str:
        """How the map came about, in a few words."""
        made = self.model.name if self.model.views == 1 else f"{self.model.name} ({self.model.views} views)"
        if not self.refined:
            return f"the map of {made} itself"
        others = ""
        if self.other_images:
            images = "1 other image" if self.other_images == 1 else f"{self.other_images} other images"
            others = f", {self.other_cells} of them on {images}"
        places = "1 labelled place" if self.refined == 1 else f"{self.refined} labelled places"
        return f"the map of {made} refitted to {places}{others}"


@dataclass(frozen=True)
class ImageEntry:
    """One image of a project, as one reviewer sees it.

    Attributes
    ----------
    id, name
        Its number in the project, and its stem.
    path
        Where it was when last seen; `Project.locate` verifies it.
    fingerprint
        SHA-256 of the file's bytes, in hex.
    width, height
        In level-0 pixels.
    mpp
        Micrometres per level-0 pixel, None where unknown.
    status, label, note, seconds, threshold
        This reviewer's: one of `STATUSES`; the class that the reviewer says the image has, "cannot tell", or
        None; free text; time spent; the threshold looked at last.
    classes, model, uncertainty, familiarity, localized
        Of the latest localization: class name to probability, the model, a figure that grows with doubt, how
        much the image looks like the training images where the model can tell, and when it was made; empty or
        None where there is none.
    foreground, background
        Seed pixels of this reviewer.
    save
        The number of this reviewer's latest edit of seeds, 0 without one.
    accepted
        What this reviewer accepted last, None where that was not kept.
    """

    id: int
    name: str
    path: Path
    fingerprint: str
    width: int
    height: int
    mpp: float | None
    status: str
    label: str | None
    note: str
    seconds: float
    threshold: float | None
    classes: dict[str, float]
    model: ModelRef | None
    uncertainty: float | None
    familiarity: float | None
    localized: datetime | None
    foreground: int
    background: int
    save: int = 0
    accepted: Accepted | None = None

    @property
    def changed(self) -> str:
        """What the reviewer has changed since the image was said to be done, in a few words; else ""."""
        if self.status != "done" or self.accepted is None:
            return ""
        threshold = self.accepted.model_threshold if self.threshold is None else self.threshold
        what = ["seeds"] if self.save != self.accepted.save else []
        what += ["threshold"] if threshold != self.accepted.threshold else []
        return " and ".join(what)

    @property
    def predicted(self) -> str | None:
        """The most probable class, None where the image was not localized."""
        return max(self.classes, key=lambda name: self.classes[name], default=None)

    @property
    def confidence(self) -> float | None:
        """The probability of the predicted class."""
        return None if self.predicted is None else self.classes[self.predicted]

    @property
    def unfamiliar(self) -> bool:
        """Whether the model found the image unlike those that it was trained on."""
        return self.familiarity is not None and self.familiarity < UNFAMILIAR


@dataclass(frozen=True)
class ProjectEvent:
    """One line of what happened in a project, beside the edits of seeds."""

    time: datetime
    reviewer: str
    image: int | None
    what: str
    detail: str


@dataclass(frozen=True)
class UsedModel:
    """A model that made maps or was trained in a project; `path` is "" where it was not told."""

    name: str
    sha256: str
    path: str
    first_used: datetime


@dataclass(frozen=True)
class UsedRun:
    """A training run that belongs to a project."""

    folder: Path
    kind: str
    model: str
    reviewer: str
    time: datetime
