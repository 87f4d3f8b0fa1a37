"""What the window shows of an image's map."""

from __future__ import annotations

import math
from itertools import product
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from napari_pixelcam.livemap import View

if TYPE_CHECKING:
    from napari.components import ViewerModel

    from napari_pixelcam.controllers.session import ImageRecord
    from pixelcam.localize import Localization

_ROUNDING = 1e-3


def view_of(viewer: ViewerModel, record: ImageRecord, localization: Localization) -> View:
    """Return the part of a localization's map that the canvas shows, and at what step.

    The step is the largest power of two at which a pixel of the screen still gets one of the map. Of an image
    that lies aslant the part is the upright box around it, of one out of sight the pixel nearest to it.
    """
    camera, size = viewer.scene.camera, np.asarray(viewer.canvas.size, float)
    centre = np.asarray(camera.center[-2:], float)
    reach = size / (2 * camera.zoom)

    def on_map(row: int, column: int) -> NDArray[np.float64]:
        pixel = np.asarray(record.layer.world_to_data(centre + reach * (row, column)))[-2:]
        place: NDArray[np.float64] = (pixel - localization.translate) / np.asarray(localization.scale)
        return place

    corners = np.array([on_map(row, column) for row, column in product((-1, 1), repeat=2)])
    height, width = localization.foreground.shape
    top, left = np.clip(np.floor(corners.min(axis=0)), 0, (height - 1, width - 1)).astype(int).tolist()
    bottom, right = np.ceil(corners.max(axis=0)).astype(int).tolist()
    across = [
        np.linalg.norm(on_map(*end) - on_map(*(-one for one in end))) / side
        for end, side in zip(((1, 0), (0, 1)), size, strict=True)
    ]
    step = 2 ** max(math.floor(math.log2(max(min(across) * (1 - _ROUNDING), 1))), 0)
    return View((top, left, min(max(bottom, top) + 1, height), min(max(right, left) + 1, width)), step)
