"""What a project says of its images, as plain values."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from pixelcam.localize.localization import UNFAMILIAR, ModelRef

STATUSES = ("to do", "in review", "done", "skipped")


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
