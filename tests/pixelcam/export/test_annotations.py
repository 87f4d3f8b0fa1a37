"""Annotations of QuPath and HistomicsUI are read with their classes, polygons and holes."""

from __future__ import annotations

import json

import numpy as np
import pytest

from pixelcam.errors import SeedsError
from pixelcam.export.annotations import read_annotations

SQUARE = [[1, 1], [3, 1], [3, 3], [1, 3], [1, 1]]
HOLE = [[1.5, 1.5], [2, 1.5], [2, 2]]


def read(path, document):
    path.write_text(json.dumps(document))
    return read_annotations(path)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "a.json"


def feature(**properties):
    return {
        "type": "Feature",
        "geometry": {"type": "Polygon", "coordinates": [SQUARE]},
        "properties": properties,
    }


@pytest.mark.parametrize(
    ("properties", "kind"),
    [
        ({"classification": {"name": "Tumor", "color": [1, 2, 3]}, "name": "left one"}, "Tumor"),
        ({"classification": {"names": ["Tumor", "Positive"]}}, "Tumor: Positive"),
        ({"classification": "Tumor"}, "Tumor"),
        ({"name": "left one"}, "left one"),
        ({}, ""),
        (None, ""),
    ],
)
def test_the_class_is_the_classification_or_else_the_name(path, properties, kind):
    document = feature() | {"properties": properties}
    assert [one.kind for one in read(path, document).annotations] == [kind]


def test_a_multipolygon_keeps_its_parts_and_their_holes(path):
    document = {"type": "MultiPolygon", "coordinates": [[SQUARE, HOLE], [SQUARE]]}
    (one,) = read(path, document).annotations
    assert [len(polygon) for polygon in one.polygons] == [2, 1]
    np.testing.assert_array_equal(one.polygons[0][1], HOLE)


def test_points_and_lines_are_no_areas(path):
    document = {"type": "LineString", "coordinates": SQUARE}
    (one,) = read(path, document).annotations
    assert one.polygons == ()


def points(ring):
    return [[x, y, 0] for x, y in ring]


def test_histomics_groups_and_holes_are_read(path):
    elements = [
        {
            "type": "polyline",
            "closed": True,
            "points": points(SQUARE),
            "holes": [points(HOLE)],
            "group": "gland",
        },
        {"type": "polyline", "closed": True, "points": points(SQUARE), "label": {"value": "stroma"}},
        {"type": "polyline", "points": points(SQUARE)},
        {"type": "point", "center": [1, 2, 0]},
    ]
    found = read(path, {"name": "a", "elements": elements}).annotations
    assert [one.kind for one in found] == ["gland", "stroma", "", ""]
    assert [len(one.polygons) for one in found] == [1, 1, 0, 0]
    np.testing.assert_array_equal(found[0].polygons[0][0], SQUARE)
    np.testing.assert_array_equal(found[0].polygons[0][1], HOLE)
    wrapped = [{"_id": "1", "annotation": {"elements": elements[:1]}}, {"annotation": {"elements": []}}]
    assert [one.kind for one in read(path, wrapped).annotations] == ["gland"]


@pytest.mark.parametrize(
    ("rotation", "corners"),
    [
        (0, {(3, 4), (7, 4), (7, 6), (3, 6)}),
        (np.pi / 2, {(4, 3), (6, 3), (6, 7), (4, 7)}),
        (np.pi / 4, {(4.2929, 2.8787), (7.1213, 5.7071), (5.7071, 7.1213), (2.8787, 4.2929)}),
    ],
)
def test_a_histomics_rectangle_turns_about_its_centre(path, rotation, corners):
    box = {"type": "rectangle", "center": [5, 5, 0], "width": 4, "height": 2, "rotation": rotation}
    (one,) = read(path, {"elements": [box]}).annotations
    assert {tuple(corner) for corner in one.polygons[0][0].round(4).tolist()} == corners


def test_the_image_that_this_program_noted_is_told(path):
    about = {"image": {"fingerprint": "ab"}}
    assert read(path, {"type": "FeatureCollection", "features": [], "pixelcam": about}).fingerprint == "ab"
    assert read(path, {"elements": [], "attributes": {"pixelcam": about}}).fingerprint == "ab"
    assert read(path, {"type": "FeatureCollection", "features": []}).fingerprint == ""


@pytest.mark.parametrize(
    "document",
    [
        3,
        {"type": "Feature"},
        {"elements": [{"type": "rectangle"}]},
        {"elements": [{"type": "polyline", "closed": True, "points": [[1], [2]]}]},
        {"type": "Polygon", "coordinates": [[[0, 0], [1e400, 1], [1, 1]]]},
    ],
)
def test_what_is_no_annotation_is_refused_in_one_sentence(path, document):
    with pytest.raises(SeedsError, match=r"a\.json cannot be read as GeoJSON or as an annotation") as caught:
        read(path, document)
    assert "\n" not in str(caught.value)
