"""What a reviewer painted on one image, at the scale that a model works at, and what the strokes mean."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pixelcam.export import SeedRecord
from pixelcam.localize.tiles import Tile
from pixelcam.localize.working import WorkingImage
from pixelcam.model.geometry import Grid
from pixelcam.refine import MapGrid, Refiner, Refit
from pixelcam.seeds.labels import UNLABELLED
from pixelcam.seeds.seedmap import SeedMap


@dataclass(frozen=True)
class Painted:
    """One image with the reviewer's labels.

    Attributes
    ----------
    image
        At the model's working scale.
    labels, places
        (h, w) uint8 at that scale, and the labelled pixels, (n, 2).
    class_index
        The class that the reviewer gave the image, if any.
    seeds
        The labels as they were painted.
    """

    image: WorkingImage
    labels: NDArray[np.uint8]
    places: NDArray[np.intp]
    class_index: int | None
    seeds: SeedMap

    @classmethod
    def of(cls, record: SeedRecord, image: WorkingImage, class_index: int | None) -> Painted:
        """Bring exported seeds to the scale of a working image."""
        labels = _at_working_scale(record, image.shape)
        return cls(image, labels, np.argwhere(labels != UNLABELLED), class_index, SeedMap.of(record.labels))

    def near(self, tiles: list[Tile], margin: int) -> list[Tile]:
        """Return the tiles that hold a labelled pixel, or have one so many pixels away."""

        def holds(tile: Tile) -> bool:
            first, last = np.subtract(tile.core_start, margin), np.add(tile.core_stop, margin)
            return bool(((self.places >= first) & (self.places < last)).all(axis=1).any())

        return [tile for tile in tiles if holds(tile)]

    def cut(self, tile: Tile, side: int) -> Tensor:
        """Return the labels (side, side) int64 of a tile, with none past the image's end."""
        part = self.labels[tile.start[0] : tile.stop[0], tile.start[1] : tile.stop[1]]
        return torch.from_numpy(np.pad(part, _missing(part.shape, side)).astype(np.int64))


class Teacher:
    """The map of one image by a pixel head refitted to the reviewer's seeds, drawn where it is asked for."""

    def __init__(self, refiner: Refiner, refit: Refit, image: WorkingImage) -> None:
        self._refiner, self._refit = refiner, refit
        down = Grid.plain(image.slide.height / image.shape[0])
        along = Grid.plain(image.slide.width / image.shape[1])
        self._grid = MapGrid(image.shape, (down.stride, along.stride), (down.offset, along.offset))

    def cut(self, tile: Tile, side: int) -> Tensor:
        """Return the foreground probability (side, side) of a tile, NaN past the image's end."""
        rows, columns = (np.arange(tile.start[axis], tile.stop[axis]) for axis in (0, 1))
        part = self._refiner.draw(self._refit, self._grid, rows, columns)
        return torch.from_numpy(np.pad(part, _missing(part.shape, side), constant_values=np.nan))


def _missing(shape: tuple[int, ...], side: int) -> tuple[tuple[int, int], tuple[int, int]]:
    return (0, side - shape[0]), (0, side - shape[1])


def _at_working_scale(record: SeedRecord, shape: tuple[int, int]) -> NDArray[np.uint8]:
    """Return the reviewer's labels on the working image; a painted pixel survives any reduction."""
    height, width = record.sidecar.image.height, record.sidecar.image.width
    labels = np.zeros(shape, dtype=np.uint8)
    places = np.argwhere(record.labels != UNLABELLED)
    if record.labels.shape == shape:
        return record.labels
    scale, translate = np.array(record.sidecar.scale), np.array(record.sidecar.translate)
    ratio = np.array(shape) / np.array([height, width])
    # Every working pixel takes the seed at its centre; every seed then marks the pixel that holds it, lest it
    # vanish.
    rows, columns = (
        np.clip(np.round(((np.arange(n) + 0.5) / r - 0.5 - t) / s), 0, m - 1).astype(int)
        for n, r, t, s, m in zip(shape, ratio, translate, scale, record.labels.shape, strict=True)
    )
    labels[:] = record.labels[np.ix_(rows, columns)]
    centres = np.floor((places * scale + translate + 0.5) * ratio).astype(int)
    centres = np.clip(centres, 0, np.array(shape) - 1)
    empty = labels[tuple(centres.T)] == UNLABELLED
    labels[tuple(centres[empty].T)] = record.labels[tuple(places[empty].T)]
    return labels
