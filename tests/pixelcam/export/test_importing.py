"""Annotations and label images become the very seeds that they were, or are refused in one sentence."""

from __future__ import annotations

import json

import numpy as np
import pytest
import tifffile
from PIL import Image

from pixelcam.errors import SeedsError
from pixelcam.export.areas import areas_of_seeds
from pixelcam.export.geojson import write_seed_geojson
from pixelcam.export.histomics import write_histomics
from pixelcam.export.importing import read_labels
from pixelcam.export.ngff import write_seeds_zarr
from pixelcam.export.sidecar import SeedImage, SeedSidecar
from pixelcam.seeds import grid as grids
from pixelcam.seeds.grid import seed_grid
from pixelcam.slides import Slide


def slide_of(*sizes, name="field"):
    """Return a slide with levels of these (height, width)."""
    levels = tuple(np.zeros((*size, 3), np.uint8) for size in sizes)
    return Slide(name, None, levels, 0.5)


SIZE = (24, 32)


@pytest.fixture
def slide():
    return slide_of(SIZE)


@pytest.fixture(params=range(6))
def labels(request):
    labels = np.random.default_rng(request.param).integers(0, 3, SIZE).astype(np.uint8)
    labels[5:15, 5:25] = labels[5:15, 5:25].max() if request.param % 2 else 2
    labels[8:12, 8:12] = 0
    labels[9, 9] = 1
    return labels


def written_png(path, values):
    Image.fromarray(np.asarray(values)).save(path)
    return path


def refusal(path, slide, meanings=None):
    with pytest.raises(SeedsError) as caught:
        read_labels(path, slide, meanings)
    message = str(caught.value)
    assert message.endswith(".")
    assert "\n" not in message
    return message


def sidecar_of(slide):
    grid = seed_grid([level.shape[:2] for level in slide.levels])
    return SeedSidecar(SeedImage.of(slide), grid.level, grid.scale, grid.translate)


@pytest.mark.parametrize("write", [write_seed_geojson, write_histomics])
def test_seeds_written_as_annotations_come_back_exactly(tmp_path, slide, labels, write):
    path = write(tmp_path / "a.json", areas_of_seeds(labels, sidecar_of(slide)))
    np.testing.assert_array_equal(read_labels(path, slide), labels)


@pytest.mark.parametrize("write", [write_seed_geojson, write_histomics])
def test_seeds_of_a_coarser_level_come_back_exactly(tmp_path, labels, write, monkeypatch):
    monkeypatch.setattr(grids, "MOST_PIXELS", SIZE[0] * SIZE[1])
    slide = slide_of((241, 321), (48 * 2, 64 * 2), SIZE)
    assert sidecar_of(slide).level == 2
    path = write(tmp_path / "a.json", areas_of_seeds(labels, sidecar_of(slide)))
    np.testing.assert_array_equal(read_labels(path, slide), labels)


def test_seeds_written_as_ome_zarr_come_back_exactly(tmp_path, slide, labels):
    path = write_seeds_zarr(tmp_path / "a.ome.zarr", labels, sidecar_of(slide))
    np.testing.assert_array_equal(read_labels(path, slide), labels)


def write_npz(path, labels):
    np.savez_compressed(path, labels=labels)


@pytest.mark.parametrize(
    ("ending", "write"), [("png", written_png), ("tif", tifffile.imwrite), ("npz", write_npz)]
)
def test_label_images_are_seeds_as_they_are(tmp_path, slide, labels, ending, write):
    write(tmp_path / f"a.{ending}", labels)
    np.testing.assert_array_equal(read_labels(tmp_path / f"a.{ending}", slide), labels)


@pytest.mark.parametrize("write", [write_seed_geojson, write_histomics])
def test_seeds_of_another_image_are_refused(tmp_path, slide, write):
    path = write(tmp_path / "a.json", areas_of_seeds(np.ones(SIZE, np.uint8), sidecar_of(slide)))
    other = Slide("other", None, (np.ones((*SIZE, 3), np.uint8),))
    assert "was made on another image than other" in refusal(path, other)


