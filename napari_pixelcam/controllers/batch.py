"""Work on many images of a project at once: adding them, and localizing them all."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from psygnal import Signal

from napari_pixelcam import backend
from napari_pixelcam.background import Task
from napari_pixelcam.controllers.opening import keep_map, read_image
from napari_pixelcam.controllers.session import Session, sentence
from napari_pixelcam.device_queue import Urgency
from pixelcam.errors import CancelledError, PixelCAMError
from pixelcam.events import Event, Stop, ignore_events

if TYPE_CHECKING:
    from pixelcam.review import ImageEntry, Project


class BatchController:
    """Runs one such piece of work at a time, in the background; what is done when it ends stays.

    Parameters
    ----------
    session
        The dock's shared state.
    """

    changed = Signal()
    """Whether it runs is different now."""
    progressed = Signal(Event)
    """This many images of so many are done."""
    ended = Signal(str, str)
    """How it went: level and a sentence."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._task: Task | None = None

    @property
    def running(self) -> bool:
        """Whether something is under way."""
        return self._task is not None

    def add_images(self, project: Project, paths: Sequence[Path]) -> None:
        """Add image files to the project; one that is there already is not added twice."""

        def work(task: Task) -> str:
            before = len(project.images())
            project.add_images(paths, task.emit, task.should_stop)
            return f"{_images(len(project.images()) - before)} added."

        if self.running:
            return
        self._task = Task()
        self.changed.emit()

        def begin(task: Task) -> str:
            self._task = task  # so that it can be stopped from its first step on
            return work(task)

        self._session.background.submit(
            begin, done=partial(self._end, "good"), failed=self._failed, progress=self.progressed.emit
        )

    def localize(self, project: Project, entries: Sequence[ImageEntry]) -> None:
        """Localize those of the images that the chosen model has not localized yet, from as many views."""
        session, choice = self._session, self._session.choice
        rest, failures, done = list(entries), list[PixelCAMError](), list[int]()

        def work(task: Task) -> str:
            digest = backend.digest(choice.model)
            while rest:  # what gives way to the reviewer goes on where it was
                entry = rest[0]
                if task.should_stop() is not Stop.NO:
                    raise CancelledError
                if not _has_map(project, entry.id, digest, choice.views):
                    try:
                        slide = read_image(project, entry.id).slide
                        localization = session.localizers.localize(
                            slide, choice, on_event=ignore_events, should_stop=task.should_stop
                        )
                        keep_map(project, entry.id, localization)
                        done.append(entry.id)
                    except PixelCAMError as error:  # one missing image does not hold up the others
                        failures.append(error)
                del rest[0]
                task.emit(Event("step", "list", step=len(entries) - len(rest), total=len(entries)))
            if failures:
                raise PixelCAMError(
                    f"{_images(len(failures))} could not be localized; the first: {failures[0]}"
                )
            had = f"; {len(entries) - len(done)} had its map already" if len(done) < len(entries) else ""
            return f"{_images(len(done))} localized with {choice.model}{had}."

        if self.running:
            return
        turn = self._task = session.queue.turn("the localization of the list", Urgency.LIST)
        self.changed.emit()
        session.queue.submit(
            turn,
            work,
            done=partial(self._end, "good"),
            failed=self._failed,
            progress=self.progressed.emit,
        )

    def cancel(self) -> None:
        """Ask the work to end."""
        if self._task is not None:
            self._task.stop()

    def _failed(self, error: Exception) -> None:
        if isinstance(error, CancelledError):
            self._end("info", "Stopped; what is done stays.")
        else:
            self._end("error", sentence(error))

    def _end(self, level: str, message: str) -> None:
        self._task = None
        self.changed.emit()
        self.ended.emit(level, message)


def _has_map(project: Project, image: int, digest: str, views: int) -> bool:
    """Return whether this model has localized an image from at least so many views, and the map is there."""
    made = project.image(image).model
    enough = made is not None and made.sha256 == digest and made.views >= views
    return enough and project.localization(image) is not None


def _images(count: int) -> str:
    return "1 image" if count == 1 else f"{count} images"
