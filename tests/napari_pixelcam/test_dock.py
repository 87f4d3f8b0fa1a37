"""The dock in a real window, driven as a person drives it: clicked, slid, painted, undone."""

import json
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from npe2 import PluginManifest
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QApplication, QDockWidget

import napari_pixelcam
from napari_pixelcam import backend
from pixelcam.errors import CancelledError, PixelCAMError
from pixelcam.events import Stop
from pixelcam.export import read_seeds
from tests.napari_pixelcam.helpers import tissue

MANIFEST = Path(napari_pixelcam.__file__).with_name("napari.yaml")
QUICK = ("--steps", "4", "--crop", "96", "--batch", "2", "--rate", "0.1")
IMAGE = (tissue(), {"name": "tissue", "rgb": True})
SCALED = (tissue(), {"name": "tissue", "rgb": True, "scale": (0.5, 0.5), "units": ("um", "um")})


def click(qtbot, button):
    assert button.isEnabled(), button.text()
    qtbot.mouseClick(button, Qt.MouseButton.LeftButton)


def localize(qtbot, dock):
    click(qtbot, dock.localize.run_button)
    qtbot.waitUntil(lambda: not dock.localize_controller.running, timeout=60_000)


def stroke(layer, points):
    """Paint through the layer's own mouse handling, as dragging over the canvas does."""
    from napari.layers.labels._labels_mouse_bindings import draw

    class Drag:
        dims_displayed = (0, 1)
        dims_point = (0, 0)
        view_direction = None
        button = 1

    event = Drag()
    event.type, event.position = "mouse_press", layer.data_to_world(points[0])
    dragging = draw(layer, event)
    next(dragging)
    for point in points[1:]:
        event.type, event.position = "mouse_move", layer.data_to_world(point)
        next(dragging)
    event.type = "mouse_release"
    next(dragging, None)


def test_localize_with_a_real_model_shows_classes_and_aligned_maps(open_dock, tiny, qtbot):
    viewer, dock = open_dock(SCALED)
    assert dock.image_model.about.text() == "128 × 96 pixels, 0.5 µm per pixel"
    localize(qtbot, dock)
    assert [name for name, _ in dock.localize.bars.rows] in (["benign", "malignant"], ["malignant", "benign"])
    assert sum(value for _, value in dock.localize.bars.rows) == pytest.approx(1, abs=1e-5)
    image, foreground = viewer.layers["tissue"], viewer.layers["tissue · foreground"]
    assert foreground.data.shape == (96, 128)
    for corner in ((0, 0), (95, 127)):
        np.testing.assert_allclose(foreground.data_to_world(corner), image.data_to_world(corner))
    assert "mm²" in dock.threshold.area.text()
    assert "Localized with tiny" in dock.localize.status.text


def test_the_box_for_four_views_is_used_by_the_next_localization(open_dock, tiny, qtbot):
    viewer, dock = open_dock(SCALED)
    box = dock.localize.four_views
    assert not box.isChecked()
    localize(qtbot, dock)
    once = viewer.layers["tissue · foreground"].data.copy()
    box.click()
    assert box.isChecked()
    localize(qtbot, dock)
    steady = viewer.layers["tissue · foreground"].data
    assert not np.array_equal(once, steady)
    assert "Localized with tiny, 4 views" in dock.localize.status.text
    dock.session.choose_views(1)
    assert not box.isChecked()


def test_sliding_the_threshold_turns_the_map_into_a_region_live(open_dock, fake, qtbot):
    viewer, dock = open_dock(IMAGE)
    localize(qtbot, dock)
    layer = viewer.layers["tissue · foreground"]
    groove = dock.threshold.slider.groove
    groove.setFocus()
    for _ in range(10):
        qtbot.keyClick(groove, Qt.Key.Key_Right)
    value = dock.threshold.slider.value()
    assert value == pytest.approx(0.5, abs=0.002)
    assert np.mean(layer.contrast_limits) == pytest.approx(value, abs=1e-3)
    share = (layer.data >= round(value, 3)).mean()
    assert f"{100 * share:.1f} %" in dock.threshold.area.text()
    assert dock.threshold.two_colours.isChecked()
    click(qtbot, dock.threshold.reset_button)
    assert dock.threshold.slider.value() == pytest.approx(0.4)
    click(qtbot, dock.threshold.probability)
    assert tuple(layer.contrast_limits) == (0, 1)