def test_values_mean_what_the_mapping_says(tmp_path, slide):
    mask = np.zeros(SIZE, np.uint8)
    mask[3:9, 4:9], mask[12:, 3:4] = 255, 128
    path = written_png(tmp_path / "a.png", mask)
    got = read_labels(path, slide, {"255": "foreground", "0": "background", "128": "ignore"})
    np.testing.assert_array_equal(got, np.select([mask == 255, mask == 0], [2, 1], 0))


def test_a_mask_of_one_bit_needs_a_mapping(tmp_path, slide):
    mask = np.zeros(SIZE, bool)
    mask[3:9, 4:9] = True
    path = written_png(tmp_path / "a.png", mask)
    assert "has the values 0 and 1; say what they mean" in refusal(path, slide)
    np.testing.assert_array_equal(read_labels(path, slide, {"1": "foreground"}), mask * 2)


def test_values_without_a_meaning_are_named(tmp_path, slide):
    values = np.arange(SIZE[0] * SIZE[1]).reshape(SIZE) % 9
    path = written_png(tmp_path / "a.png", values.astype(np.uint8) * 20)
    assert "has the values 0, 20, 40, 60, 80 and 4 more; say what they mean" in refusal(path, slide)
    assert "--map 160=foreground --map 0=background" in refusal(path, slide)
    assert "say what they mean" in refusal(path, slide, {"255": "foreground"})


def test_another_size_is_refused_with_the_sizes_that_fit(tmp_path):
    path = written_png(tmp_path / "a.png", np.ones((25, 32), np.uint8))
    message = refusal(path, slide_of(SIZE, (12, 16), (6, 8)))
    assert "has 32 x 25 pixels, but field has 32 x 24, 16 x 12 or 8 x 6; export" in message


def test_labels_of_a_coarser_level_are_spread(tmp_path):
    labels = np.random.default_rng(0).integers(0, 3, (6, 8)).astype(np.uint8)
    got = read_labels(written_png(tmp_path / "a.png", labels), slide_of(SIZE, (6, 8)))
    np.testing.assert_array_equal(got, np.kron(labels, np.ones((4, 4), np.uint8)))


def test_labels_of_a_finer_level_are_taken_at_the_nearest_pixel(tmp_path, monkeypatch):
    monkeypatch.setattr(grids, "MOST_PIXELS", 8 * 11)
    labels = np.random.default_rng(0).integers(0, 3, SIZE).astype(np.uint8)
    got = read_labels(written_png(tmp_path / "a.png", labels), slide_of(SIZE, (8, 11)))
    wanted = labels[1::3][:, [int((n + 0.5) * 32 / 11) for n in range(11)]]
    np.testing.assert_array_equal(got, wanted)


def feature(ring, name=None, **more):
    properties = {} if name is None else {"classification": {"name": name}}
    geometry = {"type": "Polygon", "coordinates": [[*ring, ring[0]]]} | more
    return {"type": "Feature", "geometry": geometry, "properties": properties}


def square(x, y, side):
    return [[x, y], [x + side, y], [x + side, y + side], [x, y + side]]


def geojson(path, *features):
    path.write_text(json.dumps({"type": "FeatureCollection", "features": features}))
    return path


@pytest.fixture
def path(tmp_path):
    return tmp_path / "a.geojson"


def box(x, y, side):
    mask = np.zeros(SIZE, bool)
    mask[y : y + side, x : x + side] = True
    return mask


def test_classes_mean_what_the_mapping_says_and_the_rest_is_left_out(path, slide):
    geojson(
        path, feature(square(0, 0, 4), "Tumor"), feature(square(6, 6, 5), "Stroma"), feature(square(20, 9, 2))
    )
    got = read_labels(path, slide, {"tumor": "foreground", "Stroma": "background"})
    np.testing.assert_array_equal(got, 2 * box(0, 0, 4) + box(6, 6, 5))
    got = read_labels(path, slide, {"unclassified": "foreground"})
    np.testing.assert_array_equal(got, 2 * box(20, 9, 2))


