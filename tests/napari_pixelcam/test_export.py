"""Exports from the dock: the chosen files, in the chosen folder, readable by the core."""

import json

import numpy as np
import tifffile
from PIL import Image

from napari_pixelcam.controllers.export import ExportChoices
from pixelcam.export import geojson_to_mask, read_seeds


def run(bench, folder, choices=None):
    exported = []
    bench.export.exported.connect(lambda where, paths: exported.extend(paths))
    bench.export.run(folder, choices or ExportChoices())
    return sorted(path.name for path in exported)


def test_everything_goes_where_it_says(bench, tmp_path):
    bench.localize.run()
    bench.threshold.set_threshold(0.45)
    bench.seeds.propose()
    names = run(bench, tmp_path, ExportChoices(seeds_npz=True, map_png=True))
    assert names == [
        "tissue.fg.ome.tif",
        "tissue.fg.png",
        "tissue.geojson",
        "tissue.image.png",
        "tissue.json",
        "tissue.seeds.json",
        "tissue.seeds.npz",
        "tissue.seeds.png",
    ]
    scores = bench.layer("foreground").data
    np.testing.assert_array_equal(tifffile.imread(tmp_path / "tissue.fg.ome.tif"), scores)
    np.testing.assert_allclose(np.array(Image.open(tmp_path / "tissue.fg.png")) / 255, scores, atol=0.003)
    mask = geojson_to_mask(tmp_path / "tissue.geojson", scores.shape)
    np.testing.assert_array_equal(mask, scores >= 0.45)
    assert json.loads((tmp_path / "tissue.json").read_text())["threshold"] == 0.45
    record = read_seeds(tmp_path)[0]
    np.testing.assert_array_equal(record.labels, bench.layer("seeds").data)
    np.testing.assert_array_equal(np.array(Image.open(record.image_path)), bench.record.layer.data)


def test_only_what_is_ticked_is_written(bench, tmp_path):
    bench.localize.run()
    only = ExportChoices(seeds_png=False, map_tiff=False, summary=False)
    assert run(bench, tmp_path, only) == ["tissue.geojson"]


def test_without_seeds_the_map_alone_is_exported(bench, tmp_path):
    bench.localize.run()
    assert run(bench, tmp_path) == ["tissue.fg.ome.tif", "tissue.geojson", "tissue.json"]


def test_nothing_to_export_is_said(bench, tmp_path):
    assert run(bench, tmp_path) == []
    assert "nothing to export yet" in bench.said[-1][1]


def test_a_folder_that_cannot_be_written_is_said(bench, tmp_path):
    blocker = tmp_path / "file"
    blocker.write_text("in the way")
    bench.localize.run()
    assert run(bench, blocker / "below") == []
    assert "cannot be written" in bench.said[-1][1]
    assert not bench.export.running
