"""Regions as GeoJSON that QuPath opens, and GeoJSON annotations as a mask again."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from pixelcam.errors import SeedsError
from pixelcam.export.atomic import atomic_path
from pixelcam.export.regions import Polygon, foreground_regions, signed_area

if TYPE_CHECKING:
    from pixelcam.localize import Localization

FOREGROUND_COLOUR = (230, 159, 0)
"""Red, green, blue of exported regions: an orange that all colour-blind people tell from stained tissue."""

# Crossings are gathered in portions of about this many corners, which bounds the memory needed.
_PORTION = 1 << 20

_Pair = tuple[float, float]


def write_geojson(
    path: str | Path, localization: Localization, threshold: float | None = None, min_area: int = 0
) -> Path:
    """Write the regions where the foreground probability reaches a threshold.

    A FeatureCollection with one feature per connected region (see `foreground_regions`), a Polygon with its
    holes, in level-0 pixels from the top left corner of the image, as QuPath expects. Each is an
    annotation, named and classified by the predicted class, with its mean and largest foreground
    probability. Every feature stands on a line of its own. Format: RFC 7946, with the properties of QuPath
    0.4 and later.

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
        The file cannot be written.
    """
    path = Path(path)
    with atomic_path(path) as temporary:
        save_geojson(temporary, localization, threshold, min_area)
    return path


def save_geojson(path: Path, localization: Localization, threshold: float | None, min_area: int = 0) -> None:
    """Write as `write_geojson`, straight to `path`."""
    region = localization.region(threshold)
    with path.open("w", encoding="utf-8", newline="\n") as file:
        file.write('{"type": "FeatureCollection", "features": [')
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
            "geometry": {"type": "Polygon", "coordinates": _coordinates(polygon, localization)},
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


def _coordinates(polygon: Polygon, localization: Localization) -> list[list[list[float]]]:
    """Return closed rings in level-0 pixels, whole numbers where the map has the image's own pixels."""
    (sy, sx), (ty, tx) = localization.scale, localization.translate
    # Corner i of the map lies half a map pixel before the centre of pixel i; QuPath counts from corners too.
    shift = np.array([tx - sx / 2 + 0.5, ty - sy / 2 + 0.5])
    rings = []
    for ring in (polygon.exterior, *polygon.holes):
        closed = np.concatenate([ring, ring[:1]]) * (sx, sy) + shift
        whole = bool((closed == np.rint(closed)).all())
        rings.append(closed.astype(np.int64).tolist() if whole else closed.round(4).tolist())
    return rings


def geojson_to_mask(
    path: str | Path, shape: tuple[int, int], scale: _Pair = (1.0, 1.0), translate: _Pair = (0.0, 0.0)
) -> NDArray[np.bool_]:
    """Fill the polygons of a GeoJSON file: a pixel is set where its centre lies in one of them.

    It reads a FeatureCollection, a Feature, a geometry, or a list of them, as this program and QuPath write
    them. Polygons and MultiPolygons count; other geometries are passed over. Overlaps are united.

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
        The file is missing or is no GeoJSON.
    """
    try:
        document = json.loads(Path(path).read_text(encoding="utf-8-sig"))
        rings = [np.asarray(ring, np.float64)[:, :2] for ring in _oriented_rings(document)]
    except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
        raise SeedsError(f"{path} cannot be read as GeoJSON; export the annotations again.") from error
    (sy, sx), (ty, tx) = scale, translate
    shift = np.array([tx - sx / 2 + 0.5, ty - sy / 2 + 0.5])
    winding = np.zeros((shape[0], shape[1] + 1), np.int32)
    portion: list[NDArray[np.float64]] = []
    corners = 0
    for ring in rings:
        portion.append((ring - shift) / (sx, sy))
        corners += len(ring)
        if corners > _PORTION:
            _add_crossings(winding, portion)
            portion, corners = [], 0
    _add_crossings(winding, portion)
    return np.asarray(np.cumsum(winding[:, :-1], axis=1, dtype=np.int32) > 0)


def _oriented_rings(document: Any) -> Iterator[NDArray[np.float64]]:
    """Yield the rings of all polygons: outer ones of positive signed area, holes of negative."""
    if isinstance(document, list):
        for part in document:
            yield from _oriented_rings(part)
        return
    kind = document["type"]
    if kind == "FeatureCollection":
        yield from _oriented_rings(document["features"])
    elif kind == "Feature":
        if document["geometry"] is not None:
            yield from _oriented_rings(document["geometry"])
    elif kind == "GeometryCollection":
        yield from _oriented_rings(document["geometries"])
    elif kind in ("Polygon", "MultiPolygon"):
        polygons = [document["coordinates"]] if kind == "Polygon" else document["coordinates"]
        for polygon in polygons:
            for place, ring in enumerate(polygon):
                points = np.asarray(ring, np.float64)[:, :2]
                if not np.isfinite(points).all():
                    raise ValueError("coordinates must be finite")
                yield points if (signed_area(points) > 0) == (place == 0) else points[::-1]


def _add_crossings(winding: NDArray[np.int32], rings: list[NDArray[np.float64]]) -> None:
    """Add +1 or -1 where a row's pixel centres pass a ring's edge; summed along the row: winding numbers.

    `winding` is (h, w + 1); rings are (n, 2) as (x, y), the origin being the corner of pixel (0, 0).
    """
    if not rings:
        return
    height, width = winding.shape[0], winding.shape[1] - 1
    x0, y0 = np.concatenate(rings).T
    x1, y1 = np.concatenate([np.roll(ring, -1, axis=0) for ring in rings]).T
    first = np.clip(np.ceil(np.minimum(y0, y1) - 0.5), 0, height).astype(np.int64)
    stop = np.clip(np.ceil(np.maximum(y0, y1) - 0.5), 0, height).astype(np.int64)
    rows_each = stop - first
    edge = np.repeat(np.arange(len(x0)), rows_each)
    rows = np.arange(len(edge)) - np.repeat(np.cumsum(rows_each) - rows_each, rows_each) + first[edge]
    slope = (rows + 0.5 - y0[edge]) / (y1[edge] - y0[edge])
    x = x0[edge] + slope * (x1[edge] - x0[edge])
    columns = np.clip(np.ceil(x - 0.5), 0, width).astype(np.int64)
    # With y pointing down, a ring of positive area goes up on its left side.
    turns = np.where(y1[edge] < y0[edge], 1, -1).astype(np.int32)
    # One index into a flat view is several times faster than two.
    np.add.at(winding.reshape(-1), rows * (width + 1) + columns, turns)
