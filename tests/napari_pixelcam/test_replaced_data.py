"""Seeds and maps belong to the pixels that they were made on, whatever comes into the layer later."""

import json

import numpy as np
import pytest
from PIL import Image

from tests.napari_pixelcam.helpers import drag, tissue


def paint(bench, brush="foreground", points=((10, 10), (12, 20))):
    bench.seeds.take(brush)
    drag(bench.record.seeds, points)
    bench.seeds.flush()


def kept(home):
    """Return the kept seed pixels of each folder of autosaved seeds."""
    return {
        path.parent.name: int((np.asarray(Image.open(path)) > 0).sum())
        for path in sorted(home.glob("seeds/*/*.seeds.png"))
    }


CHANGES = {
    "flipped": lambda data: data[::-1],
    "turned": lambda data: np.rot90(data),
    "cropped": lambda data: data[20:70, 30:90],
    "of another type": lambda data: data.astype(np.uint16) * 200,
    "gray": lambda data: np.repeat(data[..., :1], 3, axis=2),
    "larger": lambda data: np.pad(data, ((0, 40), (0, 0), (0, 0))),
    "brighter": lambda data: np.clip(data.astype(int) + 9, 0, 255).astype(np.uint8),
}


@pytest.mark.parametrize("change", CHANGES)
def test_seeds_stay_with_the_pixels_that_they_were_painted_on(bench, user_folder, change):
    layer = bench.viewer.layers["tissue"]
    bench.localize.run()
    paint(bench)
    before, old, painted = kept(user_folder), layer.data, bench.seeds.state.foreground
    layer.data = CHANGES[change](old)
    bench.session.tick()
    assert kept(user_folder) == before, "nothing is saved under other pixels"
    assert bench.viewer.layers[:] == [layer], "neither map nor seeds lie on other pixels"
    assert bench.said[-1][0] == "warning"
    assert "come back with these; you begin anew on what is shown" in bench.said[-1][1]
    bench.localize.run()
    assert bench.layer("foreground").data.shape == layer.data.shape[:2]
    paint(bench, "background")
    assert bench.seeds.state.clean
    assert (bench.seeds.state.foreground, bench.seeds.state.background > 0) == (0, True)
    assert len(kept(user_folder)) == 2
    assert before.items() <= kept(user_folder).items()
    layer.data = old
    bench.session.tick()
    assert bench.seeds.state.foreground == painted, "they are back"
    assert bench.seeds.state.background == 0


def test_the_same_picture_in_another_type_gets_its_seeds_back_at_once(bench, user_folder):
    layer = bench.viewer.layers["tissue"]
    paint(bench)
    painted = bench.seeds.state.foreground
    layer.data = layer.data.astype(np.float32) / 255
    bench.session.tick()
    assert [one.name for one in bench.viewer.layers] == ["tissue", "tissue · seeds"]
    assert bench.seeds.state.foreground == painted


def test_a_stroke_that_was_not_saved_yet_goes_with_its_own_pixels(bench, user_folder):
    layer = bench.viewer.layers["tissue"]
    old = layer.data
    bench.seeds.take("foreground")
    drag(bench.record.seeds, ((10, 10), (12, 20)))
    assert kept(user_folder) == {}
    layer.data = old[::-1]
    assert len(kept(user_folder)) == 1
    layer.data = old
    assert bench.seeds.state.foreground > 0


def test_pixels_that_are_changed_in_place_are_others_too(bench, user_folder):
    layer = bench.viewer.layers["tissue"]
    paint(bench)
    layer.data[:] = layer.data[::-1].copy()
    layer.refresh()
    bench.session.tick()
    assert bench.viewer.layers[:] == [layer]
    assert bench.seeds.state.foreground == 0
    paint(bench, "background")
    assert len(kept(user_folder)) == 2


def test_a_map_alone_is_taken_away_and_told(bench):
    bench.localize.run()
    layer = bench.viewer.layers["tissue"]
    layer.data = layer.data[::-1]
    bench.session.tick()
    assert bench.viewer.layers[:] == [layer]
    assert bench.record.result is None
    assert "its map was taken away" in bench.said[-1][1]


