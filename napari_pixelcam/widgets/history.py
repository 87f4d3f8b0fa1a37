"""The history of an image's seeds: every save, by whom, and the way back to one."""

from __future__ import annotations

from qtpy.QtCore import Qt
from qtpy.QtWidgets import QDialog, QHeaderView, QTreeWidget, QTreeWidgetItem, QVBoxLayout, QWidget

from napari_pixelcam.controllers.history import restore
from napari_pixelcam.controllers.workbench import WorkbenchController
from napari_pixelcam.widgets.section import button, note, row
from napari_pixelcam.widgets.theme import Tones
from pixelcam.errors import PixelCAMError

_COLUMNS = ("when", "who", "what", "foreground", "background")
_SEQ = Qt.ItemDataRole.UserRole


class HistoryDialog(QDialog):
    """A list of saves, the latest first.

    Parameters
    ----------
    controller
        Whose image at hand it is about.
    tones
        The theme's colours.
    parent
        The window that it lies over.
    """

    def __init__(self, controller: WorkbenchController, tones: Tones, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._controller, self._id = controller, controller.current
        entry = controller.entry
        self.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        self.setObjectName("PixelCAM history")
        self.setWindowTitle(f"Seeds of {entry.name if entry is not None else ''}")
        self.saves = QTreeWidget()
        self.saves.setRootIsDecorated(False)
        self.saves.setHeaderLabels(_COLUMNS)
        self.saves.header().setSectionResizeMode(QHeaderView.ResizeMode.ResizeToContents)
        self.back_button = button("Go back to this", "Make the seeds what they were then; Undo takes it back")
        self.close_button = button("Close", "Close this list (Esc)")
        self.back_button.setDefault(True)
        layout = QVBoxLayout(self)
        layout.addWidget(note("Going back is a save too: nothing in this list is ever lost."))
        layout.addWidget(self.saves, 1)
        layout.addLayout(row(None, self.back_button, self.close_button))
        self.setStyleSheet(f"QDialog {{ background: {tones.ground.name()}; }}")
        self.back_button.clicked.connect(lambda: self._go_back())
        self.close_button.clicked.connect(lambda: self.close())
        self.saves.itemDoubleClicked.connect(lambda item, column: self._go_back())
        self.saves.currentItemChanged.connect(lambda now, before: self._refresh_button())
        controller.changed.connect(self._fill)
        self._fill()
        self.resize(620, 380)

    def _fill(self) -> None:
        """Show the saves of now; close where the image is no longer at hand."""
        project = self._controller.project
        if project is None or self._controller.current != self._id or self._id is None:
            self.close()
            return
        try:
            saves = project.history(self._id)
        except PixelCAMError as error:
            self._controller.session.report(error)
            return
        if self.saves.topLevelItemCount() == len(saves):
            return
        chosen = self.saves.currentItem().data(0, _SEQ) if self.saves.currentItem() else None
        self.saves.clear()
        for save in reversed(saves):
            when = f"{save.time.astimezone():%Y-%m-%d %H:%M:%S}"
            counts = (f"{save.foreground:,} px", f"{save.background:,} px")
            item = QTreeWidgetItem([when, save.reviewer, save.kind, *counts])
            item.setData(0, _SEQ, save.seq)
            self.saves.addTopLevelItem(item)
            if save.seq == chosen:
                self.saves.setCurrentItem(item)
        if self.saves.currentItem() is None and saves:
            self.saves.setCurrentItem(self.saves.topLevelItem(0))
        self._refresh_button()

    def _refresh_button(self) -> None:
        project = self._controller.project
        writable = project is not None and not project.read_only
        self.back_button.setEnabled(writable and self.saves.currentItem() is not None)

    def _go_back(self) -> None:
        item = self.saves.currentItem()
        if item is not None and self.back_button.isEnabled():
            restore(self._controller, item.data(0, _SEQ))

    def done(self, result: int) -> None:
        """Stop listening."""
        self._controller.changed.disconnect(self._fill)
        super().done(result)
