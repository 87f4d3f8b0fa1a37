"""The reviewer's seeds: a Labels layer, painted, proposed into, undone, and kept on disk as it grows."""

from __future__ import annotations

import time
from datetime import datetime
from functools import partial
from typing import Any
from weakref import WeakKeyDictionary, WeakSet

import numpy as np
from napari.layers import Labels
from numpy.typing import NDArray
from psygnal import Signal

from napari_pixelcam.background import Task
from napari_pixelcam.controllers.autosave import Autosaver, Save
from napari_pixelcam.controllers.seedstate import LARGEST_BRUSH, Brush, SeedState, brush_of
from napari_pixelcam.controllers.session import ImageRecord, Session
from napari_pixelcam.images import LayerSource, slide_of
from napari_pixelcam.keeping import FolderKeeper, Keeper, Kept, project_image
from napari_pixelcam.seedgrid import (
    BACKGROUND,
    FOREGROUND,
    fill_unlabelled,
    new_layer,
    onto_seed_grid,
    overwrite,
)
from pixelcam.errors import PixelCAMError, SeedsError
from pixelcam.seeds.seedmap import SeedMap
from pixelcam.slides import Slide

RECOUNT = 0.1
"""Seconds after a change until the pixels are counted, so that a stroke is counted once."""


class SeedsController:
    """Makes and watches the seed layers of a session's images.

    Parameters
    ----------
    session
        The dock's shared state.
    autosaver
        What keeps the seeds.
    """

    changed = Signal(object)
    """The state of the chosen image is now this `SeedState`."""
    restored = Signal(object, int)
    """Seeds of this record came back from disk, this many pixels."""
    proposed = Signal(int)
    """This many pixels were proposed."""
    save_failed = Signal(str)

    def __init__(self, session: Session, autosaver: Autosaver) -> None:
        self.session, self.autosaver = session, autosaver
        self._counted: WeakKeyDictionary[ImageRecord, SeedMap] = WeakKeyDictionary()
        self._saved: WeakKeyDictionary[ImageRecord, datetime] = WeakKeyDictionary()
        self._identified: WeakSet[ImageRecord] = WeakSet()
        self._warned: WeakSet[ImageRecord] = WeakSet()
        self._failures: dict[ImageRecord, str] = {}
        self._touched: dict[ImageRecord, float] = {}
        self._kinds: WeakKeyDictionary[ImageRecord, str] = WeakKeyDictionary()
        self.folder = FolderKeeper(session)
        self.keeper: Keeper = self.folder
        self._proposals = 0
        self.brush_size = session.preferences.brush_size
        session.image_changed.connect(self._on_image)
        session.seeds_changed.connect(lambda record: self._emit())
        session.seeds_leaving.connect(self._on_leaving)
        session.watch.edited.connect(lambda record, ended: self._touch(record))
        autosaver.saved.connect(self._on_saved)
        autosaver.warned.connect(lambda message: session.notified.emit("warning", message, session.at_hand))
        autosaver.failed.connect(self._on_save_failed)
        self._on_image(session.record)

    # What is shown.

    @property
    def state(self) -> SeedState:
        """What holds for the chosen image."""
        record, failure = self.session.record, self._failure()
        if record is None:
            return SeedState(failure=failure)
        saved, clean = (
            self._saved.get(record),
            self.autosaver.is_clean(record) and record not in self._touched,
        )
        layer = record.seeds
        if layer is None:
            return SeedState(saved=saved, clean=clean, failure=failure)
        background, foreground = self.counts(record)
        return SeedState(
            foreground=foreground,
            background=background,
            brush=brush_of(layer, active=self.session.viewer.layers.selection.active is layer),
            can_undo=bool(layer._undo_history),
            can_redo=bool(layer._redo_history),
            saved=saved,
            clean=clean,
            failure=failure,
        )

    def _failure(self) -> str:
        """Return why seeds are not kept so far, those of the image at hand before others'."""
        record = self.session.record
        if record in self._failures:
            return self._failures[record]
        return next((f"Seeds of {other.name!r}: {why}" for other, why in self._failures.items()), "")

    def painted(self) -> tuple[object, ...]:
        """Return what messages on strokes speak of: the image, and the last step that can be undone."""
        record = self.session.record
        if record is None or record.seeds is None or not record.seeds._undo_history:
            return record, None
        return record, record.seeds._undo_history[-1]

    def counts(self, record: ImageRecord) -> tuple[int, int]:
        """Return the background and foreground pixels of a record's seeds, as last counted."""
        counted = self._counted.get(record)
        return (0, 0) if counted is None else (counted.background, counted.foreground)

    def tick(self) -> None:
        """Count what was painted and save what is due; call it several times a second."""
        self.session.tick()
        now = time.monotonic()
        for record in self.session.records():
            self.session.watch.look(record)
        for record in [record for record, since in self._touched.items() if now - since >= RECOUNT]:
            del self._touched[record]
            self._recount(record)
        self.autosaver.tick()

    def flush(self) -> None:
        """Count and save everything now, as before an export or when the window closes."""
        for record in list(self._touched):
            self.session.watch.look(record, everywhere=True)
            del self._touched[record]
            self._recount(record)
        self.autosaver.flush()

    # What the user does.

    def take(self, brush: Brush) -> None:
        """Take a brush in hand; makes the seed layer where there is none."""
        record = self.session.record
        if record is None:
            self.session.notified.emit("error", "Open an image before painting seeds.")
            return
        record = self.session.check(record)
        if self._is_locked(record):
            return
        try:
            layer = self._layer(record)
        except PixelCAMError as error:
            self.session.report(error)
            return
        self.session.viewer.layers.selection.active = layer
        for one in (layer, record.layer):
            if not one.visible:
                one.visible = True  # who paints sees what is painted on
        if unseen := self.session.out_of_sight(record):
            self.session.notified.emit("warning", f"You paint on what is not to be seen. {unseen}")
        if brush == "eraser":
            layer.mode = "erase"
        else:
            layer.selected_label = FOREGROUND if brush == "foreground" else BACKGROUND
            layer.mode = "paint"
        self._emit()

    def put_away(self) -> None:
        """Put the brush down, so that dragging moves the view again."""
        record = self.session.record
        if record is not None and record.seeds is not None:
            record.seeds.mode = "pan_zoom"
            self._emit()

    def set_brush_size(self, size: int) -> None:
        """Set the brushes' diameter in pixels of the seed layer."""
        size = min(max(size, 1), LARGEST_BRUSH)
        self.brush_size = size
        record = self.session.record
        if record is not None and record.seeds is not None and record.seeds.brush_size != size:
            record.seeds.brush_size = size
        self._emit()

    def propose(self) -> None:
        """Add seeds where the map is sure, as one undo step, never over what the reviewer has painted."""
        record = self.session.record
        if record is not None and self._is_locked(record):
            return
        if record is None or record.result is None:
            self.session.notified.emit(
                "error",
                "Localize the image first: seeds are proposed from its map.",
                self.session.map_at_hand,
            )
        else:
            self.session.when_whole(record, partial(self._propose, record))

    def _propose(self, record: ImageRecord) -> None:
        assert record.result is not None
        found, count = record.result.localization, self.session.preferences.proposals
        threshold = found.threshold if record.threshold is None else record.threshold
        draw = self._proposals  # each request draws another set, so that asking again gives more
        self._proposals += 1

        def work(task: Task) -> NDArray[np.uint8]:
            from pixelcam.seeds import propose_seeds

            return propose_seeds(found.foreground, count=count, threshold=threshold, seed=draw)

        self.session.background.submit(
            work, done=partial(self._take_proposal, record), failed=self.session.report
        )

    def _take_proposal(self, record: ImageRecord, proposal: NDArray[np.uint8]) -> None:
        if not self.session.holds(record) or record.result is None:
            return
        layer = self._layer(record)
        self.note_kind(record, "proposal")
        added = fill_unlabelled(layer, onto_seed_grid(proposal, layer.data.shape, record))
        self.proposed.emit(added)
        if not added:
            self.session.notified.emit(
                "info",
                "Nothing to propose: the map is the same everywhere, or all is painted.",
                lambda: (*self.session.map_at_hand(), *self.painted()),
            )

    def undo(self) -> None:
        """Take the last stroke or proposal back."""
        record = self.session.record
        if record is not None and record.seeds is not None:
            self.note_kind(record, "undo")
            record.seeds.undo()
            self.session.watch.look(record)
            self._emit()

    def redo(self) -> None:
        """Do again what was taken back."""
        record = self.session.record
        if record is not None and record.seeds is not None:
            self.note_kind(record, "redo")
            record.seeds.redo()
            self.session.watch.look(record)
            self._emit()

    def correct_label(self, label: str | None) -> None:
        """Note what the reviewer says of the image's class; `None` for no opinion."""
        record = self.session.record
        if record is None or record.corrected_label == label or self._is_locked(record):
            return
        record.corrected_label = label
        if record.seeds is None:
            self._layer(record)
        self._mark(record)
        self._emit()

    # The seed layer.

    def _is_locked(self, record: ImageRecord) -> bool:
        """Say why nothing is painted on an image, where that is so, and return whether."""
        reason = self._obstacle(record)
        if reason:
            self.session.notified.emit(
                "warning", reason, lambda: (self.session.record, self._obstacle(record))
            )
        return bool(reason)

    def _obstacle(self, record: ImageRecord) -> str:
        """Return why nothing can be painted on an image, as a sentence; empty where it can."""
        other = self._twin(record)
        if other is not None and record.seeds is None:
            return (
                f"{record.name!r} is the same image as {other.name!r}, which has seeds already: paint there."
            )
        return self.keeper.obstacle(record)

    def _twin(self, record: ImageRecord) -> ImageRecord | None:
        """Return another layer of the same image that has seeds, which are kept in the same place."""
        if project_image(record) is not None:
            return None
        others = (one for one in self.session.records() if one is not record and one.seeds is not None)
        return next((one for one in others if _is_same(one, record)), None)

    def _layer(self, record: ImageRecord) -> Labels:
        """Return the seed layer; a new one gets back what is on disk, as after the user deleted the layer."""
        if record.seeds is None:
            if project_image(record) is not None and record.slide is not None:
                # At once: what is painted before the project's seeds are back would be taken for all of them.
                kept = self.keeper.find(record, record.slide)
                assert kept is not None
                self.adopt(record, kept)
            else:
                self._make_layer(record)
                self._identify(record, again=True)
        assert record.seeds is not None
        return record.seeds

    def _make_layer(self, record: ImageRecord) -> Labels:
        layer = new_layer(record)
        layer.brush_size = self.brush_size
        layer.selected_label = FOREGROUND
        record.seeds = layer
        with self.session.quietly():
            self.session.viewer.add_layer(layer)
        layer.editable = not self.keeper.obstacle(record)
        for name in ("mode", "selected_label", "brush_size"):
            getattr(layer.events, name).connect(partial(self._on_tool, record, layer))
        self.session.seeds_changed.emit(record)
        self._count(record)
        return layer

    def _count(self, record: ImageRecord) -> bool:
        """Count the seeds; return whether they are others than when last counted."""
        now, before = self.session.watch.seeds(record), self._counted.get(record)
        if now is None or (before is not None and now.equals(before)):
            return False
        self._counted[record] = now
        return True

    def note_kind(self, record: ImageRecord, kind: str) -> None:
        """Say what the change is that was just made, for a project's journal."""
        self._kinds[record] = kind

    def _touch(self, record: ImageRecord) -> None:
        # What is shown of it waits for the counting: painting the dock would hold up the stroke and the map.
        self._touched[record] = time.monotonic()

    def _on_tool(self, record: ImageRecord, layer: Labels, event: Any = None) -> None:
        if layer.selected_label > FOREGROUND:  # napari's own keys count labels upwards without end
            layer.selected_label = FOREGROUND
        if layer.brush_size > LARGEST_BRUSH:
            layer.brush_size = LARGEST_BRUSH
        if record is self.session.record and layer.brush_size != self.brush_size:
            self.brush_size = int(layer.brush_size)
        self._emit()

    def _recount(self, record: ImageRecord) -> None:
        if self._count(record):
            if record.started is None:
                record.started = datetime.now().astimezone().isoformat(timespec="seconds")
            self._mark(record)
        self._emit()

    def _emit(self) -> None:
        self.changed.emit(self.state)

    # Keeping and restoring.

    def _mark(self, record: ImageRecord) -> None:
        # Who keeps them is settled now: by the time of a later try another project may be open.
        self.autosaver.mark(record, partial(self._prepare_save, record, self.keeper))

    def _prepare_save(self, record: ImageRecord, keeper: Keeper) -> Save:
        seeds, kind = self.session.watch.seeds(record), self._kinds.pop(record, "stroke")
        if seeds is None:
            return lambda: None
        source = record.source_now()
        # A stroke may come before the image has been read and known; then that is done as it is saved.
        return keeper.saving(record, lambda: record.slide or slide_of(source), seeds, kind)

    def _on_saved(self, key: Any, moment: datetime) -> None:
        if isinstance(key, ImageRecord):
            self._saved[key] = moment
            self._failures.pop(key, None)
            self._let_go(key)
        self._emit()

    def _on_save_failed(self, record: Any, message: str) -> None:
        if isinstance(record, ImageRecord):  # the work list tells of judgements
            self._failures[record] = f"{message} Trying again every few seconds."
            self.save_failed.emit(message)
        self._emit()

    def _on_leaving(self, record: ImageRecord) -> None:
        if record.seeds is not None:
            self.session.watch.look(record, everywhere=True)
            self._touched.pop(record, None)
            self._recount(record)
            self.autosaver.flush()
            if not self.session.holds(record):
                record.seeds.editable = False  # nobody would keep what is painted now
        self._let_go(record)

    def _let_go(self, record: ImageRecord) -> None:
        """Forget the seeds of an image that is gone, once they are kept."""
        if self.session.holds(record) or not self.autosaver.is_clean(record):
            return
        self.session.watch.forget(record)
        if record.seeds is not None:
            self.session.discard(record.seeds)

    def _on_image(self, record: ImageRecord | None) -> None:
        if record is not None:
            self._identify(record)
        self._emit()

    def _identify(self, record: ImageRecord, *, again: bool = False) -> None:
        """Find out in the background which image this is, and whether seeds of it are on disk."""
        if project_image(record) is not None:
            return
        if record.source is None or (record in self._identified and not again):
            return
        source = record.source_now()
        self._identified.add(record)
        self.session.background.submit(
            partial(self._look_up, record, source),
            done=partial(self._take_up, record),
            failed=lambda error: None,  # Localize says what is wrong with it
        )

    def _look_up(
        self, record: ImageRecord, source: LayerSource, task: Task
    ) -> tuple[Slide, str, Kept | SeedsError | None]:
        slide = slide_of(source)
        fingerprint = slide.fingerprint
        try:
            return slide, fingerprint, self.keeper.find(record, slide)
        except SeedsError as error:
            return slide, fingerprint, error

    def _take_up(
        self,
        record: ImageRecord,
        found: tuple[Slide, str, Kept | SeedsError | None],
    ) -> None:
        if not self.session.holds(record):
            return
        record.slide, record.fingerprint, kept = found
        if isinstance(kept, SeedsError):
            if record not in self._warned:
                self._warned.add(record)
                self.session.notified.emit("warning", str(kept), lambda: self.session.record)
            return
        if record.seeds is None and self._twin(record) is not None:
            return
        if kept is not None and (kept.labels.any() or kept.label):
            added = self.adopt(record, kept)
            if added:
                self.restored.emit(record, added)

    def replace(self, record: ImageRecord, kept: Kept) -> None:
        """Make the seeds those that are kept, as one undo step."""
        if record.seeds is None:
            self.adopt(record, kept)
        else:
            overwrite(record.seeds, kept.labels)

    def adopt(self, record: ImageRecord, kept: Kept) -> int:
        """Put what was kept of an image under what is painted; return how many seed pixels that added."""
        made = record.seeds is None
        layer = record.seeds or self._make_layer(record)
        if layer.data.shape != kept.labels.shape:
            return 0
        added = fill_unlabelled(layer, kept.labels)
        if made:
            layer._reset_history()  # what came from disk is where this session begins
            self._count(record)
        else:
            self._recount(record)  # what was painted and what was kept are not yet kept together
        if record.corrected_label is None:
            record.corrected_label = kept.label
        record.started = record.started or kept.started
        if kept.saved is not None:
            self._saved.setdefault(record, kept.saved)
        self._emit()
        return added


def _is_same(one: ImageRecord, other: ImageRecord) -> bool:
    """Return whether two layers show one image: one file, or equal pixels, as those of a duplicate are."""
    if one.fingerprint is not None and one.fingerprint == other.fingerprint:
        return project_image(one) is None  # a project keeps its own
    return one.source is not None and other.source is not None and one.source.shows_as(other.source)
