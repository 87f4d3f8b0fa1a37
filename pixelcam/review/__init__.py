"""A reviewer's project on disk: images, judgements, seeds and maps, of which nothing is ever lost."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pixelcam.review.agreement import Agreement, agreements
    from pixelcam.review.database import DATABASE, DamagedError
    from pixelcam.review.entries import STATUSES, ImageEntry, ProjectEvent, UsedModel, UsedRun
    from pixelcam.review.exporting import export_project
    from pixelcam.review.journal import KINDS, Save
    from pixelcam.review.merging import Conflict, MergeReport, merge
    from pixelcam.review.opened import is_project
    from pixelcam.review.project import Project
    from pixelcam.review.rescuing import RescueReport, rescue
    from pixelcam.review.summary import Summary, summarize

__all__ = [
    "DATABASE",
    "KINDS",
    "STATUSES",
    "Agreement",
    "Conflict",
    "DamagedError",
    "ImageEntry",
    "MergeReport",
    "Project",
    "ProjectEvent",
    "RescueReport",
    "Save",
    "Summary",
    "UsedModel",
    "UsedRun",
    "agreements",
    "export_project",
    "is_project",
    "merge",
    "rescue",
    "summarize",
]

_HOMES = {
    "agreement": ("Agreement", "agreements"),
    "database": ("DATABASE", "DamagedError"),
    "entries": ("STATUSES", "ImageEntry", "ProjectEvent", "UsedModel", "UsedRun"),
    "exporting": ("export_project",),
    "journal": ("KINDS", "Save"),
    "merging": ("Conflict", "MergeReport", "merge"),
    "opened": ("is_project",),
    "project": ("Project",),
    "rescuing": ("RescueReport", "rescue"),
    "summary": ("Summary", "summarize"),
}


def __getattr__(name: str) -> object:
    """Import what is asked for when it is asked for: a list of images needs neither arrays nor exports."""
    for module, names in _HOMES.items():
        if name in names:
            return getattr(importlib.import_module(f"{__name__}.{module}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
