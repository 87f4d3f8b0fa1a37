"""Lasso, whole regions and clearing on a bare viewer model, at several resolutions of the map."""

import numpy as np
import pytest
from napari.components import ViewerModel
from scipy import ndimage

from napari_pixelcam import filling
from napari_pixelcam.seedgrid import BACKGROUND, FOREGROUND
from tests.napari_pixelcam.helpers import Bench, drag, tissue

BOX = [(10, 10), (10, 60), (45, 60), (45, 10)]


def inside_box(shape):
    mask = np.zeros(shape, bool)
    mask[11:45, 11:60] = True
    return mask


def away_from_the_line(shape):
    """Leave out the pixels just on the line, which belong to neither side."""
    line = np.zeros(shape, bool)
    line[10:46, 10:61] = True
    return ~(line & ~inside_box(shape))


def test_the_lasso_paints_the_part_of_the_map_that_the_brush_names(bench):
    bench.localize.run()
    region = bench.layer("foreground").data >= 0.4
    bench.tools.take_kind("foreground")
    bench.tools.take("lasso")
    layer = bench.layer("seeds")
    judged, inside = away_from_the_line(region.shape), inside_box(region.shape)
    drag(layer, BOX)
    np.testing.assert_array_equal((layer.data == FOREGROUND)[judged], (inside & region)[judged])
    assert not (layer.data == BACKGROUND).any()
    bench.tools.take_kind("background")
    assert bench.tools.tool == "lasso"
    drag(layer, BOX)
    np.testing.assert_array_equal((layer.data == BACKGROUND)[judged], (inside & ~region)[judged])
    np.testing.assert_array_equal((layer.data == FOREGROUND)[judged], (inside & region)[judged])
    bench.tools.take_kind("eraser")
    drag(layer, BOX)
    assert not (layer.data[judged] & inside[judged]).any()


def test_a_lasso_is_one_undo_step_and_leaves_no_layer_behind(bench):
    bench.localize.run()
    bench.tools.take("lasso")
    layer, before = bench.layer("seeds"), [layer.name for layer in bench.viewer.layers]
    drag(layer, BOX)
    assert layer.data.any()
    assert [layer.name for layer in bench.viewer.layers] == before
    assert bench.viewer.layers.selection.active is layer
    bench.seeds.undo()
    assert not layer.data.any()


def test_the_line_is_drawn_while_the_pointer_is_down(bench):
    bench.localize.run()
    bench.tools.take("lasso")
    names = []
    draw = bench.tools._draw_outline
    bench.tools._draw_outline = lambda layer, points: (
        draw(layer, points),
        names.append([one.name for one in bench.viewer.layers]),
    )
    drag(bench.layer("seeds"), BOX)
    assert "tissue · lasso" in names[-1]


def test_without_a_map_the_lasso_paints_all_that_it_encloses(bench):
    bench.tools.take("lasso")
    layer = bench.layer("seeds")
    drag(layer, BOX)
    judged = away_from_the_line(layer.data.shape)
    np.testing.assert_array_equal((layer.data != 0)[judged], inside_box(layer.data.shape)[judged])


def test_a_click_with_the_lasso_says_what_to_do(bench):
    bench.localize.run()
    bench.tools.take("lasso")
    drag(bench.layer("seeds"), BOX[:1])
    assert "Draw a line around" in bench.said[-1][1]
    assert not bench.layer("seeds").data.any()