def test_the_canvas_shows_the_two_colours_on_the_right_sides(
    open_dock, fake, qtbot, make_napari_viewer_proxy
):
    viewer, dock = open_dock(IMAGE, viewer=make_napari_viewer_proxy(show=True))
    localize(qtbot, dock)
    dock.threshold_controller.set_threshold(0.45)
    layer = viewer.layers["tissue · foreground"]
    layer.opacity = 1.0
    viewer.reset_view()
    shot = viewer.screenshot(canvas_only=True, flash=False)[..., :3].astype(int)
    yellow = (shot[..., 0] > 200) & (shot[..., 2] < 80)
    blue = (shot[..., 2] > 180) & (shot[..., 0] < 60)
    share = yellow.sum() / (yellow.sum() + blue.sum())
    assert share == pytest.approx((layer.data >= 0.45).mean(), abs=0.02)


def test_painting_counting_undoing_and_saving(open_dock, fake, qtbot, user_folder):
    _, dock = open_dock(SCALED)
    localize(qtbot, dock)
    click(qtbot, dock.seeds.brushes["foreground"])
    layer = dock.session.record.seeds
    stroke(layer, [(20, 20), (20, 40)])
    click(qtbot, dock.seeds.brushes["background"])
    assert not dock.seeds.brushes["foreground"].isChecked()
    stroke(layer, [(70, 20), (80, 60)])
    assert layer.data[20, 30] == 2
    assert layer.data[70, 20] == layer.data[80, 60] == 1
    qtbot.waitUntil(lambda: dock.seeds.saved.text.startswith("✓ saved"), timeout=3000)
    painted = layer.data.copy()
    assert f"foreground {(painted == 2).sum():,}" in dock.seeds.counts.text()
    click(qtbot, dock.seeds.undo_button)
    assert not (layer.data == 1).any()
    qtbot.waitUntil(lambda: saved(user_folder)["background"] == 0, timeout=3000)
    click(qtbot, dock.seeds.redo_button)
    np.testing.assert_array_equal(layer.data, painted)
    qtbot.waitUntil(lambda: saved(user_folder)["background"] > 0, timeout=3000)


def saved(folder):
    return json.loads(next(folder.glob("seeds/*/*.seeds.json")).read_text())["counts"]


def test_seeds_come_back_when_the_image_is_opened_in_another_window(
    open_dock, fake, qtbot, make_napari_viewer_proxy
):
    _, dock = open_dock(IMAGE)
    click(qtbot, dock.seeds.brushes["foreground"])
    stroke(dock.session.record.seeds, [(20, 20), (20, 40)])
    before = dock.session.record.seeds.data.copy()
    dock.close_down()  # at once: nothing may depend on a timer having run
    _, again = open_dock(IMAGE)
    qtbot.waitUntil(lambda: again.session.record.seeds is not None, timeout=5000)
    np.testing.assert_array_equal(again.session.record.seeds.data, before)
    assert "are back" in again.message.text


def test_the_panels_own_cross_saves_all_and_opened_again_it_takes_it_up(open_dock, fake, qtbot):
    viewer, dock = open_dock(IMAGE)
    localize(qtbot, dock)
    click(qtbot, dock.seeds.brushes["foreground"])
    stroke(dock.session.record.seeds, [(20, 20), (20, 40)])
    before = dock.session.record.seeds.data.copy()
    panel = dock.parent()
    while not isinstance(panel, QDockWidget):
        panel = panel.parent()
    panel.setFloating(True)
    panel.setFloating(False)
    assert not dock._parts.closed
    panel.title.close_button.click()
    assert dock._parts.closed
    assert not viewer.layers["tissue · seeds"].editable, "nobody would keep what is painted there"
    _, again = open_dock(viewer=viewer)
    qtbot.waitUntil(lambda: again.session.record.seeds is not None, timeout=5000)
    assert [layer.name for layer in viewer.layers] == ["tissue", "tissue · seeds"]
    np.testing.assert_array_equal(again.session.record.seeds.data, before)
    assert viewer.layers["tissue · seeds"].editable


