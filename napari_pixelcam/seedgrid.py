"""Seed layers: making them, arithmetic on their content, and filling them without overwriting."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from napari.layers import Labels
from numpy.typing import NDArray

from napari_pixelcam.alignment import overlay_transform
from napari_pixelcam.images import KEY, microns_per_pixel
from napari_pixelcam.palette import seed_colormap
from pixelcam.seeds.grid import seed_grid

if TYPE_CHECKING:
    from napari_pixelcam.controllers.session import ImageRecord

BACKGROUND, FOREGROUND = 1, 2


def new_layer(record: ImageRecord) -> Labels:
    """Return an empty seed layer for a record's image, and note its grid in the record.

    Raises
    ------
    ImageError
        The layer is not one plain two-dimensional image.
    """
    grid = seed_grid([tuple(level.shape[:2]) for level in record.source_now().levels])
    record.seeds_level, record.seeds_scale, record.seeds_translate = grid.level, grid.scale, grid.translate
    return Labels(
        np.zeros(grid.shape, np.uint8),
        name=f"{record.name} · seeds",
        colormap=seed_colormap(),
        opacity=0.9,
        metadata={KEY: {"role": "seeds", "of": record.name}},
        **overlay_transform(record.layer, grid.scale, grid.translate),
    )


def onto_seed_grid(
    proposal: NDArray[np.uint8], shape: tuple[int, ...], record: ImageRecord
) -> NDArray[np.uint8]:
    """Return the proposal, made on the map's grid, on the grid of the seed layer, by nearest pixel."""
    assert record.result is not None
    localization = record.result.localization
    axes = []
    for axis in (0, 1):
        position = np.arange(shape[axis]) * record.seeds_scale[axis] + record.seeds_translate[axis]
        index = (position - localization.translate[axis]) / localization.scale[axis]
        axes.append(np.clip(np.rint(index).astype(int), 0, proposal.shape[axis] - 1))
    return proposal[np.ix_(*axes)]


def fill_unlabelled(layer: Labels, labels: NDArray[np.uint8]) -> int:
    """Write labels where the layer has none, as one undo step; return how many pixels that were."""
    free = np.asarray(layer.data) == 0
    added = 0
    with layer.block_history():
        for value in (BACKGROUND, FOREGROUND):
            where = np.nonzero(free & (labels == value))
            layer.data_setitem(where, value)
            added += int(where[0].size)
    return added


def overwrite(layer: Labels, labels: NDArray[np.uint8]) -> None:
    """Make the layer's pixels these labels, as one undo step."""
    different = np.asarray(layer.data) != labels
    with layer.block_history():
        for value in (0, BACKGROUND, FOREGROUND):
            layer.data_setitem(np.nonzero(different & (labels == value)), value)


def brush_microns(record: ImageRecord | None, size: int) -> float | None:
    """Return a brush's diameter in micrometres, `None` where no pixel size is known."""
    mpp = microns_per_pixel(record.layer) if record is not None else None
    if record is None or mpp is None or (record.seeds is None and record.layer.multiscale):
        return None
    return size * mpp * float(np.sqrt(record.seeds_scale[0] * record.seeds_scale[1]))
