"""From an image to class probabilities and a foreground map."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pixelcam.localize.localization import Localization, ModelRef

if TYPE_CHECKING:
    from pixelcam.localize.localizer import Localizer, load

__all__ = ["Localization", "Localizer", "ModelRef", "load"]


def __getattr__(name: str) -> object:
    """Import what runs models, and torch with it, only when it is asked for: results are read without."""
    if name in ("Localizer", "load"):
        from pixelcam.localize import localizer

        return getattr(localizer, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
