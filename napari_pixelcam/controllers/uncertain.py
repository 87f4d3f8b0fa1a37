"""Go through the areas of an image where the map is not sure, the largest first."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

from psygnal import Signal

from napari_pixelcam.background import Task
from napari_pixelcam.controllers.session import ImageRecord, MapResult, Session

if TYPE_CHECKING:
    from pixelcam.localize.uncertainty import UncertainArea

MARGIN = 2.0
"""The window shows this many times the area's larger side."""
SMALLEST_VIEW = 96.0
"""Level-0 pixels that the window shows at least, so that a small area keeps its surroundings."""


@dataclass
class _Found:
    """The uncertain areas of a map at a threshold, and which of them the camera is at."""

    maps: MapResult
    threshold: float
    areas: list[UncertainArea]
    at: int | None = None


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
        self._found: WeakKeyDictionary[ImageRecord, _Found] = WeakKeyDictionary()

    def next(self) -> None:
        """Go to the next area; after the last comes the first."""
        self._go(1)

    def previous(self) -> None:
        """Go back to the area before."""
        self._go(-1)

    def _go(self, step: int) -> None:
        record = self.session.record
        if record is None or record.result is None:
            text = "Localize the image first, to see where its map is unsure."
            self.session.notified.emit("info", text, self.session.map_at_hand)
            return
        maps, localization = record.result, record.result.localization
        threshold = localization.threshold if record.threshold is None else record.threshold
        found = self._found.get(record)
        if found is not None and found.maps is maps and found.threshold == threshold:
            self._show(record, found, step)
            return

        def work(task: Task) -> list[UncertainArea]:
            from pixelcam.localize.uncertainty import uncertain_areas

            return uncertain_areas(localization.foreground, threshold)

        self.session.background.submit(
            work, done=partial(self._take, record, maps, threshold, step), failed=self.session.report
        )

    def _take(
        self, record: ImageRecord, maps: MapResult, threshold: float, step: int, areas: list[UncertainArea]
    ) -> None:
        if record is not self.session.record:
            return  # the reviewer has turned to another image meanwhile
        if record.result is not maps:
            self._go(step)  # and these areas are of a map that is gone
            return
        found = self._found[record] = _Found(maps, threshold, areas)
        self._show(record, found, step)

    def _show(self, record: ImageRecord, found: _Found, step: int) -> None:
        areas, localization = found.areas, found.maps.localization
        if not areas:
            text = "The map is sure of itself everywhere in this image."
            self.session.notified.emit("info", text, self.session.map_at_hand)
            return
        if found.at is None:
            found.at = 0 if step > 0 else len(areas) - 1
        else:
            found.at = (found.at + step) % len(areas)
        area = areas[found.at]
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
        self.went.emit(found.at + 1, len(areas))
