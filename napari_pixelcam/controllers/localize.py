"""Run the chosen model on the chosen image, and put what it says into the viewer."""

from __future__ import annotations

from functools import partial

from psygnal import Signal

from napari_pixelcam.backend import Choice
from napari_pixelcam.background import Task
from napari_pixelcam.controllers.session import ImageRecord, MapResult, Session, sentence
from napari_pixelcam.device_queue import Urgency
from napari_pixelcam.histogram import ScoreHistogram
from napari_pixelcam.images import LayerSource, slide_of
from napari_pixelcam.overlays import place, show_maps
from pixelcam.errors import CancelledError
from pixelcam.events import Event
from pixelcam.slides import Slide


class LocalizeController:
    """Starts, watches and cancels localizations: one an image, of which one runs at a time.

    Parameters
    ----------
    session
        The dock's shared state.
    """

    changed = Signal()
    """Whether it can run, or runs, is different now."""
    progressed = Signal(Event)
    """Something was heard of the localization that is `shown`."""
    told = Signal()
    """`latest` is another."""
    finished = Signal(object)
    """This record's layers show the new map."""
    ended = Signal(str, str)
    """It ended without a map: level ("error" or "info") and one sentence."""

    def __init__(self, session: Session) -> None:
        self.session = session
        self._tasks: dict[ImageRecord, Task] = {}
        self._latest: dict[ImageRecord, Event] = {}
        session.image_changed.connect(self._on_image)
        session.model_changed.connect(lambda model: self.changed.emit())
        session.moved.connect(place)
        session.gone.connect(self._on_gone)
        session.queue.changed.connect(self._on_queue)

    @property
    def running(self) -> bool:
        """Whether a localization is under way, of whichever image."""
        return bool(self._tasks)

    @property
    def running_here(self) -> bool:
        """Whether one of the chosen image is under way."""
        return self.session.record in self._tasks

    @property
    def shown(self) -> ImageRecord | None:
        """Whose localization is told of: the chosen image's, or else the one that was asked for last."""
        record = self.session.record
        return record if record in self._tasks else next(reversed(self._tasks), None)

    @property
    def latest(self) -> Event:
        """What is known last of the localization that is `shown`."""
        record = self.shown
        if record is None:
            return Event("started", stage="localize")
        task, queue = self._tasks[record], self.session.queue
        if queue.waits(task) and queue.running:
            return Event("started", stage="queue", message=f"waits for {queue.running} to end…")
        return self._latest.get(record, Event("started", stage="localize", message="beginning…"))

    @property
    def obstacle(self) -> str:
        """What stands in the way of running, as a sentence; empty where nothing does."""
        if self.session.catalogue is None:
            return "Looking for models…"
        if self.session.record is None:
            return "Open an image to begin: File ▸ Open, or File ▸ Open Sample."
        if not self.session.model:
            return "There is no model on this machine; train one with “pixelcam train”."
        return self.session.record.obstacle

    def run(self) -> None:
        """Start localizing the chosen image with the chosen model, before all else that uses the device."""
        record = self.session.record
        if record is not None:
            record = self.session.check(record)
        if self.obstacle or record is None:
            self._end("error", self.obstacle)
            return
        if record in self._tasks:
            return
        choice = self.session.choice
        turn = self.session.queue.turn(f"the localization of {record.name!r}", Urgency.ASKED)
        self._tasks[record] = turn
        self.changed.emit()
        self.session.queue.submit(
            turn,
            partial(self._work, record.source_now(), choice),
            done=partial(self._done, record),
            failed=partial(self._failed, record),
            progress=partial(self._progress, record),
        )
        if record in self._tasks:
            self.told.emit()

    def cancel(self) -> None:
        """End the localization that is told of; what was there before stays."""
        record = self.shown
        if record is not None:
            self._tasks[record].stop()

    def _work(self, source: LayerSource, choice: Choice, task: Task) -> tuple[Slide, str, MapResult]:
        task.emit(Event("started", stage="read", message="reading the image…"))
        slide = slide_of(source)
        localization = self.session.localizers.localize(
            slide, choice, on_event=task.emit, should_stop=task.should_stop
        )
        task.emit(Event("started", stage="measure", message="measuring the map…"))
        return (
            slide,
            slide.fingerprint,
            MapResult(
                localization, ScoreHistogram.of(localization.foreground, localization.threshold), choice.model
            ),
        )

    def _done(self, record: ImageRecord, result: tuple[Slide, str, MapResult]) -> None:
        self._forget(record)
        slide, fingerprint, maps = result
        if self.session.check(record) is not record or not self.session.holds(record):
            self._tell_gone(record)
            return
        record.slide, record.fingerprint = slide, fingerprint
        record.previous = record.result
        self.show(record, maps)
        self.finished.emit(record)

    def show(self, record: ImageRecord, maps: MapResult) -> None:
        """Put a record's maps into the viewer, new ones or kept ones."""
        record.result = maps
        show_maps(self.session, record)
        self.changed.emit()
        self.session.localized.emit(record)

    def _progress(self, record: ImageRecord, event: Event) -> None:
        self._latest[record] = event
        if record is self.shown:
            self.progressed.emit(event)
            self.told.emit()

    def _on_queue(self) -> None:
        if self.running:
            self.told.emit()

    def _on_image(self, record: ImageRecord | None) -> None:
        self.changed.emit()
        if self.running:
            self.told.emit()

    def _on_gone(self, record: ImageRecord) -> None:
        if record in self._tasks:
            self._tasks[record].stop()

    def _forget(self, record: ImageRecord) -> None:
        self._tasks.pop(record, None)
        self._latest.pop(record, None)

    def _failed(self, record: ImageRecord, error: Exception) -> None:
        self._forget(record)
        if not self.session.holds(record):
            self._tell_gone(record)
        elif isinstance(error, CancelledError):
            self._end("info", f"Cancelled; {record.name!r} is as it was.")
        else:
            self._end("error", sentence(error))

    def _tell_gone(self, record: ImageRecord) -> None:
        """Say why there is no map, where the image left or its pixels were replaced meanwhile."""
        if record.layer in self.session.viewer.layers:
            self._end(
                "error",
                f"The data of {record.name!r} changed while it was being localized; press Localize again.",
            )
        elif record.project_image is None:  # else the reviewer has gone on in the list
            self._end(
                "info", f"{record.name!r} was removed while it was being localized, so nothing was added."
            )
        else:
            self.changed.emit()

    def _end(self, level: str, message: str) -> None:
        self.changed.emit()
        self.ended.emit(level, message)
        if level == "error":
            self.session.notified.emit(level, message)


def describe_change(record: ImageRecord) -> str:
    """Say in one line how the new map differs from the one before; empty where there is none."""
    before, now = record.previous, record.result
    if (
        before is None
        or now is None
        or before.localization.foreground.shape != now.localization.foreground.shape
    ):
        return ""
    old, new = before.localization, now.localization
    threshold = record.threshold if record.threshold is not None else new.threshold
    switched = float((old.region(threshold) != new.region(threshold)).mean())
    if switched == 0 and before.maker == now.maker:
        return "The same map as before."
    called = new.foreground_name or "foreground"
    return (
        f"Since {before.maker}: {called} {before.histogram.fraction(threshold):.1%} → "
        f"{now.histogram.fraction(threshold):.1%}; {switched:.1%} of the pixels changed side."
    )