@pytest.mark.parametrize("downsample", [1, 2, 4])
def test_a_click_accepts_the_connected_region_and_no_other(bench, fake, downsample):
    fake.downsample = downsample
    bench.localize.run()
    region = bench.record.result.localization.region()
    parts, _ = ndimage.label(region, np.ones((3, 3)))
    k = downsample
    part = parts == parts[24 // k, 30 // k]
    assert part.sum() < region.sum()  # there are others
    expected = np.kron(part, np.ones((k, k), bool))
    bench.tools.take("region")
    layer = bench.layer("seeds")
    drag(layer, [(24, 30)])
    np.testing.assert_array_equal(layer.data, np.where(expected, FOREGROUND, 0))
    bench.seeds.undo()
    assert not layer.data.any()


def test_with_the_background_brush_a_click_accepts_what_is_below_the_threshold(bench):
    bench.localize.run()
    bench.threshold.set_threshold(0.45)
    below = bench.layer("foreground").data < 0.45
    bench.tools.take_kind("background")
    bench.tools.take("region")
    layer = bench.layer("seeds")
    drag(layer, [(5, 120)])
    painted = layer.data == BACKGROUND
    assert painted[5, 120]
    assert not (painted & ~below).any()
    before = layer.data.copy()
    drag(layer, [(24, 30)])  # that is foreground
    np.testing.assert_array_equal(layer.data, before)
    assert "below the threshold" in bench.said[-1][1]


def test_the_region_under_the_pointer_is_accepted_without_a_tool(bench):
    bench.localize.run()
    bench.viewer.cursor.position = (24, 30)
    bench.tools.accept_under_pointer()
    assert bench.layer("seeds").data[24, 30] == FOREGROUND
    bench.viewer.cursor.position = (-50, 30)
    bench.tools.accept_under_pointer()
    assert "No region" in bench.said[-1][1]


def test_a_region_needs_a_map(bench):
    bench.tools.accept_under_pointer()
    assert bench.said[-1] == ("error", "Localize the image first: a region is a part of its map.")


def test_clear_is_one_undo_step(bench):
    bench.tools.take_kind("foreground")
    layer = bench.layer("seeds")
    layer.paint((20, 30), FOREGROUND)
    layer.paint((50, 60), BACKGROUND)
    painted = layer.data.copy()
    bench.tools.clear()
    assert not layer.data.any()
    bench.seeds.undo()
    np.testing.assert_array_equal(layer.data, painted)


def test_the_view_moves_again_once_the_tool_is_away(bench):
    bench.tools.take("lasso")
    layer = bench.layer("seeds")
    assert not layer.mouse_pan
    bench.tools.put_away()
    assert layer.mouse_pan
    drag(layer, BOX)
    assert not layer.data.any()


def test_naparis_own_modes_and_another_layer_put_the_tool_away(bench):
    bench.tools.take("lasso")
    bench.layer("seeds").mode = "erase"
    assert bench.tools.tool is None
    bench.tools.take("region")
    bench.viewer.layers.selection.active = bench.viewer.layers["tissue"]
    assert bench.tools.tool is None
    assert bench.layer("seeds").mouse_pan


def test_the_same_tool_again_takes_the_brush(bench):
    bench.tools.take_kind("background")
    bench.tools.take("lasso")
    bench.tools.take("lasso")
    assert bench.tools.tool is None
    assert bench.seeds.state.brush == "background"


def test_the_tools_work_on_a_rotated_scaled_image(fake):
    viewer = ViewerModel()
    viewer.add_image(tissue(), name="tissue", rgb=True, scale=(0.5, 0.5), rotate=30, translate=(7, -3))
    bench = Bench(viewer)
    bench.localize.run()
    bench.tools.take("region")
    drag(bench.layer("seeds"), [(24, 30)])
    painted = bench.layer("seeds").data == FOREGROUND
    assert painted[24, 30]
    assert not painted[60, 90]
    bench.close()


def test_an_area_is_carried_over_by_nearest_pixel():
    area = filling.Area((1, 2), np.array([[True, False], [True, True]]))
    full = np.zeros((6, 6), bool)
    full[area.indices] = True
    fine = filling.carried_over(area, ((4, 4), (1.5, 1.5)), ((1, 1), (0, 0)), (24, 24))
    found = np.zeros((24, 24), bool)
    found[fine.indices] = True
    np.testing.assert_array_equal(found, np.kron(full, np.ones((4, 4), bool)))
    back = filling.carried_over(fine, ((1, 1), (0, 0)), ((4, 4), (1.5, 1.5)), (6, 6))
    again = np.zeros((6, 6), bool)
    again[back.indices] = True
    np.testing.assert_array_equal(again, full)
    cut = filling.carried_over(area, ((4, 4), (1.5, 1.5)), ((1, 1), (0, 0)), (10, 10))
    assert cut.mask.shape == (6, 2)
