"""Before and after: blink to the previous map while a key is held, or sweep a divider across the image."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from napari.layers import Image, Shapes
from psygnal import Signal

from napari_pixelcam.alignment import overlay_transform
from napari_pixelcam.controllers.session import ImageRecord, Session, layer_name
from napari_pixelcam.images import KEY
from napari_pixelcam.overlays import shown

Mode = Literal["off", "blink", "before", "image"]
"""What is compared: nothing; all of the previous map; previous map | map; bare image | map."""
LARGEST = 2048
"""Pixels a side that are drawn while comparing; larger maps are thinned out to go to the screen."""
STEP = 0.02
"""Of the image's width, that a key moves the divider by."""
_FOLLOWED = ("colormap", "contrast_limits", "opacity", "interpolation2d")


class ComparisonController:
    """Stands its own layers in for the foreground map while it compares; the map's own layer is only hidden.

    Parameters
    ----------
    session
        The dock's shared state.
    """

    changed = Signal(str)
    """The `Mode` is now this."""

    def __init__(self, session: Session) -> None:
        self.session = session
        self.mode: Mode = "off"
        self.divider = 0.5
        self._record: ImageRecord | None = None
        self._layers: dict[str, Image | Shapes] = {}
        self._was_visible = True
        session.image_changed.connect(lambda record: self.end())
        session.localized.connect(self._on_localized)
        session.refined.connect(self._on_localized)
        session.moved.connect(self._on_record)
        session.overlay_removed.connect(self._on_record)
        session.viewer.mouse_move_callbacks.append(self._on_mouse)

    def close(self) -> None:
        """Take the layers away and stop following the pointer."""
        self.end()
        callbacks = self.session.viewer.mouse_move_callbacks
        if self._on_mouse in callbacks:
            callbacks.remove(self._on_mouse)

    # What the user does.

    def blink(self, on: bool) -> None:
        """Show the previous map in place of the present one, or the present one again."""
        if not on:
            if self.mode == "blink":
                self.end()
        elif self.mode == "off":
            record = self.session.record
            if record is None or record.result is None or record.previous is None:
                text = "There is no earlier map of this image to compare with."
                self.session.notified.emit("info", text, self.session.map_at_hand)
                return
            self._begin("blink")

    def next_swipe(self) -> None:
        """Go on: previous map beside the present one, bare image beside it, off."""
        record = self.session.record
        if record is None or record.result is None:
            text = "Localize the image first: there is no map to compare with."
            self.session.notified.emit("info", text, self.session.map_at_hand)
            return
        order: list[Mode] = ["off", "before", "image"] if record.previous is not None else ["off", "image"]
        now = order.index(self.mode) if self.mode in order else 0
        following = order[(now + 1) % len(order)]
        self.end()
        if following != "off":
            self._begin(following)

    def move_divider(self, by: float) -> None:
        """Move the divider by a share of the image's width."""
        self.set_divider(self.divider + by)

    def set_divider(self, share: float) -> None:
        """Put the divider at a share of the image's width from the left."""
        self.divider = min(max(share, 0.0), 1.0)
        if self.mode in ("before", "image"):
            self._draw()

    def end(self) -> None:
        """Show the map again as it was."""
        record, self._record = self._record, None
        if self.mode == "off":
            return
        self.mode = "off"
        layers, self._layers = self._layers, {}
        for layer in layers.values():
            if layer in self.session.viewer.layers:
                self.session.viewer.layers.remove(layer)
        foreground = record.overlays.get("foreground") if record is not None else None
        if foreground is not None:
            for name in _FOLLOWED:
                getattr(foreground.events, name).disconnect(self._on_style)
            foreground.visible = self._was_visible
        self.changed.emit("off")

    # How it is shown.

    def _begin(self, mode: Mode) -> None:
        record = self.session.record
        if record is None or "foreground" not in record.overlays:
            return
        foreground = record.overlays["foreground"]
        self._record, self.mode = record, mode
        self._was_visible = foreground.visible
        foreground.visible = False
        for name in _FOLLOWED:
            getattr(foreground.events, name).connect(self._on_style)
        self._draw()
        self.changed.emit(mode)

    def _draw(self) -> None:
        record = self._record
        if record is None or record.result is None or "foreground" not in record.overlays:
            return
        width = record.result.localization.width
        column = width if self.mode == "blink" else self.divider * width
        if self.mode != "image" and record.previous is not None:
            earlier = record.previous.localization
            self._show("before", earlier.foreground, earlier.scale, earlier.translate, (0.0, column))
        if self.mode != "blink":
            now = record.result.localization
            self._show(
                "after", shown(record.overlays["foreground"]), now.scale, now.translate, (column, width)
            )
            self._show_line(record, column)

    def _show(
        self,
        role: str,
        scores: Any,
        scale: tuple[float, float],
        translate: tuple[float, float],
        columns: tuple[float, float],
    ) -> None:
        """Show the part of a map between two columns of the image."""
        assert self._record is not None
        thin = -(-max(scores.shape) // LARGEST)
        edges = [(column - 0.5 - translate[1]) / scale[1] + 0.5 for column in columns]
        first, last = (int(np.clip(round(edge), 0, scores.shape[1])) for edge in edges)
        visible = last > first
        first = min(first, scores.shape[1] - 1)
        part = scores[::thin, first : max(last, first + 1) : thin]
        place = overlay_transform(
            self._record.layer,
            (scale[0] * thin, scale[1] * thin),
            (translate[0], translate[1] + first * scale[1]),
        )
        layer = self._layers.get(role)
        if layer is None:
            self._add(role, Image(part, rgb=False, visible=visible, **place))
            self._on_style()
            return
        layer.data = part
        layer.visible = visible
        layer.translate = place["translate"]

    def _show_line(self, record: ImageRecord, column: float) -> None:
        assert record.result is not None
        height = record.result.localization.height
        ends = np.array([[-0.5, column - 0.5], [height - 0.5, column - 0.5]])
        layer = self._layers.get("divider")
        if layer is None:
            pixel = float(abs(record.layer.scale[-1])) * self.session.viewer.scene.camera.zoom
            line = Shapes(
                [ends],
                shape_type="line",
                edge_color="white",
                edge_width=2 / pixel,
                **overlay_transform(record.layer),
            )
            self._add("divider", line)
        else:
            layer.data = [ends]

    def _add(self, role: str, layer: Image | Shapes) -> None:
        record, layers = self._record, self.session.viewer.layers
        assert record is not None
        layer.name = layer_name(record.name, role)
        layer.metadata = {KEY: {"role": role, "of": record.name}}
        with self.session.quietly():
            layers.insert(layers.index(record.overlays["foreground"]) + 1, layer)
        self._layers[role] = layer

    def _on_style(self, event: Any = None) -> None:
        foreground = self._record.overlays.get("foreground") if self._record is not None else None
        for layer in self._layers.values() if foreground is not None else ():
            if isinstance(layer, Image):
                for name in _FOLLOWED:
                    setattr(layer, name, getattr(foreground, name))

    # What makes it end or move.

    def _on_localized(self, record: ImageRecord) -> None:
        if record is self._record:
            self._draw()

    def _on_record(self, record: ImageRecord) -> None:
        if record is self._record:
            self.end()

    def _on_mouse(self, viewer: Any, event: Any) -> None:
        """Let the divider follow the pointer while Shift is held."""
        if self._record is None or self.mode == "blink" or "Shift" not in event.modifiers:
            return
        assert self._record.result is not None
        column = self._record.layer.world_to_data(event.position)[-1]
        self.set_divider((column + 0.5) / self._record.result.localization.width)
