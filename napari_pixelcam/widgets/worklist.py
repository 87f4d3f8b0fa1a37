"""The work list: a project's images, and the way from one to the next."""

from __future__ import annotations

import random
from dataclasses import replace
from html import escape
from pathlib import Path

from qtpy.QtCore import Signal
from qtpy.QtWidgets import (
    QComboBox,
    QFileDialog,
    QLabel,
    QLayout,
    QLineEdit,
    QProgressBar,
    QSizePolicy,
    QWidget,
)
from superqt.utils import signals_blocked

from napari_pixelcam.controllers.workbench import WorkbenchController
from napari_pixelcam.controllers.worklist import ALL, ORDERS
from napari_pixelcam.seedfiles import user_name
from napari_pixelcam.widgets.history import HistoryDialog
from napari_pixelcam.widgets.imagelist import SIGNS, ImageList
from napari_pixelcam.widgets.message import Message, Subject
from napari_pixelcam.widgets.section import Section, button, note, row
from napari_pixelcam.widgets.theme import Tones
from pixelcam.events import Event
from pixelcam.review import STATUSES

LIST_HEIGHT = 216
PICTURES_AT_ONCE = 64


class WorkListSection(Section):
    """Opens a project, shows its list, and says what becomes of each image.

    Parameters
    ----------
    controller
        What it acts on.
    """

    wanted = Signal(str)
    """The reviewer wants to go on with this: "export" or "fine-tune"."""

    def __init__(self, controller: WorkbenchController) -> None:
        super().__init__("Work list")
        self._controller = controller
        self._asked: set[int] = set()
        self._tones = Tones.of("dark")
        self.status = Message()
        self.about = note()
        self.body.addWidget(self._make_door())
        self.body.addWidget(self.status)
        self.body.addWidget(self._make_locked())
        self.body.addWidget(self._make_bench())
        self._wire()
        self._show()

    def _make_door(self) -> QWidget:
        self.reviewer = QLineEdit(user_name())
        self.reviewer.setToolTip("Your name; the project keeps who did what")
        label = QLabel("Reviewer")
        label.setBuddy(self.reviewer)
        self.open_button = button("Open project…", "Open the folder of a project (Shift+O)")
        self.new_button = button("New project…", "Make a project in a new or empty folder")
        self.door = _block(row(label, self.reviewer), row(self.open_button, self.new_button))
        return self.door

    def _make_locked(self) -> QWidget:
        self.read_only_button = button("Open read-only", "Look at it; nothing you do is kept")
        self.again_button = button(
            "Open under this name", "Change the reviewer's name above, then press this"
        )
        self.locked = _block(row(self.read_only_button, self.again_button))
        self.locked.hide()
        return self.locked

    def _make_bench(self) -> QWidget:
        self.order, self.filter = QComboBox(), QComboBox()
        for value, text in ORDERS.items():
            self.order.addItem(text, value)
        self.order.setToolTip("Choose “at random” or “as they were added” for an audit without bias")
        for status in (ALL, *STATUSES):
            self.filter.addItem(f"{SIGNS[status]}  {status}" if status in SIGNS else status, status)
        self.filter.setToolTip("Show only images that are so far")
        self.hint = note()
        self.images = ImageList()
        self.images.setFixedHeight(LIST_HEIGHT)
        self.previous_button = button("◀", "Previous image (Shift+N)")
        self.next_button = button("▶", "Next image (N)")
        self.previous_button.setAccessibleName("Previous image")
        self.next_button.setAccessibleName("Next image")
        self.done_button = button("Done", "This image is done; on to the next (Shift+D)")
        self.skip_button = button("Skip", "Leave this image out; on to the next (Shift+S)")
        for arrow in (self.previous_button, self.next_button):
            arrow.setMaximumWidth(40)
        self.note = QLineEdit()
        self.note.setPlaceholderText("Note on this image (Shift+T)")
        self.note.setAccessibleName("Note")
        self.history_button = button(
            "History…", "Every save of this image's seeds, and back to one (Shift+H)"
        )
        self.add_button = button("Add images…", "Add image files to the project, by reference")
        self.all_button = button(
            "Localize all", "Run the model on the images of the list that it has not seen (Shift+A)"
        )
        self.cancel_button = button("Stop", "Stop; what is done stays")
        self.close_button = button("Close", "Close the project; all is saved")
        self.progress = QProgressBar()
        self.lost = _block(row(self._make_lost()))
        self.bench = _block(
            row(self.about, self.close_button),
            self._make_following(),
            row(self.order, self.filter),
            self.hint,
            self.images,
            self.lost,
            row(self.previous_button, self.next_button, self.done_button, self.skip_button, spacing=4),
            row(self.note, self.history_button, spacing=4),
            row(self.add_button, self.all_button, self.cancel_button, spacing=4),
            self.progress,
        )
        return self.bench

    def _make_following(self) -> QWidget:
        self.following_text = note()
        self.export_button = button("Export…", "Take the seeds of all images along, and this image's map")
        self.tune_button = button("Fine-tune…", "Let the model learn from the seeds of all images")
        self.report_button = button(
            "Report…", "Write one page on the project: who did what, before and after"
        )
        self.following = _block(
            self.following_text, row(self.export_button, self.tune_button, self.report_button, spacing=4)
        )
        return self.following

    def _make_lost(self) -> QLayout:
        self.lost_text = note()
        self.find_button = button("Find it…", "Show where this image is now; it is known by its content")
        self.find_button.setSizePolicy(QSizePolicy.Policy.Fixed, QSizePolicy.Policy.Fixed)
        return row(self.lost_text, self.find_button)

    def _wire(self) -> None:
        controller = self._controller
        self.find_button.clicked.connect(lambda: self.ask_lost())
        self.export_button.clicked.connect(lambda: self.wanted.emit("export"))
        self.tune_button.clicked.connect(lambda: self.wanted.emit("fine-tune"))
        self.report_button.clicked.connect(lambda: self.ask_report())
        self.open_button.clicked.connect(lambda: self.ask_open())
        self.new_button.clicked.connect(lambda: self.ask_new())
        self.reviewer.returnPressed.connect(lambda: self._again(read_only=False))
        self.again_button.clicked.connect(lambda: self._again(read_only=False))
        self.read_only_button.clicked.connect(lambda: self._again(read_only=True))
        self.close_button.clicked.connect(lambda: controller.close())
        self.order.activated.connect(self._on_view)
        self.filter.activated.connect(self._on_view)
        self.images.chosen.connect(controller.go)
        self.previous_button.clicked.connect(lambda: controller.step(-1))
        self.next_button.clicked.connect(lambda: controller.step(1))
        self.done_button.clicked.connect(lambda: controller.set_status("done", then=1))
        self.skip_button.clicked.connect(lambda: controller.set_status("skipped", then=1))
        self.note.editingFinished.connect(lambda: controller.set_note(self.note.text()))
        self.history_button.clicked.connect(lambda: self.show_history())
        self.add_button.clicked.connect(lambda: self.ask_images())
        self.all_button.clicked.connect(lambda: controller.localize_all())
        self.cancel_button.clicked.connect(lambda: controller.batch.cancel())
        controller.changed.connect(self._show)
        controller.said.connect(self._on_said)
        controller.locked.connect(self._on_locked)
        controller.batch.progressed.connect(self._on_progress)

    def grow(self, room: int) -> None:
        """Make the list so many pixels higher, or lower, as far as it has rows to show."""
        list_ = self.images
        full = max(list_.sizeHintForRow(0), 0) * list_.rows.rowCount() + 2 * list_.frameWidth()
        list_.setFixedHeight(max(LIST_HEIGHT, min(list_.height() + room, full)))

    # Asking.

    def ask_open(self) -> None:
        """Ask for a project's folder, and open it."""
        folder = QFileDialog.getExistingDirectory(self, "Open project", str(Path.home()))
        if folder:
            self._controller.open(Path(folder), self.reviewer.text())

    def ask_new(self) -> None:
        """Ask for an empty folder, and make a project of it."""
        folder = QFileDialog.getExistingDirectory(
            self, "New project: choose an empty folder", str(Path.home())
        )
        if folder:
            self._controller.create(Path(folder), self.reviewer.text())

    def ask_images(self) -> None:
        """Ask for image files, and add them."""
        paths, _ = QFileDialog.getOpenFileNames(self, "Add images", str(Path.home()))
        if paths:
            self._controller.add_images([Path(path) for path in paths])

    def ask_report(self) -> None:
        """Ask where the project's report is to go, and write it."""
        project = self._controller.project
        if project is not None:
            path, _ = QFileDialog.getSaveFileName(
                self, "Report", str(Path.home() / f"{project.name}.html"), "Page (*.html)"
            )
            if path:
                self._controller.report(Path(path))

    def ask_lost(self) -> None:
        """Ask where the lost image is now."""
        entry = self._controller.lost.asked(self._controller.listed)
        if entry is None:
            return
        folder = next(place for place in entry.path.parents if place.is_dir() or place == place.parent)
        pattern = f"*{entry.path.suffix}"
        path, _ = QFileDialog.getOpenFileName(
            self, f"Where is {entry.path.name} now?", str(folder), f"Images ({pattern});;All files (*)"
        )
        if path:
            self._controller.lost.find(self._controller.listed, Path(path))

    def show_history(self) -> None:
        """Open the history of the image at hand."""
        if self._controller.project is not None and self._controller.current is not None:
            HistoryDialog(self._controller, self._tones, self.window()).show()

    def edit_note(self) -> None:
        """Put the cursor into the note."""
        if self._controller.current is not None:
            self.unfold()
            self.note.setFocus()

    def _on_said(self, level: str, text: str, about: Subject | None = None) -> None:
        self.status.say(text, level, about=about)

    def _on_locked(self, message: str) -> None:
        controller = self._controller
        self.status.say(message, "warning", about=lambda: (*controller.place_at_hand(), self.reviewer.text()))
        self.locked.show()
        self.reviewer.setFocus()
        self.reviewer.selectAll()

    def _again(self, *, read_only: bool) -> None:
        if not self.locked.isHidden():
            self.locked.hide()
            self._controller.open_pending(self.reviewer.text(), read_only=read_only)

    def _on_view(self) -> None:
        view, order = self._controller.view, self.order.currentData()
        seed = random.randrange(1 << 30) if order == "random" and view.order != "random" else view.seed
        self._controller.set_view(replace(view, order=order, seed=seed, status=self.filter.currentData()))

    # Showing.

    def _show(self) -> None:
        controller = self._controller
        project, entry, batch = controller.project, controller.entry, controller.batch
        self.door.setVisible(project is None)
        self.bench.setVisible(project is not None)
        if project is None:
            self._asked.clear()
            self.images.rows.pictures.clear()
            return
        self.locked.hide()
        done = sum(one.status in ("done", "skipped") for one in controller.entries)
        count = f"{done} of {len(controller.entries)} done"
        self.about.setText(f"<b>{escape(project.name)}</b> · {escape(project.reviewer)}<br>{count}")
        self.following.setVisible(controller.all_done)
        self.following_text.setText(
            f"<b>All {len(controller.entries)} images are done.</b> What comes next:"
            if len(controller.entries) > 1
            else "<b>The image is done.</b> What comes next:"
        )
        self._show_hint()
        self.images.show_entries(controller.listed, controller.current, controller.lost.ids)
        self._show_lost()
        for widget in (self.done_button, self.skip_button, self.note):
            widget.setEnabled(entry is not None and not project.read_only)
        self.history_button.setEnabled(entry is not None)
        for widget in (self.previous_button, self.next_button):
            widget.setEnabled(bool(controller.entries))
        for widget in (self.add_button, self.all_button):
            widget.setEnabled(not batch.running and not project.read_only)
        self.cancel_button.setVisible(batch.running)
        self.progress.setVisible(batch.running)
        if not self.note.hasFocus():
            with signals_blocked(self.note):
                self.note.setText(entry.note if entry is not None else "")
        self._read_pictures()

    def _show_hint(self) -> None:
        controller = self._controller
        if not controller.entries:
            hint = "Add images to begin; they stay where they are."
        elif not controller.listed:
            hint = f"No image is “{controller.view.status}”; choose “{ALL}” to see them all."
        else:
            hint = "Click an image to begin, or press ▶ (N)."
        self.hint.setText(hint)
        busy = controller.current is not None or controller.opening is not None or controller.batch.running
        self.hint.setVisible(not busy)

    def _show_lost(self) -> None:
        entry = self._controller.lost.asked(self._controller.listed)
        self.lost.setVisible(entry is not None)
        if entry is not None and self._controller.project is not None:
            others = len(self._controller.lost.ids) - 1
            more = f" and {others} other{'s' if others > 1 else ''} were" if others else " was"
            self.lost_text.setText(f"<b>{escape(entry.path.name)}</b>{more} not found.")
            self.lost_text.setToolTip(f"It was {entry.path}")
            self.find_button.setEnabled(not self._controller.project.read_only)

    def _read_pictures(self) -> None:
        wanted = [entry.id for entry in self._controller.listed if entry.id not in self._asked]
        part = wanted[:PICTURES_AT_ONCE]
        if part:
            self._asked.update(part)
            self._controller.read_thumbnails(part, self._take_pictures)

    def _take_pictures(self, found: object) -> None:
        if self._controller.project is not None and isinstance(found, dict):
            self.images.rows.add_pictures(found)
            self._read_pictures()

    def _on_progress(self, event: Event) -> None:
        if event.step is not None and event.total:
            self.progress.setRange(0, event.total)
            self.progress.setValue(event.step)
            self.progress.setFormat("%v of %m images")

    def set_tones(self, tones: Tones) -> None:
        """Take the colours of another theme."""
        self._tones = tones
        super().set_tones(tones)


def _block(*parts: object) -> QWidget:
    """Return rows and widgets one above the other, without a margin."""
    from qtpy.QtWidgets import QVBoxLayout

    block = QWidget()
    layout = QVBoxLayout(block)
    layout.setContentsMargins(0, 0, 0, 0)
    layout.setSpacing(6)
    for part in parts:
        if isinstance(part, QWidget):
            layout.addWidget(part)
        else:
            layout.addLayout(part)
    return block
