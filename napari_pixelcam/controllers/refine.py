"""Live refinement: after each stroke the map is that of a pixel head refitted to the reviewer's seeds."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary, WeakSet

from psygnal import Signal

from napari_pixelcam.background import Task
from napari_pixelcam.controllers.redraw import Redraw, Refitted, refitted, view_to_draw
from napari_pixelcam.controllers.session import ImageRecord, MapResult, Session, sentence
from napari_pixelcam.device_queue import Urgency
from napari_pixelcam.overlays import change_maps
from pixelcam.errors import CancelledError, ImageError
from pixelcam.seeds.seedmap import SeedMap

if TYPE_CHECKING:
    from pixelcam.refine import Refiner, SeedSamples

MOST_KEPT = 1 << 30
"""Bytes of features that are kept for the images of a session; those used longest ago go first."""


@dataclass(frozen=True)
class RefineState:
    """What the section shows of the chosen image.

    Parameters
    ----------
    live
        Whether strokes refit the map.
    everywhere
        Whether the seeds of other images count too: of the session's with the same model, and the project's.
    refined
        Whether the map on the screen is a refitted one.
    can_switch
        Whether there is a model's map to go back to, or a refitted one to return to.
    text
        One line that says how it stands; empty where there is nothing to say.
    """

    live: bool = True
    everywhere: bool = False
    refined: bool = False
    can_switch: bool = False
    text: str = ""


@dataclass(eq=False)
class _Field:
    """What is known of one image since it was localized."""

    model: MapResult
    refiner: Refiner | None = None
    samples: SeedSamples | None = None
    task: Task | None = None
    wanted: bool = False
    fitted: SeedMap | None = None
    others: tuple[int, int] = (0, 0)
    refined: MapResult | None = None
    redraw: Redraw | None = None
    seconds: float = 0.0
    failure: str = ""
    hopeless: bool = False
    used: float = 0.0

    def is_shown(self, record: ImageRecord) -> bool:
        """Return whether the map on the screen is the refitted one, whole or not."""
        if self.redraw is not None:
            return not self.redraw.hidden
        return self.refined is not None and record.result is self.refined

    def drop_redraw(self) -> bool:
        """Draw no more of the map; return whether there was one in the making."""
        redraw, self.redraw = self.redraw, None
        if redraw is not None:
            redraw.stop()
        return redraw is not None


class RefineController:
    """Keeps the features of the images at hand, and refits the map to their seeds as these change.

    The model stays as it is until a fine-tuning job runs, and its own map is one key away.

    Parameters
    ----------
    session
        The dock's shared state.
    """

    changed = Signal(object)
    """The state of the chosen image is now this `RefineState`."""

    def __init__(self, session: Session) -> None:
        self.session = session
        self.live = True
        self.everywhere = False
        self.elsewhere: Callable[[ImageRecord, str], Sequence[SeedSamples]] = lambda record, sha256: ()
        """What else counts everywhere: samples of images that are not open, for a model's sha256."""
        self._fields: WeakKeyDictionary[ImageRecord, _Field] = WeakKeyDictionary()
        self._known: WeakSet[ImageRecord] = WeakSet()
        session.localized.connect(self._on_localized)
        session.seeds_changed.connect(self._want)
        session.watch.edited.connect(self._on_edited)
        session.image_changed.connect(self._on_image)
        session.gone.connect(self._on_gone)
        session.queue.changed.connect(self._on_queue)
        for name in ("center", "zoom"):
            getattr(session.viewer.scene.camera.events, name).connect(self._on_camera)

    @property
    def state(self) -> RefineState:
        """What holds for the chosen image."""
        record = self.session.record
        field = self._fields.get(record) if record is not None else None
        if record is None or field is None:
            return RefineState(self.live, self.everywhere)
        can_switch = field.refined is not None or field.redraw is not None
        text = self._text(record, field)
        return RefineState(self.live, self.everywhere, field.is_shown(record), can_switch, text)

    def _text(self, record: ImageRecord, field: _Field) -> str:
        if not self.live:
            return ""
        if field.failure:
            return field.failure
        if field.refiner is None:
            return self._preparing(field.task) if field.task is not None else ""
        if field.is_shown(record):
            return f"The map follows {self._counted(field)} (refitted in {1000 * field.seconds:.0f} ms)."
        if field.refined is not None or field.redraw is not None:
            return "The model's own map."
        return "Paint, and the map follows."

    def _preparing(self, task: Task) -> str:
        queue = self.session.queue
        if queue.waits(task) and queue.running:
            return f"Preparing for corrections, after {queue.running}…"
        return "Preparing for corrections…"

    def _counted(self, field: _Field) -> str:
        if not self.everywhere:
            return "your seeds"
        images, cells = field.others
        if not images:
            return "your seeds alone"
        others = "1 other image" if images == 1 else f"{images} other images"
        places = "1 labelled place" if cells == 1 else f"{cells:,} labelled places"
        return f"your seeds and {places} on {others}"

    # What the user does.

    def set_live(self, live: bool) -> None:
        """Let strokes refit the map, or show the models' own maps only."""
        if live == self.live:
            return
        self.live = live
        for record in self.session.records():
            field = self._fields.get(record)
            if field is None:
                continue
            if live:
                field.fitted = None  # what was refitted before is not on the screen any more
                self._want(record)
            elif field.drop_redraw() or field.refined is not None:
                self._show(record, field.model)
                self._settle(record, field)
        self._emit()

    def set_everywhere(self, everywhere: bool) -> None:
        """Let the seeds of the session's other images count too, or those of the image alone."""
        if everywhere != self.everywhere:
            self.everywhere = everywhere
            self.renew()

    def renew(self) -> None:
        """Refit though the seeds are the same, as others count now."""
        for record, field in self._fields.items():
            field.fitted = None
            if record is self.session.record:
                self._want(record)
        self._emit()

    def fitted(self, record: ImageRecord) -> tuple[str, SeedMap, SeedSamples] | None:
        """Return the model's sha256, the seeds of the last refit, and their cells; `None` without one."""
        field = self._fields.get(record)
        if field is None or field.fitted is None or field.samples is None or field.task is not None:
            return None
        return field.model.localization.model.sha256, field.fitted, field.samples

    def switch(self) -> None:
        """Go back to the model's own map, or from there to the refitted one, until the next stroke."""
        record = self.session.record
        field = self._fields.get(record) if record is not None else None
        if record is None or field is None or (field.refined is None and field.redraw is None):
            text = "The map is the model's own: no seeds have changed it."
            self.session.notified.emit("info", text, self.session.map_at_hand)
        elif field.is_shown(record):
            if field.redraw is not None:
                field.redraw.hide()
            self._show(record, field.model)
        elif field.redraw is not None:
            field.redraw.show()
            self._emit()
        elif field.refined is not None:
            self._show(record, field.refined)

    # Features.

    def _on_localized(self, record: ImageRecord) -> None:
        if record.result is None:
            return
        before = self._fields.get(record)
        if before is not None and (record.result is before.model or record.result is before.refined):
            return
        if before is not None:
            if before.task is not None:
                before.task.stop()
            before.drop_redraw()
        self.session.settle(record)
        self._fields[record] = field = _Field(record.result)
        # A map that comes with seeds of before is refitted at once; one asked for again shows what is new.
        field.wanted = record not in self._known
        self._known.add(record)
        if self.live:
            self._prepare(record, field)
        self._emit()

    def _on_image(self, record: ImageRecord | None) -> None:
        field = self._fields.get(record) if record is not None else None
        if field is not None and field.task is not None:
            self.session.queue.hurry(field.task)
        self._emit()

    def _on_queue(self) -> None:
        record = self.session.record
        field = self._fields.get(record) if record is not None else None
        if field is not None and field.refiner is None and field.task is not None:
            self._emit()

    def _on_gone(self, record: ImageRecord) -> None:
        """Prepare an image that is gone no further; the map of its strokes somebody may still wait for."""
        field = self._fields.get(record)
        if field is not None and field.refiner is None and field.task is not None:
            field.task.stop()

    def _prepare(self, record: ImageRecord, field: _Field) -> None:
        slide = record.slide
        if slide is None or field.refiner is not None or field.task is not None or field.hopeless:
            return
        choice = self.session.choice_of(field.model)
        turn = self.session.queue.turn(f"the preparation of {record.name!r}", Urgency.CORRECTIONS)
        field.task, field.failure = turn, ""
        self.session.queue.submit(
            turn,
            lambda task: self.session.localizers.refiner(slide, choice, should_stop=task.should_stop),
            done=partial(self._prepared, record, field),
            failed=partial(self._failed, record, field),
        )

    def _prepared(self, record: ImageRecord, field: _Field, refiner: Refiner) -> None:
        field.task = None
        if self._fields.get(record) is not field or not self.session.holds(record):
            return
        field.refiner = refiner
        self._make_room(record)
        if field.wanted:
            self._refit(record, field)
        self._emit()

    def _failed(self, record: ImageRecord, field: _Field, error: Exception) -> None:
        if self._fields.get(record) is not field:  # another map has come, or the image has gone
            return
        field.task, field.fitted = None, None
        if not isinstance(error, CancelledError):
            field.failure = sentence(error)
            field.hopeless = isinstance(error, ImageError)  # no other stroke makes another image of it
        self._emit()

    def _refit_failed(self, record: ImageRecord, field: _Field, error: Exception) -> None:
        if self._fields.get(record) is not field:
            return
        if field.drop_redraw() and record.result is not None:
            self._show(record, record.result)  # the last that was whole
        self._failed(record, field, error)
        if field.wanted:  # there was another stroke meanwhile
            self._refit(record, field)
        self._settle(record, field)

    def _make_room(self, record: ImageRecord) -> None:
        self._fields[record].used = time.monotonic()
        kept = sorted(
            (field for field in self._fields.values() if field.refiner is not None),
            key=lambda field: field.used,
            reverse=True,
        )
        total = 0
        for field in kept:
            assert field.refiner is not None
            total += field.refiner.features.nbytes
            if total > MOST_KEPT and field is not kept[0] and field.task is None:
                field.refiner = None  # extracted anew at the next stroke

    # Strokes.

    def _on_edited(self, record: ImageRecord, ended: bool) -> None:
        if ended:
            self._want(record)

    def _want(self, record: ImageRecord) -> None:
        """Refit as soon as that can be done."""
        field = self._fields.get(record)
        if field is None or not self.live or field.hopeless:
            return
        field.wanted = True
        if field.task is not None:
            return
        if field.refiner is None:
            self._prepare(record, field)
        else:
            self._refit(record, field)

    def _refit(self, record: ImageRecord, field: _Field) -> None:
        field.wanted, refiner = False, field.refiner
        if refiner is None:
            return
        seeds = self.session.watch.seeds(record) or SeedMap((1, 1))
        others = self._others(record, field)
        if field.fitted is not None and seeds.equals(field.fitted):
            return
        if not others and not seeds.any and field.refined is None and field.redraw is None:
            return
        field.fitted, field.failure = seeds, ""
        field.others = len(others), sum(len(other) for other in others)
        if field.redraw is not None:
            field.redraw.stop()
        record.pending = True
        model, view = field.model, view_to_draw(self.session, record, field.model)
        field.task = Task()
        task = self.session.background.submit(
            lambda task: refitted(refiner, seeds, others, model, view),
            done=partial(self._refined, record, field),
            failed=partial(self._refit_failed, record, field),
        )
        if field.task is not None:
            field.task = task

    def _others(self, record: ImageRecord, field: _Field) -> list[SeedSamples]:
        if not self.everywhere:
            return []
        from pixelcam.refine import share

        sha256 = field.model.localization.model.sha256
        here = [
            other.samples
            for held, other in self._fields.items()
            if held is not record
            and self.session.holds(held)
            and other.samples is not None
            and len(other.samples)
            and other.model.localization.model.sha256 == sha256
        ]
        return share([*here, *self.elsewhere(record, sha256)])

    def _refined(self, record: ImageRecord, field: _Field, found: Refitted) -> None:
        field.task = None
        if self._fields.get(record) is not field:
            return
        field.drop_redraw()
        gone = not self.session.holds(record)
        if not self.live or (gone and not self.session.is_awaited(record)):
            self._settle(record, field)
            return
        field.samples, field.seconds, field.used = found.refit.own, found.seconds, time.monotonic()
        if found.patch is not None and field.refiner is not None:
            redraw = Redraw(self.session, record, field.refiner, found.refit, field.model, found.patch)
            field.redraw = redraw
            if not gone:
                redraw.show()
            self._emit()
        else:
            self._take(record, field, found.maps, shown=True)
        if field.wanted:
            self._refit(record, field)
        if field.redraw is not None and field.task is None:
            self._draw_all(record, field, field.redraw)
        self._settle(record, field)

    def _draw_all(self, record: ImageRecord, field: _Field, redraw: Redraw) -> None:
        redraw.begin(partial(self._drawn, record, field, redraw), partial(self._refit_failed, record, field))

    def _drawn(self, record: ImageRecord, field: _Field, redraw: Redraw, maps: MapResult) -> None:
        field.redraw = None
        if self.session.holds(record):
            self._take(record, field, maps, shown=not redraw.hidden)
        elif self.session.is_awaited(record):
            self._take(record, field, maps, shown=True)
        self._settle(record, field)

    def _take(self, record: ImageRecord, field: _Field, maps: MapResult | None, *, shown: bool) -> None:
        """Have a whole map of the last refit; none where the last seed was taken away."""
        if maps is not None:
            maps = replace(maps, others=field.others)
            record.previous = field.model
        field.refined = maps
        if shown:
            self._show(record, maps or field.model)
        else:
            self._emit()

    def _settle(self, record: ImageRecord, field: _Field) -> None:
        """Let go on who waits for the whole map, where there is nothing more to come."""
        refitting = field.task is not None and field.refiner is not None
        if field.redraw is None and not refitting:
            self.session.settle(record)

    def _on_camera(self, event: Any = None) -> None:
        record = self.session.record
        field = self._fields.get(record) if record is not None else None
        if field is not None and field.redraw is not None:
            field.redraw.follow()

    def _show(self, record: ImageRecord, maps: MapResult) -> None:
        record.result = maps
        if not self.session.holds(record):
            return  # the image is closed; whoever said that it is done gets the map of all its seeds
        change_maps(self.session, record)
        self.session.refined.emit(record)
        self._emit()

    def _emit(self) -> None:
        self.changed.emit(self.state)
