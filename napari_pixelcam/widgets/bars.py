"""Class probabilities as a small bar chart."""

from __future__ import annotations

from collections.abc import Mapping

from qtpy.QtCore import QRectF, QSize, Qt
from qtpy.QtGui import QFont, QPainter, QPaintEvent
from qtpy.QtWidgets import QSizePolicy, QWidget

from napari_pixelcam.widgets.theme import Tones

MOST = 8
_GAP = 6


class ClassBars(QWidget):
    """One row a class, most probable first: name, bar, per cent. At most `MOST` rows."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._rows: list[tuple[str, float]] = []
        self._tones = Tones.of("dark")
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.setAccessibleName("Class probabilities")

    @property
    def rows(self) -> list[tuple[str, float]]:
        """The classes shown, most probable first."""
        return list(self._rows)

    def show_classes(self, classes: Mapping[str, float]) -> None:
        """Show these probabilities; an empty mapping leaves no room taken."""
        self._rows = sorted(
            ((name.replace("_", " "), value) for name, value in classes.items()), key=lambda item: -item[1]
        )[:MOST]
        text = ", ".join(f"{name} {value:.0%}" for name, value in self._rows)
        self.setAccessibleDescription(text)
        self.setToolTip("\n".join(f"{name}: {value:.2%}" for name, value in self._rows))
        self.setVisible(bool(self._rows))
        self.updateGeometry()
        self.update()

    def set_tones(self, tones: Tones) -> None:
        """Take the colours of another theme."""
        self._tones = tones
        self.update()

    def sizeHint(self) -> QSize:
        """Return room for the rows."""
        return QSize(200, len(self._rows) * self._row_height() + 4)

    def minimumSizeHint(self) -> QSize:
        """Return the same height in a narrow dock."""
        return QSize(100, self.sizeHint().height())

    def _row_height(self) -> int:
        return self.fontMetrics().height() + 5

    def paintEvent(self, event: QPaintEvent) -> None:
        """Draw the rows."""
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        metrics = self.fontMetrics()
        height = self._row_height()
        number = metrics.horizontalAdvance("100 %") + _GAP
        bold = QFont(self.font())
        bold.setBold(True)  # the first name is written so
        painter.setFont(bold)
        widest = max((painter.fontMetrics().horizontalAdvance(name) for name, _ in self._rows), default=0) + 1
        left = min(widest, int(self.width() * 0.6)) + _GAP
        groove = max(self.width() - left - number, 10)
        for index, (name, value) in enumerate(self._rows):
            top = 2 + index * height
            font = self.font()
            font.setBold(index == 0)
            painter.setFont(font)
            painter.setPen(self._tones.text)
            shown = painter.fontMetrics().elidedText(name, Qt.TextElideMode.ElideRight, left - _GAP)
            middle = int(Qt.AlignmentFlag.AlignVCenter)
            painter.drawText(
                QRectF(0, top, left - _GAP, height), middle | int(Qt.AlignmentFlag.AlignLeft), shown
            )
            painter.drawText(
                QRectF(self.width() - number, top, number, height),
                middle | int(Qt.AlignmentFlag.AlignRight),
                f"{value:.0%}".replace("%", " %"),
            )
            thick = max(8.0, metrics.height() * 0.5)
            bar = QRectF(left, top + (height - thick) / 2, groove, thick)
            painter.setPen(Qt.PenStyle.NoPen)
            painter.setBrush(self._tones.line)
            painter.drawRoundedRect(bar, 2, 2)
            painter.setBrush(self._tones.bar_first if index == 0 else self._tones.bar)
            bar.setWidth(max(groove * value, 1.0))
            painter.drawRoundedRect(bar, 2, 2)
        painter.end()
