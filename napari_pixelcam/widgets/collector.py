"""Garbage is collected where it does no harm, on the interface's thread, and without making it wait."""

from __future__ import annotations

import gc
import time
from contextlib import suppress

from qtpy.QtCore import QObject, Qt, QTimer
from qtpy.QtWidgets import QApplication

TICK = 200
"""Milliseconds between looks whether there is enough garbage."""
SETTLE = 300.0
"""Seconds after which everything is looked through again."""


class Collector(QObject):
    """Does Python's automatic collection by a timer while the dock lives.

    Python collects in whichever thread happens to allocate. Each image of a work list that is put away leaves
    widgets of napari's behind that only the collector frees, while the next image is localized in a worker:
    there their destructors would run, which Qt allows on the interface's thread alone.

    napari, for its part, collects everything each time a layer is removed, which with a model's libraries in
    memory takes half a second a layer. `settle` sets aside what is there, so that this looks only at what has
    come since.
    """

    _alive = 0

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._running = False
        self._settled = time.monotonic()
        self._timer = QTimer(self)
        self._timer.timeout.connect(self.tick)

    def start(self) -> None:
        """Take the collection over."""
        if not self._running:
            self._running = True
            Collector._alive += 1
            gc.disable()
            self._timer.start(TICK)

    def stop(self) -> None:
        """Leave it to Python again, once no dock needs it."""
        if self._running:
            self._running = False
            with suppress(RuntimeError):  # Qt has deleted it together with the dock
                self._timer.stop()
            Collector._alive -= 1
            if not Collector._alive:
                gc.unfreeze()
                gc.enable()

    def settle(self) -> None:
        """Collect everything once, and set aside what remains until the next time."""
        if self._running:
            gc.unfreeze()
            gc.collect()
            gc.freeze()
            self._settled = time.monotonic()

    def tick(self) -> None:
        """Collect the oldest generation that Python itself would collect now, or settle where that is due."""
        idle = QApplication.mouseButtons() == Qt.MouseButton.NoButton
        if idle and time.monotonic() - self._settled > SETTLE:
            self.settle()
            return
        counts, thresholds = gc.get_count(), gc.get_threshold()
        for generation in (2, 1, 0):
            if thresholds[generation] and counts[generation] > thresholds[generation]:
                gc.collect(generation)
                return
