"""The three files that a localization leaves: map, regions, summary."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pixelcam.export.atomic import atomic_paths, write_text
from pixelcam.export.geojson import save_geojson
from pixelcam.export.maps import save_foreground

if TYPE_CHECKING:
    from pixelcam.localize import Localization

# What no file name may hold: on Windows more than elsewhere.
_FORBIDDEN = '<>:"/\\|?*' if os.name == "nt" else "/"


def safe_stem(name: str) -> str:
    """Return `name` with an underscore for each character that a file name cannot hold; never empty."""
    cleaned = "".join("_" if c in _FORBIDDEN or ord(c) < 32 else c for c in name)
    return cleaned if cleaned.strip(" .") else "image"


def summarize(localization: Localization, fg_file: str, threshold: float | None = None) -> dict[str, Any]:
    """Return what the summary file holds.

    Parameters
    ----------
    localization
        The result.
    fg_file
        Name of the map's file, beside the summary.
    threshold
        Between 0 and 1; the model's default where None.

    Returns
    -------
    dict
        ``classes`` (name to probability), ``predicted``, ``threshold``, ``foreground_fraction`` (share of
        pixels at or above the threshold), ``model`` (``name``, ``sha256``, and ``views`` where not 1),
        ``image`` (``width``, ``height`` in level-0 pixels, ``mpp`` in micrometres per pixel or None) and
        ``fg`` (``file``; ``scale``, level-0 pixels per map pixel; ``translate``, the centre of map pixel (0,
        0) in level-0 pixels; both as [y, x]). ``refined``, to how many labelled cells the pixel head was
        refitted, is there only where the map is not the model's own; ``familiarity``, between 0 and 1, only
        where the model can tell; and ``caution``, a line for people, where the image is unlike the training
        images.
    """
    refined = {"refined": int(localization.refined)} if localization.refined else {}
    known = {} if localization.familiarity is None else {"familiarity": float(localization.familiarity)}
    caution = {"caution": localization.caution} if localization.caution else {}
    chosen = localization.threshold if threshold is None else threshold
    return {
        "classes": {name: float(p) for name, p in localization.classes.items()},
        "predicted": localization.predicted,
        "threshold": float(chosen),
        "foreground_fraction": float(localization.foreground_fraction(chosen)),
        "model": localization.model.to_json(),
        "image": {
            "width": int(localization.width),
            "height": int(localization.height),
            "mpp": None if localization.mpp is None else float(localization.mpp),
        },
        "fg": {
            "file": fg_file,
            "scale": [float(value) for value in localization.scale],
            "translate": [float(value) for value in localization.translate],
        },
        **refined,
        **known,
        **caution,
    }


def write_summary(
    path: str | Path, localization: Localization, fg_file: str, threshold: float | None = None
) -> Path:
    """Write `summarize` as JSON.

    Raises
    ------
    OutputError
        The file cannot be written.
    """
    return write_text(path, _to_json(localization, fg_file, threshold))


def _to_json(localization: Localization, fg_file: str, threshold: float | None) -> str:
    summary = summarize(localization, fg_file, threshold)
    return json.dumps(summary, indent=2, allow_nan=False, ensure_ascii=False) + "\n"


def export_localization(
    localization: Localization, out: str | Path, threshold: float | None = None
) -> dict[str, Path]:
    """Write map, regions and summary of one image; none appears before all are written.

    Parameters
    ----------
    localization
        The result; its `image_name` gives the stem.
    out
        The folder, made where it is missing.
    threshold
        Between 0 and 1; the model's default where None.

    Returns
    -------
    dict[str, Path]
        ``foreground`` (``<stem>.fg.ome.tif``), ``regions`` (``<stem>.geojson``), ``summary``
        (``<stem>.json``).

    Raises
    ------
    OutputError
        One of them cannot be written; older files stay as they were.
    """
    stem = safe_stem(localization.image_name)
    summary, foreground, regions = (
        Path(out) / f"{stem}{end}" for end in (".json", ".fg.ome.tif", ".geojson")
    )
    with atomic_paths(summary, foreground, regions) as (new_summary, new_foreground, new_regions):
        save_foreground(new_foreground, localization)
        save_geojson(new_regions, localization, threshold)
        new_summary.write_text(_to_json(localization, foreground.name, threshold), encoding="utf-8")
    return {"foreground": foreground, "regions": regions, "summary": summary}
