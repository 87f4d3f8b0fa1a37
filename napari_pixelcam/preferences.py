"""The user's settings, as kept by napari under Preferences, read once when the dock opens."""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from pixelcam.errors import PixelCAMError
from pixelcam.folders import user_dir
from pixelcam.seeds.labels import BRUSH

PLUGIN = "napari-pixelcam"
FOLDED = "dock.json"
"""In the user's folder: which sections of the dock the person has folded."""


@dataclass(frozen=True)
class Preferences:
    """The plugin's settings; the defaults are those of the manifest.

    Parameters
    ----------
    model, device
        What is chosen when the dock opens.
    four_views
        Whether Localize then runs from four mirrored views.
    opacity
        Of the foreground and background layers, in [0, 1].
    brush_size
        Of the seed brushes, in image pixels.
    proposals
        Seeds proposed of each kind.
    seeds_folder
        Where seeds are kept as they are made; the user's data folder where `None`.
    """

    model: str = "starter"
    device: str = "auto"
    four_views: bool = False
    opacity: float = 0.55
    brush_size: int = BRUSH
    proposals: int = 20
    seeds_folder: Path | None = None


def load_preferences() -> Preferences:
    """Return what the user set in napari, or the defaults where the plugin is not registered."""
    from napari.settings import get_plugin_settings

    try:
        settings = get_plugin_settings(PLUGIN)
    except KeyError:
        return Preferences()
    folder = settings.seeds.folder.strip()
    return Preferences(
        model=settings.localize.model.strip() or Preferences.model,
        device=settings.localize.device,
        four_views=settings.localize.four_views,
        opacity=settings.localize.opacity,
        brush_size=settings.seeds.brush_size,
        proposals=settings.seeds.proposals,
        seeds_folder=Path(folder).expanduser() if folder else None,
    )


def load_folded() -> dict[str, bool]:
    """Return which sections of the dock the person has folded or unfolded, by name; none where unknown."""
    try:
        known = json.loads((user_dir() / FOLDED).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    if not isinstance(known, dict):
        return {}
    return {name: folded for name, folded in known.items() if isinstance(folded, bool)}


def keep_folded(folded: dict[str, bool]) -> None:
    """Remember which sections of the dock are folded, where that can be written."""
    from pixelcam.export.atomic import write_text

    with suppress(PixelCAMError):  # a dock that forgets it is no reason to bother anyone
        write_text(user_dir() / FOLDED, json.dumps(folded, sort_keys=True))
