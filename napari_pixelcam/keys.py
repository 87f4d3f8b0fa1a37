"""Every key of the plugin in one table: what is bound to the viewer is what the help sheet shows."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from napari.components import ViewerModel
    from napari.layers import Layer

SEEDS, VIEW, NAVIGATE, JUDGE, HELP = "Seeds", "View", "Navigate", "Judge", "Model & help"
DOCK = "Dock"
GROUPS = (SEEDS, VIEW, NAVIGATE, JUDGE, DOCK, HELP)
"""The groups of the sheet, in its order."""

_SPOKEN = {
    "Comma": ",", "Period": ".", "BracketLeft": "[", "BracketRight": "]",
    "Left": "←", "Right": "→", "Up": "↑", "Down": "↓", "Control": "Ctrl",
}  # fmt: skip


@dataclass(frozen=True)
class Key:
    """One line of the table.

    Parameters
    ----------
    name
        What the program calls the action, such as "lasso"; unique.
    key
        As napari writes it: "D", "Shift+D", "Ctrl+Z", "F1".
    group
        One of `GROUPS`.
    text
        What it does, as the sheet says it.
    press
        Called when the key goes down.
    release
        Called when a key that is held goes up again.
    """

    name: str
    key: str
    group: str
    text: str
    press: Callable[[], object]
    release: Callable[[], object] | None = None

    @property
    def shown(self) -> str:
        """The key as people read it on a keyboard."""
        return " + ".join(_SPOKEN.get(part, part) for part in self.key.split("+"))


class Keys:
    """The table of one dock; binds each key to the viewer as it is added.

    napari asks the active layer first and the viewer then, so a key that a layer type has for itself (P, F,
    L, Z, M, X, B and 1 to 7 on Labels) never arrives here; choose another, or use `bind_layer`.

    Parameters
    ----------
    viewer
        A viewer or a bare `ViewerModel`.
    """

    def __init__(self, viewer: ViewerModel) -> None:
        self._viewer = viewer
        self._keys: dict[str, Key] = {}
        self._before: dict[str, Any] = {}

    def add(
        self,
        name: str,
        key: str,
        group: str,
        text: str,
        press: Callable[[], object],
        *,
        release: Callable[[], object] | None = None,
    ) -> None:
        """Bind a key and put it on the sheet.

        Raises
        ------
        ValueError
            The name or the key is in the table already, or there is no such group.
        """
        if name in self._keys or any(other.key == key for other in self._keys.values()):
            raise ValueError(f"{name!r} or the key {key} is taken already")
        if group not in GROUPS:
            raise ValueError(f"there is no group {group!r}")
        entry = Key(name, key, group, text, press, release)
        self._before[key] = self._viewer.bind_key(key, _handler(entry), overwrite=True)
        self._keys[name] = entry

    def bind_layer(self, layer: Layer, names: tuple[str, ...]) -> None:
        """Bind some of the table's keys to a layer too, whose type has keys of its own that would win."""
        for name in names:
            layer.bind_key(self._keys[name].key, _handler(self._keys[name]), overwrite=True)

    def __getitem__(self, name: str) -> Key:
        """Return the line of that name."""
        return self._keys[name]

    def __contains__(self, name: object) -> bool:
        return name in self._keys

    def __iter__(self) -> Iterator[Key]:
        return iter(self._keys.values())

    def groups(self) -> list[tuple[str, list[Key]]]:
        """Return the groups that have keys, each with its lines in the order they were added."""
        found = [(group, [key for key in self if key.group == group]) for group in GROUPS]
        return [(group, keys) for group, keys in found if keys]

    def close(self) -> None:
        """Give the keys back to whom they belonged before."""
        for key, before in self._before.items():
            self._viewer.bind_key(key, before, overwrite=True)
        self._before.clear()
        self._keys.clear()


def _handler(entry: Key) -> Callable[[Any], Any]:
    """Return what napari calls; it tells a held key by a generator function, and asks each for its name."""
    release = entry.release
    if release is None:

        def pressed(provider: Any) -> None:
            entry.press()

        return pressed

    def held(provider: Any) -> Iterator[None]:
        entry.press()
        yield
        release()

    return held
