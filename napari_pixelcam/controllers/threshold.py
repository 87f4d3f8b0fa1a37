"""Turn the map into a region: one threshold, shown live by the layers' colours, measured from a histogram."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any
from weakref import WeakSet

from napari.layers import Image
from psygnal import Signal

from napari_pixelcam.controllers.session import ImageRecord, Session
from napari_pixelcam.overlays import (
    LINES,
    OUTLINE,
    PROBABILITY,
    TWO_COLOURS,
    VIEWS,
    follow_zoom,
    hide_outline,
    paint_view,
    show_outline,
)
from pixelcam.localize.localization import area_mm2


@dataclass(frozen=True)
class ThresholdState:
    """What the section shows.

    Parameters
    ----------
    threshold, default
        The one in force and the model's own, in [0, 1].
    view
        One of `VIEWS`.
    fraction
        Share of the image at or above the threshold.
    area_mm2
        The same as an area, `None` where the pixel size is unknown.
    called
        What the foreground is, as the model's card says, such as "glands".
    """

    threshold: float
    default: float
    view: str
    fraction: float
    area_mm2: float | None
    called: str = "foreground"


class ThresholdController:
    """Sets the threshold of the chosen image's map; follows the layer's own contrast slider.

    Parameters
    ----------
    session
        The dock's shared state.
    """

    changed = Signal(object)
    """The state is now this `ThresholdState`, or `None` where there is no map."""

    def __init__(self, session: Session) -> None:
        self.session = session
        self._painting = False
        self._followed: WeakSet[Image] = WeakSet()
        session.image_changed.connect(lambda record: self.changed.emit(self.state))
        session.localized.connect(self._on_localized)
        session.refined.connect(self._on_refined)
        session.overlay_removed.connect(self._on_removed)
        session.viewer.scene.camera.events.zoom.connect(self._on_zoom)

    @property
    def state(self) -> ThresholdState | None:
        """What holds for the chosen image, `None` where it has no foreground layer."""
        record = self.session.record
        if record is None or record.result is None or "foreground" not in record.overlays:
            return None
        localization = record.result.localization
        threshold = _threshold(record)
        fraction = record.result.histogram.fraction(threshold)
        area = area_mm2(fraction, localization.width, localization.height, record.mpp)
        view, called = record.view or PROBABILITY, localization.foreground_name or "foreground"
        return ThresholdState(threshold, localization.threshold, view, fraction, area, called)

    def set_threshold(self, threshold: float) -> None:
        """Move the threshold, to a thousandth; as it is to be seen, probabilities turn to two colours."""
        record = self.session.record
        if record is None or record.result is None:
            return
        record.threshold = round(min(max(threshold, 0.0), 1.0), 3)
        if record.view != OUTLINE:
            record.view = TWO_COLOURS
        self._show(record)

    def reset(self) -> None:
        """Go back to the model's own threshold."""
        record = self.session.record
        if record is not None and record.result is not None:
            record.threshold = None
            self._show(record)

    def set_view(self, view: str) -> None:
        """Show the map as one of `VIEWS`."""
        record = self.session.record
        if record is None or record.result is None or view not in VIEWS:
            return
        before, record.view = record.view, view
        if view == OUTLINE:
            show_outline(self.session, record, _threshold(record))
        elif before == OUTLINE:
            hide_outline(record)
        self._show(record)

    def _on_removed(self, record: ImageRecord) -> None:
        if record.view == OUTLINE and LINES not in record.overlays:  # the user has deleted the outline
            record.view = PROBABILITY
            hide_outline(record)
            if record.result is not None:
                self._show(record)
        if LINES not in record.overlays:
            record.outline = None
        self.changed.emit(self.state)

    def _on_zoom(self, event: Any = None) -> None:
        for record in self.session.records():
            if record.result is not None:
                follow_zoom(self.session.viewer, record)

    def _on_localized(self, record: ImageRecord) -> None:
        layer = record.overlays["foreground"]
        if layer not in self._followed:
            self._followed.add(layer)
            layer.events.contrast_limits.connect(partial(self._on_limits, record))
        self._show(record)

    def _on_refined(self, record: ImageRecord) -> None:
        if record.overlays["foreground"] not in self._followed:
            self._on_localized(record)
        elif record is self.session.record:  # the layers keep the look that the user may have given them
            self.changed.emit(self.state)

    def _show(self, record: ImageRecord) -> None:
        self._painting = True
        try:
            paint_view(record, _threshold(record), record.view or PROBABILITY)
        finally:
            self._painting = False
        if record is self.session.record:
            self.changed.emit(self.state)

    def _on_limits(self, record: ImageRecord, event: Any) -> None:
        # Two flat colours meet halfway between the limits, so that is where the user has put the threshold.
        if self._painting or record.view != TWO_COLOURS or record.result is None:
            return
        low, high = event.source.contrast_limits
        record.threshold = round(min(max((low + high) / 2, 0.0), 1.0), 3)
        if record is self.session.record:
            self.changed.emit(self.state)


def _threshold(record: ImageRecord) -> float:
    assert record.result is not None
    return record.result.localization.threshold if record.threshold is None else record.threshold
