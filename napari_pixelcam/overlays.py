"""The two probability layers of an image: made once, then updated in place."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from napari.layers import Image

from napari_pixelcam.alignment import align, overlay_transform
from napari_pixelcam.controllers.session import layer_name
from napari_pixelcam.images import KEY
from napari_pixelcam.livemap import LARGE, LiveMap
from napari_pixelcam.palette import background_colormap, probability_colormap, two_colour_colormap

if TYPE_CHECKING:
    from napari.components import ViewerModel

    from napari_pixelcam.controllers.session import ImageRecord

ROLES = ("background", "foreground")
EPSILON = 1e-4
"""Half the width of the contrast limits around a threshold: well below a step of 0.001, above float error."""

PROBABILITY, TWO_COLOURS = "probability", "two colours"
VIEWS = (PROBABILITY, TWO_COLOURS)


def show_maps(viewer: ViewerModel, record: ImageRecord, opacity: float) -> None:
    """Put a record's maps into the viewer, straight above its image, or renew those already there."""
    assert record.result is not None
    localization = record.result.localization
    maps = _content(record)
    chosen = set(viewer.layers.selection), viewer.layers.selection.active
    added = False
    for role in ROLES:
        layer = record.overlays.get(role)
        if layer is not None and layer.multiscale != isinstance(maps[role], list):
            viewer.layers.remove(layer)  # napari cannot make the one kind of layer the other
            layer = None
        if layer is None:
            record.overlays[role] = _add(viewer, record, role, maps[role], opacity)
            added = True
        else:
            layer.data = maps[role]
            align(layer, record.layer, localization.scale, localization.translate)
    if (
        added and chosen[1] is not None
    ):  # adding a layer makes it active, and would take the brush from the user
        viewer.layers.selection.clear()
        viewer.layers.selection.update(chosen[0])
        viewer.layers.selection.active = chosen[1]


def change_maps(viewer: ViewerModel, record: ImageRecord, opacity: float) -> None:
    """Show another map of the same image, as after a stroke.

    napari's list of layers is drawn anew at whatever a layer says of itself, which takes longer than the map:
    where the layers are there, and their size is the same, only their pixels change.
    """
    assert record.result is not None
    scores = record.result.localization.foreground
    layers = record.overlays
    if "foreground" not in layers or any(shown(one).shape != scores.shape for one in layers.values()):
        show_maps(viewer, record, opacity)
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
        visible=role == "foreground",  # both at once hide the tissue
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
        for layer in record.overlays.values():
            align(layer, record.layer, localization.scale, localization.translate)
    if record.seeds is not None:
        align(record.seeds, record.layer, record.seeds_scale, record.seeds_translate)


def paint_view(record: ImageRecord, threshold: float, view: str) -> None:
    """Show layers as probabilities, or as two colours that meet at the threshold; touches no pixel."""
    for role, layer in record.overlays.items():
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
