"""GeoJSON is what QuPath expects, and gives the mask again, exactly."""

from __future__ import annotations

import json
from itertools import pairwise

import numpy as np
import pytest
from scipy import ndimage

from pixelcam.errors import OutputError, SeedsError
from pixelcam.export.geojson import geojson_to_mask, write_geojson
from pixelcam.export.regions import signed_area


@pytest.fixture
def path(tmp_path):
    return tmp_path / "a.geojson"


def test_the_file_is_what_qupath_expects(path, localize):
    foreground = np.zeros((6, 8))
    foreground[1:5, 1:6] = [0.6, 0.7, 0.8, 0.9, 1.0]
    foreground[2, 2] = 0.1
    foreground[5, 7] = 0.5
    write_geojson(path, localize(foreground))
    document = json.loads(path.read_text())
    assert set(document) == {"type", "pixelcam", "features"}
    assert document["type"] == "FeatureCollection"
    first, second = document["features"]
    for feature in (first, second):
        assert set(feature) == {"type", "geometry", "properties"}
        assert feature["type"] == "Feature"
        properties = feature["properties"]
        assert properties["objectType"] == "annotation"
        assert properties["isLocked"] is False
        assert properties["classification"] == {"name": "adenocarcinoma", "color": properties["color"]}
        assert len(properties["color"]) == 3
        assert all(isinstance(value, int) and 0 <= value <= 255 for value in properties["color"])
    assert [feature["properties"]["name"] for feature in (first, second)] == [
        "adenocarcinoma 1",
        "adenocarcinoma 2",
    ]
    assert first["geometry"] == {
        "type": "Polygon",
        "coordinates": [
            [[1, 1], [6, 1], [6, 5], [1, 5], [1, 1]],
            [[3, 2], [2, 2], [2, 3], [3, 3], [3, 2]],
        ],
    }
    assert first["properties"]["measurements"] == {
        "Foreground probability: mean": pytest.approx((4 * 4.0 - 0.7) / 19, abs=1e-6),
        "Foreground probability: max": 1.0,
    }
    assert second["properties"]["measurements"]["Foreground probability: mean"] == 0.5


def test_outer_rings_and_holes_turn_as_rfc_7946_says(path, localize):
    write_geojson(path, localize(np.pad(np.pad(np.zeros((2, 2)), 1, constant_values=1), 1)))
    outer, hole = json.loads(path.read_text())["features"][0]["geometry"]["coordinates"]
    for ring, sign in ((outer, 1), (hole, -1)):
        assert ring[0] == ring[-1]
        assert np.sign(signed_area(np.array(ring[:-1], float))) == sign


def test_each_region_stands_on_a_line(path, localize):
    write_geojson(path, localize(np.eye(5)))
    lines = path.read_text().splitlines()
    assert len(lines) == 7
    assert all(json.loads(line.rstrip(","))["type"] == "Feature" for line in lines[1:-1])


def test_no_region_is_an_empty_collection(path, localize):
    write_geojson(path, localize(np.zeros((4, 4))))
    document = json.loads(path.read_text())
    assert (document["type"], document["features"]) == ("FeatureCollection", [])
    assert not geojson_to_mask(path, (4, 4)).any()


@pytest.mark.parametrize("seed", range(40))
def test_mask_to_geojson_to_mask_is_exact(path, localize, seed):
    rng = np.random.default_rng(seed)
    noise = rng.random(rng.integers(1, 40, 2))
    if seed % 2:
        noise = ndimage.gaussian_filter(noise, 1.5)
    result = localize(noise, threshold=float(np.quantile(noise, rng.random())))
    write_geojson(path, result)
    np.testing.assert_array_equal(geojson_to_mask(path, noise.shape), result.region())


def test_the_threshold_given_beats_the_models(path, localize):
    result = localize(np.linspace(0, 1, 12).reshape(3, 4))
    write_geojson(path, result, threshold=0.8)
    np.testing.assert_array_equal(geojson_to_mask(path, (3, 4)), result.foreground >= np.float32(0.8))


def test_small_regions_are_left_out_on_request(path, localize):
    mask = np.zeros((5, 5), bool)
    mask[:2, :2] = mask[4, 4] = True
    write_geojson(path, localize(mask), min_area=2)
    assert geojson_to_mask(path, (5, 5)).sum() == 4


@pytest.mark.parametrize(
    ("scale", "translate"), [((4.0, 4.0), (1.5, 1.5)), ((2.5, 3.0), (0.75, 1.0)), ((1.0, 1.0), (10.0, 20.0))]
)
def test_a_coarse_or_shifted_map_lands_on_level_0(path, localize, scale, translate):
    mask = np.random.default_rng(1).random((9, 7)) < 0.5
    write_geojson(path, localize(mask, scale=scale, translate=translate))
    back = geojson_to_mask(path, mask.shape, scale, translate)
    np.testing.assert_array_equal(back, mask)


