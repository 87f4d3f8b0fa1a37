"""Run the chosen model on the chosen image, and put what it says into the viewer."""

from __future__ import annotations

from functools import partial

from psygnal import Signal

from napari_pixelcam.backend import Choice
from napari_pixelcam.background import Task
from napari_pixelcam.controllers.session import ImageRecord, MapResult, Session, sentence
from napari_pixelcam.histogram import ScoreHistogram
from napari_pixelcam.images import LayerSource, slide_of, source_of
from napari_pixelcam.overlays import place, show_maps
from pixelcam.errors import CancelledError, PixelCAMError
from pixelcam.events import Event
from pixelcam.slides import Slide


class LocalizeController:
    """Starts, watches and cancels localizations; one runs at a time.

    Parameters
    ----------
    session
        The dock's shared state.
    """

    changed = Signal()
    """Whether it can run, or runs, is different now."""
    progressed = Signal(Event)
    finished = Signal(object)
    """This record's layers show the new map."""
    ended = Signal(str, str)
    """It ended without a map: level ("error" or "info") and one sentence."""

    def __init__(self, session: Session) -> None:
        self.session = session
        self._task: Task | None = None
        self._of: ImageRecord | None = None
        self._waiting: ImageRecord | None = None
        session.image_changed.connect(lambda record: self.changed.emit())
        session.model_changed.connect(lambda model: self.changed.emit())
        session.moved.connect(place)

    @property
    def running(self) -> bool:
        """Whether a localization is under way."""
        return self._task is not None

    @property
    def obstacle(self) -> str:
        """What stands in the way of running, as a sentence; empty where nothing does."""
        if self.session.catalogue is None:
            return "Looking for models…"
        if self.session.record is None:
            return "Open an image to begin: File ▸ Open, or File ▸ Open Sample."
        if not self.session.model:
            return "There is no model on this machine; train one with “pixelcam train”."
        return ""

    def run(self) -> None:
        """Start localizing the chosen image with the chosen model.

        One that is under way for an image that is gone is ended first.
        """
        record = self.session.record
        if self.running:
            if self._of is not None and not self.session.holds(self._of):
                self._waiting = record
                if self._task is not None:
                    self._task.stop()
            return
        if self.obstacle or record is None:
            self._end("error", self.obstacle)
            return
        try:
            source = source_of(record.layer)
        except PixelCAMError as error:
            self._end("error", str(error))
            return
        choice = self.session.choice
        self._task = Task()  # so that work which ends at once finds it running
        self._of = record
        self.changed.emit()
        task = self.session.background.submit(
            partial(self._work, source, choice),
            done=partial(self._done, record, source),
            failed=partial(self._failed, record),
            progress=self.progressed.emit,
        )
        if self._task is not None:
            self._task = task

    def cancel(self) -> None:
        """Ask the running localization to end; what was there before stays."""
        self._waiting = None
        if self._task is not None:
            self._task.stop()

    def _work(self, source: LayerSource, choice: Choice, task: Task) -> tuple[Slide, str, MapResult]:
        slide = slide_of(source)
        localization = self.session.localizers.localize(
            slide, choice, on_event=task.emit, should_stop=task.should_stop
        )
        return (
            slide,
            slide.fingerprint,
            MapResult(
                localization, ScoreHistogram.of(localization.foreground, localization.threshold), choice.model
            ),
        )

    def _done(self, record: ImageRecord, source: LayerSource, result: tuple[Slide, str, MapResult]) -> None:
        self._task = self._of = None
        slide, fingerprint, maps = result
        if self._go_on():
            return
        if not self.session.holds(record):
            self._end(
                "info", f"{source.name!r} was removed while it was being localized, so nothing was added."
            )
            return
        if not source.is_of(record.layer):
            self._end(
                "error",
                f"The data of {record.name!r} changed while it was being localized; press Localize again.",
            )
            return
        record.slide, record.fingerprint = slide, fingerprint
        record.previous = record.result
        self.show(record, maps)
        self.finished.emit(record)

    def show(self, record: ImageRecord, maps: MapResult) -> None:
        """Put a record's maps into the viewer, new ones or kept ones."""
        record.result = maps
        show_maps(self.session.viewer, record, self.session.preferences.opacity)
        self.changed.emit()
        self.session.localized.emit(record)

    def _go_on(self) -> bool:
        """Localize the image that has waited for one that is gone; return whether there was one."""
        waiting, self._waiting = self._waiting, None
        if waiting is None or waiting is not self.session.record:
            return False
        self.run()
        return True

    def _failed(self, record: ImageRecord, error: Exception) -> None:
        self._task = self._of = None
        if self._go_on():
            return
        if isinstance(error, CancelledError):
            self._end("info", f"Cancelled; {record.name!r} is as it was.")
        else:
            self._end("error", sentence(error))

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
