"""A reviewer's project on disk: images, judgements, seeds and maps, of which nothing is ever lost."""

from pixelcam.review.database import DATABASE, DamagedError
from pixelcam.review.entries import STATUSES, ImageEntry, ProjectEvent, UsedModel, UsedRun
from pixelcam.review.journal import KINDS, Save
from pixelcam.review.opened import is_project
from pixelcam.review.project import Project
from pixelcam.review.rescue import RescueReport, rescue

__all__ = [
    "DATABASE",
    "KINDS",
    "STATUSES",
    "DamagedError",
    "ImageEntry",
    "Project",
    "ProjectEvent",
    "RescueReport",
    "Save",
    "UsedModel",
    "UsedRun",
    "is_project",
    "rescue",
]
