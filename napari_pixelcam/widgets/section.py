"""One foldable part of the dock, with its number in the loop."""

from __future__ import annotations

from qtpy.QtCore import Qt
from qtpy.QtWidgets import QFrame, QHBoxLayout, QLabel, QLayout, QPushButton, QVBoxLayout, QWidget
from superqt import QCollapsible

from napari_pixelcam.widgets.theme import Tones


class Section(QCollapsible):
    """A titled, foldable box.

    Parameters
    ----------
    title
        What stands in its head.
    """

    def __init__(self, title: str, parent: QWidget | None = None) -> None:
        super().__init__(title, parent)
        self.setDuration(0)  # an animation would leave a half-open box in the way of the keyboard
        self.layout().setContentsMargins(0, 0, 0, 0)
        body = QWidget()
        self.body = QVBoxLayout(body)
        self.body.setContentsMargins(10, 2, 4, 8)
        self.body.setSpacing(6)
        self.setContent(body)
        self.toggleButton().setFocusPolicy(Qt.FocusPolicy.TabFocus)
        self.toggleButton().setToolTip("Fold or unfold this section")
        self.expand(animate=False)

    def toggleButton(self) -> QPushButton:
        """Return the head, which folds and unfolds the section."""
        button: QPushButton = self._toggle_btn  # superqt gives no other way to style its head
        return button

    def set_tones(self, tones: Tones) -> None:
        """Take the colours of another theme."""
        self.toggleButton().setStyleSheet(
            f"QPushButton {{ text-align: left; border: none; border-top: 1px solid {tones.line.name()};"
            f" border-radius: 0; background: transparent; color: {tones.text.name()};"
            " font-weight: bold; padding: 6px 2px 4px 2px; }"
            f"QPushButton:focus {{ border: 1px solid {tones.bar_first.name()}; }}"
        )
        for child in self.findChildren(QWidget):
            if child is not self and hasattr(child, "set_tones"):
                child.set_tones(tones)


def row(*items: QWidget | QLayout | None, spacing: int = 6) -> QHBoxLayout:
    """Return widgets side by side; `None` is a stretch."""
    layout = QHBoxLayout()
    layout.setContentsMargins(0, 0, 0, 0)
    layout.setSpacing(spacing)
    for item in items:
        if item is None:
            layout.addStretch(1)
        elif isinstance(item, QLayout):
            layout.addLayout(item)
        else:
            layout.addWidget(item)
    return layout


def button(text: str, tip: str, *, checkable: bool = False) -> QPushButton:
    """Return a push button with its tooltip."""
    made = QPushButton(text)
    made.setToolTip(tip)
    made.setCheckable(checkable)
    return made


def note(text: str = "") -> QLabel:
    """Return a wrapping line of text."""
    label = QLabel(text)
    label.setWordWrap(True)
    label.setFrameShape(QFrame.Shape.NoFrame)
    return label
