"""A project in a real window: opened by its folder, gone through by click and by key, and closed with it."""

import gc
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QDialog, QFileDialog

from napari_pixelcam.widgets.imagelist import LOST, describe
from napari_pixelcam.widgets.worklist import LIST_HEIGHT
from pixelcam.review import Project
from tests.napari_pixelcam.helpers import tissue


@pytest.fixture
def project(tmp_path):
    """Return the folder of a project of three images."""
    images = tmp_path / "images"
    images.mkdir()
    for number in range(3):
        Image.fromarray(np.roll(tissue(), 9 * number, axis=1)).save(images / f"image-{number}.png")
    with Project.create(tmp_path / "project", reviewer="Ann") as made:
        made.add_images(sorted(images.iterdir()))
    return tmp_path / "project"


def click(qtbot, button):
    assert button.isEnabled(), button.text()
    qtbot.mouseClick(button, Qt.MouseButton.LeftButton)


def shows(dock, name):
    """Return whether an image is open and localized."""
    record = dock.session.record
    return record is not None and record.name == name and record.result is not None


def test_a_folder_given_to_napari_is_gone_through_and_nothing_is_lost(open_dock, fake, qtbot, project):
    viewer, dock = open_dock()
    work = dock.worklist
    work.reviewer.setText("Ann")
    viewer.open(str(project), plugin="napari-pixelcam")
    qtbot.waitUntil(lambda: dock.workbench.project is not None, timeout=60_000)
    assert work.bench.isVisibleTo(dock)
    assert not work.door.isVisibleTo(dock)
    assert work.images.rows.rowCount() == 3
    qtbot.waitUntil(lambda: len(work.images.rows.pictures) == 3, timeout=60_000)
    click(qtbot, work.next_button)
    qtbot.waitUntil(lambda: shows(dock, "image-0"), timeout=60_000)
    dock.tools_controller.take_kind("foreground")
    dock.session.record.seeds.paint((20, 30), 2)
    qtbot.waitUntil(lambda: dock.seeds.saved.text.startswith("✓ saved"), timeout=10_000)
    painted = dock.session.record.seeds.data.copy()
    work.note.setFocus()
    qtbot.keyClicks(work.note, "crush? fold")
    qtbot.keyClick(work.note, Qt.Key.Key_Return)
    assert dock.workbench.entry.note == "crush? fold"
    canvas = dock._viewer.window._qt_viewer.canvas.native
    qtbot.keyClick(canvas, Qt.Key.Key_D, Qt.KeyboardModifier.ShiftModifier)
    qtbot.waitUntil(lambda: shows(dock, "image-1"), timeout=60_000)
    qtbot.keyClick(canvas, Qt.Key.Key_N)
    qtbot.waitUntil(lambda: shows(dock, "image-2"), timeout=60_000)
    assert "1 of 3 done" in work.about.text()
    dock.close_down()
    with Project.open(project, reviewer="Ann") as again:
        np.testing.assert_array_equal(again.seeds(1), painted)
        entries = again.images()
    assert [entry.status for entry in entries] == ["done", "in review", "in review"]
    assert entries[0].note == "crush? fold"
    assert describe(entries[0]) == "malignant 70 %"
    assert describe(replace(entries[0], familiarity=0.1)) == "malignant 70 %, unfamiliar"


def test_a_taken_name_offers_read_only_and_another_name(open_dock, fake, qtbot, project):
    _, dock = open_dock()
    work = dock.worklist
    with Project.open(project, reviewer="Ann"):
        work.reviewer.setText("Ann")
        dock.workbench.open(project, "Ann")
        qtbot.waitUntil(lambda: work.locked.isVisibleTo(dock), timeout=60_000)
        assert "already" in work.status.text
        click(qtbot, work.read_only_button)
        qtbot.waitUntil(lambda: dock.workbench.project is not None, timeout=60_000)
        assert dock.workbench.project.read_only
        assert not work.done_button.isEnabled()
        click(qtbot, work.close_button)
        dock.workbench.open(project, "Ann")
        qtbot.waitUntil(lambda: work.locked.isVisibleTo(dock), timeout=60_000)
        work.reviewer.setText("Bob")
        click(qtbot, work.again_button)
        qtbot.waitUntil(lambda: dock.workbench.project is not None, timeout=60_000)
        assert dock.workbench.project.reviewer == "Bob"


