"""The whole round in a real window, by mouse and buttons: a project, from its making to the merge of two."""

import json
import re

import numpy as np
import pytest
from PIL import Image
from qtpy.QtCore import QPoint, Qt
from qtpy.QtWidgets import QFileDialog

from napari_pixelcam.seedgrid import BACKGROUND, FOREGROUND
from napari_pixelcam.widgets.imagelist import SIGNS
from pixelcam.cli import main
from pixelcam.export import read_seeds
from pixelcam.review import Project
from tests.napari_pixelcam.helpers import tissue

NAMES = [f"image-{number}" for number in range(5)]


@pytest.fixture
def files(tmp_path):
    """Return five image files."""
    folder = tmp_path / "images"
    folder.mkdir()
    for number, name in enumerate(NAMES):
        Image.fromarray(np.roll(tissue(), 9 * number, axis=1)).save(folder / f"{name}.png")
    return sorted(folder.iterdir())


class Person:
    """Sits before the dock: clicks, paints, and waits until the window shows what came of it."""

    def __init__(self, qtbot, monkeypatch, viewer, dock, name):
        self.qtbot, self.monkeypatch = qtbot, monkeypatch
        self.viewer, self.dock, self.list = viewer, dock, dock.worklist
        self.list.reviewer.clear()
        qtbot.keyClicks(self.list.reviewer, name)

    def click(self, button):
        assert button.isVisibleTo(self.dock), button.text()
        assert button.isEnabled(), button.text()
        self.qtbot.mouseClick(button, Qt.MouseButton.LeftButton)

    def wait(self, condition):
        self.qtbot.waitUntil(lambda: bool(condition()), timeout=60_000)

    def choose(self, button, dialog, answer):
        """Press a button that asks for files or a folder."""
        self.monkeypatch.setattr(QFileDialog, dialog, lambda *ignored: answer)
        self.click(button)

    def open(self, name):
        """Click on an image in the list, and wait for its map."""
        names = [entry.name for entry in self.list.images.rows.entries]
        index = self.list.images.rows.index(names.index(name))
        self.list.images.scrollTo(index)
        place = self.list.images.visualRect(index).center()
        self.qtbot.mouseClick(self.list.images.viewport(), Qt.MouseButton.LeftButton, pos=place)
        self.wait(lambda: self.shows(name))

    def shows(self, name):
        record = self.dock.session.record
        return record is not None and record.name == name and record.result is not None

    def map(self):
        return np.array(self.dock.session.record.overlays["foreground"].data)

    def paint(self, brush, points):
        """Drag with the mouse over the canvas, through points of the image."""
        if not self.dock.seeds.brushes[brush].isChecked():
            self.click(self.dock.seeds.brushes[brush])
        canvas = self.viewer.window._qt_viewer.canvas.native
        places = [self.place(canvas, point) for point in points]
        self.qtbot.mousePress(canvas, Qt.MouseButton.LeftButton, pos=places[0])
        for place in places[1:]:
            self.qtbot.mouseMove(canvas, place)
            self.qtbot.wait(30)
        self.qtbot.mouseRelease(canvas, Qt.MouseButton.LeftButton, pos=places[-1])
        self.qtbot.wait(30)

    def place(self, canvas, point):
        """Return where on the canvas a pixel of the image lies."""
        camera, world = self.viewer.scene.camera, self.dock.session.record.layer.data_to_world(point)
        y, x = (camera.zoom * (world[axis] - camera.center[axis - 2]) for axis in (0, 1))
        return QPoint(round(canvas.width() / 2 + x), round(canvas.height() / 2 + y))

    def correct(self):
        """Paint a disc as foreground and a stripe as background; return the map before and the seeds."""
        before = self.map()
        self.paint("foreground", [(24, 24), (24, 36)])
        self.paint("background", [(8, 80), (8, 110)])
        self.wait(lambda: re.search(r"refitted in \d+ ms", self.dock.refine.text.text()))
        self.wait(lambda: not np.array_equal(self.map(), before))
        self.wait(lambda: self.dock.seeds.saved.text.startswith("✓ saved"))
        painted = self.dock.session.record.seeds.data.copy()
        assert (painted[24, 24], painted[24, 30], painted[8, 95]) == (FOREGROUND, FOREGROUND, BACKGROUND)
        return before, painted


