"""What the plugin does when napari first calls on it: with ``-w`` that is before any file is opened."""

from __future__ import annotations

import os
from typing import Any

from napari_pixelcam.preferences import PLUGIN

PATTERNS = ("*.svs", "*.SVS", "*.tif", "*.TIF", "*.tiff", "*.TIFF")
"""Files that napari's own reader takes too, but a large one whole into memory, and without its pixel size."""
FOLDERS = "*/"
"""Projects; what is in other folders is handed on to napari's own reader."""


def prefer_reader(context: Any = None) -> None:
    """Make the plugin's reader the preferred one where else napari would ask, and keep what the user chose.

    napari asks whenever two readers take a file, and goes by its settings where these name one. They can be
    changed under Preferences ▸ Plugins.
    """
    from napari.settings import get_settings

    settings = get_settings().plugins
    chosen = dict(settings.extension2reader)
    wanted = [*PATTERNS, *([FOLDERS] if not _others_take_folders() else [])]
    new = {pattern: PLUGIN for pattern in wanted if pattern not in chosen}
    if new:
        settings.extension2reader = {**chosen, **new}


def _others_take_folders() -> bool:
    """Return whether a third plugin reads folders, so that which one is meant is the user's to say."""
    from npe2 import PluginManager

    readers = PluginManager.instance().iter_compatible_readers([os.sep])
    return any(reader.plugin_name not in ("napari", PLUGIN) for reader in readers)
