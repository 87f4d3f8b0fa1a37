"""The three files that a localization leaves: map, regions, summary."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from pixelcam.export.areas import about_map
from pixelcam.export.geojson import save_geojson
from pixelcam.export.maps import save_foreground
from pixelcam.export.marks import KEY, document_text, replace_text, replacing_all
from pixelcam.export.naming import Places, result_places, safe_stem

if TYPE_CHECKING:
    from pixelcam.localize import Localization

__all__ = ["export_localization", "safe_stem", "summarize", "write_summary"]

ENDINGS = (".json", ".fg.ome.tif", ".geojson")


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
        where the model can tell; ``caution``, a line for people, where the image is unlike the training
        images or, as ``image_caution`` says by itself, no stained tissue; and ``notes``, sentences on what of
        the image's file was passed over, where something was. ``foreground_name``
        says what the foreground is, where the model's card does. ``pixelcam`` is the mark of the file: which
        image it is of, see `about_map`.
    """
    refined = {"refined": int(localization.refined)} if localization.refined else {}
    known = {} if localization.familiarity is None else {"familiarity": float(localization.familiarity)}
    told = {
        "caution": localization.caution,
        "image_caution": localization.image_caution,
        "notes": list(localization.notes),
        "foreground_name": localization.foreground_name,
    }
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
        **{name: value for name, value in told.items() if value},
        KEY: about_map(localization, chosen),
    }


def write_summary(
    path: str | Path, localization: Localization, fg_file: str, threshold: float | None = None
) -> Path:
    """Write `summarize` as JSON.

    Raises
    ------
    OutputError
        The file cannot be written, or another is in the way.
    """
    summary = summarize(localization, fg_file, threshold)
    return replace_text(path, document_text(summary, indent=2), summary[KEY])


def export_localization(
    localization: Localization,
    out: str | Path,
    threshold: float | None = None,
    places: Places | None = None,
    of: object = None,
) -> dict[str, Path]:
    """Write map, regions and summary of one image; all of them are replaced, or none.

    Results of the same image are replaced. Where files of another image, or somebody's own, have its name, a
    part of its fingerprint is added to the stem.

    Parameters
    ----------
    localization
        The result; its `image_name` gives the stem.
    out
        The folder, made where it is missing.
    threshold
        Between 0 and 1; the model's default where None.
    places, of
        Names that were given before, where many images are exported, and what tells this image from a copy
        among them.

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
    mark = about_map(localization, threshold)
    stem = (places or Places()).stem(Path(out), result_places(localization), ENDINGS, mark, of)
    summary, foreground, regions = (Path(out) / f"{stem}{end}" for end in ENDINGS)
    with replacing_all(summary, foreground, regions, mark=mark) as (new_summary, new_foreground, new_regions):
        save_foreground(new_foreground, localization)
        save_geojson(new_regions, localization, threshold)
        text = document_text(summarize(localization, foreground.name, threshold), indent=2)
        new_summary.write_bytes(text.encode())
    return {"foreground": foreground, "regions": regions, "summary": summary}
