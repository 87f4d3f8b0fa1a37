"""The table of keys: every line is bound, free in napari, and on the sheet."""

from dataclasses import replace

import napari.layers
import numpy as np
import pytest
from app_model.types import KeyBinding
from napari.components import ViewerModel
from napari.settings import get_settings
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QDialog, QLabel

from napari_pixelcam import bindings
from napari_pixelcam.controllers.comparison import ComparisonController
from napari_pixelcam.controllers.refine import RefineController
from napari_pixelcam.controllers.uncertain import UncertainController
from napari_pixelcam.controllers.views import ViewsController
from napari_pixelcam.keys import HELP, SEEDS, Keys
from napari_pixelcam.seedgrid import BACKGROUND, FOREGROUND
from tests.napari_pixelcam.helpers import tissue

IMAGE = (tissue(), {"name": "tissue", "rgb": True})
MEANT = {"E", "[", "]", "Ctrl+Z", "Ctrl+Shift+Z"}
"""Keys of napari's Labels layer that do there what they do here."""
PREFIXES = ("activate_labels", "activate_image")
OTHER_LAYERS = (
    "shapes",
    "points",
    "surface",
    "tracks",
    "vectors",
    "vertex",
    "slice",
    "activate_add",
    "direct",
)


@pytest.fixture
def keys(bench):
    """Return the table of a dock on the bare viewer."""
    table = Keys(bench.viewer)
    bench.views = ViewsController(bench.session, bench.threshold)
    bench.comparison = ComparisonController(bench.session)
    bench.uncertain = UncertainController(bench.session)
    bindings.bind_seeds(table, bench.tools)
    bindings.bind_views(table, bench.views, bench.comparison)
    bindings.bind_uncertain(table, bench.uncertain)
    bindings.bind_labels(table, bench.tools)
    bindings.bind_model(table, bench.localize, RefineController(bench.session))
    return table


def press(bench, key):
    """Press a key over the canvas: the active layer is asked first, then the viewer, as in the window."""
    from napari.utils.key_bindings import KeymapHandler

    handler = KeymapHandler()
    active = bench.viewer.layers.selection.active
    handler.keymap_providers = [*([active] if active is not None else []), bench.viewer]
    assert handler.press_key(key), f"{key} is bound to nothing"
    return handler


def canvas_of(dock):
    """Return the widget that the image is drawn on."""
    return dock._viewer.window._qt_viewer.canvas.native


def naparis_own():
    """Return the keys that napari gives to the viewer, image layers and labels layers."""
    taken = set()
    for action, bound in get_settings().shortcuts.shortcuts.items():
        name = action.partition(":")[2]
        other = any(word in name for word in OTHER_LAYERS) or name in (
            "activate_select_mode", "finish_drawing_shape", "select_all_data", "copy_selected_shapes",
        )  # fmt: skip
        if not other or name.startswith(PREFIXES):
            taken |= {KeyBinding.from_str(str(key)) for key in bound}
    for owner in (ViewerModel, napari.layers.Image, napari.layers.Labels):
        taken |= set(owner.class_keymap)
    return taken


def test_every_key_is_free_in_napari_or_means_the_same_there(keys):
    taken = naparis_own()
    assert KeyBinding.from_str("P") in taken
    wrong = [key.key for key in keys if key.key not in MEANT and KeyBinding.from_str(key.key) in taken]
    assert wrong == []


def test_every_key_on_the_sheet_is_bound(keys, bench):
    shown = [key for _, lines in keys.groups() for key in lines]
    assert {key.name for key in shown} == {key.name for key in keys}
    for key in shown:
        assert KeyBinding.from_str(key.key) in bench.viewer.keymap


def test_a_key_or_a_name_cannot_be_given_twice(keys):
    with pytest.raises(ValueError, match="taken"):
        keys.add("another", "D", SEEDS, "Something else", lambda: None)
    with pytest.raises(ValueError, match="taken"):
        keys.add("foreground", "F9", SEEDS, "Something else", lambda: None)
    with pytest.raises(ValueError, match="group"):
        keys.add("another", "F9", "Elsewhere", "Something else", lambda: None)


def test_closing_gives_a_key_back_to_its_owner():
    viewer, pressed = ViewerModel(), []
    viewer.bind_key("F9", lambda viewer: pressed.append("theirs"))
    table = Keys(viewer)
    table.add("ours", "F9", HELP, "Ours", lambda: pressed.append("ours"))
    table.add("new", "F10", HELP, "New", lambda: None)
    viewer.keymap[KeyBinding.from_str("F9")](viewer)
    table.close()
    viewer.keymap[KeyBinding.from_str("F9")](viewer)
    assert pressed == ["ours", "theirs"]
    assert KeyBinding.from_str("F10") not in viewer.keymap


