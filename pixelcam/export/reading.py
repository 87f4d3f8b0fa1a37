"""A localization's files as a `Localization` again, so that they need no model to be used further."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from pixelcam.errors import ImageError
from pixelcam.export.marks import KEY
from pixelcam.files import inside
from pixelcam.limits import read_json
from pixelcam.slides.tiffs import read_tiff_array

if TYPE_CHECKING:
    from pixelcam.localize import Localization


def is_summary(path: str | Path) -> bool:
    """Return whether a JSON file is the summary of a localization."""
    try:
        values = read_json(path, ImageError, "give the summary of a localization")
    except (OSError, ValueError, ImageError):
        return False
    return isinstance(values, dict) and isinstance(values.get("fg"), dict) and "classes" in values


def read_localization(summary: str | Path) -> Localization:
    """Read what `export_localization` wrote.

    Parameters
    ----------
    summary
        The file ``<stem>.json``; the map is looked for beside it.

    Returns
    -------
    Localization
        Its default threshold is the one that the files were written with.

    Raises
    ------
    ImageError
        The summary or its map is missing, damaged, or the two do not fit each other.
    """
    from pixelcam.localize import Localization, ModelRef  # loads torch, which `is_summary` need not wait for

    summary = Path(summary)
    try:
        values: dict[str, Any] = read_json(summary, ImageError, "localize the image again")
        foreground = _read_map(inside(summary.parent, values["fg"]["file"], error=ImageError, source=summary))
        scale, translate = (tuple(map(float, values["fg"][key])) for key in ("scale", "translate"))
        image, model = values["image"], values["model"]
        known = values.get(KEY) or {"image": {}}
        found = Localization(
            image_name=str(known["image"].get("name") or summary.stem),
            width=int(image["width"]),
            height=int(image["height"]),
            mpp=None if image["mpp"] is None else float(image["mpp"]),
            classes={str(name): float(p) for name, p in values["classes"].items()},
            foreground=foreground,
            threshold=float(values["threshold"]),
            model=ModelRef(str(model["name"]), str(model["sha256"]), int(model.get("views", 1))),
            scale=(scale[0], scale[1]),
            translate=(translate[0], translate[1]),
            refined=int(values.get("refined", 0)),
            familiarity=None if values.get("familiarity") is None else float(values["familiarity"]),
            image_file=str(known["image"].get("file") or ""),
            fingerprint=str(known["image"].get("fingerprint") or ""),
            image_caution=str(values.get("image_caution", "")),
            notes=tuple(map(str, values.get("notes", ()))),
            foreground_name=str(values.get("foreground_name") or ""),
        )
    except FileNotFoundError as error:
        raise ImageError(f"{error.filename} is missing; localize the image again.") from error
    except OSError as error:
        raise ImageError(f"{summary} cannot be read: {error.strerror}.") from error
    except (ValueError, TypeError, KeyError, IndexError, AttributeError) as error:
        raise ImageError(
            f"{summary} is damaged or no summary of a localization; localize the image again."
        ) from error
    _check_size(found, summary)
    if known.get("map", found.map_digest) != found.map_digest:
        raise ImageError(
            f"{summary} and its map are of two different runs, one of which was cut short; "
            "localize the image again."
        )
    return found


def _read_map(path: Path) -> NDArray[np.float32]:
    if not path.is_file():
        raise FileNotFoundError(2, "No such file", str(path))
    try:
        values = np.asarray(read_tiff_array(path), np.float32)
    except ImageError:
        raise
    except Exception as error:  # the decoders raise whatever they stumble over
        raise ImageError(f"{path} is damaged; localize the image again.") from error
    if values.ndim != 2 or not np.isfinite(values).all() or values.min() < 0 or values.max() > 1:
        raise ImageError(f"{path} is no foreground map; localize the image again.")
    return values


def _check_size(found: Localization, summary: Path) -> None:
    """Refuse a map that is not of the size that the summary gives it."""
    for pixels, side, scale in zip(
        found.foreground.shape, (found.height, found.width), found.scale, strict=True
    ):
        # Scales come from true shape ratios: at most rounding lies between the two.
        if scale <= 0 or abs(pixels * scale - side) > max(1.0, scale):
            raise ImageError(
                f"The map of {summary} has another size than its image; localize the image again."
            )
