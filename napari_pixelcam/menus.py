"""What the entries in napari's Layers menu do: bring up the dock at the fitting section."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari_pixelcam.preferences import PLUGIN

if TYPE_CHECKING:
    import napari

    from napari_pixelcam.widgets.dock import PixelCAMDock


def open_dock(viewer: napari.Viewer) -> PixelCAMDock:
    """Open the dock, or bring forward the one that is open."""
    dock, widget = viewer.window.add_plugin_dock_widget(PLUGIN, "PixelCAM")
    dock.show()
    dock.raise_()
    return widget


def open_for_localize(viewer: napari.Viewer) -> None:
    """Open the dock with the Localize button in sight and ready for the keyboard."""
    widget = open_dock(viewer)
    widget.go_to(widget.localize)
    widget.localize.run_button.setFocus()


def open_for_seeds(viewer: napari.Viewer) -> None:
    """Open the dock with the seed brushes in sight and ready for the keyboard."""
    widget = open_dock(viewer)
    widget.go_to(widget.seeds)
    widget.seeds.brushes["foreground"].setFocus()
