"""Named areas of one image, as every format of regions writes them."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from pixelcam.export.marks import image_mark
from pixelcam.export.regions import Polygon
from pixelcam.seeds import BACKGROUND, FOREGROUND

if TYPE_CHECKING:
    from pixelcam.export.sidecar import SeedSidecar
    from pixelcam.localize import Localization

FOREGROUND_COLOUR = (230, 159, 0)
"""Red, green, blue of foreground: an orange that all colour-blind people tell from stained tissue."""
BACKGROUND_COLOUR = (0, 114, 178)
"""Red, green, blue of background: a blue that all colour-blind people tell from the foreground's orange."""

Pair = tuple[float, float]


class Grid(Protocol):
    """Where an array lies on its image."""

    @property
    def scale(self) -> Pair:
        """Level-0 pixels per pixel of the array, (y, x)."""
        ...

    @property
    def translate(self) -> Pair:
        """The centre of the array's pixel (0, 0) in level-0 pixels, (y, x)."""
        ...


@dataclass(frozen=True, eq=False)
class Area:
    """One named area.

    Parameters
    ----------
    name
        Its class.
    mask
        (h, w) bool.
    colour
        Red, green, blue, 0 to 255.
    """

    name: str
    mask: NDArray[np.bool_]
    colour: tuple[int, int, int]


@dataclass(frozen=True, eq=False)
class ImageAreas:
    """The areas of one image, all on one grid.

    Parameters
    ----------
    image_name
        Stem of the image's name.
    width, height
        Of the image, in level-0 pixels.
    mpp
        Micrometres per level-0 pixel, or None.
    areas
        The areas.
    scale, translate
        Level-0 pixels per pixel of the masks, and the centre of their pixel (0, 0) in level-0 pixels, (y, x).
    image_file
        Name of the image's file with its ending, "" where it is in none.
    model, reviewer
        Which model drew them, or who did; the other is "".
    about
        Where they come from, as JSON values: written into the formats that have room for it.
    """

    image_name: str
    width: int
    height: int
    mpp: float | None
    areas: tuple[Area, ...]
    scale: Pair = (1.0, 1.0)
    translate: Pair = (0.0, 0.0)
    image_file: str = ""
    model: str = ""
    reviewer: str = ""
    about: dict[str, Any] = field(default_factory=dict)


def areas_of_map(localization: Localization, threshold: float | None = None) -> ImageAreas:
    """Return the region of a map, named by the predicted class, at a threshold or the model's own."""
    chosen = localization.threshold if threshold is None else threshold
    region = localization.region(chosen)
    return ImageAreas(
        localization.image_name,
        localization.width,
        localization.height,
        localization.mpp,
        (Area(localization.predicted, region, FOREGROUND_COLOUR),),
        localization.scale,
        localization.translate,
        image_file=localization.image_file,
        model=localization.model.name,
        about=about_map(localization, chosen),
    )


def about_map(localization: Localization, threshold: float | None = None) -> dict[str, Any]:
    """Return the mark of all files of a localization.

    It tells the image, the threshold of regions, the model, the class probabilities, and a digest of the map,
    by which files that do not belong together are told from those that do.
    """
    return {
        "kind": "results",
        "image": image_mark(
            localization.image_name,
            localization.image_file,
            localization.fingerprint,
            (localization.width, localization.height),
            localization.mpp,
        ),
        "threshold": float(localization.threshold if threshold is None else threshold),
        "model": localization.model.to_json(),
        "classes": {name: float(p) for name, p in localization.classes.items()},
        "map": localization.map_digest,
    }


def areas_of_seeds(labels: NDArray[np.uint8], sidecar: SeedSidecar) -> ImageAreas:
    """Return what a reviewer painted as the areas "background" and "foreground", with all of the sidecar.

    Parameters
    ----------
    labels
        (h, w); 0 unlabelled, 1 background, 2 foreground.
    sidecar
        Of these labels.
    """
    image = sidecar.image
    return ImageAreas(
        image.name,
        image.width,
        image.height,
        image.mpp,
        (
            # Where formats number their classes from 1, they have the numbers of the labels.
            Area("background", labels == BACKGROUND, BACKGROUND_COLOUR),
            Area("foreground", labels == FOREGROUND, FOREGROUND_COLOUR),
        ),
        sidecar.scale,
        sidecar.translate,
        image_file=(image.path or image.relative_path).replace("\\", "/").rsplit("/", 1)[-1],
        reviewer=sidecar.reviewer,
        about=json.loads(sidecar.to_json()),
    )


def level0_rings(polygon: Polygon, grid: Grid) -> list[list[list[float]]]:
    """Return a polygon's rings, closed, as (x, y) in level-0 pixels from the image's top left corner.

    Coordinates are whole numbers where the grid has the image's own pixels.
    """
    (sy, sx), (ty, tx) = grid.scale, grid.translate
    # Corner i of the grid lies half a pixel of it before the centre of pixel i; the image begins at a corner.
    shift = np.array([tx - sx / 2 + 0.5, ty - sy / 2 + 0.5])
    rings = []
    for ring in (polygon.exterior, *polygon.holes):
        closed = np.concatenate([ring, ring[:1]]) * (sx, sy) + shift
        whole = bool((closed == np.rint(closed)).all())
        rings.append(closed.astype(np.int64).tolist() if whole else closed.round(4).tolist())
    return rings


def grid_ring(ring: NDArray[np.float64], grid: Grid) -> NDArray[np.float64]:
    """Return (n, 2) level-0 corners (x, y) in pixels of a grid; the way back from `level0_rings`."""
    (sy, sx), (ty, tx) = grid.scale, grid.translate
    return np.asarray((ring - (tx - sx / 2 + 0.5, ty - sy / 2 + 0.5)) / (sx, sy))