def test_cancelling_midway_keeps_what_was_there(open_dock, fake, qtbot):
    viewer, dock = open_dock(IMAGE)
    localize(qtbot, dock)
    before = viewer.layers["tissue · foreground"].data.copy()
    fake.steps, fake.tilt = 200, 0.3
    fake.on_step = lambda step: time.sleep(0.02)
    click(qtbot, dock.localize.run_button)
    qtbot.waitUntil(lambda: dock.localize.progress.value() >= 3, timeout=5000)
    assert dock.localize.progress.maximum() == 200
    click(qtbot, dock.localize.cancel_button)
    qtbot.waitUntil(lambda: not dock.localize_controller.running, timeout=5000)
    assert "Cancelled" in dock.localize.status.text
    np.testing.assert_array_equal(viewer.layers["tissue · foreground"].data, before)
    assert dock.localize.run_button.isEnabled()


def test_the_window_answers_while_the_model_runs(open_dock, fake, qtbot):
    _, dock = open_dock(IMAGE)
    fake.steps = 20
    fake.on_step = lambda step: time.sleep(0.03)
    click(qtbot, dock.localize.run_button)
    turns = 0
    while dock.localize_controller.running:
        QApplication.processEvents()
        turns += 1
    assert turns >= 20  # one for each step of the model, at the least


def test_an_image_unlike_the_training_images_is_cautioned_of_until_another_is_shown(open_dock, fake, qtbot):
    _, dock = open_dock(IMAGE)
    fake.familiarity = 0.125
    localize(qtbot, dock)
    words = "Unlike the training images: tiny knows little of it (familiarity 12%)."
    assert words in dock.localize.caution.text
    assert dock.localize.caution.level == "warning"
    fake.familiarity = 1.0
    localize(qtbot, dock)
    assert dock.localize.caution.text == ""
    assert dock.localize.caution.isHidden()
    assert dock.localize.status.text.startswith("✓ Localized with tiny")


def test_a_class_that_nobody_should_believe_gets_no_tick(open_dock, fake, qtbot):
    _, dock = open_dock(IMAGE)
    fake.image_caution = "The image has a dark ground: do not rely on its class."
    fake.notes = ("a.tif holds 2 pictures.",)
    localize(qtbot, dock)
    assert dock.localize.caution.text == f"⚠ {fake.image_caution} {fake.notes[0]}"
    assert dock.localize.status.text == "⚠ Localized with tiny"


def test_a_failure_is_shown_in_the_dock_and_the_next_try_works(open_dock, fake, failing, qtbot):
    viewer, dock = open_dock(IMAGE)
    fake.error = failing
    localize(qtbot, dock)
    assert str(failing) in dock.message.text
    assert str(failing) in dock.localize.status.text
    assert dock.localize.status.level == "error"
    assert len(viewer.layers) == 1
    fake.error = None
    localize(qtbot, dock)
    assert "tissue · foreground" in viewer.layers
    assert dock.localize.status.level == "good"


def test_export_writes_the_ticked_files_and_links_the_folder(open_dock, fake, qtbot, tmp_path):
    viewer, dock = open_dock(IMAGE)
    localize(qtbot, dock)
    click(qtbot, dock.seeds.propose_button)
    qtbot.waitUntil(lambda: dock.session.record.seeds is not None, timeout=5000)
    dock.export.folder.value = tmp_path
    click(qtbot, dock.export.run_button)
    qtbot.waitUntil(lambda: dock.export.status.level == "good", timeout=10_000)
    assert f"href='{tmp_path.as_uri()}'" in dock.export.status.text
    record = read_seeds(tmp_path)[0]
    np.testing.assert_array_equal(record.labels, viewer.layers["tissue · seeds"].data)
    assert sorted(path.suffix for path in tmp_path.iterdir()) == [
        ".geojson", ".json", ".json", ".png", ".png", ".tif"
    ]  # fmt: skip


