"""Widgets side by side, that go on in another line where the dock is too narrow for all of them."""

from __future__ import annotations

from qtpy.QtCore import QPoint, QRect, QSize, Qt
from qtpy.QtGui import QPaintEvent
from qtpy.QtWidgets import (
    QLayout,
    QLayoutItem,
    QPushButton,
    QSizePolicy,
    QStyle,
    QStyleOptionButton,
    QStylePainter,
)

_LETTERS = 6
"""Letters of a button's text that are to be seen at least."""


class WrapRow(QLayout):
    """Fills each line as far as its items have room at the width that they like, and shares out what is left.

    Parameters
    ----------
    spacing
        Pixels between items and between lines.
    stretched
        Whether the items of a line fill it; else they keep to the left.
    """

    def __init__(self, spacing: int, *, stretched: bool = True) -> None:
        super().__init__()
        self._items: list[QLayoutItem] = []
        self._stretched = stretched
        self.setContentsMargins(0, 0, 0, 0)
        self.setSpacing(spacing)

    def addItem(self, item: QLayoutItem) -> None:
        """Take an item, as Qt asks for it."""
        self._items.append(item)

    def addLayout(self, layout: QLayout) -> None:
        """Take a layout as one item."""
        self.addChildLayout(layout)
        self.addItem(layout)

    def count(self) -> int:
        """Return how many items there are."""
        return len(self._items)

    def itemAt(self, index: int) -> QLayoutItem | None:
        """Return one of the items."""
        return self._items[index] if 0 <= index < len(self._items) else None

    def takeAt(self, index: int) -> QLayoutItem | None:
        """Give one of the items away."""
        return self._items.pop(index) if 0 <= index < len(self._items) else None

    def expandingDirections(self) -> Qt.Orientation:
        """Take all the width there is."""
        return Qt.Orientation.Horizontal

    def hasHeightForWidth(self) -> bool:
        """Say that a narrow row is higher."""
        return True

    def heightForWidth(self, width: int) -> int:
        """Return how high the lines are at a width."""
        return self._place(QRect(0, 0, width, 0), apply=False)

    def setGeometry(self, rect: QRect) -> None:
        """Lay the items out."""
        super().setGeometry(rect)
        self._place(rect, apply=True)

    def sizeHint(self) -> QSize:
        """Return the size of all items in one line."""
        shown = self._shown()
        width = sum(item.sizeHint().width() for item in shown) + self.spacing() * max(len(shown) - 1, 0)
        return QSize(width, max((item.sizeHint().height() for item in shown), default=0))

    def minimumSize(self) -> QSize:
        """Return room for the widest item alone."""
        shown = self._shown()
        return QSize(
            max((item.minimumSize().width() for item in shown), default=0),
            max((item.minimumSize().height() for item in shown), default=0),
        )

    def _shown(self) -> list[QLayoutItem]:
        return [item for item in self._items if not item.isEmpty()]

    def _lines(self, width: int) -> list[list[QLayoutItem]]:
        lines: list[list[QLayoutItem]] = []
        room = 0
        for item in self._shown():
            wanted = self._wish(item)
            if lines and wanted + self.spacing() <= room:
                lines[-1].append(item)
                room -= wanted + self.spacing()
            else:
                lines.append([item])
                room = width - wanted
        return lines

    def _wish(self, item: QLayoutItem) -> int:
        """Return the width that an item is readable at: fields and sliders do with less than they like."""
        widget = item.widget()
        if widget is None or isinstance(widget, QPushButton):
            return item.sizeHint().width()
        policy = widget.sizePolicy().horizontalPolicy()
        shrinks = policy in (QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Ignored)
        return max(item.minimumSize().width(), 60) if shrinks else item.sizeHint().width()

    def _place(self, rect: QRect, *, apply: bool) -> int:
        top = rect.top()
        for line in self._lines(rect.width()):
            widths = self._widths(line, rect.width() - self.spacing() * (len(line) - 1))
            height = max(
                item.heightForWidth(width) if item.hasHeightForWidth() else item.sizeHint().height()
                for item, width in zip(line, widths, strict=True)
            )
            left = rect.left()
            for item, width in zip(line, widths, strict=True):
                if apply:
                    item.setGeometry(QRect(QPoint(left, top), QSize(width, height)))
                left += width + self.spacing()
            top += height + self.spacing()
        return max(top - self.spacing() - rect.top(), 0)

    def _widths(self, line: list[QLayoutItem], room: int) -> list[int]:
        widths = [self._wish(item) for item in line]
        left = room - sum(widths)
        if left < 0:  # one that is wider than the line: it shortens its text
            return [max(width + left, 0) for width in widths] if len(widths) == 1 else widths
        takers = [at for at, item in enumerate(line) if self._takes(item)]
        for number, at in enumerate(takers):
            widths[at] += left // len(takers) + (number < left % len(takers))
        return widths

    def _takes(self, item: QLayoutItem) -> bool:
        """Return whether an item takes room that is left over."""
        widget = item.widget()
        if widget is None:
            return True
        policy = widget.sizePolicy().horizontalPolicy()
        fixed = (QSizePolicy.Policy.Fixed, QSizePolicy.Policy.Maximum)
        if policy in (QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Ignored):
            return True
        return self._stretched and isinstance(widget, QPushButton) and policy not in fixed


class ShorteningButton(QPushButton):
    """A push button that shortens its text where it has not the room for it; the tooltip has all of it."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.setSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Fixed)  # it may shrink

    def minimumSizeHint(self) -> QSize:
        """Return room for a few letters."""
        hint = super().minimumSizeHint()
        least = self.fontMetrics().averageCharWidth() * (_LETTERS + 4)
        return QSize(min(hint.width(), least), hint.height())

    def paintEvent(self, event: QPaintEvent) -> None:
        """Draw the button with as much of its text as there is room for."""
        option = QStyleOptionButton()
        self.initStyleOption(option)
        room = self.style().subElementRect(QStyle.SubElement.SE_PushButtonContents, option, self).width()
        option.text = option.fontMetrics.elidedText(
            option.text, Qt.TextElideMode.ElideRight, room, int(Qt.TextFlag.TextShowMnemonic)
        )
        QStylePainter(self).drawControl(QStyle.ControlElement.CE_PushButton, option)
