"""No field of the dock keeps the keyboard: real keys, typed into the window, reach the image again."""

import pytest
from qtpy.QtCore import Qt
from qtpy.QtTest import QTest
from qtpy.QtWidgets import (
    QAbstractSlider,
    QAbstractSpinBox,
    QApplication,
    QComboBox,
    QLineEdit,
    QScrollBar,
    QWidget,
)

from tests.napari_pixelcam.helpers import tissue
from tests.napari_pixelcam.test_dock import localize

IMAGE = (tissue(), {"name": "tissue", "rgb": True})
FIELDS = (QLineEdit, QAbstractSpinBox, QComboBox, QAbstractSlider)
SHIFT = Qt.KeyboardModifier.ShiftModifier


@pytest.fixture
def open_window(open_dock, fake, qtbot, make_napari_viewer_proxy):
    """Return a function that opens a dock in a window that has the keyboard."""

    def opened():
        _, dock = open_dock(IMAGE, viewer=make_napari_viewer_proxy(show=True))
        window = dock.window()
        window.activateWindow()
        qtbot.waitUntil(window.isActiveWindow, timeout=5000)
        localize(qtbot, dock)
        return dock

    return opened


def press(dock, key, modifier=Qt.KeyboardModifier.NoModifier):
    """Press a key as the keyboard does: whoever has the focus gets it."""
    QTest.keyClick(dock.window().windowHandle(), key, modifier)


def canvas_of(dock):
    return dock._viewer.window._qt_viewer.canvas.native


def fields_of(dock):
    """Return every field that takes the focus and can be used now."""
    return [
        field
        for field in dock.findChildren(QWidget)
        if isinstance(field, FIELDS)
        and not isinstance(field, QScrollBar)
        and field.isVisible()
        and field.isEnabled()
        and field.focusPolicy() != Qt.FocusPolicy.NoFocus
        and field.focusProxy() is None
    ]


@pytest.mark.parametrize("key", [Qt.Key.Key_Return, Qt.Key.Key_Enter, Qt.Key.Key_Escape])
def test_return_and_escape_give_the_keys_of_every_field_back(open_window, qtbot, key):
    window = open_window()
    fields = fields_of(window)
    assert {kind for kind in FIELDS for field in fields if isinstance(field, kind)} == set(FIELDS)
    for field in fields:
        window.seeds_controller.put_away()
        field.setFocus()
        assert QApplication.focusWidget() is field
        press(window, key)
        assert QApplication.focusWidget() is canvas_of(window), field
        press(window, Qt.Key.Key_S)
        assert window.seeds_controller.state.brush == "background", field


def test_a_note_is_kept_and_the_next_key_says_that_the_image_is_done(open_window, qtbot, tmp_path):
    window = open_window()
    from PIL import Image

    for number in (1, 2):
        Image.fromarray(tissue()[:, ::number].copy()).save(tmp_path / f"{number}.png")
    workbench = window.workbench
    workbench.create(tmp_path / "project", "Ann")
    qtbot.waitUntil(lambda: workbench.project is not None, timeout=20_000)
    workbench.add_images(sorted(tmp_path.glob("*.png")))
    qtbot.waitUntil(lambda: workbench.current is not None, timeout=20_000)
    qtbot.waitUntil(lambda: not window.localize_controller.running, timeout=20_000)
    first = workbench.current
    for leave, said in ((Qt.Key.Key_Return, "Dense"), (Qt.Key.Key_Escape, "Dd")):
        press(window, Qt.Key.Key_T, SHIFT)
        assert QApplication.focusWidget() is window.worklist.note
        window.worklist.note.clear()
        for letter in said:
            press(window, letter)
        press(window, leave)
        assert workbench.entry.note == window.worklist.note.text() == said
    press(window, Qt.Key.Key_D, SHIFT)
    qtbot.waitUntil(lambda: workbench.current != first, timeout=20_000)
    window.seeds_controller.flush()
    kept = workbench.project.image(first)
    assert (kept.status, kept.note) == ("done", "Dd")


def test_a_number_that_is_typed_counts_before_the_keys_go_back(open_window):
    window = open_window()
    size = window.seeds.size
    size.setFocus()
    size.selectAll()
    for letter in "23":
        press(window, letter)
    press(window, Qt.Key.Key_Return)
    assert window.seeds_controller.brush_size == 23
    press(window, Qt.Key.Key_BracketRight)
    assert window.seeds_controller.brush_size == 24


def test_letters_that_a_list_or_a_number_has_no_use_for_go_to_the_image(open_window, qtbot):
    window = open_window()
    chosen = window.image_model.model.native
    for field in (chosen, window.seeds.size, window.threshold.slider.groove, window.seeds.label_choice):
        window.seeds_controller.put_away()
        field.setFocus()
        before = window.seeds.label_choice.currentIndex(), chosen.currentIndex()
        press(window, Qt.Key.Key_S)
        assert window.seeds_controller.state.brush == "background", field
        assert before == (window.seeds.label_choice.currentIndex(), chosen.currentIndex())


def test_choosing_from_an_unfolded_list_gives_the_keys_back(open_window, qtbot):
    window = open_window()
    choice = window.seeds.label_choice
    for key in (Qt.Key.Key_Return, Qt.Key.Key_Escape):
        choice.setFocus()
        choice.showPopup()
        qtbot.waitUntil(choice.view().isVisible, timeout=3000)
        qtbot.keyClick(choice.view(), Qt.Key.Key_Down)
        qtbot.keyClick(choice.view(), key)
        qtbot.waitUntil(lambda: not choice.view().isVisible(), timeout=3000)
        qtbot.waitUntil(lambda: QApplication.focusWidget() is canvas_of(window), timeout=3000)
    assert window.session.record.corrected_label == "malignant"
    choice.setFocus()
    choice.showPopup()
    qtbot.waitUntil(choice.view().isVisible, timeout=3000)
    place = choice.view().visualRect(choice.model().index(2, 0)).center()
    qtbot.wait(QApplication.doubleClickInterval() + 50)  # a list ignores a click just after it unfolds
    qtbot.mouseClick(choice.view().viewport(), Qt.MouseButton.LeftButton, pos=place)
    qtbot.waitUntil(lambda: window.session.record.corrected_label == "benign", timeout=3000)
    qtbot.waitUntil(lambda: QApplication.focusWidget() is canvas_of(window), timeout=3000)
    press(window, Qt.Key.Key_S)
    assert window.seeds_controller.state.brush == "background"


def test_a_slider_gives_the_keys_back_as_it_is_let_go_and_leaves_arrows_with_shift(open_window, qtbot):
    window = open_window()
    groove = window.threshold.slider.groove
    qtbot.mousePress(groove, Qt.MouseButton.LeftButton, pos=groove.rect().center())
    qtbot.mouseRelease(groove, Qt.MouseButton.LeftButton, pos=groove.rect().center())
    assert QApplication.focusWidget() is canvas_of(window)
    groove.setFocus()
    value = window.threshold.slider.value()
    press(window, Qt.Key.Key_Left, SHIFT)
    assert window.threshold.slider.value() == value
    assert window.comparison_controller.divider == pytest.approx(0.48)
    press(window, Qt.Key.Key_Left)
    assert window.threshold.slider.value() == pytest.approx(value - 0.01)


def test_a_button_that_goes_as_it_is_pressed_does_not_hand_the_keys_to_a_field(open_window, qtbot):
    window = open_window()
    section = window.finetune
    section.run_button.setFocus()
    section.run_button.setEnabled(False)
    assert not isinstance(QApplication.focusWidget(), QLineEdit | QAbstractSpinBox)
