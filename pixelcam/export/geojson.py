"""Regions as GeoJSON that QuPath opens, and GeoJSON annotations as a mask again."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from pixelcam.export.annotations import read_annotations
from pixelcam.export.areas import (
    FOREGROUND_COLOUR,
    ImageAreas,
    Pair,
    about_map,
    grid_ring,
    level0_rings,
)
from pixelcam.export.filling import fill_polygon
from pixelcam.export.marks import KEY, document_text, mark_text, replace_text, replacing
from pixelcam.export.regions import foreground_regions

if TYPE_CHECKING:
    from pixelcam.localize import Localization


def write_geojson(
    path: str | Path, localization: Localization, threshold: float | None = None, min_area: int = 0
) -> Path:
    """Write the regions where the foreground probability reaches a threshold.

    A FeatureCollection with one feature per connected region (see `foreground_regions`), a Polygon with its
    holes, in level-0 pixels from the top left corner of the image, as QuPath expects. Each is an
    annotation, named and classified by the predicted class, with its mean and largest foreground
    probability. Every feature stands on a line of its own. Which image and model they are of is kept under
    "pixelcam", which other programs pass over. Format: RFC 7946, with the properties of QuPath 0.4 and later.

    Parameters
    ----------
    path
        The file to write.
    localization
        The map, and what it says of the image.
    threshold
        Between 0 and 1; the model's default where None.
    min_area
        Regions of fewer map pixels are left out.

    Raises
    ------
    OutputError
        The file cannot be written, or another is in the way.
    """
    path = Path(path)
    with replacing(path, about_map(localization, threshold)) as temporary:
        save_geojson(temporary, localization, threshold, min_area)
    return path


def save_geojson(path: Path, localization: Localization, threshold: float | None, min_area: int = 0) -> None:
    """Write as `write_geojson`, straight to `path`."""
    region = localization.region(threshold)
    with path.open("w", encoding="utf-8", newline="\n") as file:
        # First, so that it is found without reading all the features.
        mark = mark_text(about_map(localization, threshold))
        file.write(f'{{"type": "FeatureCollection", "{KEY}": {mark}, "features": [')
        separator = "\n"
        for feature in _features(region, localization, min_area):
            file.write(separator + json.dumps(feature, allow_nan=False, ensure_ascii=False))
            separator = ",\n"
        file.write("\n]}\n")


def _features(
    region: NDArray[np.bool_], localization: Localization, min_area: int
) -> Iterator[dict[str, Any]]:
    polygons = foreground_regions(region, min_area)
    if not polygons:
        return
    labels, count = ndimage.label(region)
    owners, values = labels[region], localization.foreground[region]
    means = np.bincount(owners, values, count + 1) / np.maximum(np.bincount(owners, minlength=count + 1), 1)
    peaks = np.zeros(count + 1, np.float32)
    np.maximum.at(peaks, owners, values)
    kind = {"name": localization.predicted, "color": list(FOREGROUND_COLOUR)}
    for number, polygon in enumerate(polygons, start=1):
        # The first corner of an outer ring is the top left one of the region's first pixel.
        x, y = polygon.exterior[0].astype(int)
        label = labels[y, x]
        yield {
            "type": "Feature",
            "geometry": {"type": "Polygon", "coordinates": level0_rings(polygon, localization)},
            "properties": {
                "objectType": "annotation",
                "name": f"{localization.predicted} {number}",
                "color": list(FOREGROUND_COLOUR),
                "classification": kind,
                "isLocked": False,
                "measurements": {
                    "Foreground probability: mean": round(float(means[label]), 6),
                    "Foreground probability: max": round(float(peaks[label]), 6),
                },
            },
        }


def write_seed_geojson(path: str | Path, areas: ImageAreas) -> Path:
    """Write each connected part of named areas as an annotation, classified by the area's name.

    Corners and properties as in `write_geojson`. Where the areas come from is kept under "pixelcam", which
    other programs pass over.

    Raises
    ------
    OutputError
        The file cannot be written, or another is in the way.
    """
    features = [
        {
            "type": "Feature",
            "geometry": {"type": "Polygon", "coordinates": level0_rings(polygon, areas)},
            "properties": {
                "objectType": "annotation",
                "name": area.name,
                "color": list(area.colour),
                "classification": {"name": area.name, "color": list(area.colour)},
                "isLocked": False,
            },
        }
        for area in areas.areas
        for polygon in foreground_regions(area.mask)
    ]
    document = {"type": "FeatureCollection", KEY: areas.about, "features": features}
    return replace_text(path, document_text(document), areas.about)


def geojson_to_mask(
    path: str | Path, shape: tuple[int, int], scale: Pair = (1.0, 1.0), translate: Pair = (0.0, 0.0)
) -> NDArray[np.bool_]:
    """Fill the polygons of a GeoJSON file: a pixel is set where its centre lies in one of them.

    It reads a FeatureCollection, a Feature, a geometry, or a list of them, as this program and QuPath write
    them; the annotations of HistomicsUI too. Polygons and MultiPolygons count; other geometries are passed
    over. Overlaps are united; a polygon that crosses itself is filled by the even-odd rule.

    Parameters
    ----------
    path
        The file.
    shape
        (height, width) of the mask.
    scale, translate
        Level-0 pixels per mask pixel, and the centre of mask pixel (0, 0) in level-0 pixels, as (y, x).

    Returns
    -------
    NDArray[bool]
        Of `shape`.

    Raises
    ------
    SeedsError
        The file is missing or holds no annotations.
    """
    grid = _Placed(scale, translate)
    mask = np.zeros(shape, bool)
    for annotation in read_annotations(path).annotations:
        for polygon in annotation.polygons:
            filled = fill_polygon([grid_ring(ring, grid) for ring in polygon], shape)
            mask[filled.window] |= filled.mask
    return mask


@dataclass(frozen=True)
class _Placed:
    scale: Pair
    translate: Pair
