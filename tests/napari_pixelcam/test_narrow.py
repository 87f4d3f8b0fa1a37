"""The dock on small screens and in large letters: narrow, folded where not in use, and all in one size."""

import json

import pytest
from napari.settings import get_settings
from qtpy.QtCore import QRect, Qt
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QApplication, QLineEdit, QPushButton, QWidget

from napari_pixelcam.preferences import FOLDED, load_folded
from napari_pixelcam.widgets import folding
from napari_pixelcam.widgets.section import button, row
from tests.napari_pixelcam.helpers import tissue
from tests.napari_pixelcam.test_dock import localize

IMAGE = (tissue(), {"name": "tissue", "rgb": True})


def test_a_row_goes_on_in_another_line_where_it_is_too_narrow(qtbot):
    box = QWidget()
    qtbot.addWidget(box)
    buttons = [button(f"A long text {number}", "") for number in range(3)]
    layout = row(*buttons)
    box.setLayout(layout)
    wide, narrow = layout.sizeHint().width(), max(one.sizeHint().width() for one in buttons)
    for width, lines in ((wide, 1), (wide - 1, 2), (narrow, 3)):
        layout.setGeometry(QRect(0, 0, width, 500))
        assert len({one.y() for one in buttons}) == lines
        assert max(one.geometry().right() for one in buttons) == width - 1, "each line is filled"
        assert layout.heightForWidth(width) == max(one.geometry().bottom() for one in buttons) + 1
    assert layout.minimumSize().width() < narrow, "a button shortens its text"


def test_what_the_person_folds_is_folded_in_the_next_dock(open_dock, fake, qtbot, user_folder):
    _, dock = open_dock(IMAGE)
    qtbot.mouseClick(dock.threshold.head, Qt.MouseButton.LeftButton)
    qtbot.keyClick(dock.export.head, Qt.Key.Key_Space)
    assert json.loads((user_folder / FOLDED).read_text()) == {"export": True, "threshold": True}
    localize(qtbot, dock)
    assert dock.threshold.folded, "need does not unfold what the person has folded"
    dock.go_to(dock.export)
    assert not dock.export.folded
    dock.close_down()
    _, again = open_dock(IMAGE)
    folded = [name for name, section in again._named().items() if section.folded]
    assert folded == ["threshold", "export"]


@pytest.mark.parametrize("text", ["", "[]", '{"export": 3}', "{", "[" * 100_000])
def test_a_damaged_memory_of_the_folds_is_none(user_folder, text):
    user_folder.mkdir(exist_ok=True)
    (user_folder / FOLDED).write_text(text)
    assert load_folded() == {}


def test_on_a_small_screen_what_is_not_in_use_is_folded_until_it_is(
    open_dock, fake, qtbot, make_napari_viewer_proxy, monkeypatch
):
    monkeypatch.setattr(folding, "SMALL", 10_000)
    _, dock = open_dock(IMAGE, viewer=make_napari_viewer_proxy(show=True))
    sections = dock._named()

    def folded():
        return {name for name, section in sections.items() if section.folded}

    assert folded() == {"work list", "threshold", "seeds", "export", "fine-tune"}
    localize(qtbot, dock)
    assert folded() == {"work list", "export", "fine-tune"}
    dock.window().activateWindow()
    qtbot.waitUntil(dock.window().isActiveWindow, timeout=5000)
    dock.give_keys_back()
    QTest.keyClick(dock.window().windowHandle(), Qt.Key.Key_6, Qt.KeyboardModifier.AltModifier)
    assert folded() == {"work list", "export"}
    assert QApplication.focusWidget() is dock.finetune.head
    QTest.keyClick(dock.window().windowHandle(), Qt.Key.Key_9, Qt.KeyboardModifier.AltModifier)
    assert QApplication.focusWidget() is dock._viewer.window._qt_viewer.canvas.native


def test_all_letters_grow_with_naparis(open_dock, fake, qtbot, make_napari_viewer_proxy):
    _, dock = open_dock(IMAGE, viewer=make_napari_viewer_proxy(show=True))
    localize(qtbot, dock)
    fields = (dock.worklist.reviewer, dock.localize.bars, dock.seeds.size, dock.finetune.name.native)
    before = dock.localize.bars.sizeHint().height()
    settings = get_settings().appearance
    size = settings.font_size
    try:
        settings.font_size = 16
        qtbot.waitUntil(lambda: {field.font().pointSize() for field in fields} == {16}, timeout=5000)
        assert dock.localize.bars.sizeHint().height() > 1.3 * before
    finally:
        settings.font_size = size
    qtbot.waitUntil(lambda: {field.font().pointSize() for field in fields} == {size}, timeout=5000)


def test_everything_in_the_dock_is_reached_by_tab_alone(open_dock, fake, qtbot, make_napari_viewer_proxy):
    _, dock = open_dock(IMAGE, viewer=make_napari_viewer_proxy(show=True))
    localize(qtbot, dock)
    window = dock.window()
    window.activateWindow()
    qtbot.waitUntil(window.isActiveWindow, timeout=5000)
    dock.go_to(dock.worklist)
    seen = []
    for _ in range(150):
        seen.append(QApplication.focusWidget())
        QTest.keyClick(window.windowHandle(), Qt.Key.Key_Tab)
        if QApplication.focusWidget() in seen:
            break
    wanted = [
        widget
        for widget in dock.findChildren(QWidget)
        if isinstance(widget, QPushButton | QLineEdit)
        and widget.isVisible()
        and widget.isEnabled()
        and widget.focusPolicy() & Qt.FocusPolicy.TabFocus
        and widget.focusProxy() is None
    ]
    assert len(wanted) > 15
    assert [widget for widget in wanted if widget not in seen] == []
    heads = [seen.index(section.head) for section in dock.sections]
    assert heads == sorted(heads), "in the order of the loop"
