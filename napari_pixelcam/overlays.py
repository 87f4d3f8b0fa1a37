"""The two probability layers of an image: made once, then updated in place."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari.layers import Image

from napari_pixelcam.alignment import align, overlay_transform
from napari_pixelcam.controllers.session import layer_name
from napari_pixelcam.images import KEY
from napari_pixelcam.palette import background_colormap, probability_colormap, two_colour_colormap

if TYPE_CHECKING:
    import numpy as np
    from napari.components import ViewerModel
    from numpy.typing import NDArray

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
    maps: dict[str, NDArray[np.float32]] = {
        "background": localization.background,
        "foreground": localization.foreground,
    }
    chosen = set(viewer.layers.selection), viewer.layers.selection.active
    added = False
    for role in ROLES:
        layer = record.overlays.get(role)
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


def _add(
    viewer: ViewerModel, record: ImageRecord, role: str, scores: NDArray[np.float32], opacity: float
) -> Image:
    assert record.result is not None
    localization = record.result.localization
    layer = Image(
        scores,
        name=layer_name(record.name, role),
        rgb=False,
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
