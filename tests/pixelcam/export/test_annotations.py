"""Annotations of QuPath and HistomicsUI are read with their classes, polygons and holes."""

from __future__ import annotations

import gzip
import json
import zipfile

import numpy as np
import pytest
from PIL import Image

from pixelcam.errors import SeedsError
from pixelcam.export.annotations import is_annotation_file, read_annotations
from pixelcam.export.filling import fill_polygon

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


def filled(annotation, shape=(60, 80)):
    mask = np.zeros(shape, bool)
    for polygon in annotation.polygons:
        part = fill_polygon(polygon, shape)
        mask[part.window] |= part.mask
    return mask


def in_ellipse(centre, a, b, angle=0.0, shape=(60, 80)):
    """Pixels whose centres lie in an ellipse turned clockwise on the screen, by its equation."""
    y, x = np.mgrid[: shape[0], : shape[1]] + 0.5
    dx, dy = x - centre[0], y - centre[1]
    along, across = dx * np.cos(angle) + dy * np.sin(angle), dy * np.cos(angle) - dx * np.sin(angle)
    return (along / a) ** 2 + (across / b) ** 2 <= 1


@pytest.mark.parametrize("angle", [0, 0.3, np.pi / 2, -1.1])
def test_a_histomics_ellipse_is_filled_turned_about_its_centre(path, angle):
    oval = {"type": "ellipse", "center": [40, 30, 0], "width": 50, "height": 20, "rotation": angle}
    (one,) = read(path, {"elements": [oval]}).annotations
    assert (filled(one) != in_ellipse((40, 30), 25, 10, angle)).sum() <= 2


def test_a_histomics_circle_is_filled(path):
    circle = {"type": "circle", "center": [40.5, 30.25, 0], "radius": 17.5, "group": "a"}
    (one,) = read(path, {"elements": [circle]}).annotations
    assert one.kind == "a"
    assert (filled(one) != in_ellipse((40.5, 30.25), 17.5, 17.5)).sum() <= 2


def test_a_large_ellipse_is_as_round_as_a_small_one(path):
    circle = {"type": "circle", "center": [0, 0, 0], "radius": 5000}
    (one,) = read(path, {"elements": [circle]}).annotations
    ring = one.polygons[0][0]
    middles = (ring + np.roll(ring, 1, axis=0)) / 2
    assert np.abs(np.hypot(*middles.T) - 5000).max() < 0.011


def test_a_grid_of_rectangles_is_its_rectangle(path):
    grid = {"type": "rectanglegrid", "center": [5, 5, 0], "width": 4, "height": 2}
    grid |= {"widthSubdivisions": 2, "heightSubdivisions": 3}
    (one,) = read(path, {"elements": [grid]}).annotations
    assert {tuple(corner) for corner in one.polygons[0][0].tolist()} == {(3, 4), (7, 4), (7, 6), (3, 6)}


def test_shapes_that_are_no_areas_keep_their_names(path):
    elements = [
        {"type": "heatmap", "points": [[1, 2, 0, 0.5]], "radius": 9},
        {"type": "griddata", "gridWidth": 2, "values": [1, 2]},
        {"type": "point", "center": [1, 2, 0], "label": None},
        {"type": "arrow", "points": points(SQUARE[:2])},
        {"type": "polyline", "points": points(SQUARE), "closed": False},
    ]
    found = read(path, {"elements": elements}).annotations
    assert [one.form for one in found] == ["heatmap", "griddata", "point", "arrow", "polyline"]
    assert not any(one.polygons for one in found)


@pytest.mark.parametrize("size", [{"radius": 0}, {"radius": -3}, {"radius": 1e400}, {"radius": 10**400}, {}])
def test_a_circle_without_a_size_is_refused(path, size):
    with pytest.raises(SeedsError, match="cannot be read as GeoJSON or as an annotation of HistomicsUI"):
        read(path, {"elements": [{"type": "circle", "center": [1, 2, 0]} | size]})


def test_a_number_of_400_digits_is_refused(path):
    path.write_text('{"type": "Polygon", "coordinates": [[[0, 0], [%s, 1], [1, 1]]]}' % ("9" * 400))
    with pytest.raises(SeedsError, match="cannot be read as GeoJSON"):
        read_annotations(path)


def test_a_geometry_collection_gives_each_of_its_areas(path):
    geometry = {
        "type": "GeometryCollection",
        "geometries": [feature()["geometry"], {"type": "Point", "coordinates": [1, 2]}],
    }
    found = read(path, feature(name="a") | {"geometry": geometry}).annotations
    assert [(one.kind, one.form, len(one.polygons)) for one in found] == [
        ("a", "Polygon", 1),
        ("a", "Point", 0),
    ]


TEXT = json.dumps([feature(classification={"name": "Drüse"})], ensure_ascii=False)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32"])
@pytest.mark.parametrize("compress", [bytes, gzip.compress])
def test_every_unicode_encoding_is_read_also_compressed(tmp_path, encoding, compress):
    for name in ("a.geojson.gz", "a.geojson", "a.json", "a"):
        (tmp_path / name).write_bytes(compress(TEXT.encode(encoding)))
        assert is_annotation_file(tmp_path / name)
        assert [one.kind for one in read_annotations(tmp_path / name).annotations] == ["Drüse"]


def test_annotations_alone_in_a_zip_are_read(tmp_path):
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("slide/a.geojson", TEXT)
        archive.writestr("__MACOSX/a.geojson", b"junk")
        archive.writestr("readme.txt", "words")
    assert is_annotation_file(path)
    assert len(read_annotations(path).annotations) == 1
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("b.json", TEXT)
    with pytest.raises(SeedsError, match="holds 2 annotation files; unpack one of"):
        read_annotations(path)


def test_damaged_compression_is_told(tmp_path):
    packed = gzip.compress(TEXT.encode())
    for data in (packed[:-9], packed[:12], packed[:20] + b"xx" + packed[22:]):
        (tmp_path / "a.geojson.gz").write_bytes(data)
        with pytest.raises(SeedsError, match=r"a\.geojson\.gz is truncated or damaged"):
            read_annotations(tmp_path / "a.geojson.gz")


def test_compression_that_hides_more_than_is_read_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("pixelcam.export.annotations.MOST_BYTES", 10_000_000)
    (tmp_path / "a.geojson.gz").write_bytes(gzip.compress(b"[" + b" " * 20_000_000 + b"]"))
    with pytest.raises(SeedsError, match="more than 10 MB of annotations"):
        read_annotations(tmp_path / "a.geojson.gz")


def test_label_images_and_arrays_are_no_annotations(tmp_path):
    np.savez(tmp_path / "a.npz", labels=np.zeros((2, 2), np.uint8))
    Image.new("L", (3, 3)).save(tmp_path / "a.png")
    for name in ("a.npz", "a.png"):
        assert not is_annotation_file(tmp_path / name)
