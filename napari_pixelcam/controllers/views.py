"""How the maps are looked at: on and off, more or less see-through, which of them, and by key."""

from __future__ import annotations

from weakref import WeakKeyDictionary

from napari_pixelcam.controllers.session import ImageRecord, Session
from napari_pixelcam.controllers.threshold import ThresholdController
from napari_pixelcam.overlays import LINES, OUTLINE, PROBABILITY, ROLES, TWO_COLOURS

VIEWS = (
    ("foreground", PROBABILITY),
    ("foreground", TWO_COLOURS),
    (LINES, OUTLINE),
    ("background", PROBABILITY),
)
"""What the view key goes through: which layer is shown, and how."""
STEP = 0.1
"""One step of opacity."""


class ViewsController:
    """Acts on the maps of the chosen image; without a map nothing happens.

    Parameters
    ----------
    session
        The dock's shared state.
    threshold
        Who shows the maps as probabilities or as two colours.
    """

    def __init__(self, session: Session, threshold: ThresholdController) -> None:
        self.session, self._threshold = session, threshold
        self._hidden: WeakKeyDictionary[ImageRecord, tuple[str, ...]] = WeakKeyDictionary()
        self._before: WeakKeyDictionary[ImageRecord, str] = WeakKeyDictionary()

    def toggle(self) -> None:
        """Hide the maps, or show again those that were hidden."""
        record = self.session.record
        if record is None or not record.overlays:
            return
        shown = tuple(role for role, layer in record.overlays.items() if layer.visible)
        alone = LINES if record.view == OUTLINE else "foreground"
        wanted = () if shown else self._hidden.get(record, (alone,))
        if shown:
            self._hidden[record] = shown
        for role, layer in record.overlays.items():
            layer.visible = role in wanted

    def change_opacity(self, steps: int) -> None:
        """Make the maps less (negative) or more see-through by steps of a tenth."""
        record = self.session.record
        for layer in record.overlays.values() if record is not None else ():
            layer.opacity = round(min(max(layer.opacity + steps * STEP, 0.0), 1.0), 3)

    def change_threshold(self, by: float) -> None:
        """Move the threshold of the chosen image."""
        state = self._threshold.state
        if state is not None:
            self._threshold.set_threshold(state.threshold + by)

    def next_view(self) -> None:
        """Go on to the next of `VIEWS`."""
        record, state = self.session.record, self._threshold.state
        if record is None or state is None or any(role not in record.overlays for role in ROLES):
            return
        background = record.overlays["background"].visible and not record.overlays["foreground"].visible
        if state.view == OUTLINE:
            now = (LINES, OUTLINE)
        else:
            now = ("background" if background else "foreground", PROBABILITY if background else state.view)
        role, view = VIEWS[(VIEWS.index(now) + 1) % len(VIEWS)]
        self._threshold.set_view(view)
        for other in ROLES:
            record.overlays[other].visible = other == role

    def outline(self) -> None:
        """Show the outline alone, or again what was shown before it."""
        record, state = self.session.record, self._threshold.state
        if record is None or state is None:
            return
        if state.view == OUTLINE:
            self._threshold.set_view(self._before.get(record, PROBABILITY))
        else:
            self._before[record] = state.view
            self._threshold.set_view(OUTLINE)
