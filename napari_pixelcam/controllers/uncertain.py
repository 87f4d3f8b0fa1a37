"""Go through the areas of an image where the map is not sure, the largest first."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

from psygnal import Signal

from napari_pixelcam.background import Task
from napari_pixelcam.controllers.session import ImageRecord, Session

if TYPE_CHECKING:
    from pixelcam.localize.uncertainty import UncertainArea

MARGIN = 2.0
"""The window shows this many times the area's larger side."""
SMALLEST_VIEW = 96.0
"""Level-0 pixels that the window shows at least, so that a small area keeps its surroundings."""


class UncertainController:
    """Moves the camera to one uncertain area after the other.

    Parameters
    ----------
    session
        The dock's shared state.
    """

    went = Signal(int, int)
    """The camera is at this area (counted from 1) of so many."""

    def __init__(self, session: Session) -> None:
        self.session = session
        self._areas: WeakKeyDictionary[ImageRecord, list[UncertainArea]] = WeakKeyDictionary()
        self._at: WeakKeyDictionary[ImageRecord, int] = WeakKeyDictionary()
        session.localized.connect(self._forget)

    def next(self) -> None:
        """Go to the next area; after the last comes the first."""
        self._go(1)

    def previous(self) -> None:
        """Go back to the area before."""
        self._go(-1)

    def _forget(self, record: ImageRecord) -> None:
        self._areas.pop(record, None)
        self._at.pop(record, None)

    def _go(self, step: int) -> None:
        record = self.session.record
        if record is None or record.result is None:
            self.session.notified.emit("info", "Localize the image first, to see where its map is unsure.")
            return
        if record in self._areas:
            self._show(record, step)
            return
        localization = record.result.localization
        threshold = localization.threshold if record.threshold is None else record.threshold

        def work(task: Task) -> list[UncertainArea]:
            from pixelcam.localize.uncertainty import uncertain_areas

            return uncertain_areas(localization.foreground, threshold)

        self.session.background.submit(
            work, done=partial(self._take, record, step), failed=self.session.report
        )

    def _take(self, record: ImageRecord, step: int, areas: list[UncertainArea]) -> None:
        self._areas[record] = areas
        if record is self.session.record:
            self._show(record, step)

    def _show(self, record: ImageRecord, step: int) -> None:
        areas = self._areas[record]
        if not areas or record.result is None:
            self.session.notified.emit("info", "The map is sure of itself everywhere in this image.")
            return
        before = self._at.get(record)
        at = (before + step) % len(areas) if before is not None else (0 if step > 0 else len(areas) - 1)
        self._at[record] = at
        area, localization = areas[at], record.result.localization
        pixel = [
            area.centre[axis] * localization.scale[axis] + localization.translate[axis] for axis in (0, 1)
        ]
        side = max(area.height * localization.scale[0], area.width * localization.scale[1])
        camera, layer = self.session.viewer.scene.camera, record.layer
        world = layer.data_to_world(pixel)
        camera.center = (0.0, *(float(value) for value in world[-2:]))
        whole = max(localization.height, localization.width)
        shown = min(max(side * MARGIN, SMALLEST_VIEW), whole) * float(abs(layer.scale[-1]))
        camera.zoom = min(self.session.viewer.canvas.size) / shown
        self.went.emit(at + 1, len(areas))
