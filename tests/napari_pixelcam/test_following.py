"""When every image of a project is done, the list says what comes next, and leads there."""

from qtpy.QtCore import Qt
from qtpy.QtWidgets import QApplication, QFileDialog

from tests.napari_pixelcam.helpers import tissue
from tests.napari_pixelcam.test_dock import click

IMAGE = (tissue(), {"name": "tissue", "rgb": True})


def test_a_list_that_is_done_leads_on(
    open_dock, fake, qtbot, tmp_path, monkeypatch, make_napari_viewer_proxy
):
    from PIL import Image

    for number in (1, 2):
        Image.fromarray(tissue()[:, ::number].copy()).save(tmp_path / f"{number}.png")
    _, dock = open_dock(viewer=make_napari_viewer_proxy(show=True))
    dock.window().activateWindow()
    qtbot.waitUntil(dock.window().isActiveWindow, timeout=5000)
    workbench, section = dock.workbench, dock.worklist
    workbench.create(tmp_path / "project", "Ann")
    qtbot.waitUntil(lambda: workbench.project is not None, timeout=30_000)
    workbench.add_images(sorted(tmp_path.glob("*.png")))
    qtbot.waitUntil(lambda: workbench.current is not None, timeout=30_000)
    assert section.following.isHidden()
    for status in ("done", "skipped"):
        here = workbench.current
        qtbot.waitUntil(lambda: workbench.opening is None, timeout=30_000)
        workbench.set_status(status, then=1)
        if status == "done":
            assert section.following.isHidden()
            qtbot.waitUntil(lambda here=here: workbench.current != here, timeout=30_000)
    assert not section.following.isHidden()
    assert "All 2 images are done" in section.following_text.text()

    dock.export.fold()
    click(qtbot, section.export_button)
    assert not dock.export.folded
    assert dock.export.choices.everywhere
    assert QApplication.focusWidget() is dock.export.head
    qtbot.keyClick(section.tune_button, Qt.Key.Key_Space)
    assert QApplication.focusWidget() is dock.finetune.head

    page = tmp_path / "report.html"
    monkeypatch.setattr(QFileDialog, "getSaveFileName", lambda *arguments: (str(page), ""))
    click(qtbot, section.report_button)
    qtbot.waitUntil(lambda: str(page) in section.status.text, timeout=60_000)
    assert "<html" in page.read_text(encoding="utf-8").lower()
    workbench.set_status("in review")
    assert section.following.isHidden()
