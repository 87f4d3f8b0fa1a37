"""A line of text that can be an error, a warning or good news, and looks it in every theme."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import PurePath

from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import QHBoxLayout, QLabel, QSizePolicy, QToolButton, QWidget

from napari_pixelcam.widgets.theme import Tones

_SIGNS = {"error": "⚠", "warning": "⚠", "good": "✓", "info": ""}


Subject = Callable[[], object]
"""Returns what a message speaks of, as it is now: a thing, a value, or a tuple of these."""


class Message(QWidget):
    """A message with a coloured edge; hidden while it has nothing to say.

    A message goes when what it speaks of goes: `look` compares its subject with what that was as it was said.

    Parameters
    ----------
    closable
        Whether the user can wave it away.
    """

    outlived = Signal(str)
    """What this message spoke of is gone, and so is the message, with this text."""

    def __init__(self, *, closable: bool = False, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._level, self._tones = "info", Tones.of("dark")
        self._said = ""
        self._subject: Subject | None = None
        self._was: object = None
        self._label = QLabel()
        self._label.setWordWrap(True)
        self._label.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        self._label.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Preferred)
        self._label.setOpenExternalLinks(True)
        layout = QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(2)
        layout.addWidget(self._label, 1)
        if closable:
            button = QToolButton()
            button.setText("✕")
            button.setToolTip("Hide this message")
            button.setAccessibleName("Hide this message")
            button.setAutoRaise(True)
            button.clicked.connect(self.clear)
            layout.addWidget(button, 0, Qt.AlignmentFlag.AlignTop)
        self.hide()

    @property
    def text(self) -> str:
        """What it says, empty while it is hidden."""
        return self._label.text() if not self.isHidden() else ""

    @property
    def level(self) -> str:
        """One of "info", "good", "warning" and "error"."""
        return self._level

    @property
    def link_colour(self) -> str:
        """A colour for links that can be read on the theme's background; Qt's own blue cannot."""
        return self._tones.bar_first.name()

    def say(
        self, text: str, level: str = "info", *, rich: bool = False, about: Subject | None = None
    ) -> None:
        """Show a text; an empty one hides the message.

        Parameters
        ----------
        about
            What the text speaks of; `None` where whoever says it also takes it back.
        """
        self._level, self._said = level, text
        self._subject = about if text else None
        self._was = about() if text and about is not None else None
        sign = _SIGNS[level]
        self._label.setTextFormat(Qt.TextFormat.RichText if rich else Qt.TextFormat.PlainText)
        self._label.setText(f"{sign} {text}" if sign else text)
        if rich:  # keyboard users reach links only where they are told to be reachable
            self._label.setTextInteractionFlags(Qt.TextInteractionFlag.TextBrowserInteraction)
        self._paint()
        self.setVisible(bool(text))

    def clear(self) -> None:
        """Hide it."""
        self.say("")

    def look(self) -> None:
        """Hide it where what it speaks of is not what it was."""
        if self._subject is not None and not _same(self._subject(), self._was):
            self._outlive()

    def forget(self, text: str) -> None:
        """Hide it where it says this, which is out of date."""
        if text and text == self._said:
            self._outlive()

    def _outlive(self) -> None:
        text = self._said
        self.clear()
        self.outlived.emit(text)

    def set_tones(self, tones: Tones) -> None:
        """Take the colours of another theme."""
        self._tones = tones
        self._paint()

    def _paint(self) -> None:
        tones = self._tones
        edge = {"error": tones.error, "warning": tones.warning, "good": tones.good}.get(self._level)
        if edge is None:
            self._dress(f"QLabel {{ color: {tones.text.name()}; }}")
            return
        weight = "bold" if self._level == "error" else "normal"
        colour = tones.text if self._level == "good" else edge
        self._dress(
            f"QLabel {{ color: {colour.name()}; font-weight: {weight};"
            f" border-left: 3px solid {edge.name()}; padding: 3px 0 3px 7px; }}"
        )

    def _dress(self, sheet: str) -> None:
        if sheet != self._label.styleSheet():  # Qt lays out and paints anew even where nothing is
            self._label.setStyleSheet(sheet)


def _same(now: object, before: object) -> bool:
    """Return whether a subject is what it was; things with a life of their own are compared by identity."""
    if isinstance(now, tuple) and isinstance(before, tuple):
        return len(now) == len(before) and all(map(_same, now, before))
    plain = isinstance(now, str | int | float | frozenset | PurePath)
    return now is before or (plain and now == before)