def test_brushes_and_tools_are_taken_from_the_image_and_from_the_seeds(keys, bench):
    press(bench, "Shift+L")
    assert bench.record.result is not None
    press(bench, "S")
    layer = bench.layer("seeds")
    assert bench.seeds.state.brush == "background"
    press(bench, "D")
    assert (layer.mode, layer.selected_label) == ("paint", FOREGROUND)
    press(bench, "E")
    assert bench.seeds.state.brush == "eraser"
    press(bench, "A")
    assert bench.tools.tool == "lasso"
    press(bench, "S")
    assert (bench.tools.tool, bench.tools.kind) == ("lasso", "background")
    press(bench, "E")
    assert (bench.tools.tool, bench.tools.kind) == ("lasso", "eraser")
    press(bench, "Shift+W")
    assert bench.tools.tool == "region"
    press(bench, "Q")
    assert bench.tools.tool is bench.seeds.state.brush is None


def test_brush_size_keys_stay_within_what_the_box_can_show(keys, bench):
    press(bench, "D")
    layer = bench.layer("seeds")
    press(bench, "]")
    assert bench.seeds.brush_size == layer.brush_size == 10
    bench.viewer.layers.selection.active = bench.viewer.layers["tissue"]
    press(bench, "[")
    assert bench.seeds.brush_size == layer.brush_size == 9
    for _ in range(6):
        press(bench, "Ctrl+]")
    assert bench.seeds.brush_size == layer.brush_size == 200
    bench.viewer.layers.selection.active = layer
    layer.brush_size = 300  # as napari's own key or slider may
    assert bench.seeds.brush_size == layer.brush_size == 200
    for _ in range(9):
        press(bench, "Ctrl+[")
    assert bench.seeds.brush_size == layer.brush_size == 1


def test_undo_redo_propose_and_clear_work_from_any_layer(keys, bench):
    press(bench, "Shift+L")
    press(bench, "Shift+P")
    layer = bench.layer("seeds")
    proposed = layer.data.copy()
    assert proposed.any()
    bench.viewer.layers.selection.active = bench.viewer.layers["tissue"]
    press(bench, "Ctrl+Z")
    assert not layer.data.any()
    press(bench, "Ctrl+Shift+Z")
    np.testing.assert_array_equal(layer.data, proposed)
    press(bench, "Shift+E")
    assert not layer.data.any()
    bench.viewer.layers.selection.active = layer
    press(bench, "Ctrl+Z")
    np.testing.assert_array_equal(layer.data, proposed)


def test_the_maps_are_toggled_faded_and_cycled(keys, bench):
    press(bench, "Shift+L")
    maps = bench.record.overlays
    press(bench, "T")
    assert not any(layer.visible for layer in maps.values())
    press(bench, "T")
    assert [role for role, layer in maps.items() if layer.visible] == ["foreground"]
    opacity = maps["foreground"].opacity
    press(bench, "9")
    assert maps["foreground"].opacity == pytest.approx(opacity - 0.1)
    for _ in range(12):
        press(bench, "0")
    assert maps["foreground"].opacity == maps["background"].opacity == 1
    seen = []
    for _ in range(4):
        press(bench, "G")
        seen.append(([r for r, layer in maps.items() if layer.visible], bench.threshold.state.view))
    assert seen == [
        (["foreground"], "two colours"),
        (["outline"], "outline"),
        (["background"], "probability"),
        (["foreground"], "probability"),
    ]
    bench.threshold.set_view("two colours")
    press(bench, "Shift+G")
    assert [r for r, layer in maps.items() if layer.visible] == ["outline"]
    press(bench, "T")
    assert not any(layer.visible for layer in maps.values())
    press(bench, "T")
    assert [r for r, layer in maps.items() if layer.visible] == ["outline"]
    press(bench, "Shift+G")
    assert bench.threshold.state.view == "two colours"
    assert [r for r, layer in maps.items() if layer.visible] == ["foreground"]
    threshold = bench.threshold.state.threshold
    press(bench, ".")
    assert bench.threshold.state.threshold == pytest.approx(threshold + 0.01)


