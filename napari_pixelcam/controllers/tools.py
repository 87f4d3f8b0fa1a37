"""Tools that paint whole areas of seeds: a lasso, one region of the map with a click, and clearing."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any, Literal
from weakref import WeakSet

import numpy as np
from napari.layers import Labels, Shapes
from psygnal import Signal

from napari_pixelcam import filling
from napari_pixelcam.alignment import overlay_transform
from napari_pixelcam.background import Task
from napari_pixelcam.controllers.seeds import SeedsController
from napari_pixelcam.controllers.seedstate import Brush
from napari_pixelcam.controllers.session import ImageRecord, layer_name
from napari_pixelcam.images import KEY
from napari_pixelcam.palette import BACKGROUND_SEED, FOREGROUND_SEED
from napari_pixelcam.seedgrid import BACKGROUND, FOREGROUND

Tool = Literal["lasso", "region"]
_LABELS: dict[Brush, int] = {"foreground": FOREGROUND, "background": BACKGROUND, "eraser": 0}
_COLOURS: dict[Brush, str] = {
    "foreground": FOREGROUND_SEED,
    "background": BACKGROUND_SEED,
    "eraser": "#FFFFFF",
}
LINE = 2.0
"""Width of the lasso's line in pixels of the screen."""


class ToolsController:
    """Takes tools in hand for the chosen image's seed layer, and does what they do.

    What a tool writes is chosen as for the brush: foreground, background, or nothing with the eraser.

    Parameters
    ----------
    seeds
        Who owns the seed layers and knows of every change.
    """

    changed = Signal()
    """Another tool, or another kind of seed, is in hand."""

    def __init__(self, seeds: SeedsController) -> None:
        self.session, self.seeds = seeds.session, seeds
        self.tool: Tool | None = None
        self.kind: Brush = "foreground"
        self._layer: Labels | None = None
        self._outline: Shapes | None = None
        self._wired: WeakSet[Labels] = WeakSet()
        self.session.viewer.layers.selection.events.active.connect(self._on_active)
        self.session.image_changed.connect(lambda record: self.put_away())
        self.session.seeds_changed.connect(self._on_seeds)
        seeds.changed.connect(self._on_state)

    # What is in hand.

    def take_kind(self, kind: Brush) -> None:
        """Choose what is painted; with no tool in hand that takes the brush."""
        self.kind = kind
        if self.tool is None:
            self.seeds.take(kind)
        self.changed.emit()

    def take(self, tool: Tool) -> None:
        """Take a tool in hand; the same again puts it away and takes the brush."""
        if tool == self.tool:
            self.put_away()
            self.seeds.take(self.kind)
            return
        kind = self.kind
        if self.session.record is not None and self.seeds.state.brush is not None:
            kind = self.seeds.state.brush
        self.seeds.take(kind)  # makes the layer and chooses it, or says why it cannot
        record = self.session.record
        if record is None or record.seeds is None:
            return
        self.kind = kind
        layer = record.seeds
        layer.mode = "pan_zoom"
        if layer not in self._wired:
            layer.mouse_drag_callbacks.append(self._on_drag)
            layer.events.mode.connect(partial(self._on_mode, layer))
            self._wired.add(layer)
        layer.mouse_pan = False
        layer.cursor = "cross"
        self.tool, self._layer = tool, layer
        self.changed.emit()

    def put_away(self) -> None:
        """Put the tool down, so that dragging moves the view again."""
        if self.tool is None:
            return
        layer, self._layer, self.tool = self._layer, None, None
        self._drop_outline()
        if layer is not None and layer.mode == "pan_zoom":
            layer.mouse_pan = True
            layer.cursor = "standard"
        self.changed.emit()

    def _on_active(self, event: Any = None) -> None:
        active = self.session.viewer.layers.selection.active
        if self.session.is_quiet:
            return
        if self._layer is not None and active is not None and active is not self._layer:
            self.put_away()

    def _on_seeds(self, record: ImageRecord) -> None:
        if record.seeds is None and record is self.session.record:
            self.put_away()

    def _on_mode(self, layer: Labels, event: Any = None) -> None:
        if layer is self._layer and layer.mode != "pan_zoom":
            self.put_away()

    def _on_state(self, state: Any) -> None:
        if self.tool is None and state.brush is not None and state.brush != self.kind:
            self.kind = state.brush
            self.changed.emit()

    # What the tools do.

    def _on_drag(self, layer: Labels, event: Any) -> Iterator[None]:
        if layer is not self._layer or event.button != 1:
            return
        if self.tool == "region":
            self.accept_at(event.position)
            return
        points = [layer.world_to_data(event.position)[-2:]]
        self._draw_outline(layer, points)
        yield
        while event.type == "mouse_move":
            point = layer.world_to_data(event.position)[-2:]
            if max(abs(point[0] - points[-1][0]), abs(point[1] - points[-1][1])) >= 1:
                points.append(point)
                self._draw_outline(layer, points)
            yield
        self._drop_outline()
        if self.session.record is not None:
            self.session.when_whole(self.session.record, partial(self.fill_lasso, points))

    def fill_lasso(self, points: list[Any]) -> int:
        """Label what is inside a line drawn around it; return how many pixels changed.

        With foreground in hand that is the part of the map at or above the threshold, with background the
        part below it, with the eraser all of it; and all of it where there is no map yet.

        Parameters
        ----------
        points
            Corners as (y, x) in pixels of the seed layer.
        """
        record = self.session.record
        if record is None or record.seeds is None:
            return 0
        area = filling.enclosed(points, record.seeds.data.shape)
        if area is None:
            self.session.notified.emit(
                "info",
                "Draw a line around an area with the lasso, then let go.",
                lambda: (self.tool, *self.seeds.painted()),
            )
            return 0
        if record.result is not None and self.kind != "eraser":
            scores = _scores_at(record, area.corner, area.mask.shape)
            above = scores >= _threshold(record)
            area = filling.Area(area.corner, area.mask & (above if self.kind == "foreground" else ~above))
        self.seeds.note_kind(record, "fill")
        changed = filling.write(record.seeds, area, _LABELS[self.kind])
        if not changed:
            side = "at or above" if self.kind == "foreground" else "below"
            self._say(f"Nothing new inside the lasso is {side} the threshold.")
        return changed

    def accept_at(self, position: tuple[float, ...]) -> None:
        """Label the whole connected region of the map that a point of the world lies in.

        Parameters
        ----------
        position
            In world units, as a mouse event tells it.
        """
        record = self.session.record
        if record is None or record.result is None:
            self.session.notified.emit(
                "error",
                "Localize the image first: a region is a part of its map.",
                self.session.map_at_hand,
            )
        else:
            self.session.when_whole(record, partial(self._accept_at, record, position))

    def _accept_at(self, record: ImageRecord, position: tuple[float, ...]) -> None:
        assert record.result is not None
        localization = record.result.localization
        pixel = record.layer.world_to_data(position)[-2:]
        at = tuple(
            int(np.rint((pixel[axis] - localization.translate[axis]) / localization.scale[axis]))
            for axis in (0, 1)
        )
        scores, threshold, kind = localization.foreground, _threshold(record), self.kind

        def work(task: Task) -> filling.Area | None:
            inside = all(0 <= at[axis] < scores.shape[axis] for axis in (0, 1))
            above = scores >= threshold
            if kind == "background" or (kind == "eraser" and inside and not above[at]):
                above = ~above
            return filling.connected(above, at)

        self.session.background.submit(
            work, done=partial(self._accept, record, kind), failed=self.session.report
        )

    def accept_under_pointer(self) -> None:
        """Label the region that the pointer is over."""
        self.accept_at(tuple(self.session.viewer.cursor.position))

    def _accept(self, record: ImageRecord, kind: Brush, found: filling.Area | None) -> None:
        if not self.session.holds(record) or record.result is None:
            return
        if found is None:
            side = "below" if kind == "background" else "at or above"
            self._say(f"No region {side} the threshold is there; point at one.")
            return
        if record.seeds is None:
            self.seeds.take(kind)
        assert record.seeds is not None
        localization = record.result.localization
        area = filling.carried_over(
            found,
            (localization.scale, localization.translate),
            (record.seeds_scale, record.seeds_translate),
            record.seeds.data.shape,
        )
        self.seeds.note_kind(record, "fill")
        if not filling.write(record.seeds, area, _LABELS[kind]):
            self._say("This region was accepted already.")

    def clear(self) -> None:
        """Take all seeds of the image away, as one undo step."""
        record = self.session.record
        if record is None or record.seeds is None:
            return
        area = filling.Area((0, 0), np.asarray(record.seeds.data) != 0)
        self.seeds.note_kind(record, "clear")
        count = filling.write(record.seeds, area, 0)
        if count:
            text = f"{count:,} seed pixels cleared; Undo brings them back."
            self.session.notified.emit("info", text, self.seeds.painted)

    def _say(self, text: str) -> None:
        """Tell of a map, a threshold, what is in hand and what is painted, until one of these is another."""
        self.session.notified.emit(
            "info",
            text,
            lambda: (self.tool, self.kind, *self.session.map_at_hand(), *self.seeds.painted()),
        )

    # The lasso's line.

    def _draw_outline(self, layer: Labels, points: list[Any]) -> None:
        record = self.session.record
        if record is None or len(points) < 2:
            return
        viewer = self.session.viewer
        if self._outline is None:
            width = LINE / (viewer.scene.camera.zoom * float(abs(layer.scale[-1])))
            self._outline = Shapes(
                [np.asarray(points)],
                shape_type="path",
                edge_width=width,
                edge_color=_COLOURS[self.kind],
                name=layer_name(record.name, "lasso"),
                metadata={KEY: {"role": "lasso", "of": record.name}},
                **overlay_transform(record.layer, record.seeds_scale, record.seeds_translate),
            )
            with self.session.quietly():
                viewer.add_layer(self._outline)
        else:
            self._outline.data = [np.asarray(points)]

    def _drop_outline(self) -> None:
        outline, self._outline = self._outline, None
        if outline is not None and outline in self.session.viewer.layers:
            self.session.viewer.layers.remove(outline)


def _threshold(record: ImageRecord) -> float:
    assert record.result is not None
    return record.result.localization.threshold if record.threshold is None else record.threshold


def _scores_at(record: ImageRecord, corner: tuple[int, int], shape: tuple[int, int]) -> Any:
    assert record.result is not None
    localization = record.result.localization
    return filling.sampled(
        localization.foreground,
        (localization.scale, localization.translate),
        corner,
        shape,
        (record.seeds_scale, record.seeds_translate),
    )