def test_a_map_at_downsample_four_covers_whole_level_0_pixels(path, localize):
    """The centre of the first of 4 x 4 pixels lies at (4 - 1) / 2, so that the square begins at 0."""
    write_geojson(path, localize([[1, 0], [0, 0]], scale=(4.0, 4.0), translate=(1.5, 1.5)))
    ring = json.loads(path.read_text())["features"][0]["geometry"]["coordinates"][0]
    assert ring == [[0, 0], [4, 0], [4, 4], [0, 4], [0, 0]]
    expected = np.zeros((8, 8), bool)
    expected[:4, :4] = True
    np.testing.assert_array_equal(geojson_to_mask(path, (8, 8)), expected)


def square(x, y, size=2):
    return [[x, y], [x + size, y], [x + size, y + size], [x, y + size], [x, y]]


@pytest.mark.parametrize(
    "document",
    [
        {"type": "Polygon", "coordinates": [square(1, 1)]},
        {"type": "Polygon", "coordinates": [square(1, 1)[::-1]]},
        {"type": "MultiPolygon", "coordinates": [[square(1, 1, 1)], [square(1, 1)]]},
        [
            {
                "type": "Feature",
                "geometry": {"type": "Polygon", "coordinates": [square(1, 1)]},
                "properties": {},
            }
        ],
        {
            "type": "GeometryCollection",
            "geometries": [
                {"type": "Point", "coordinates": [0, 0]},
                {"type": "Polygon", "coordinates": [square(1, 1)]},
            ],
        },
        {
            "type": "FeatureCollection",
            "features": [
                {"type": "Feature", "geometry": None, "properties": {}},
                {"type": "Feature", "geometry": {"type": "Polygon", "coordinates": [square(1, 1)]}},
            ],
        },
        {"type": "Polygon", "coordinates": [[[x, y, 5] for x, y in square(1, 1)]]},
    ],
)
def test_other_writers_geojson_is_read(path, document):
    path.write_text(json.dumps(document))
    expected = np.zeros((4, 4), bool)
    expected[1:3, 1:3] = True
    np.testing.assert_array_equal(geojson_to_mask(path, (4, 4)), expected)


def test_a_polygon_past_the_border_is_cut(path):
    path.write_text(json.dumps({"type": "Polygon", "coordinates": [square(-2, -3, 20)]}))
    assert geojson_to_mask(path, (4, 5)).all()
    path.write_text(json.dumps({"type": "Polygon", "coordinates": [square(50, 50)]}))
    assert not geojson_to_mask(path, (4, 5)).any()


def test_a_slanted_polygon_fills_the_pixels_whose_centres_it_holds(path):
    corners = [[0.2, 0.3], [17.6, 5.1], [9.9, 15.2], [0.2, 0.3]]
    path.write_text(json.dumps({"type": "Polygon", "coordinates": [corners]}))
    x, y = np.meshgrid(np.arange(20) + 0.5, np.arange(20) + 0.5)
    inside = np.ones((20, 20), bool)
    for (x0, y0), (x1, y1) in pairwise(corners):
        inside &= (x1 - x0) * (y - y0) - (y1 - y0) * (x - x0) > 0
    np.testing.assert_array_equal(geojson_to_mask(path, (20, 20)), inside)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "no json",
        "3",
        "{}",
        '{"type": "Feature"}',
        '{"type": "Polygon", "coordinates": [[[0, 0], [1]]]}',
        '{"type": "Polygon", "coordinates": [[[0, 0], [NaN, 1], [1, 1]]]}',
    ],
)
def test_what_is_no_geojson_is_refused(path, text):
    path.write_text(text)
    with pytest.raises(SeedsError, match="cannot be read as GeoJSON"):
        geojson_to_mask(path, (4, 4))


def test_a_missing_file_is_refused(path):
    with pytest.raises(SeedsError, match="no such file"):
        geojson_to_mask(path, (4, 4))


def test_a_failure_leaves_the_old_file(path, localize):
    write_geojson(path, localize(np.ones((2, 2))))
    before = path.read_bytes()
    with pytest.raises(OutputError):
        write_geojson(path / "b.geojson", localize(np.ones((2, 2))))
    with pytest.raises(ValueError, match="JSON compliant"):
        write_geojson(path, localize(np.ones((2, 2)), scale=(float("nan"), 1.0)))
    assert path.read_bytes() == before
    assert list(path.parent.iterdir()) == [path]
