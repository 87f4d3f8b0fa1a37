"""One foldable part of the dock, with its number in the loop."""

from __future__ import annotations

from typing import Any

from magicgui.widgets import Container
from qtpy.QtCore import Qt, QTimer, Signal
from qtpy.QtGui import QShowEvent
from qtpy.QtWidgets import QComboBox, QFrame, QLabel, QLayout, QPushButton, QSizePolicy, QVBoxLayout, QWidget

from napari_pixelcam.widgets.theme import Tones
from napari_pixelcam.widgets.wraprow import ShorteningButton, WrapRow


class Section(QWidget):
    """A titled, foldable box.

    Not superqt's `QCollapsible`, which fixes the height of its content when it unfolds and so cuts off what a
    section shows later, such as a message.

    Parameters
    ----------
    title
        What stands in its head.
    """

    folded_by_hand = Signal(bool)
    """The person has folded it (or unfolded it), which is remembered."""

    def __init__(self, title: str, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._title = title
        self._forms: list[Container[Any]] = []
        self.head = QPushButton()
        self.head.setCheckable(True)
        self.head.setFocusPolicy(Qt.FocusPolicy.TabFocus)
        self.head.setToolTip("Fold or unfold this section (space)")
        self.content = QWidget()
        self.body = QVBoxLayout(self.content)
        self.body.setContentsMargins(8, 2, 4, 8)
        self.body.setSpacing(6)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(0)
        layout.addWidget(self.head)
        layout.addWidget(self.content)
        self.head.toggled.connect(self._fold)
        self.head.setChecked(True)
        self.head.clicked.connect(lambda unfolded: self.folded_by_hand.emit(not unfolded))

    @property
    def called(self) -> str:
        """Its title for people, without number and mnemonic."""
        return self._title.lstrip("0123456789 ").replace("&&", "&")

    @property
    def folded(self) -> bool:
        """Whether only its head is to be seen."""
        return not self.head.isChecked()

    def fold(self) -> None:
        """Leave only the head in sight."""
        self.head.setChecked(False)

    def unfold(self) -> None:
        """Show all of it, as it is needed now."""
        self.head.setChecked(True)

    def _fold(self, unfolded: bool) -> None:
        self.content.setVisible(unfolded)
        self.head.setText(f"{'▾' if unfolded else '▸'}  {self._title}")

    def align_labels(self, form: Container[Any]) -> None:
        """Line the fields of a form up once its labels have the width of the theme's font."""
        self._forms.append(form)

    def showEvent(self, event: QShowEvent) -> None:
        """Line up the forms once they are drawn: before, a label does not know its font."""
        super().showEvent(event)
        for choice in self.content.findChildren(QComboBox):  # a long name must not widen the dock
            choice.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
            choice.setMinimumContentsLength(6)
            choice.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        QTimer.singleShot(0, self._line_up)

    def _line_up(self) -> None:
        # magicgui measures its labels in the program's font, which is smaller than that of napari's theme.
        for form in self._forms:
            width = max(self.fontMetrics().horizontalAdvance(field.label) for field in form) + 14
            for field in form:
                labelled = field._labeled_widget()
                if labelled is not None:
                    labelled.label_width = width

    def set_tones(self, tones: Tones) -> None:
        """Take the colours of another theme."""
        self.head.setStyleSheet(
            f"QPushButton {{ text-align: left; border: none; border-top: 1px solid {tones.line.name()};"
            f" border-radius: 0; background: transparent; color: {tones.text.name()};"
            " font-weight: bold; padding: 6px 2px 4px 2px; }"
            f"QPushButton:focus {{ border: 1px solid {tones.bar_first.name()}; }}"
        )
        for child in self.findChildren(QWidget):
            if child is not self and hasattr(child, "set_tones"):
                child.set_tones(tones)


def row(*items: QWidget | QLayout | None, spacing: int = 6) -> WrapRow:
    """Return widgets side by side, in several lines where there is no room; `None` leaves the rest empty."""
    layout = WrapRow(spacing, stretched=None not in items)
    for item in items:
        if item is None:
            continue
        if isinstance(item, QLayout):
            layout.addLayout(item)
        else:
            layout.addWidget(item)
    return layout


def button(text: str, tip: str, *, checkable: bool = False) -> QPushButton:
    """Return a push button with its tooltip."""
    made = ShorteningButton(text)
    made.setToolTip(tip)
    made.setCheckable(checkable)
    return made


def note(text: str = "") -> QLabel:
    """Return a wrapping line of text."""
    label = QLabel(text)
    label.setWordWrap(True)
    label.setFrameShape(QFrame.Shape.NoFrame)
    return label