def test_an_image_that_nothing_was_made_on_is_replaced_without_a_word(bench):
    layer = bench.viewer.layers["tissue"]
    layer.data = layer.data[::-1]
    assert bench.said == []


@pytest.mark.parametrize(
    "change",
    [
        {"scale": (0.5, 0.5)},
        {"translate": (30, -20)},
        {"rotate": 30},
        {"affine": [[1, 0.2, 5], [0, 1, 0], [0, 0, 1]]},
        {"name": "another name"},
        {"opacity": 0.2},
        {"visible": False},
    ],
)
def test_what_is_no_change_of_pixels_keeps_seeds_and_map(bench, user_folder, change):
    bench.localize.run()
    paint(bench)
    record, painted = bench.record, bench.seeds.state.foreground
    for name, value in change.items():
        setattr(bench.viewer.layers[0], name, value)
    bench.session.tick()
    assert bench.record is record
    assert bench.seeds.state.foreground == painted
    assert len(bench.viewer.layers) == 4
    paint(bench, "background", ((30, 30), (32, 40)))
    assert len(kept(user_folder)) == 1
    np.testing.assert_allclose(
        record.seeds.data_to_world((7, 9)), bench.viewer.layers[0].data_to_world((7, 9)), atol=1e-9
    )


def test_areas_are_measured_by_the_pixel_size_that_the_layer_has_now(bench, user_folder, tmp_path):
    from napari_pixelcam.controllers.export import ExportChoices

    layer = bench.viewer.layers["tissue"]
    bench.localize.run()
    assert bench.threshold.state.area_mm2 is None
    layer.units = ("um", "um")
    layer.scale = (0.5, 0.5)
    whole = 96 * 128 * 0.0005**2
    assert bench.threshold.state.area_mm2 == pytest.approx(bench.threshold.state.fraction * whole)
    assert bench.said[-1] == (
        "warning",
        "A pixel of 'tissue' is 0.5 µm now; its map was made for an unknown pixel size: localize it again.",
    )
    bench.export.run(tmp_path, ExportChoices())
    summary = json.loads((tmp_path / "tissue.json").read_text())
    assert summary["image"]["mpp"] == pytest.approx(0.5)
    bench.said.clear()
    bench.localize.run()
    assert bench.record.result.localization.mpp == pytest.approx(0.5)
    layer.translate = (3, 4)
    assert bench.said == []


def test_an_image_read_as_gray_planes_instead_of_colours_is_another(bench, user_folder):
    layer = bench.viewer.layers["tissue"]
    paint(bench)
    layer.rgb = False
    bench.seeds.take("background")
    bench.session.tick()
    assert bench.said[0][1].startswith("'tissue' shows other pixels now.")
    assert bench.said[1][1].startswith("'tissue' is a stack of 96 planes of 3 × 128 pixels")
    assert bench.seeds.state.foreground == 0
    assert bench.viewer.layers[:] == [layer]


def test_a_pyramid_whose_levels_are_replaced_begins_anew(bench, user_folder):
    first = tissue(256, 256)
    layer = bench.viewer.add_image([first, first[::2, ::2]], name="pyramid", rgb=True, multiscale=True)
    bench.localize.run()
    paint(bench)
    turned = first[::-1].copy()
    layer.data = [turned, turned[::2, ::2]]
    bench.session.tick()
    assert bench.seeds.state.foreground == 0
    assert [one.name for one in bench.viewer.layers] == ["tissue", "pyramid"]
    paint(bench)
    assert len(kept(user_folder)) == 2


def test_an_image_of_a_project_whose_pixels_are_replaced_is_the_projects_no_more(seeded):
    seeded.workbench.go(2)
    layer = seeded.record.layer
    before = seeded.project.seeds(2)
    layer.data = layer.data[::-1]
    seeded.session.tick()
    assert seeded.workbench.current is None
    paint(seeded, points=((40, 40), (42, 50)))
    assert (seeded.project.seeds(2) == before).all()
    assert seeded.seeds.state.clean
