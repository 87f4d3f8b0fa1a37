"""`pixelcam demo`: the whole loop on a real image, in a napari window."""

from __future__ import annotations

import importlib
import importlib.util
from pathlib import Path
from typing import Annotated

import typer

from pixelcam.errors import PixelCAMError

NEEDS_WINDOW = (
    "The demo opens a napari window, for which {} is missing; "
    "run `pip install --upgrade '.[all]'` in the project's folder."
)


def demo(
    out: Annotated[Path, typer.Option(help="Folder for the screenshots and exported files.")] = Path(
        "demo-output"
    ),
    window: Annotated[
        bool | None,
        typer.Option("--window/--no-window", help="Show a window; by default, if there is a screen."),
    ] = None,
) -> None:
    """Open napari on a sample image, localized; with no screen, go through the whole loop by itself."""
    if importlib.util.find_spec("napari") is None:
        raise PixelCAMError(NEEDS_WINDOW.format("napari"))
    if not any(importlib.util.find_spec(name) for name in ("PyQt6", "PySide6")):
        raise PixelCAMError(NEEDS_WINDOW.format("a Qt binding (PyQt6 or PySide6)"))
    # Not an import statement: this package knows nothing of the plugin but its name.
    stage = importlib.import_module("napari_pixelcam.demo")
    code = stage.main(out, window)
    if code:
        raise typer.Exit(int(code))