def test_a_moved_image_is_marked_and_found_by_its_button(
    open_dock, fake, qtbot, project, tmp_path, monkeypatch
):
    _, dock = open_dock()
    work = dock.worklist
    place = (tmp_path / "images" / "image-1.png").rename(tmp_path / "renamed.png")
    asked = []

    def ask(parent, title, folder, *ignored):
        asked.append((title, folder))
        return str(place), ""

    monkeypatch.setattr(QFileDialog, "getOpenFileName", ask)
    dock.workbench.open(project, "Ann")
    qtbot.waitUntil(lambda: work.lost.isVisibleTo(dock), timeout=60_000)
    assert "image-1.png" in work.lost_text.text()
    texts = [work.images.rows.index(number).data() for number in range(3)]
    assert [LOST in text for text in texts] == [False, True, False]
    click(qtbot, work.find_button)
    qtbot.waitUntil(lambda: shows(dock, "renamed"), timeout=60_000)
    assert asked == [("Where is image-1.png now?", str(tmp_path / "images"))]
    assert work.lost.isHidden()
    assert "found again" in work.status.text


def test_closing_the_window_gives_the_name_free_keeps_the_time_and_leaves_garbage_to_python(
    open_dock, make_napari_viewer, fake, qtbot, project
):
    viewer, dock = open_dock(viewer=make_napari_viewer(show=True))
    dock.workbench.open(project, "Ann")
    qtbot.waitUntil(lambda: dock.workbench.project is not None, timeout=60_000)
    click(qtbot, dock.worklist.next_button)
    qtbot.waitUntil(lambda: shows(dock, "image-0"), timeout=60_000)
    dock.workbench._stopwatch.seconds = 7.0
    assert not gc.isenabled()
    viewer.close()
    qtbot.wait(50)
    assert gc.isenabled()
    with Project.open(project, reviewer="Ann") as again:
        assert again.image(1).seconds >= 7
    from napari._qt.qt_viewer import QtViewer

    QtViewer._instances.clear()  # the window that this test closed by itself is still known to somebody


def test_the_list_takes_the_room_that_a_tall_window_has_and_gives_it_back(
    open_dock, make_napari_viewer, fake, qtbot, project, tmp_path
):
    with Project.open(project, reviewer="Ann") as more:
        for number in range(12):
            Image.fromarray(np.roll(tissue(), number + 1, axis=0)).save(tmp_path / f"more-{number}.png")
        more.add_images(sorted(tmp_path.glob("more-*.png")))
    _, dock = open_dock(viewer=make_napari_viewer(show=True))
    window, rows = dock.window(), dock.worklist.images
    window.resize(1200, 768)
    dock.workbench.open(project, "Ann")
    qtbot.waitUntil(lambda: dock.workbench.project is not None, timeout=60_000)
    qtbot.waitUntil(lambda: window.height() == 768, timeout=10_000)
    assert rows.height() == LIST_HEIGHT
    window.resize(1200, 2000)
    full = 15 * rows.sizeHintForRow(0)
    qtbot.waitUntil(lambda: LIST_HEIGHT + 100 < rows.height() <= full + 8, timeout=10_000)
    assert dock.scroll.verticalScrollBar().maximum() == 0
    window.resize(1200, 768)
    qtbot.waitUntil(lambda: rows.height() == LIST_HEIGHT, timeout=10_000)


def test_the_history_lists_every_save_and_goes_back(open_dock, fake, qtbot, project):
    _, dock = open_dock()
    dock.workbench.open(project, "Ann")
    qtbot.waitUntil(lambda: dock.workbench.project is not None, timeout=60_000)
    dock.workbench.go(1)
    qtbot.waitUntil(lambda: shows(dock, "image-0"), timeout=60_000)
    dock.tools_controller.take_kind("foreground")
    layer = dock.session.record.seeds
    layer.paint((20, 30), 2)
    dock.seeds_controller.flush()
    first = layer.data.copy()
    layer.paint((60, 30), 2)
    dock.seeds_controller.flush()
    dock.worklist.show_history()
    (dialog,) = dock.window().findChildren(QDialog, "PixelCAM history")
    assert dialog.saves.topLevelItemCount() == 2
    dialog.saves.setCurrentItem(dialog.saves.topLevelItem(1))
    click(qtbot, dialog.back_button)
    qtbot.waitUntil(lambda: np.array_equal(layer.data, first), timeout=60_000)
    qtbot.waitUntil(lambda: dialog.saves.topLevelItemCount() == 3, timeout=60_000)
    assert dialog.saves.topLevelItem(0).text(2) == "restore"
    dialog.close()


def test_a_folder_that_is_no_project_is_not_taken(tmp_path):
    from napari_pixelcam.reader import get_reader

    assert get_reader(str(tmp_path)).__name__ == "read_as_napari"
