"""The one place that knows when, and where, the seeds of an image change."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

import numpy as np
from napari.layers import Labels
from psygnal import Signal

from pixelcam.seeds.seedmap import CHUNK, SeedMap

if TYPE_CHECKING:
    from napari_pixelcam.background import Background
    from napari_pixelcam.controllers.session import ImageRecord


class SeedWatch:
    """Follows the seed layers of a session's images, and holds what is painted on each.

    napari tells of a change in four ways: ``labels_update`` names the box of each dab of a stroke, ``paint``
    says that a step was added to the layer's history, ``set_data`` that the layer is drawn anew, after Undo
    as after anything else, and ``data`` that its array is another. An invisible layer says nothing of Undo.
    So what has changed is read off the history, whose steps name their pixels; where the layer is drawn anew
    and no step has come or gone, all of it is compared, in the background.

    Parameters
    ----------
    background
        Where whole layers are compared.
    """

    edited = Signal(object, bool)
    """The seeds of this record may be others now; whether that ends an edit, or a stroke still goes on."""

    def __init__(self, background: Background) -> None:
        self._background = background
        self._watched: WeakKeyDictionary[ImageRecord, _Watched] = WeakKeyDictionary()

    def follow(self, record: ImageRecord) -> None:
        """Watch the seed layer that a record has now."""
        layer, watched = record.seeds, self._watched.get(record)
        if layer is None:
            self._watched.pop(record, None)
        elif watched is None or watched.layer is not layer:
            watched = self._watched[record] = _Watched(layer)
            for name, callback in (
                ("labels_update", self._on_update),
                ("paint", self._on_paint),
                ("set_data", self._on_redrawn),
                ("data", self._on_redrawn),
            ):
                getattr(layer.events, name).connect(partial(callback, record, watched))
            self._compare(record, watched)

    def forget(self, record: ImageRecord) -> None:
        """Let go of an image that is gone, which would be held by what is known of its layer."""
        self._watched.pop(record, None)

    def seeds(self, record: ImageRecord) -> SeedMap | None:
        """Return what is painted now, `None` where there is no seed layer."""
        watched = self._watched.get(record)
        return None if watched is None else watched.read()

    def look(self, record: ImageRecord, *, everywhere: bool = False) -> None:
        """Notice what napari has told nobody of; call it now and then, and after Undo.

        With `everywhere` all of the layer is compared before this returns.
        """
        watched = self._watched.get(record)
        if watched is None:
            return
        if everywhere:
            watched.mark_keys(watched.map.differing(np.asarray(watched.layer.data)))
        if watched.mark_history() or watched.late or everywhere:
            watched.late = False
            self.edited.emit(record, True)

    def _on_update(self, record: ImageRecord, watched: _Watched, event: Any) -> None:
        (top, left), (height, width) = event.offset, event.data.shape
        watched.mark(slice(top, top + height), slice(left, left + width))
        self._tell(record, watched, ended=not watched.layer._block_history)

    def _on_paint(self, record: ImageRecord, watched: _Watched, event: Any) -> None:
        watched.mark_history()
        # Outside of a stroke napari says so just before it writes; what comes after tells of it again.
        if watched.layer._block_history:
            self._tell(record, watched, ended=True)
        else:
            watched.late = True

    def _on_redrawn(self, record: ImageRecord, watched: _Watched, event: Any) -> None:
        if watched.mark_history():
            self._tell(record, watched, ended=True)
        else:
            self._compare(record, watched)

    def _tell(self, record: ImageRecord, watched: _Watched, *, ended: bool) -> None:
        if ended:
            watched.late = False
        if record.seeds is watched.layer:
            self.edited.emit(record, ended)

    def _compare(self, record: ImageRecord, watched: _Watched) -> None:
        if watched.comparing:
            watched.unsure = True
            return
        watched.comparing, watched.unsure = True, False
        known, labels = watched.read(), np.asarray(watched.layer.data)
        self._background.submit(
            lambda task: known.differing(labels),
            done=partial(self._compared, record, watched),
            failed=lambda error: self._compared(record, watched, known.keys()),
        )

    def _compared(self, record: ImageRecord, watched: _Watched, keys: Iterable[tuple[int, int]]) -> None:
        watched.comparing = False
        before = watched.read()
        watched.mark_keys(keys)
        if watched.unsure:
            self._compare(record, watched)
        if watched.read() is not before:
            self._tell(record, watched, ended=True)


class _Watched:
    """A seed layer, its content as last read, and the chunks that may differ since."""

    def __init__(self, layer: Labels) -> None:
        self.layer = layer
        self.late = False
        self.comparing = False
        self.unsure = False
        self._known: dict[int, Any] = {}
        self._start()
        self.mark_history()

    def _start(self) -> None:
        self.map = SeedMap(tuple(self.layer.data.shape))
        self._dirty = np.zeros([-(-side // CHUNK) for side in self.map.shape], bool)

    def read(self) -> SeedMap:
        """Return what is painted now."""
        labels = np.asarray(self.layer.data)
        if labels.shape != self.map.shape:
            self._start()
            self._dirty[:] = True
        if self._dirty.any():
            keys = zip(*(each.tolist() for each in np.nonzero(self._dirty)), strict=True)
            self._dirty[:] = False
            self.map = self.map.updated(labels, keys)
        return self.map

    def mark(self, rows: slice, columns: slice) -> None:
        """Note that pixels of a box may have changed."""
        first = rows.start // CHUNK, columns.start // CHUNK
        self._dirty[first[0] : -(-rows.stop // CHUNK), first[1] : -(-columns.stop // CHUNK)] = True

    def mark_keys(self, keys: Iterable[tuple[int, int]]) -> None:
        """Note that chunks may have changed."""
        for row, column in keys:
            if row < self._dirty.shape[0] and column < self._dirty.shape[1]:
                self._dirty[row, column] = True

    def mark_history(self) -> bool:
        """Note the pixels of the steps that were done or undone since last; return whether there are any.

        Each is a list of its own: a step that is undone or done again is put into a new one.
        """
        steps = [*self.layer._undo_history, *self.layer._redo_history]
        now = {id(step): step for step in steps}
        moved = [step for key, step in now.items() if key not in self._known]
        moved += [step for key, step in self._known.items() if key not in now]
        self._known = now
        for step in moved:
            for atom in step:
                if hasattr(atom, "slice_key"):
                    self.mark(*atom.slice_key)
                else:
                    rows, columns = atom[0]
                    self._dirty[rows // CHUNK, columns // CHUNK] = True
        return bool(moved)
