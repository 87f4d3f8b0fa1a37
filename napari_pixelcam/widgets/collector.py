"""Garbage is collected on the interface's thread only: elsewhere, deleting Qt objects would crash it."""

from __future__ import annotations

import gc

from qtpy.QtCore import QObject, QTimer

TICK = 200
"""Milliseconds between looks whether there is enough garbage."""


class Collector(QObject):
    """Does Python's automatic collection by a timer while the dock lives.

    Python collects in whichever thread happens to allocate. Each image of a work list that is put away leaves
    widgets of napari's behind that only the collector frees, while the next image is localized in a worker:
    there their destructors would run, which Qt allows on the interface's thread alone.
    """

    _alive = 0

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._running = False
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
            self._timer.stop()
            Collector._alive -= 1
            if not Collector._alive:
                gc.enable()

    @staticmethod
    def tick() -> None:
        """Collect the oldest generation that Python itself would collect now."""
        counts, thresholds = gc.get_count(), gc.get_threshold()
        for generation in (2, 1, 0):
            if thresholds[generation] and counts[generation] > thresholds[generation]:
                gc.collect(generation)
                return
