"""The layers of an image's map: two of probabilities, made once and then updated in place, and an outline."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from napari.layers import Image

from napari_pixelcam.alignment import align, overlay_transform
from napari_pixelcam.controllers.session import layer_name
from napari_pixelcam.images import KEY
from napari_pixelcam.livemap import LARGE, LiveMap
from napari_pixelcam.outlines import BRIGHT, FINEST, Outline
from napari_pixelcam.palette import (
    background_colormap,
    outline_colormap,
    probability_colormap,
    two_colour_colormap,
)

if TYPE_CHECKING:
    from napari.components import ViewerModel

    from napari_pixelcam.controllers.session import ImageRecord, Session

ROLES = ("background", "foreground")
EPSILON = 1e-4
"""Half the width of the contrast limits around a threshold: well below a step of 0.001, above float error."""

PROBABILITY, TWO_COLOURS, OUTLINE = "probability", "two colours", "outline"
VIEWS = (PROBABILITY, TWO_COLOURS, OUTLINE)
LINES = "outline"
"""The role of the layer that shows the outline; there is none before it is asked for."""


def show_maps(session: Session, record: ImageRecord) -> None:
    """Put a record's maps into the viewer, straight above its image, or renew those already there."""
    assert record.result is not None
    localization = record.result.localization
    maps = _content(record)
    with session.quietly():
        for role in ROLES:
            layer = record.overlays.get(role)
            if layer is not None and layer.multiscale != isinstance(maps[role], list):
                session.viewer.layers.remove(layer)  # napari cannot make the one kind of layer the other
                layer = None
            if layer is None:
                opacity = session.preferences.opacity
                record.overlays[role] = _add(session.viewer, record, role, maps[role], opacity)
            else:
                layer.data = maps[role]
                align(layer, record.layer, localization.scale, localization.translate)
        if LINES in record.overlays:
            threshold = record.outline.threshold if record.outline is not None else localization.threshold
            record.outline = _outline(session.viewer, record, threshold)
            record.overlays[LINES].data = record.outline.levels()
            align(record.overlays[LINES], record.layer, *_place_of_lines(record))


def change_maps(session: Session, record: ImageRecord) -> None:
    """Show another map of the same image, as after a stroke.

    napari's list of layers is drawn anew at whatever a layer says of itself, which takes longer than the map:
    where the layers are there, and their size is the same, only their pixels change.
    """
    assert record.result is not None
    scores = record.result.localization.foreground
    layers = {role: layer for role, layer in record.overlays.items() if role in ROLES}
    if "foreground" not in layers or any(shown(one).shape != scores.shape for one in layers.values()):
        show_maps(session, record)
        return
    if record.live is not None:
        record.live.show(scores)
    else:
        np.copyto(layers["foreground"].data, scores)
        if "background" in layers:  # else the user has deleted it
            np.subtract(1, scores, out=layers["background"].data)
    redraw_maps(record)


def redraw_maps(record: ImageRecord) -> None:
    """Draw a record's maps anew, as their pixels are others now."""
    for layer in record.overlays.values():
        layer.refresh(extent=False, thumbnail=False, highlight=False)


def shown(layer: Image) -> Any:
    """Return what a map's layer shows, as an array (h, w) to be sliced."""
    return layer.data[0] if layer.multiscale else layer.data


def _content(record: ImageRecord) -> dict[str, Any]:
    """Return what layers show: arrays of their own, or of a large map levels that read what is in view."""
    assert record.result is not None
    localization = record.result.localization
    if localization.foreground.size <= LARGE:
        record.live = None
        return {"background": localization.background, "foreground": localization.foreground.copy()}
    record.live = LiveMap(localization.foreground)
    return {"background": record.live.levels(inverted=True), "foreground": record.live.levels()}


def _add(viewer: ViewerModel, record: ImageRecord, role: str, scores: Any, opacity: float) -> Image:
    assert record.result is not None
    localization = record.result.localization
    layer = Image(
        scores,
        name=layer_name(record.name, role),
        rgb=False,
        multiscale=isinstance(scores, list),
        colormap=probability_colormap() if role == "foreground" else background_colormap(),
        contrast_limits=(0, 1),
        opacity=opacity,
        blending="translucent",
        visible=role == "foreground" and record.view != OUTLINE,  # both at once hide the tissue
        metadata={KEY: {"role": role, "of": record.name}},
        **overlay_transform(record.layer, localization.scale, localization.translate),
    )
    above = [
        viewer.layers.index(below) for below in (record.layer, record.overlays.get("background")) if below
    ]
    viewer.layers.insert(max(above) + 1, layer)
    return layer