@pytest.mark.timeout(400)
def test_the_whole_loop_with_a_real_job_changes_the_map_as_the_reviewer_said(open_dock, tiny, qtbot):
    """Localize, paint, fine-tune in another process, localize again."""
    viewer, dock = open_dock(IMAGE)
    localize(qtbot, dock)
    map_layer = viewer.layers["tissue · foreground"]
    before = map_layer.data.copy()
    dock.seeds.size.setValue(11)
    click(qtbot, dock.seeds.brushes["foreground"])
    layer = dock.session.record.seeds
    stroke(layer, [(24, 24), (24, 36)])
    stroke(layer, [(60, 84), (60, 96)])
    click(qtbot, dock.seeds.brushes["background"])
    stroke(layer, [(10, 70), (10, 120)])
    stroke(layer, [(88, 60), (88, 120)])
    dock.finetune.epochs.value = 4
    dock.finetune_controller.options = QUICK
    click(qtbot, dock.finetune.run_button)
    qtbot.waitUntil(lambda: not dock.session.localizers.loaded, timeout=60_000)
    qtbot.waitUntil(lambda: dock.finetune.stop_button.isEnabled(), timeout=60_000)
    qtbot.waitUntil(lambda: dock.session.model == "tiny-tuned", timeout=300_000)
    assert len(dock.finetune.plot.losses) == 16
    assert np.mean(dock.finetune.plot.losses[-4:]) < np.mean(dock.finetune.plot.losses[:4])
    assert dock.image_model.model.value == "tiny-tuned"
    localize(qtbot, dock)
    after = map_layer.data
    painted = layer.data
    lift = (after - before)[painted == 2].mean() - (after - before)[painted == 1].mean()
    assert lift > 0.1
    assert after[painted == 2].mean() > after[painted == 1].mean()
    assert "Since tiny: foreground" in dock.localize.change.text()


@pytest.mark.timeout(400)
def test_a_cancelled_job_leaves_no_model(open_dock, tiny, qtbot, user_folder):
    _, dock = open_dock(IMAGE)
    localize(qtbot, dock)
    click(qtbot, dock.seeds.propose_button)
    qtbot.waitUntil(lambda: dock.session.record.seeds is not None, timeout=5000)
    dock.finetune.epochs.value = 500
    dock.finetune_controller.options = QUICK
    click(qtbot, dock.finetune.run_button)
    qtbot.waitUntil(lambda: bool(dock.finetune.plot.losses), timeout=200_000)
    click(qtbot, dock.finetune.cancel_button)
    qtbot.waitUntil(lambda: not dock.finetune_controller.progress.busy, timeout=120_000)
    assert "Cancelled" in dock.finetune.status.text
    assert dock.session.model == "tiny"
    assert [path.stem for path in (user_folder / "models").iterdir()] == ["tiny"]
    assert list((user_folder / "runs").iterdir()) == []


def test_every_control_is_reached_by_tab_and_says_what_it_does(open_dock, fake, qtbot):
    from qtpy.QtWidgets import QAbstractButton, QAbstractSlider, QAbstractSpinBox, QComboBox, QLineEdit

    _, dock = open_dock(IMAGE)
    localize(qtbot, dock)
    kinds = (QAbstractButton, QAbstractSlider, QAbstractSpinBox, QComboBox, QLineEdit)
    for control in dock.findChildren(kinds[0]):
        if control.isVisibleTo(dock) and control.text():
            assert control.toolTip() or control.parent().toolTip(), control.text()
    reached, widget = set(), dock.image_model.head
    for _ in range(200):
        reached.add(widget)
        widget = widget.nextInFocusChain()
    for control in (
        dock.localize.run_button,
        dock.threshold.reset_button,
        *dock.seeds.brushes.values(),
        dock.seeds.propose_button,
        dock.export.run_button,
        dock.finetune.run_button,
    ):
        assert control in reached
        assert control.focusPolicy() & Qt.FocusPolicy.TabFocus


def test_mnemonics_are_unique_and_leave_napari_its_own(open_dock, fake):
    from qtpy.QtWidgets import QAbstractButton, QLabel

    _, dock = open_dock(IMAGE)
    texts = [child.text() for child in dock.findChildren(QAbstractButton)]
    texts += [label.text() for label in dock.findChildren(QLabel) if label.buddy() is not None]
    letters = [text.replace("&&", "")[text.replace("&&", "").index("&") + 1].lower() for text in texts
               if "&" in text.replace("&&", "")]  # fmt: skip
    assert len(letters) == len(set(letters)), sorted(letters)
    assert not set(letters) & set("fvlpwh")  # napari's menu bar


@pytest.mark.parametrize("theme", ["dark", "light"])
def test_nothing_in_the_dock_is_wider_than_the_dock(open_dock, fake, failing, qtbot, theme):
    viewer, dock = open_dock(IMAGE)
    viewer.theme = theme
    localize(qtbot, dock)
    fake.error = failing
    localize(qtbot, dock)
    assert isinstance(dock.parent(), QDockWidget)
    dock.parent().setFloating(True)
    dock.parent().resize(1, 700)  # as narrow as it may be
    dock.parent().show()
    scroll = dock.scroll
    qtbot.waitUntil(lambda: scroll.verticalScrollBar().isVisible())
    qtbot.waitUntil(lambda: scroll.widget().width() <= scroll.viewport().width())
    assert dock.width() == dock.minimumSizeHint().width()


