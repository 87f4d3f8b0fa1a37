"""A small live plot of a training loss."""

from __future__ import annotations

from collections.abc import Sequence

from qtpy.QtCore import QPointF, QRectF, QSize, Qt
from qtpy.QtGui import QPainter, QPaintEvent, QPen, QPolygonF
from qtpy.QtWidgets import QSizePolicy, QWidget

from napari_pixelcam.widgets.theme import Tones

_MARGIN = 5


class LossPlot(QWidget):
    """A line of losses by step, from 0 up to the largest, with the latest value written out."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._losses: tuple[float, ...] = ()
        self._total: int | None = None
        self._tones = Tones.of("dark")
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.setAccessibleName("Training loss")

    @property
    def losses(self) -> tuple[float, ...]:
        """What is drawn."""
        return self._losses

    def show_losses(self, losses: Sequence[float], total: int | None) -> None:
        """Draw these losses on an axis of `total` steps, or as many as there are."""
        self._losses, self._total = tuple(losses), total
        latest = f"{losses[-1]:.3f} after {len(losses)} steps" if losses else "no step yet"
        self.setAccessibleDescription(latest)
        self.setToolTip(f"Loss on your strokes and the maps that followed them, by step: {latest}")
        self.update()

    def set_tones(self, tones: Tones) -> None:
        """Take the colours of another theme."""
        self._tones = tones
        self.update()

    def sizeHint(self) -> QSize:
        """Return a low, wide box."""
        return QSize(200, max(96, 6 * self.fontMetrics().height()))

    def minimumSizeHint(self) -> QSize:
        """Return the same height in a narrow dock."""
        return QSize(100, self.sizeHint().height())

    def paintEvent(self, event: QPaintEvent) -> None:
        """Draw frame, scale and line."""
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        small = self.font()
        small.setPointSizeF(max(small.pointSizeF() - 1, 6))
        painter.setFont(small)
        metrics = painter.fontMetrics()
        left, bottom = metrics.horizontalAdvance("0.00") + 8, metrics.height() + 2
        box = QRectF(left, _MARGIN, self.width() - left - _MARGIN, self.height() - bottom - _MARGIN)
        painter.setPen(QPen(self._tones.line, 1))
        painter.drawRect(box)
        top = max(self._losses, default=1.0) or 1.0
        steps = max(self._total or 0, len(self._losses), 2)
        painter.setPen(self._tones.faint)
        right = int(Qt.AlignmentFlag.AlignRight)
        painter.drawText(QRectF(0, box.top() - 2, left - 4, bottom), right, f"{top:.2f}")
        painter.drawText(QRectF(0, box.bottom() - bottom + 4, left - 4, bottom), right, "0")
        line = QRectF(box.left(), box.bottom() + 1, box.width(), bottom)
        painter.drawText(line, int(Qt.AlignmentFlag.AlignLeft), "loss on what it is taught, by step")
        painter.drawText(line, right, f"{steps}" if self._losses else "")
        if self._losses:
            self._draw_line(painter, box, top, steps)
        painter.end()

    def _draw_line(self, painter: QPainter, box: QRectF, top: float, steps: int) -> None:
        points = [
            QPointF(
                box.left() + box.width() * index / (steps - 1),
                box.bottom() - (box.height() - 4) * min(loss / top, 1.0),
            )
            for index, loss in enumerate(self._losses)
        ]
        painter.setPen(QPen(self._tones.bar_first, 1.6))
        if len(points) > 1:
            painter.drawPolyline(QPolygonF(points))
        painter.setBrush(self._tones.bar_first)
        painter.drawEllipse(points[-1], 2.5, 2.5)
        text = f"{self._losses[-1]:.3f}"
        width = painter.fontMetrics().horizontalAdvance(text)
        x = min(points[-1].x() + 6, box.right() - width - 4)
        y = points[-1].y() - 5
        painter.setPen(self._tones.text)
        painter.drawText(QPointF(x, y if y > box.top() + 12 else points[-1].y() + 15), text)
