"""The list of a project's images: a picture, the name, how far it is, what the model says and how surely."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from qtpy.QtCore import QAbstractListModel, QModelIndex, QRect, QSize, Qt, Signal
from qtpy.QtGui import QColor, QFont, QImage, QPainter, QPixmap
from qtpy.QtWidgets import QAbstractItemView, QListView, QStyle, QStyledItemDelegate, QStyleOptionViewItem

from napari_pixelcam.widgets.theme import Tones
from pixelcam.review import ImageEntry

SIGNS = {"to do": "○", "in review": "◐", "done": "●", "skipped": "–"}
"""How far an image is, told apart by shape and not by colour."""
LOST = "⚠ image not found"
PICTURE = 44
_PAD = 4


class ImageModel(QAbstractListModel):
    """The rows, and the pictures that have been read for them."""

    def __init__(self) -> None:
        super().__init__()
        self.entries: list[ImageEntry] = []
        self.lost: frozenset[int] = frozenset()
        self.pictures: dict[int, QPixmap] = {}

    def show_entries(self, entries: Sequence[ImageEntry]) -> None:
        """Take these rows; where only their content changed, the view stays where it is."""
        same = [entry.id for entry in entries] == [entry.id for entry in self.entries]
        if same:
            self.entries = list(entries)
            if entries:
                self.dataChanged.emit(self.index(0), self.index(len(entries) - 1))
            return
        self.beginResetModel()
        self.entries = list(entries)
        self.endResetModel()

    def add_pictures(self, found: dict[int, NDArray[np.uint8]]) -> None:
        """Take small pictures, (h, w, 3) uint8."""
        for id, pixels in found.items():
            pixels = np.ascontiguousarray(pixels)
            height, width = pixels.shape[:2]
            image = QImage(pixels.data, width, height, 3 * width, QImage.Format.Format_RGB888)
            self.pictures[id] = QPixmap.fromImage(image.copy())  # the image does not own its pixels
        if self.entries:
            self.dataChanged.emit(self.index(0), self.index(len(self.entries) - 1))

    def rowCount(self, parent: QModelIndex | None = None) -> int:
        """Return how many images there are."""
        return len(self.entries)

    def data(self, index: QModelIndex, role: int = Qt.ItemDataRole.DisplayRole) -> Any:
        """Return the row as text, which is also what a screen reader says."""
        entry = self.entries[index.row()]
        if role in (Qt.ItemDataRole.DisplayRole, Qt.ItemDataRole.ToolTipRole):
            said = f"{entry.name}, {entry.status}; {self.describe(entry)}"
            return f"{said}\n{entry.note}" if entry.note and role == Qt.ItemDataRole.ToolTipRole else said
        return None

    def describe(self, entry: ImageEntry) -> str:
        """Return the second line of a row."""
        return LOST if entry.id in self.lost else describe(entry)


class _Rows(QStyledItemDelegate):
    """Draws a row."""

    def __init__(self, model: ImageModel) -> None:
        super().__init__()
        self._model = model
        self.tones = Tones.of("dark")
        self.current: int | None = None

    def sizeHint(self, option: QStyleOptionViewItem, index: QModelIndex) -> QSize:
        """Return room for the picture and two lines."""
        return QSize(100, max(PICTURE, 2 * option.fontMetrics.height() + 2) + 2 * _PAD)

    def paint(self, painter: QPainter, option: QStyleOptionViewItem, index: QModelIndex) -> None:
        """Draw the picture, the name with its sign, and what the model says."""
        entry, box, tones = self._model.entries[index.row()], option.rect, self.tones
        painter.save()
        if entry.id == self.current:
            painter.fillRect(box, tones.line)
            painter.fillRect(QRect(box.left(), box.top(), 3, box.height()), tones.bar_first)
        if option.state & QStyle.StateFlag.State_HasFocus:
            painter.setPen(tones.bar_first)
            painter.drawRect(box.adjusted(0, 0, -1, -1))
        self._picture(painter, QRect(box.left() + 6, box.top() + _PAD, PICTURE, PICTURE), entry)
        left = box.left() + PICTURE + 14
        height = option.fontMetrics.height()
        top = box.top() + (box.height() - 2 * height - 2) // 2
        width = box.right() - left - 4
        font = option.font
        doubt = "" if entry.uncertainty is None else f"{100 * entry.uncertainty:.0f} % unsure"
        first, second = QRect(left, top, width, height), QRect(left, top + height + 2, width, height)
        taken = self._line(painter, first, doubt, tones.faint, font, right=True)
        font.setBold(entry.id == self.current)
        first.setWidth(width - taken - 8)
        self._line(painter, first, f"{SIGNS[entry.status]}  {entry.name}", tones.text, font)
        font.setBold(False)
        colour = tones.warning if entry.id in self._model.lost else tones.faint
        self._line(painter, second, self._model.describe(entry), colour, font)
        painter.restore()

    def _picture(self, painter: QPainter, box: QRect, entry: ImageEntry) -> None:
        picture = self._model.pictures.get(entry.id)
        if picture is None:
            painter.fillRect(box, self.tones.line)
            return
        size = picture.size().scaled(box.size(), Qt.AspectRatioMode.KeepAspectRatio)
        place = QRect(box.topLeft(), size)
        place.moveCenter(box.center())
        painter.setRenderHint(QPainter.RenderHint.SmoothPixmapTransform)
        painter.drawPixmap(place, picture)

    @staticmethod
    def _line(
        painter: QPainter, box: QRect, text: str, colour: QColor, font: QFont, *, right: bool = False
    ) -> int:
        """Write a text, shortened where it must be, and return how wide it is."""
        painter.setFont(font)
        painter.setPen(colour)
        metrics = painter.fontMetrics()
        shown = metrics.elidedText(text, Qt.TextElideMode.ElideMiddle, box.width())
        side = Qt.AlignmentFlag.AlignRight if right else Qt.AlignmentFlag.AlignLeft
        painter.drawText(box, int(Qt.AlignmentFlag.AlignVCenter) | int(side), shown)
        return metrics.horizontalAdvance(shown)


class ImageList(QListView):
    """The list; a click or Enter chooses an image."""

    chosen = Signal(int)

    def __init__(self) -> None:
        super().__init__()
        self.rows = ImageModel()
        self._delegate = _Rows(self.rows)
        self.setModel(self.rows)
        self.setItemDelegate(self._delegate)
        self.setUniformItemSizes(True)
        self.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
        self.setVerticalScrollMode(QAbstractItemView.ScrollMode.ScrollPerPixel)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setAccessibleName("Images of the project")
        self.clicked.connect(self._on_chosen)
        self.activated.connect(self._on_chosen)

    def show_entries(
        self, entries: Sequence[ImageEntry], current: int | None, lost: frozenset[int] = frozenset()
    ) -> None:
        """Show these images, the one at hand marked and in sight, and say of the lost ones that they are."""
        moved = current != self._delegate.current or len(entries) != len(self.rows.entries)
        self._delegate.current = current
        self.rows.lost = lost
        self.rows.show_entries(entries)
        ids = [entry.id for entry in entries]
        if moved and current in ids:
            index = self.rows.index(ids.index(current))
            self.setCurrentIndex(index)
            self.scrollTo(index)

    def set_tones(self, tones: Tones) -> None:
        """Take the colours of another theme."""
        self._delegate.tones = tones
        self.viewport().update()

    def _on_chosen(self, index: QModelIndex) -> None:
        self.chosen.emit(self.rows.entries[index.row()].id)


def describe(entry: ImageEntry) -> str:
    """Say what the model and the reviewer call an image."""
    if entry.predicted is None or entry.confidence is None:
        model = "not localized"
    else:
        model = f"{_worded(entry.predicted)} {entry.confidence:.0%}".replace("%", " %")
        if entry.unfamiliar:
            model += ", unfamiliar"
    if entry.label is not None:
        model += " ✓" if entry.label == entry.predicted else f" → {_worded(entry.label)}"
    return model


def _worded(name: str) -> str:
    return name.replace("_", " ")
