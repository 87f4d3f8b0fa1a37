"""What a reviewer accepted of an image: the map that was on the screen, kept as it was seen."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pixelcam.localize.localization import Localization
from pixelcam.review.entries import Accepted, ImageEntry

ACCEPTED = "accepted"
"""What the folder of an accepted map begins with, and where in its attributes stands what it is."""


def facts_of(
    seen: Localization, threshold: float, others: tuple[int, int], save: int, time: str
) -> dict[str, Any]:
    """Return what is noted of a map beside the image, the reviewer and its place, by the table's columns.

    Parameters
    ----------
    seen
        The map.
    threshold
        At which its region was seen.
    others
        How many other images counted where it was refitted, and how many labelled places on them.
    save
        The reviewer's latest edit of seeds.
    time
        When, as `journal.now` says it.
    """
    return {
        "time": time,
        "threshold": float(threshold),
        "fraction": seen.foreground_fraction(threshold),
        "model": seen.model.sha256,
        "model_name": seen.model.name,
        "views": int(seen.model.views),
        "model_threshold": float(seen.threshold),
        "classes": json.dumps({name: float(p) for name, p in seen.classes.items()}, ensure_ascii=False),
        "familiarity": None if seen.familiarity is None else float(seen.familiarity),
        "refined": int(seen.refined),
        "other_images": int(others[0]),
        "other_cells": int(others[1]),
        "save": int(save),
        **dict(zip(("scale_y", "scale_x"), map(float, seen.scale), strict=True)),
        **dict(zip(("translate_y", "translate_x"), map(float, seen.translate), strict=True)),
    }


def localization_of(
    entry: ImageEntry, found: Accepted, grid: tuple[float, ...], values: NDArray[np.float32]
) -> Localization:
    """Return an accepted map as it was seen; `grid` is its scale and its translation, each (y, x)."""
    return Localization(
        image_name=entry.name,
        width=entry.width,
        height=entry.height,
        mpp=entry.mpp,
        classes=found.classes,
        foreground=values,
        threshold=found.model_threshold,
        model=found.model,
        scale=(grid[0], grid[1]),
        translate=(grid[2], grid[3]),
        refined=found.refined,
        familiarity=found.familiarity,
        image_file=entry.path.name,
    )


def halved(values: NDArray[np.float32], threshold: float) -> NDArray[np.float16]:
    """Return a map (h, w) at half precision with the very same pixels at or above the threshold.

    A pixel that rounding would carry over the threshold goes to the nearest number on its own side.
    """
    edge = np.float32(threshold)
    kept = values.astype(np.float16)
    over = (values >= edge) & (kept < edge)
    under = (values < edge) & (kept >= edge)
    kept[over] = np.nextafter(kept[over], np.float16(np.inf))
    kept[under] = np.nextafter(kept[under], np.float16(-np.inf))
    return kept
