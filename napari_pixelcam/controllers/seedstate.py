"""What the seeds section shows, and the brushes that it offers."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from napari.layers import Labels

from napari_pixelcam.seedgrid import FOREGROUND

Brush = Literal["foreground", "background", "eraser"]
KEYS: dict[Brush, str] = {"foreground": "D", "background": "S", "eraser": "E"}
"""D and S are free in napari's viewer and on its Labels layers; E is the Labels layer's own eraser."""
LARGEST_BRUSH = 200
"""Diameter in pixels of the seed layer."""


@dataclass(frozen=True)
class SeedState:
    """What the section shows of the chosen image.

    Parameters
    ----------
    foreground, background
        Painted pixels of each kind.
    brush
        The brush in the user's hand, `None` where the seed layer is not being painted on.
    can_undo, can_redo
        Whether there is a step to take.
    saved
        When the seeds were last written, `None` where not yet.
    clean
        Whether all that is painted is on disk.
    failure
        Why seeds are not kept so far, of this image or of another one; empty where all is well.
    """

    foreground: int = 0
    background: int = 0
    brush: Brush | None = None
    can_undo: bool = False
    can_redo: bool = False
    saved: datetime | None = None
    clean: bool = True
    failure: str = ""


def brush_of(layer: Labels, *, active: bool) -> Brush | None:
    """Return the brush in the user's hand, `None` where the layer is not being painted on."""
    if not active:
        return None
    if layer.mode == "erase":
        return "eraser"
    if layer.mode in ("paint", "polygon", "fill"):
        return "foreground" if layer.selected_label == FOREGROUND else "background"
    return None