def test_the_class_is_judged_by_key(keys, bench):
    press(bench, "K")
    assert "Localize the image first" in bench.said[-1][1]
    press(bench, "Shift+L")
    press(bench, "K")
    assert bench.record.corrected_label == "malignant"
    press(bench, "I")
    assert bench.record.corrected_label == "benign"
    press(bench, "I")
    assert bench.record.corrected_label == "malignant"
    press(bench, "Shift+K")
    assert bench.record.corrected_label == "cannot tell"


def test_the_camera_goes_to_the_uncertain_areas_largest_first(keys, bench):
    press(bench, "U")
    assert "Localize the image first" in bench.said[-1][1]
    press(bench, "Shift+L")
    scores = bench.record.result.localization.foreground
    scores[:] = 0.95
    scores[5:15, 10:20] = 0.45
    scores[30:50, 70:100] = 0.35
    went = []
    bench.uncertain.went.connect(lambda at, count: went.append((at, count)))
    camera = bench.viewer.scene.camera
    press(bench, "U")
    assert camera.center[-2:] == pytest.approx((39.5, 84.5), abs=0.6)
    assert camera.zoom == pytest.approx(min(bench.viewer.canvas.size) / 96)
    press(bench, "U")
    assert camera.center[-2:] == pytest.approx((9.5, 14.5), abs=0.6)
    press(bench, "U")
    press(bench, "Shift+U")
    assert went == [(1, 2), (2, 2), (1, 2), (2, 2)]


def test_the_uncertain_areas_are_those_of_the_map_and_the_threshold_of_now(keys, bench):
    press(bench, "Shift+L")
    maps, went = bench.record.result, []
    bench.uncertain.went.connect(lambda at, count: went.append((at, count)))
    for places in (1, 3, 2):
        scores = np.full_like(maps.localization.foreground, 0.95)
        for place in range(places):
            scores[20 * place : 20 * place + 10, 10:20] = 0.4
        bench.record.result = replace(maps, localization=replace(maps.localization, foreground=scores))
        press(bench, "U")
        press(bench, "U")
    assert went == [(1, 1), (1, 1), (1, 3), (2, 3), (1, 2), (2, 2)]
    bench.threshold.set_threshold(0.95)
    press(bench, "U")
    assert went[-1] == (1, 1), "now all around them is uncertain"


def test_the_question_mark_opens_a_sheet_of_every_key_and_closes_it(open_dock, fake, qtbot):
    _, dock = open_dock(IMAGE)
    window = dock.window()
    window.show()
    window.activateWindow()
    qtbot.waitUntil(window.isActiveWindow, timeout=5000)
    qtbot.keyClicks(canvas_of(dock), "?")

    def sheets():
        return [sheet for sheet in window.findChildren(QDialog, "PixelCAM keys") if sheet.isVisible()]

    qtbot.waitUntil(lambda: len(sheets()) == 1, timeout=3000)
    texts = {label.text() for label in sheets()[0].findChildren(QLabel)}
    assert {key.text for key in dock.keys} | {key.shown for key in dock.keys} <= texts
    qtbot.keyClicks(sheets()[0], "?")
    qtbot.waitUntil(lambda: not sheets(), timeout=3000)
    dock.show_keys()
    qtbot.keyClick(sheets()[0], Qt.Key.Key_Escape)
    qtbot.waitUntil(lambda: not sheets(), timeout=3000)


def test_keys_work_over_the_canvas_and_over_the_dock(open_dock, fake, qtbot):
    _, dock = open_dock(IMAGE)
    canvas = canvas_of(dock)
    qtbot.keyClick(canvas, Qt.Key.Key_L, Qt.KeyboardModifier.ShiftModifier)
    qtbot.waitUntil(lambda: dock.session.record.result is not None, timeout=30_000)
    qtbot.keyClick(canvas, Qt.Key.Key_S)
    assert dock.seeds.brushes["background"].isChecked()
    qtbot.keyClick(canvas, Qt.Key.Key_BracketRight)
    assert dock.seeds.size.value() == 10
    qtbot.keyClick(dock.seeds.undo_button, Qt.Key.Key_A)
    assert dock.seeds.tools["lasso"].isChecked()
    assert dock.tools_controller.kind == "background"
    layer = dock.session.record.seeds
    layer.data_setitem((np.array([3]), np.array([4])), BACKGROUND)
    qtbot.keyClick(canvas, Qt.Key.Key_Comma)
    assert dock.threshold.slider.value() == pytest.approx(0.39)
