"""The threshold's slider: superqt's, taught the keyboard, with a mark at the model's default."""

from __future__ import annotations

from qtpy.QtCore import QEvent, QObject, QPoint, QPointF, QSize, Qt
from qtpy.QtGui import QKeyEvent, QPainter, QPaintEvent, QPolygonF
from qtpy.QtWidgets import QSizePolicy, QWidget
from superqt import QLabeledDoubleSlider

from napari_pixelcam.widgets.theme import Tones

_HANDLE = 12
_STEPS = {
    Qt.Key.Key_Left: -0.01,
    Qt.Key.Key_Down: -0.01,
    Qt.Key.Key_Right: 0.01,
    Qt.Key.Key_Up: 0.01,
    Qt.Key.Key_PageDown: -0.1,
    Qt.Key.Key_PageUp: 0.1,
    Qt.Key.Key_Home: -1.0,
    Qt.Key.Key_End: 1.0,
}


class ThresholdSlider(QLabeledDoubleSlider):
    """A slider from 0 to 1 in thousandths, with its value beside it in a box that can be typed into."""

    def __init__(self) -> None:
        super().__init__(Qt.Orientation.Horizontal)
        self.setRange(0, 1)
        self.setDecimals(3)
        self.setSingleStep(0.01)
        self.setToolTip(
            "Pixels at or above this probability are foreground. "
            "Arrow keys move it by 0.01, page keys by 0.1."
        )
        self.setAccessibleName("Threshold")
        self.groove = self._slider  # the bare slider inside superqt's labelled one
        self.groove.setAccessibleName("Threshold")
        self.groove.installEventFilter(self)
        self.setFocusProxy(self.groove)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        """Move with the keys, which superqt's slider for floats does not heed."""
        if watched is self.groove and event.type() == QEvent.Type.KeyPress and event.key() in _STEPS:
            if event.modifiers() & ~Qt.KeyboardModifier.KeypadModifier:
                event.ignore()  # Shift and an arrow is another key, and goes on to the image
                return True
            self.setValue(min(max(self.value() + _STEPS[event.key()], 0.0), 1.0))
            return True
        return bool(super().eventFilter(watched, event))

    def keyPressEvent(self, event: QKeyEvent) -> None:
        """Let on to the image what the groove has no use for."""
        event.ignore()


class DefaultMark(QWidget):
    """A small mark under a slider's groove at one value."""

    def __init__(self, slider: ThresholdSlider) -> None:
        super().__init__()
        self._slider = slider
        self._value: float | None = None
        self._tones = Tones.of("dark")
        self.setFixedHeight(8)

    def show_default(self, value: float | None) -> None:
        """Mark this value, or none."""
        self._value = value
        self.setToolTip("" if value is None else f"The model's default, {value:.2f}")
        self.update()

    def set_tones(self, tones: Tones) -> None:
        """Take the colours of another theme."""
        self._tones = tones
        self.update()

    def sizeHint(self) -> QSize:
        """Return a thin strip."""
        return QSize(50, 8)

    def paintEvent(self, event: QPaintEvent) -> None:
        """Draw a small triangle below the groove."""
        if self._value is None:
            return
        groove = self._slider.groove
        left = self.mapFromGlobal(groove.mapToGlobal(QPoint(0, 0))).x()
        x = left + _HANDLE / 2 + (groove.width() - _HANDLE) * self._value
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(self._tones.text)
        painter.drawPolygon(QPolygonF([QPointF(x, 0), QPointF(x - 4, 7), QPointF(x + 4, 7)]))
        painter.end()
