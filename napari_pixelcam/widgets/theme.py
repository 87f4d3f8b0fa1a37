"""The colours of napari's current theme, for what is painted by hand or marked by colour."""

from __future__ import annotations

from dataclasses import dataclass

from napari.utils.theme import get_theme
from qtpy.QtGui import QColor


@dataclass(frozen=True)
class Tones:
    """The colours that the dock's own painting uses.

    Parameters
    ----------
    text, faint, line, ground
        Writing, secondary writing, frames and bar grooves, the dock's background.
    warning, error, good
        Marks beside messages.
    bar, bar_first
        A class's bar, and the bar of the predicted class.
    """

    text: QColor
    faint: QColor
    line: QColor
    ground: QColor
    warning: QColor
    error: QColor
    good: QColor
    bar: QColor
    bar_first: QColor

    @classmethod
    def of(cls, theme_name: str) -> Tones:
        """Return the colours that go with a napari theme."""
        theme = get_theme(theme_name)
        dark = theme.type == "dark"
        text, ground = QColor(theme.text.as_hex("long")), QColor(theme.background.as_hex("long"))
        return cls(
            text=text,
            faint=_mix(text, ground, 0.35),
            line=_mix(text, ground, 0.8),
            ground=ground,
            warning=QColor("#E8A317" if dark else "#9A6200"),
            error=QColor("#FF6B6B" if dark else "#B3261E"),
            good=QColor("#5CC8A0" if dark else "#00694A"),
            bar=_mix(text, ground, 0.55),
            bar_first=QColor("#5AA9F0" if dark else "#1F6FC0"),
        )


def _mix(first: QColor, second: QColor, share: float) -> QColor:
    """Return a colour that lies the given share of the way from the first to the second."""
    pairs = zip(first.getRgb()[:3], second.getRgb()[:3], strict=True)
    return QColor(*(round(a + (b - a) * share) for a, b in pairs))
