"""The help sheet: every key on one page, opened with ? and closed with ? or Esc."""

from __future__ import annotations

from qtpy.QtCore import Qt
from qtpy.QtGui import QKeyEvent, QShowEvent
from qtpy.QtWidgets import QDialog, QGridLayout, QHBoxLayout, QLabel, QScrollArea, QVBoxLayout, QWidget

from napari_pixelcam.keys import Key, Keys
from napari_pixelcam.widgets.theme import Tones

COLUMNS = 2


class KeySheet(QDialog):
    """A page of keys in groups, in the colours of the theme; made anew each time it opens.

    Parameters
    ----------
    keys
        The table to show.
    tones
        The theme's colours.
    parent
        The window that it lies over.
    """

    def __init__(self, keys: Keys, tones: Tones, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setWindowTitle("PixelCAM: keys")
        self.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        self.setObjectName("PixelCAM keys")
        self._tones = tones
        page = QWidget()
        columns = QHBoxLayout(page)
        columns.setSpacing(28)
        halves = [QVBoxLayout() for _ in range(COLUMNS)]
        lengths = [0] * COLUMNS
        for title, lines in keys.groups():
            shortest = lengths.index(min(lengths))
            halves[shortest].addLayout(self._group(title, lines))
            lengths[shortest] += len(lines) + 2
        for half in halves:
            half.addStretch(1)
            columns.addLayout(half)
        scroll = QScrollArea()
        scroll.setWidgetResizable(True)
        scroll.setWidget(page)
        scroll.setFrameShape(QScrollArea.Shape.NoFrame)
        foot = QLabel("Keys work over the image and over the dock. Close this sheet with Esc or ?")
        foot.setStyleSheet(f"color: {tones.faint.name()};")
        layout = QVBoxLayout(self)
        layout.addWidget(scroll, 1)
        layout.addWidget(foot)
        self.setStyleSheet(
            f"QDialog, QScrollArea, QScrollArea > QWidget > QWidget {{ background: {tones.ground.name()}; }}"
            f" QLabel {{ color: {tones.text.name()}; background: transparent; }}"
        )
        self._page, self._foot = page, foot

    def _group(self, title: str, lines: list[Key]) -> QGridLayout:
        grid = QGridLayout()
        grid.setHorizontalSpacing(12)
        grid.setVerticalSpacing(3)
        head = QLabel(f"<b>{title}</b>")
        grid.addWidget(head, 0, 0, 1, 2)
        for row, key in enumerate(lines, 1):
            cap = QLabel(key.shown)
            cap.setAlignment(Qt.AlignmentFlag.AlignCenter)
            cap.setStyleSheet(
                f"border: 1px solid {self._tones.faint.name()}; border-radius: 3px; padding: 1px 5px;"
            )
            grid.addWidget(cap, row, 0, Qt.AlignmentFlag.AlignLeft)
            grid.addWidget(QLabel(key.text), row, 1)
        grid.setColumnStretch(1, 1)
        grid.setContentsMargins(0, 0, 0, 12)
        return grid

    def showEvent(self, event: QShowEvent) -> None:
        """Be as large as the page where the screen has room for it, and else scroll."""
        super().showEvent(event)
        wanted = self._page.sizeHint()  # only now in the theme's font
        room = self.screen().availableGeometry()
        width = min(wanted.width() + 48, int(room.width() * 0.97))
        height = min(wanted.height() + self._foot.sizeHint().height() + 44, int(room.height() * 0.97))
        self.resize(width, height)
        self.move(room.center().x() - width // 2, room.center().y() - height // 2)

    def keyPressEvent(self, event: QKeyEvent) -> None:
        """Close with the key that opened it."""
        if event.text() == "?" or event.key() == Qt.Key.Key_F1:
            self.close()
            return
        super().keyPressEvent(event)
