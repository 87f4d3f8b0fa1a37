"""A button that unfolds into things to tick, and says which are ticked."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from qtpy.QtCore import QEvent, QObject, Qt, Signal
from qtpy.QtGui import QAction, QKeyEvent
from qtpy.QtWidgets import QMenu, QPushButton, QSizePolicy, QWidget

_NAMED = 2
"""As many ticked things as the button has room to name."""


class Choice(NamedTuple):
    """One thing to tick: its name in the program, what people read, and a sentence on it."""

    name: str
    text: str
    tip: str


class ChoiceButton(QPushButton):
    """Takes the room of one control, whatever the number of choices; its menu stays open while one ticks.

    Parameters
    ----------
    choices
        What can be ticked, in order.
    chosen
        The names of what is ticked at first.
    title
        What all of it is, for screen readers and the tooltip.
    """

    changed = Signal()

    def __init__(
        self, choices: Iterable[Choice], chosen: Iterable[str], title: str, parent: QWidget | None = None
    ) -> None:
        super().__init__(parent)
        self.setAccessibleName(title)
        # A long list of ticked things must not widen the dock.
        self.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)
        self._title = title
        self._menu = QMenu(self)
        self._menu.setToolTipsVisible(True)
        self._menu.installEventFilter(self)
        chosen = set(chosen)
        for choice in choices:
            action = QAction(choice.text, self._menu)
            action.setCheckable(True)
            action.setChecked(choice.name in chosen)
            action.setToolTip(choice.tip)
            action.setData(choice.name)
            action.toggled.connect(lambda on: self._tell())
            self._menu.addAction(action)
        self.setMenu(self._menu)
        self._tell()

    @property
    def chosen(self) -> tuple[str, ...]:
        """The names of what is ticked, in the order of the menu."""
        return tuple(action.data() for action in self._menu.actions() if action.isChecked())

    def choose(self, *names: str) -> None:
        """Tick these and no others."""
        for action in self._menu.actions():
            action.setChecked(action.data() in names)

    def _tell(self) -> None:
        texts = [action.text() for action in self._menu.actions() if action.isChecked()]
        more = f" and {len(texts) - _NAMED} more" if len(texts) > _NAMED else ""
        self.setText(", ".join(texts[:_NAMED]) + more or "none")
        self.setToolTip(f"{self._title}: {', '.join(texts) or 'nothing is written'}")
        self.changed.emit()

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        """Tick without closing the menu, by mouse as by space."""
        pressed = isinstance(event, QKeyEvent) and event.type() == QEvent.Type.KeyPress
        ticked = pressed and event.key() == Qt.Key.Key_Space
        clicked = event.type() == QEvent.Type.MouseButtonRelease
        action = self._menu.activeAction() if ticked or clicked else None
        if watched is self._menu and action is not None:
            action.toggle()
            return True
        return super().eventFilter(watched, event)
