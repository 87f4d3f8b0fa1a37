"""Weakly supervised localisation in histology with PixelCAM, without a screen."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pixelcam.localize import Localization, Localizer, load

try:
    __version__ = version("napari-pixelcam")
except PackageNotFoundError:  # running from a source tree that was never installed
    __version__ = "0+unknown"

__all__ = ["Localization", "Localizer", "__version__", "load"]


def __getattr__(name: str) -> object:
    """Import the parts that need torch only when they are asked for, so that `import pixelcam` is quick."""
    if name in ("Localization", "Localizer", "load"):
        from pixelcam import localize

        return getattr(localize, name)
    raise AttributeError(f"module 'pixelcam' has no attribute {name!r}")
