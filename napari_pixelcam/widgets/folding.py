"""Which sections of the dock are folded: as the person left them, and on a small screen those not in use."""

from __future__ import annotations

from collections.abc import Mapping

from napari_pixelcam.preferences import keep_folded, load_folded
from napari_pixelcam.widgets.section import Section

SMALL = 700
"""Height in pixels of a screen below which sections that are not in use are folded by themselves."""


class Folding:
    """Folds and unfolds the sections, and remembers what the person did with them.

    Parameters
    ----------
    sections
        By the name under which they are remembered.
    """

    def __init__(self, sections: Mapping[str, Section]) -> None:
        self._sections = dict(sections)
        self._by_hand = {name: folded for name, folded in load_folded().items() if name in sections}
        for name, section in self._sections.items():
            section.folded_by_hand.connect(lambda folded, name=name: self._remember(name, folded))
            if self._by_hand.get(name):
                section.fold()

    def fit(self, height: int, used: Mapping[str, bool]) -> None:
        """Fold on a small screen what is not in use, but for what the person wants to see."""
        if height < SMALL:
            for name, section in self._sections.items():
                if name not in self._by_hand and not used[name]:
                    section.fold()

    def need(self, *names: str) -> None:
        """Unfold what is in use from now on, but for what the person has folded."""
        for name in names:
            if not self._by_hand.get(name):
                self._sections[name].unfold()

    def _remember(self, name: str, folded: bool) -> None:
        self._by_hand[name] = folded
        keep_folded(self._by_hand)
