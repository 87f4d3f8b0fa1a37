"""Driving a dock in a real viewer as a reviewer does, and weighing what is left when images have gone."""

from __future__ import annotations

import gc
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from weakref import WeakSet

import numpy as np

from napari_pixelcam.controllers.session import ImageRecord
from tests.napari_pixelcam.helpers import drag


@dataclass(frozen=True)
class Footprint:
    """What is there: images that were opened and not let go of, layers, threads, open files and sockets."""

    records: int
    layers: int
    threads: int
    handles: int


class Driver:
    """Opens, localizes, paints on and closes images, and waits for each to be done.

    Parameters
    ----------
    viewer, dock
        A real viewer, and the dock in it.
    wait
        Waits until a function returns true, going through Qt's events meanwhile, as `qtbot.waitUntil` does.
    """

    def __init__(self, viewer: Any, dock: Any, wait: Callable[[Callable[[], bool]], None]) -> None:
        # napari hands tests a proxy whose layers are proxies too: none is the layer that the dock names.
        self.viewer = getattr(viewer, "__wrapped__", viewer)
        self.dock, self._wait = dock, wait
        self._records: WeakSet[ImageRecord] = WeakSet()

    def idle(self) -> None:
        """Wait until nothing runs, nothing waits to be saved, and nothing is to be taken away."""
        dock = self.dock
        self._wait(
            lambda: (
                not dock.background.busy
                and not dock.session.queue.running
                and dock.seeds_controller.state.clean
                and not any(layer.name.endswith("(gone)") for layer in self.viewer.layers)
            )
        )

    def open(self, image: np.ndarray | Path, name: str = "image") -> Any:
        """Open pixels, or a file with the plugin's reader; it is at hand then."""
        if isinstance(image, Path):
            layer = self.viewer.open(str(image), plugin=None)[0]
        else:
            layer = self.viewer.add_image(image, name=name, rgb=True)
        self.idle()
        assert self.dock.session.record.layer is layer
        self._records.add(self.dock.session.record)
        return layer

    def localize(self) -> None:
        """Press Localize, and wait for the map and for what is prepared for corrections."""
        before = self.dock.session.record.result
        self.dock.localize.run_button.click()
        self._wait(lambda: self.dock.session.record.result is not before)
        self.idle()

    def paint(self, brush: str = "foreground", points: Any = ((10, 10), (12, 20))) -> None:
        """Take a brush by its button, drag it through points of the seed layer, and have that saved."""
        self.dock.seeds.brushes[brush].click()
        drag(self.dock.session.record.seeds, points)
        self.idle()

    def close(self) -> None:
        """Delete the image at hand as by napari's key."""
        self.viewer.layers.selection.active = self.dock.session.record.layer
        self.viewer.layers.remove_selected()
        self.idle()

    def footprint(self) -> Footprint:
        """Return what there is after a thorough collection."""
        gc.unfreeze()  # the dock's collector sets aside what is there when it settles
        for _ in range(3):
            gc.collect()
        handles = len(list(Path("/proc/self/fd").iterdir())) if sys.platform.startswith("linux") else 0
        return Footprint(len(self._records), len(self.viewer.layers), threading.active_count(), handles)
