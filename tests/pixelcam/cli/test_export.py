"""`pixelcam export`: results and seeds in other formats, without the model."""

import json

import numpy as np
import pytest
import tifffile
import zarr
from PIL import Image

from pixelcam.export import (
    SeedImage,
    SeedSidecar,
    export_localization,
    geojson_to_mask,
    read_seeds,
    write_seeds,
)
from pixelcam.localize import Localization, ModelRef
from pixelcam.slides import open_slide

RAMP = np.linspace(0, 1, 30 * 40, dtype=np.float32).reshape(30, 40)


def localization(**changes) -> Localization:
    values = {
        "image_name": "tissue",
        "width": 40,
        "height": 30,
        "mpp": 0.5,
        "classes": {"benign": 0.3, "malignant": 0.7},
        "foreground": RAMP,
        "threshold": 0.5,
        "model": ModelRef("starter", "ab" * 32),
    }
    return Localization(**values | changes)


@pytest.fixture
def results(tmp_path):
    folder = tmp_path / "results"
    export_localization(localization(), folder)
    return folder


@pytest.fixture
def seeds(tmp_path, tissue):
    folder = tmp_path / "seeds"
    labels = np.zeros((48, 80), np.uint8)
    labels[5:10, 5:12], labels[30:33, 40:60] = 2, 1
    write_seeds(folder, labels, SeedSidecar(SeedImage.of(open_slide(tissue))))
    return folder


def test_every_format_holds_the_same_map(command, results, tmp_path):
    out = tmp_path / "out"
    options = [part for name in ("geojson", "png", "mask", "npz", "ome-tiff") for part in ("--format", name)]
    ending = command("export", results, "--out", out, *options)
    assert (ending.code, ending.out, ending.err) == (0, "", "")
    region = RAMP >= 0.5
    np.testing.assert_array_equal(geojson_to_mask(out / "tissue.geojson", (30, 40)), region)
    np.testing.assert_array_equal(np.array(Image.open(out / "tissue.mask.png")), region * 255)
    np.testing.assert_array_equal(np.array(Image.open(out / "tissue.fg.png")), np.rint(RAMP * 255))
    np.testing.assert_array_equal(tifffile.imread(out / "tissue.fg.ome.tif"), RAMP)
    with np.load(out / "tissue.fg.npz") as arrays:
        np.testing.assert_array_equal(arrays["foreground"], RAMP)
        assert arrays["mpp"] == 0.5


def test_every_other_format_holds_the_same_map_or_regions(command, results, tmp_path):
    pytest.importorskip("highdicom")
    out = tmp_path / "out"
    options = [part for name in ("histomics", "coco", "ome-zarr", "dicom-seg") for part in ("--format", name)]
    ending = command("export", results, "--out", out, *options, "--threshold", 0.8)
    assert (ending.code, ending.out, ending.err) == (0, "", "")
    assert sorted(path.name for path in out.iterdir()) == [
        "tissue.coco.json",
        "tissue.fg.dcm",
        "tissue.fg.ome.zarr",
        "tissue.histomics.json",
        "tissue.regions.dcm",
    ]
    np.testing.assert_array_equal(geojson_to_mask(out / "tissue.histomics.json", (30, 40)), RAMP >= 0.8)
    annotation = json.loads((out / "tissue.coco.json").read_text())["annotations"][0]
    assert annotation["area"] == (RAMP >= 0.8).sum()
    np.testing.assert_array_equal(zarr.open_group(out / "tissue.fg.ome.zarr", mode="r")["0"], RAMP)
    import highdicom

    regions = highdicom.seg.segread(out / "tissue.regions.dcm").get_total_pixel_matrix()
    np.testing.assert_array_equal(regions[..., 0], RAMP >= 0.8)
    values = highdicom.seg.segread(out / "tissue.fg.dcm").get_total_pixel_matrix()
    np.testing.assert_allclose(values[..., 0], RAMP, atol=0.002)


def test_dicom_without_a_pixel_size_is_one_sentence(command, tmp_path):
    export_localization(localization(mpp=None), tmp_path / "results")
    ending = command("export", tmp_path / "results", "--out", tmp_path / "out", "--format", "dicom-seg")
    assert ending.failed_with("pixel size of tissue", "--mpp")


def test_seeds_carry_their_sidecar_in_every_format(command, seeds, tmp_path):
    out = tmp_path / "out"
    options = [part for name in ("geojson", "histomics", "coco", "ome-zarr") for part in ("--format", name)]
    assert command("export", seeds, "--out", out, *options).code == 0
    kept = read_seeds(seeds)[0].sidecar
    carried = [
        json.loads((out / "tissue.seeds.geojson").read_text())["pixelcam"],
        json.loads((out / "tissue.seeds.histomics.json").read_text())["attributes"]["pixelcam"],
        json.loads((out / "tissue.seeds.coco.json").read_text())["info"]["pixelcam"],
        zarr.open_group(out / "tissue.seeds.ome.zarr", mode="r").attrs["pixelcam"],
    ]
    for each in carried:
        assert each["image"]["fingerprint"] == kept.image.fingerprint
        assert each["counts"] == {"foreground": 35, "background": 60}
        assert each["saved"] == kept.saved


