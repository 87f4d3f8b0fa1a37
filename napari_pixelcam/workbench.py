"""Opens a project in napari: from the command line, and when its folder is dragged into the viewer."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_pixelcam.preferences import PLUGIN

if TYPE_CHECKING:
    from napari_pixelcam.widgets.dock import PixelCAMDock

SIZE = (1440, 900)


def open_project(folder: str | Path, reviewer: str = "", *, read_only: bool = False) -> int:
    """Open a window on a project and wait until it is closed.

    Parameters
    ----------
    folder
        The project's folder.
    reviewer
        The name to work under; that of the user's account where empty.
    read_only
        Whether to look at it only.

    Returns
    -------
    int
        0; what goes wrong with the project is told in the window.
    """
    import napari
    from qtpy.QtCore import QSize

    viewer = napari.Viewer(title="PixelCAM")
    window = viewer.window._qt_window
    window.resize(QSize(*SIZE).boundedTo(window.screen().availableSize()))
    show_project(viewer, folder, reviewer, read_only=read_only)
    napari.run()
    return 0


def show_project(viewer: Any, folder: str | Path, reviewer: str = "", *, read_only: bool = False) -> None:
    """Open a project in the dock of a viewer, opening the dock where it is not."""
    dock = dock_of(viewer)
    if reviewer:
        dock.worklist.reviewer.setText(reviewer)
    dock.workbench.open(Path(folder), dock.worklist.reviewer.text(), read_only=read_only)


def dock_of(viewer: Any) -> PixelCAMDock:
    """Return the dock of a viewer, opened as the Plugins menu does, or by hand in a source tree."""
    try:
        _, widget = viewer.window.add_plugin_dock_widget(PLUGIN, "PixelCAM")
    except (KeyError, ValueError):
        from napari_pixelcam.widgets.dock import PixelCAMDock

        for docked in viewer.window.dock_widgets.values():
            if isinstance(docked, PixelCAMDock):
                return docked
        widget = PixelCAMDock(viewer)
        viewer.window.add_dock_widget(widget, name="PixelCAM", area="right")
    dock: PixelCAMDock = getattr(widget, "__wrapped__", widget)
    return dock
