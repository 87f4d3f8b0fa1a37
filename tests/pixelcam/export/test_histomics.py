"""The annotation is what the schema of large_image allows, and no more."""

from __future__ import annotations

import json

import numpy as np

from pixelcam.export.areas import areas_of_map
from pixelcam.export.histomics import write_histomics


def test_elements_are_closed_polylines_of_three_coordinates(tmp_path, localize):
    foreground = np.zeros((6, 8))
    foreground[1:5, 1:6] = 0.9
    foreground[2, 2] = 0.1
    path = write_histomics(tmp_path / "a.json", areas_of_map(localize(foreground)))
    document = json.loads(path.read_text())
    assert set(document) == {"name", "description", "attributes", "elements"}
    assert document["attributes"]["pixelcam"]["threshold"] == 0.5
    assert document["elements"] == [
        {
            "type": "polyline",
            "closed": True,
            "points": [[1, 1, 0], [6, 1, 0], [6, 5, 0], [1, 5, 0]],
            "holes": [[[3, 2, 0], [2, 2, 0], [2, 3, 0], [3, 3, 0]]],
            "group": "adenocarcinoma",
            "label": {"value": "adenocarcinoma"},
            "lineColor": "rgb(230, 159, 0)",
            "lineWidth": 2,
            "fillColor": "rgba(230, 159, 0, 0.2)",
        }
    ]


def test_a_region_without_a_hole_has_no_list_of_holes(tmp_path, localize):
    path = write_histomics(tmp_path / "a.json", areas_of_map(localize(np.ones((2, 2)))))
    assert "holes" not in json.loads(path.read_text())["elements"][0]
