"""A reviewer's seeds as GeoJSON annotations that QuPath opens."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from pixelcam.export.atomic import write_text
from pixelcam.export.geojson import FOREGROUND_COLOUR
from pixelcam.export.regions import foreground_regions
from pixelcam.export.seeds import SeedRecord
from pixelcam.seeds import BACKGROUND, FOREGROUND

BACKGROUND_COLOUR = (0, 114, 178)
"""Red, green, blue: a blue that all colour-blind people tell from the foreground's orange."""


def write_seed_geojson(path: str | Path, record: SeedRecord) -> Path:
    """Write each painted patch as an annotation, classified "foreground" or "background".

    Corners are in level-0 pixels from the top left corner of the image, as QuPath expects. Format: RFC 7946,
    with the properties of QuPath 0.4 and later.

    Raises
    ------
    OutputError
        The file cannot be written.
    """
    features = [
        feature
        for label, name, colour in (
            (FOREGROUND, "foreground", FOREGROUND_COLOUR),
            (BACKGROUND, "background", BACKGROUND_COLOUR),
        )
        for feature in _features(record, label, name, colour)
    ]
    return write_text(path, json.dumps({"type": "FeatureCollection", "features": features}) + "\n")


def _features(
    record: SeedRecord, label: int, name: str, colour: tuple[int, int, int]
) -> Iterator[dict[str, Any]]:
    (sy, sx), (ty, tx) = record.sidecar.scale, record.sidecar.translate
    # Corner i of the labels lies half a seed pixel before the centre of pixel i; QuPath counts from corners.
    shift = np.array([tx - sx / 2 + 0.5, ty - sy / 2 + 0.5])
    for polygon in foreground_regions(record.labels == label):
        rings = [
            (np.concatenate([ring, ring[:1]]) * (sx, sy) + shift).round(4).tolist()
            for ring in (polygon.exterior, *polygon.holes)
        ]
        yield {
            "type": "Feature",
            "geometry": {"type": "Polygon", "coordinates": rings},
            "properties": {
                "objectType": "annotation",
                "name": name,
                "color": list(colour),
                "classification": {"name": name, "color": list(colour)},
                "isLocked": False,
            },
        }