def test_the_menu_entries_open_the_dock_at_their_section(make_napari_viewer, npe2pm, fake, qtbot):
    from napari_pixelcam.menus import open_for_localize, open_for_seeds

    npe2pm.register(PluginManifest.from_file(MANIFEST))
    viewer = make_napari_viewer(show=True)
    viewer.add_image(tissue(), name="tissue", rgb=True)
    open_for_seeds(viewer)
    open_for_localize(viewer)
    docks = [dock for dock in viewer.window.dock_widgets.values() if hasattr(dock, "localize")]
    assert len(docks) == 1
    qtbot.waitUntil(lambda: docks[0].session.catalogue is not None, timeout=10_000)
    docks[0].close_down()


def test_torch_can_be_loaded_after_napari_has_drawn():
    """Mesa's LLVM and triton's do not live in one process; found as a crash at the first Localize."""
    code = (
        "import threading, napari, numpy as np\n"
        "viewer = napari.Viewer(); viewer.add_image(np.zeros((8, 8))); viewer.screenshot(flash=False)\n"
        "from napari_pixelcam.backend import read_devices\n"
        "thread = threading.Thread(target=lambda: print(read_devices())); thread.start()\n"
        "thread.join(); viewer.close()"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=MANIFEST.parent.parent
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert "cpu" in done.stdout


def test_the_docks_list_of_images_and_naparis_are_one(open_dock, fake, qtbot):
    images = [(tissue(), {"name": "A", "rgb": True}), (tissue()[::-1].copy(), {"name": "B", "rgb": True})]
    proxy, dock = open_dock(*images)
    viewer = proxy.__wrapped__
    first, second = viewer.layers["A"], viewer.layers["B"]
    choices = dock.image_model.image
    assert choices.value is viewer.layers.selection.active is second
    choices.value = first
    assert viewer.layers.selection.active is first
    assert "lies over 'A'" in dock.image_model.about.text()
    dock.localize.run_button.click()
    qtbot.waitUntil(lambda: "A · foreground" in viewer.layers, timeout=30_000)
    assert choices.value is viewer.layers.selection.active is first
    dock.seeds.brushes["foreground"].click()
    assert dock.session.record.layer is choices.value is first
    assert viewer.layers.selection.active.name == "A · seeds"
    assert "'B' lies over 'A'" in dock.message.text
    viewer.layers.selection.active = second
    assert choices.value is second
    choices.value = None
    assert choices.value is second, "there is one at hand all the same"
    viewer.layers.selection.active = viewer.layers["A · foreground"]
    assert choices.value is first
    first.visible = False
    assert "'A' is hidden" in dock.image_model.about.text()


def test_a_stack_is_called_one_and_cannot_be_localized(open_dock, fake, qtbot):
    _, dock = open_dock((np.zeros((4, 433, 574), np.uint8), {"name": "stack"}))
    assert dock.image_model.about.text() == "a stack of 4 planes of 574 × 433 pixels"
    assert not dock.localize.run_button.isEnabled()
    assert "take it apart into single images first" in dock.localize.status.text


def test_the_bar_says_what_localize_waits_for(open_dock, fake, qtbot, monkeypatch):
    preparing, go_on = threading.Event(), threading.Event()

    def refiner(self, slide, choice, *, should_stop):
        preparing.set()
        assert go_on.wait(60)  # the device is held up for once
        if should_stop() is not Stop.NO:
            raise CancelledError
        raise PixelCAMError("There are no features in this test.")

    monkeypatch.setattr(backend.Localizers, "refiner", refiner)
    viewer, dock = open_dock((tissue(), {"name": "A", "rgb": True}))
    dock.localize.run_button.click()
    qtbot.waitUntil(preparing.is_set, timeout=30_000)
    viewer.add_image(tissue()[::-1].copy(), name="B", rgb=True)
    dock.localize.run_button.click()
    assert dock.localize.progress.format() == "waits for the preparation of 'A' to end…"
    assert dock.localize.cancel_button.isEnabled()
    go_on.set()
    qtbot.waitUntil(lambda: "B · foreground" in viewer.layers, timeout=30_000)
    qtbot.waitUntil(lambda: not dock.background.busy, timeout=30_000)