@pytest.fixture
def sit_down(open_dock, make_napari_viewer, tiny, qtbot, monkeypatch):
    """Return a function that opens a new window for a reviewer, on a model of random weights."""

    def sit(name):
        viewer, dock = open_dock(viewer=make_napari_viewer(show=True))
        return Person(qtbot, monkeypatch, viewer, dock, name)

    return sit


def signs(person):
    """Return how far the list says that each image is."""
    rows = person.list.images.rows
    return {entry.name: SIGNS[entry.status] for entry in rows.entries}


@pytest.mark.timeout(600)
def test_a_project_of_five_images_from_its_making_to_the_merge_of_two_reviewers(
    sit_down, files, tmp_path, capsys
):
    folder = tmp_path / "project"
    folder.mkdir()
    ann = sit_down("Ann")
    ann.choose(ann.list.new_button, "getExistingDirectory", str(folder))
    ann.wait(lambda: ann.list.bench.isVisibleTo(ann.dock))
    ann.choose(ann.list.add_button, "getOpenFileNames", ([str(file) for file in files], ""))
    ann.wait(lambda: ann.shows("image-0"))  # it comes by itself, and is localized
    ann.wait(lambda: ann.list.all_button.isEnabled())
    ann.click(ann.list.all_button)
    ann.wait(lambda: "localized with tiny" in ann.list.status.text)
    rows = ann.list.images.rows
    assert sorted(entry.name for entry in rows.entries) == NAMES
    assert all("%" in rows.describe(entry) for entry in rows.entries)

    before, painted = ann.correct()
    up, down = ((ann.map() - before)[painted == value].mean() for value in (FOREGROUND, BACKGROUND))
    assert up > 0 > down
    elsewhere = painted == 0
    assert np.abs(ann.map() - before)[elsewhere].max() > 0.01, "the map follows beyond what was painted"
    ann.click(ann.dock.refine.model_button)
    np.testing.assert_allclose(ann.map(), before, atol=1e-3)
    ann.click(ann.dock.refine.model_button)
    first = ann.map()
    ann.click(ann.list.done_button)
    ann.wait(lambda: ann.dock.workbench.opening is None and not ann.shows("image-0"))
    ann.open("image-1")
    _, second_seeds = ann.correct()
    ann.click(ann.dock.refine.everywhere)
    ann.wait(lambda: "on 1 other image" in ann.dock.refine.text.text())
    assert not ann.dock.refine.reading.isVisibleTo(ann.dock)
    ann.click(ann.dock.refine.everywhere)
    ann.wait(lambda: "follows your seeds (" in ann.dock.refine.text.text())

    ann.open("image-2")
    said = ann.dock.session.record.result.localization.predicted
    ann.dock.seeds.label_choice.setFocus()
    for _ in range(2):  # past the model's own class
        ann.qtbot.keyClick(ann.dock.seeds.label_choice, Qt.Key.Key_Down)
    label = ann.dock.seeds.label_choice.currentData()
    assert label not in (None, said)
    ann.qtbot.keyClicks(ann.list.note, "torn at the edge")
    ann.qtbot.keyClick(ann.list.note, Qt.Key.Key_Return)
    ann.click(ann.list.skip_button)
    ann.wait(lambda: not ann.shows("image-2"))
    ann.viewer.close()

    again = sit_down("Ann")
    again.choose(again.list.open_button, "getExistingDirectory", str(folder))
    again.wait(lambda: again.list.bench.isVisibleTo(again.dock))
    found = signs(again)
    assert (found["image-0"], found["image-1"], found["image-2"]) == ("●", "◐", "–")
    assert "2 of 5 done" in again.list.about.text()
    again.open("image-0")
    np.testing.assert_array_equal(again.dock.session.record.seeds.data, painted)
    again.wait(lambda: "refitted" in again.dock.refine.text.text())
    np.testing.assert_allclose(again.map(), first, atol=0.02)
    again.open("image-1")
    np.testing.assert_array_equal(again.dock.session.record.seeds.data, second_seeds)
    again.open("image-2")
    assert again.dock.seeds.label_choice.currentData() == label
    assert again.list.note.text() == "torn at the edge"
    assert f"→ {label}" in again.list.images.rows.describe(again.dock.workbench.entry)

    out = tmp_path / "seeds"
    again.dock.export.folder.value = out
    again.click(again.dock.export.everywhere)
    again.click(again.dock.export.run_button)
    again.wait(lambda: again.dock.export.status.level == "good")
    exported = {record.sidecar.image.name: record for record in read_seeds(out)}
    np.testing.assert_array_equal(exported["image-0"].labels, painted)
    np.testing.assert_array_equal(exported["image-1"].labels, second_seeds)
    again.click(again.list.close_button)
    again.wait(lambda: again.list.door.isVisibleTo(again.dock))

    other = tmp_path / "other"
    with Project.create(other, reviewer="Ben") as project:
        project.add_images(files)
    ben = sit_down("Ben")
    ben.choose(ben.list.open_button, "getExistingDirectory", str(other))
    ben.wait(lambda: ben.list.bench.isVisibleTo(ben.dock))
    ben.open("image-0")
    ben.paint("foreground", [(24, 24), (24, 36)])
    ben.paint("foreground", [(8, 80), (8, 110)])
    ben.wait(lambda: ben.dock.seeds.saved.text.startswith("✓ saved"))
    ben.click(ben.list.close_button)

    merged = tmp_path / "merged"
    capsys.readouterr()
    assert main(["review", "merge", str(merged), str(folder), str(other), "--reviewer", "Ann", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert (report["images"], report["reviewers"]) == (5, ["Ann", "Ben"])
    (agreement,) = report["agreement"]
    assert 0 < agreement["same_pixels"] < agreement["pixels"]
    with Project.open(merged, reviewer="Ann", read_only=True) as project:
        by_name = {entry.name: entry for entry in project.images()}
        np.testing.assert_array_equal(project.seeds(by_name["image-0"].id), painted)
        np.testing.assert_array_equal(project.seeds(by_name["image-0"].id, "Ben")[24, 24:37], 2)
        assert (by_name["image-2"].label, by_name["image-2"].status) == (label, "skipped")


@pytest.mark.timeout(600)
def test_a_model_tuned_from_the_dock_learns_from_all_seeds_of_the_project(sit_down, files, tmp_path):
    folder = tmp_path / "project"
    with Project.create(folder, reviewer="Ann") as project:
        for entry in project.add_images(files[:3]):
            labels = np.zeros((96, 128), np.uint8)
            labels[20:28, 24:36] = FOREGROUND
            labels[4:10, 80:110] = BACKGROUND
            project.write_changes(entry.id, np.roll(labels, 9 * (entry.id - 1), axis=1))
    ann = sit_down("Ann")
    ann.choose(ann.list.open_button, "getExistingDirectory", str(folder))
    ann.wait(lambda: ann.list.bench.isVisibleTo(ann.dock))
    ann.open("image-0")
    before = ann.dock.session.record.result
    ann.dock.finetune_controller.options = ("--steps", "4", "--crop", "96", "--batch", "2", "--rate", "0.1")
    ann.dock.finetune.epochs.value = 4
    ann.click(ann.dock.finetune.run_button)
    ann.qtbot.waitUntil(lambda: ann.dock.session.model == "tiny-tuned", timeout=400_000)
    agreement = ann.dock.finetune_controller.progress.agreement
    assert max(agreement) > agreement[0]
    (run,) = ann.dock.workbench.project.runs()
    assert len(list((run.folder.parent / "seeds").glob("*.seeds.png"))) == 3
    assert run.model
    ann.click(ann.list.all_button)
    ann.wait(lambda: "3 images localized with tiny-tuned" in ann.list.status.text)
    ann.open("image-1")
    now = ann.dock.workbench.project.localization(2)
    assert now.model.sha256 == run.model != before.localization.model.sha256
    ann.wait(lambda: "refitted" in ann.dock.refine.text.text())
    labels = ann.dock.session.record.seeds.data
    assert now.foreground[labels == FOREGROUND].mean() > now.foreground[labels == BACKGROUND].mean()


def reported(folder, out):
    """Return what the report says of Ann's images, by name."""
    assert main(["review", "report", str(folder), "--out", str(out)]) == 0
    page = out.read_text(encoding="utf-8")
    articles = re.findall(r"<article><h3>(.*?)</h3>.*?</article>", page, re.DOTALL)
    rows = re.findall(r"<article>.*?<td>Ann</td>(.*?)</tr>", page, re.DOTALL)
    return dict(zip(articles, rows, strict=False))


@pytest.mark.timeout(600)
def test_what_was_seen_when_saying_done_is_what_is_reported_to_the_digit(sit_down, files, tmp_path):
    folder = tmp_path / "project"
    with Project.create(folder, reviewer="Ann") as project:
        project.add_images(files[:3])
    ann = sit_down("Ann")
    ann.choose(ann.list.open_button, "getExistingDirectory", str(folder))
    ann.wait(lambda: ann.list.bench.isVisibleTo(ann.dock))
    seen = {}

    def done(name, then=True):
        """Say that an image is done as it is seen, and note what the dock said of it then."""
        share = re.search(r"foreground <b>([\d.]+ %)</b>", ann.dock.threshold.area.text()).group(1)
        seen[name] = share, ann.map() >= ann.dock.threshold_controller.state.threshold
        if then:
            ann.click(ann.list.done_button)
            ann.wait(lambda: not ann.shows(name))
        else:
            ann.dock.workbench.set_status("done")

    ann.open("image-0")
    ann.correct()
    ann.dock.threshold_controller.set_threshold(0.437)
    done("image-0")
    ann.open("image-1")  # the model's own map, at its own threshold
    done("image-1", then=False)
    ann.open("image-2")
    ann.correct()
    done("image-2", then=False)
    ann.viewer.close()  # at once: nothing of it is lost

    rows = reported(folder, tmp_path / "report.html")
    with Project.open(folder, reviewer="Ann", read_only=True) as project:
        for entry in project.images():
            share, region = seen[entry.name]
            assert f"{entry.accepted.figures}" == share
            assert f"<td>{share}, " in rows[entry.name]
            assert entry.accepted.origin in rows[entry.name]
            np.testing.assert_array_equal(project.accepted_map(entry.id).region(entry.threshold), region)
            assert entry.changed == ""
        first, second, third = project.images()
        assert (first.threshold, second.threshold) == (0.437, None)
        assert first.accepted.refined > 0 < third.accepted.refined
        assert second.accepted.origin == "the map of tiny itself"

    again = sit_down("Ann")
    again.choose(again.list.open_button, "getExistingDirectory", str(folder))
    again.wait(lambda: again.list.bench.isVisibleTo(again.dock))
    again.open("image-2")
    again.wait(lambda: "refitted" in again.dock.refine.text.text())
    again.paint("background", [(70, 20), (70, 50)])
    again.wait(lambda: "seeds changed since" in again.list.status.text)
    assert seen["image-2"][0] in again.list.status.text
    again.viewer.close()
    rows = reported(folder, tmp_path / "later.html")
    assert f"<td>{seen['image-2'][0]}, " in rows["image-2"]
    assert "seeds changed since" in rows["image-2"]
    from napari._qt.qt_viewer import QtViewer

    QtViewer._instances.clear()  # the window that this test closed by itself is still known to somebody