def place(record: ImageRecord) -> None:
    """Bring a record's layers back onto its image after the image moved."""
    if record.result is not None:
        localization = record.result.localization
        for role, layer in record.overlays.items():
            if role in ROLES:
                align(layer, record.layer, localization.scale, localization.translate)
            else:
                align(layer, record.layer, *_place_of_lines(record))
    if record.seeds is not None:
        align(record.seeds, record.layer, record.seeds_scale, record.seeds_translate)


def paint_view(record: ImageRecord, threshold: float, view: str) -> None:
    """Show layers as probabilities, or as two colours that meet at the threshold; touches no pixel."""
    if record.outline is not None and record.outline.threshold != threshold:
        record.outline.threshold = threshold
        _redraw_lines(record)
    for role, layer in record.overlays.items():
        if role not in ROLES:
            continue
        background = role == "background"
        if view == TWO_COLOURS:
            # A pixel just at the threshold is foreground, and the lookup rounds it up to the upper colour.
            centre = 1 - threshold if background else threshold
            colormap = two_colour_colormap(swapped=background)
            limits = (centre - EPSILON, centre + EPSILON)
        else:
            colormap = background_colormap() if background else probability_colormap()
            limits = (0.0, 1.0)
        if layer.colormap.name != colormap.name:
            layer.colormap = colormap
        if tuple(layer.contrast_limits) != limits:
            layer.contrast_limits = limits
            layer.contrast_limits_range = (min(0.0, limits[0]), max(1.0, limits[1]))


def show_outline(session: Session, record: ImageRecord, threshold: float) -> None:
    """Show the region's border alone, in place of the maps."""
    for role in ROLES:
        if role in record.overlays:
            record.overlays[role].visible = False
    if LINES not in record.overlays:
        record.outline = _outline(session.viewer, record, threshold)
        with session.quietly():
            record.overlays[LINES] = _add_lines(session.viewer, record)
    record.overlays[LINES].visible = True


def hide_outline(record: ImageRecord) -> None:
    """Show the foreground again in place of its border."""
    if LINES in record.overlays:
        record.overlays[LINES].visible = False
    if "foreground" in record.overlays:
        record.overlays["foreground"].visible = True


def follow_zoom(viewer: ViewerModel, record: ImageRecord) -> None:
    """Keep the lines as wide on the screen as they were, at another magnification."""
    outline = record.outline
    if outline is None:
        return
    levels = [2.0**power for power in range(-FINEST.bit_length(), 10)]
    before = [outline.widths(step) for step in levels]
    outline.zoom = _zoom(viewer, record)
    if [outline.widths(step) for step in levels] != before:
        _redraw_lines(record)


def _redraw_lines(record: ImageRecord) -> None:
    layer = record.overlays.get(LINES)
    if layer is not None and layer.visible:
        layer.refresh(extent=False, thumbnail=False, highlight=False)


def _zoom(viewer: ViewerModel, record: ImageRecord) -> float:
    """Return the pixels of the screen along a side of a pixel of the map."""
    assert record.result is not None
    side = float(abs(record.layer.scale[-1])) * record.result.localization.scale[-1]
    return float(viewer.scene.camera.zoom) * side


def _outline(viewer: ViewerModel, record: ImageRecord, threshold: float) -> Outline:
    assert record.result is not None
    shape = record.result.localization.foreground.shape

    def scores(rows: range, columns: range) -> Any:
        if record.live is not None:
            return record.live.read(rows, columns)  # also while another one is drawn
        assert record.result is not None
        return record.result.localization.foreground[
            rows.start : rows.stop : rows.step, columns.start : columns.stop : columns.step
        ]

    return Outline((shape[0], shape[1]), scores, threshold, _zoom(viewer, record))


def _place_of_lines(record: ImageRecord) -> tuple[tuple[float, float], tuple[float, float]]:
    """Return where the finest level of the outline lies in the image, as `align` takes it."""
    assert record.result is not None
    localization = record.result.localization
    scale, translate = localization.scale, localization.translate
    rest = (FINEST - 1) / (2 * FINEST)  # from the middle of a map's pixel to that of its first fine one
    return (
        (scale[0] / FINEST, scale[1] / FINEST),
        (translate[0] - rest * scale[0], translate[1] - rest * scale[1]),
    )


def _add_lines(viewer: ViewerModel, record: ImageRecord) -> Image:
    assert record.outline is not None
    layer = Image(
        record.outline.levels(),
        name=layer_name(record.name, LINES),
        rgb=False,
        multiscale=True,
        colormap=outline_colormap(),
        contrast_limits=(0, BRIGHT),
        blending="translucent",
        metadata={KEY: {"role": LINES, "of": record.name}},
        **overlay_transform(record.layer, *_place_of_lines(record)),
    )
    below = [record.layer, *(record.overlays[role] for role in ROLES if role in record.overlays)]
    viewer.layers.insert(max(viewer.layers.index(one) for one in below) + 1, layer)
    return layer
