"""The keys go back to the image when a field of the dock is done with: none keeps the keyboard."""

from __future__ import annotations

from collections.abc import Callable

from qtpy.QtCore import QEvent, QObject, Qt
from qtpy.QtGui import QKeyEvent
from qtpy.QtWidgets import (
    QAbstractItemView,
    QAbstractSlider,
    QAbstractSpinBox,
    QApplication,
    QComboBox,
    QLineEdit,
    QScrollBar,
    QWidget,
)

_LEAVE = (Qt.Key.Key_Return, Qt.Key.Key_Enter, Qt.Key.Key_Escape)
_FIELDS = (QLineEdit, QAbstractSpinBox, QComboBox, QAbstractSlider, QAbstractItemView)
_TYPED_INTO = (QLineEdit, QAbstractSpinBox)
_KEYS = (QEvent.Type.KeyPress, QEvent.Type.ShortcutOverride)


class KeysBack(QObject):
    """Watches the fields within a widget.

    Return and Escape end what is typed and keep it; so does the choice from an unfolded list, and the mouse
    when it lets a slider go. Until then a letter that a field has no use for goes to the image all the same:
    Qt's lists and boxes of numbers would swallow it.

    Parameters
    ----------
    inside
        Whose fields are watched, those that are there now.
    give_back
        Puts the keyboard focus on the image.
    """

    def __init__(self, inside: QWidget, give_back: Callable[[], None]) -> None:
        super().__init__(inside)
        self._inside, self._give_back = inside, give_back
        for field in inside.findChildren(QWidget):
            if field.window() is not inside.window() or isinstance(field, QScrollBar):
                continue  # a list that unfolds is a window, and has the keys of its own while it is there
            if isinstance(field, _FIELDS):
                field.installEventFilter(self)
            if isinstance(field, QComboBox):
                field.view().window().installEventFilter(self)
            elif isinstance(field, QAbstractSlider):
                field.sliderReleased.connect(give_back)
        application = QApplication.instance()
        if application is not None:
            application.focusChanged.connect(self._on_focus)

    def close(self) -> None:
        """Watch no more where the focus goes."""
        application = QApplication.instance()
        if application is not None:
            application.focusChanged.disconnect(self._on_focus)

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        """Send keys where they belong."""
        if event.type() in _KEYS and isinstance(watched, _FIELDS):
            return self._on_key(watched, event)
        if event.type() == QEvent.Type.Hide and not isinstance(watched, _FIELDS):
            self._give_back()
        return super().eventFilter(watched, event)

    def _on_key(self, field: QWidget, event: QKeyEvent) -> bool:
        if event.key() in _LEAVE:
            if event.type() != QEvent.Type.KeyPress:
                return False
            if event.key() != Qt.Key.Key_Escape and isinstance(field, QAbstractItemView):
                return False  # it says itself what was chosen
            if event.key() != Qt.Key.Key_Escape:
                field.event(event)  # first it does what it does by itself, such as telling that it was edited
            self._give_back()
            return True
        plain = not event.modifiers() & ~Qt.KeyboardModifier.ShiftModifier
        if plain and _is_letter(event.text()) and not isinstance(field, QLineEdit):
            event.ignore()  # it goes on to the window, and so to the image
            return True
        return False

    def _on_focus(self, old: QWidget | None, new: QWidget | None) -> None:
        """Keep out of the fields that Qt goes on to where a button is switched off as it is pressed."""
        if not isinstance(new, _TYPED_INTO) or old is None or not self._inside.isAncestorOf(new):
            return
        if self._inside.isAncestorOf(old) and not (old.isEnabled() and old.isVisible()):
            self._give_back()


def _is_letter(text: str) -> bool:
    return text.isalpha() or text in ("[", "]", "?")
