"""Exports from the dock: the chosen files, in the chosen folder, readable by the core."""

import json

import numpy as np
import pytest
import tifffile
from PIL import Image

from napari_pixelcam.controllers.export import ExportChoices
from napari_pixelcam.widgets.export import MAP, REGIONS, SEEDS
from pixelcam.export import RESULT_FORMATS, SEED_FORMATS, geojson_to_mask, read_seeds


def run(bench, folder, choices=None):
    exported = []
    bench.export.exported.connect(lambda where, paths: exported.extend(paths))
    bench.export.run(folder, choices or ExportChoices())
    return sorted(path.name for path in exported)


def test_everything_goes_where_it_says(bench, tmp_path):
    bench.localize.run()
    bench.threshold.set_threshold(0.45)
    bench.seeds.propose()
    names = run(bench, tmp_path, ExportChoices(seeds=("png", "npz"), map=("ome-tiff", "png")))
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


def test_every_format_is_written(bench, tmp_path):
    pytest.importorskip("highdicom")
    bench.record.layer.scale = (0.5, 0.5)
    bench.record.layer.units = ("um", "um")
    bench.localize.run()
    bench.seeds.propose()
    seeds, results = (
        tuple(one for one in every if one != "mask") for every in (SEED_FORMATS, RESULT_FORMATS)
    )
    names = run(bench, tmp_path, ExportChoices(seeds, results, ("mask",)))
    assert names == sorted(path.name for path in tmp_path.iterdir())
    assert {name.removeprefix("tissue") for name in names} == {
        ".coco.json", ".fg.dcm", ".fg.npz", ".fg.ome.tif", ".fg.ome.zarr", ".fg.png", ".geojson",
        ".histomics.json", ".image.png", ".json", ".mask.png", ".regions.dcm", ".seeds.coco.json",
        ".seeds.dcm", ".seeds.dcm.json", ".seeds.geojson", ".seeds.histomics.json", ".seeds.json",
        ".seeds.npz", ".seeds.ome.zarr", ".seeds.png",
    }  # fmt: skip


def test_every_format_that_the_dock_offers_is_there():
    assert {one.name for one in SEEDS} == set(SEED_FORMATS)
    assert {one.name for one in (*MAP, *REGIONS)} == set(RESULT_FORMATS)


def test_what_a_format_lacks_is_said(bench, tmp_path):
    bench.localize.run()
    assert run(bench, tmp_path, ExportChoices((), ("dicom-seg",), (), False)) == []
    assert "DICOM needs the pixel size of tissue" in bench.said[-1][1]
    assert not bench.export.running


def test_only_what_is_ticked_is_written(bench, tmp_path):
    bench.localize.run()
    only = ExportChoices(seeds=(), map=(), summary=False)
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


def test_formats_are_ticked_without_closing_the_menu(qtbot):
    from qtpy.QtCore import Qt

    from napari_pixelcam.widgets.choices import ChoiceButton

    button = ChoiceButton(SEEDS, ["png"], "Seeds are written as")
    qtbot.addWidget(button)
    assert (button.text(), button.chosen) == ("PNG", ("png",))
    menu = button.menu()
    menu.popup(button.mapToGlobal(button.rect().bottomLeft()))
    qtbot.waitUntil(menu.isVisible)
    qtbot.mouseClick(menu, Qt.MouseButton.LeftButton, pos=menu.actionGeometry(menu.actions()[2]).center())
    menu.setActiveAction(menu.actions()[1])
    qtbot.keyClick(menu, Qt.Key.Key_Space)
    assert menu.isVisible()
    assert (button.text(), button.chosen) == ("PNG, NPZ and 1 more", ("png", "npz", "ome-zarr"))
    assert button.toolTip() == "Seeds are written as: PNG, NPZ, OME-Zarr"
    button.choose()
    assert (button.text(), button.chosen) == ("none", ())
    menu.close()


def test_the_seeds_of_a_whole_project_go_into_one_folder(seeded, tmp_path):
    seeded.seeds.take("foreground")
    seeded.layer("seeds").paint((30, 30), 2)
    out = tmp_path / "out"
    names = run(seeded, out, ExportChoices(map=(), summary=False, everywhere=True))
    assert names == [
        "image-0.geojson",
        *(f"image-{n}.seeds.{kind}" for n in range(3) for kind in ("json", "png")),
    ]
    found = {record.sidecar.image.name: record for record in read_seeds(out)}
    np.testing.assert_array_equal(found["image-0"].labels, seeded.layer("seeds").data)
    np.testing.assert_array_equal(found["image-2"].labels, seeded.project.seeds(3))
    assert found["image-2"].sidecar.corrected_label == "benign"


def test_of_a_project_with_no_image_open_the_seeds_are_exported_without_those_of_a_lost_image(
    seeded, tmp_path
):
    seeded.viewer.layers.clear()
    (tmp_path / "images" / "image-1.png").unlink()
    names = run(seeded, tmp_path / "out", ExportChoices(everywhere=True))
    assert names == ["image-2.seeds.json", "image-2.seeds.png"]
    assert seeded.said[-1][0] == "warning"
    assert "The seeds of 1 image were left out" in seeded.said[-1][1]


def test_a_persons_own_files_stay_and_the_other_name_is_said(bench, tmp_path):
    bench.localize.run()
    bench.seeds.propose()
    own = {name: f"my own {name}" for name in ("tissue.geojson", "tissue.seeds.png")}
    for name, text in own.items():
        (tmp_path / name).write_text(text)
    for _ in range(2):  # again, over its own
        names = run(bench, tmp_path)
        assert {name: (tmp_path / name).read_text() for name in own} == own
        assert not set(own) & set(names)
        assert len({name.split(".")[0] for name in names}) <= 2
        assert [text for level, text in bench.said if "holds other files called tissue" in text]
    assert len(list(tmp_path.iterdir())) == len(own) + len(names)


def test_two_images_of_one_name_exported_one_after_the_other_are_kept_apart(bench, tmp_path):
    bench.localize.run()
    bench.seeds.propose()
    first = run(bench, tmp_path)
    before = {name: (tmp_path / name).read_bytes() for name in first}
    layer = bench.viewer.add_image(
        np.ascontiguousarray(bench.record.layer.data[::-1]), name="tissue", rgb=True
    )
    bench.session.choose_image(layer)
    bench.localize.run()
    bench.seeds.propose()
    second = run(bench, tmp_path)
    assert second
    assert not set(first) & set(second)
    assert {name: (tmp_path / name).read_bytes() for name in first} == before
    assert len(read_seeds(tmp_path)) == 2
