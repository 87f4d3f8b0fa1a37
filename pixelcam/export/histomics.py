"""Regions as an annotation that HistomicsUI and other viewers on large_image open."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pixelcam.export.areas import Area, ImageAreas, level0_rings
from pixelcam.export.marks import KEY, document_text, replace_text
from pixelcam.export.regions import Polygon, foreground_regions


def write_histomics(path: str | Path, areas: ImageAreas) -> Path:
    """Write each connected part of named areas as a closed polyline with its holes.

    Corners are in level-0 pixels from the top left corner of the image. The area's name is the group, by
    which HistomicsUI lists elements, and the label. Where the areas come from is kept in the annotation's
    attributes. Format: the annotation schema of large_image,
    https://girder.github.io/large_image/annotations.html.

    Raises
    ------
    OutputError
        The file cannot be written, or another is in the way.
    """
    document = {
        "name": f"PixelCAM {areas.image_name}",
        "description": ", ".join(area.name for area in areas.areas),
        "attributes": {KEY: areas.about},
        "elements": [
            _element(polygon, area, areas)
            for area in areas.areas
            for polygon in foreground_regions(area.mask)
        ],
    }
    return replace_text(path, document_text(document), areas.about)


def _element(polygon: Polygon, area: Area, areas: ImageAreas) -> dict[str, Any]:
    # A closed polyline does not repeat its first corner, and every corner has a third coordinate.
    outer, *holes = ([[x, y, 0] for x, y in ring[:-1]] for ring in level0_rings(polygon, areas))
    red, green, blue = area.colour
    return {
        "type": "polyline",
        "closed": True,
        "points": outer,
        **({"holes": holes} if holes else {}),
        "group": area.name,
        "label": {"value": area.name},
        "lineColor": f"rgb({red}, {green}, {blue})",
        "lineWidth": 2,
        "fillColor": f"rgba({red}, {green}, {blue}, 0.2)",
    }