def test_a_new_threshold_needs_no_model(command, results, tmp_path):
    out = tmp_path / "out"
    assert command("export", results, "--out", out, "--format", "mask", "--threshold", 0.9).code == 0
    np.testing.assert_array_equal(np.array(Image.open(out / "tissue.mask.png")), (RAMP >= 0.9) * 255)


def test_regions_rewritten_in_place_agree_with_their_summary(command, results):
    before = json.loads((results / "tissue.json").read_text())
    options = ("--format", "geojson", "--threshold", 0.9)
    assert command("export", results, "--out", results, *options).code == 0
    after = json.loads((results / "tissue.json").read_text())
    assert after["threshold"] == 0.9
    mask = geojson_to_mask(results / "tissue.geojson", (30, 40))
    assert after["foreground_fraction"] == pytest.approx(mask.mean())
    assert after["model"] == before["model"]
    assert after["fg"] == before["fg"]


def test_a_map_of_fewer_pixels_keeps_its_place(command, tmp_path):
    small = localization(width=160, height=120, scale=(4.0, 4.0), translate=(1.5, 1.5))
    export_localization(small, tmp_path / "results")
    out = tmp_path / "out"
    ending = command("export", tmp_path / "results" / "tissue.json", "--out", out, "--format", "geojson")
    assert ending.code == 0
    wanted = np.kron(RAMP >= 0.5, np.ones((4, 4), bool))
    np.testing.assert_array_equal(geojson_to_mask(out / "tissue.geojson", (120, 160)), wanted)


def test_seeds_become_annotations_of_both_kinds(command, seeds, tmp_path):
    out = tmp_path / "out"
    assert command("export", seeds, "--out", out, "--format", "geojson").code == 0
    features = json.loads((out / "tissue.seeds.geojson").read_text())["features"]
    boxes = {
        each["properties"]["classification"]["name"]: np.array(each["geometry"]["coordinates"][0])
        for each in features
    }
    np.testing.assert_array_equal(boxes["foreground"].min(0), (5, 5))
    np.testing.assert_array_equal(boxes["foreground"].max(0), (12, 10))
    np.testing.assert_array_equal(boxes["background"].max(0), (60, 33))


def test_seeds_moved_elsewhere_can_be_read_there(command, seeds, tmp_path):
    out = tmp_path / "out"
    assert command("export", seeds, "--out", out, "--format", "npz").code == 0
    assert {path.name for path in out.iterdir()} == {"tissue.seeds.npz", "tissue.seeds.json"}
    moved, kept = read_seeds(out), read_seeds(seeds)
    np.testing.assert_array_equal(moved[0].labels, kept[0].labels)
    assert moved[0].image_path.samefile(kept[0].image_path)


def test_seeds_have_no_map_to_write(command, seeds, tmp_path):
    ending = command("export", seeds, "--out", tmp_path / "out", "--format", "ome-tiff")
    assert ending.failed_with("seeds", "png, npz, geojson, histomics, coco, ome-zarr and dicom-seg")
    assert list((tmp_path / "out").iterdir()) == []


def test_json_lists_what_was_written_and_what_was_not(command, results, tmp_path):
    (results / "broken.json").write_text('{"fg": {"file": "gone.tif"}, "classes": {}}')
    ending = command("export", results, "--out", tmp_path / "out", "--format", "mask", "--json")
    document = json.loads(ending.out)
    assert document["files"] == [str(tmp_path / "out" / "tissue.mask.png")]
    assert ending.failed_with("gone.tif")


def break_map(folder):
    (folder / "tissue.fg.ome.tif").write_bytes((folder / "tissue.fg.ome.tif").read_bytes()[:200])


def lose_map(folder):
    (folder / "tissue.fg.ome.tif").unlink()


def swap_map(folder):
    tifffile.imwrite(folder / "tissue.fg.ome.tif", np.zeros((8, 9), np.float32))


def spoil_map(folder):
    tifffile.imwrite(folder / "tissue.fg.ome.tif", np.full((30, 40), np.nan, np.float32))


def strip_summary(folder):
    values = json.loads((folder / "tissue.json").read_text())
    del values["image"]
    (folder / "tissue.json").write_text(json.dumps(values))


def cut_summary(folder):
    (folder / "tissue.json").write_text((folder / "tissue.json").read_text()[:100])


@pytest.mark.parametrize("damage", [break_map, lose_map, swap_map, spoil_map, strip_summary, cut_summary])
def test_damaged_results_are_one_sentence_and_no_file(command, results, tmp_path, damage):
    damage(results)
    ending = command("export", results / "tissue.json", "--out", tmp_path / "out", "--format", "mask")
    assert ending.failed_with("tissue")
    assert list((tmp_path / "out").iterdir()) == []


def test_a_folder_without_results_is_told(command, tmp_path):
    (tmp_path / "other.json").write_text("[1, 2]")
    ending = command("export", tmp_path, "--out", tmp_path / "out", "--format", "mask")
    assert ending.failed_with("neither results", "nor seeds")
    assert not (tmp_path / "out").exists()


def test_a_missing_path_is_told(command, tmp_path):
    ending = command("export", tmp_path / "gone.json", "--out", tmp_path / "out", "--format", "mask")
    assert ending.failed_with("gone.json")