def test_classes_without_a_meaning_are_named(path, slide):
    geojson(path, feature(square(0, 0, 4), "Tumor"), feature(square(6, 6, 5)))
    message = refusal(path, slide)
    assert (
        'has the classes Tumor and unclassified; say what each means, for example --map "Tumor=f' in message
    )
    assert "has the classes Tumor" in refusal(path, slide, {"Tumour": "foreground"})


def test_foreground_and_background_need_no_mapping_whatever_their_case(path, slide):
    geojson(path, feature(square(0, 0, 4), "Foreground"), feature(square(6, 6, 5), "BACKGROUND"))
    np.testing.assert_array_equal(read_labels(path, slide), 2 * box(0, 0, 4) + box(6, 6, 5))


def test_where_areas_overlap_the_later_one_counts(path, slide):
    geojson(path, feature(square(0, 0, 9), "background"), feature(square(3, 3, 3), "foreground"))
    np.testing.assert_array_equal(read_labels(path, slide), box(0, 0, 9) * 1 + box(3, 3, 3) * 1)


def test_a_self_crossing_polygon_is_filled_by_the_even_odd_rule_and_named(path, slide):
    crossing = [*square(2, 2, 12), [2, 2], *square(5, 5, 4), [5, 5]]
    geojson(path, feature(square(20, 2, 3), "background"), feature(crossing, "foreground"))
    events = []
    got = read_labels(path, slide, on_event=events.append)
    np.testing.assert_array_equal(got, 2 * (box(2, 2, 12) & ~box(5, 5, 4)) + box(20, 2, 3))
    assert [event.kind for event in events] == ["warning"]
    assert "annotation 2 (foreground) crosses itself" in events[0].message


def test_points_are_left_out_and_told(path, slide):
    point = {"type": "Feature", "geometry": {"type": "Point", "coordinates": [1, 2]}, "properties": {}}
    geojson(path, point, feature(square(0, 0, 4), "foreground"))
    events = []
    np.testing.assert_array_equal(read_labels(path, slide, on_event=events.append), 2 * box(0, 0, 4))
    assert "1 points, lines or other shapes are no areas (1 Point); left out" in events[0].message
    assert "holds nothing to fill: its 1 points, lines" in refusal(geojson(path, point), slide)


def test_labels_that_meet_no_pixel_are_refused(path, slide, tmp_path):
    message = "labels no pixel of field"
    assert message in refusal(geojson(path), slide)
    assert message in refusal(geojson(path, feature(square(90, 90, 4), "foreground")), slide)
    assert message in refusal(written_png(tmp_path / "a.png", np.zeros(SIZE, np.uint8)), slide)


def test_an_unknown_meaning_is_refused(path, slide):
    geojson(path, feature(square(0, 0, 4), "Tumor"))
    assert "Tumor cannot mean 'gland'; choose foreground, background or ignore" in refusal(
        path, slide, {"Tumor": "gland"}
    )


@pytest.mark.parametrize("name", ["a.png", "a.tif", "a.npz", "a.geojson", "a.ome.zarr", "a"])
def test_a_missing_file_is_told(tmp_path, slide, name):
    message = refusal(tmp_path / name, slide)
    assert "cannot be read: no such file" in message or "does not exist; check the path" in message


@pytest.mark.parametrize("name", ["a.png", "a.tif", "a.npz", "a.geojson"])
def test_a_damaged_file_is_told(tmp_path, slide, name):
    (tmp_path / name).write_bytes(b"\x89PNG\r\n\x1a\n and nothing more")
    message = refusal(tmp_path / name, slide)
    words = ("is damaged or no label image", "is truncated or damaged", "cannot be read as GeoJSON")
    assert any(word in message for word in words)


def test_colours_and_fractions_are_no_labels(tmp_path, slide):
    colours = np.zeros((*SIZE, 3), np.uint8)
    colours[..., 0] = 200
    path = written_png(tmp_path / "a.png", colours)
    assert "has 3 channels instead of one" in refusal(path, slide)
    tifffile.imwrite(tmp_path / "a.tif", np.full(SIZE, 0.5, np.float32))
    assert "its pixels are fractions" in refusal(tmp_path / "a.tif", slide)
