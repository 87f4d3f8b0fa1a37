"""An image of a project as it goes into the viewer: pixels, kept map, kept seeds; and reading it ahead."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from napari_pixelcam import backend
from napari_pixelcam.background import Task
from napari_pixelcam.controllers.session import MapResult, Session
from napari_pixelcam.device_queue import Urgency
from napari_pixelcam.histogram import ScoreHistogram
from pixelcam.localize.localization import Localization, ModelRef
from pixelcam.localize.uncertainty import map_uncertainty
from pixelcam.slides import Slide
from pixelcam.slides.stain import stain_caution

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from pixelcam.review import Project


@dataclass(frozen=True)
class OpenImage:
    """An image of a project, read: its number there, its slide, and its map where it has one."""

    id: int
    slide: Slide
    maps: MapResult | None

    def with_maps(self, localization: Localization, model: str) -> OpenImage:
        """Return it with a map, and the name of the model that made it."""
        return replace(self, maps=map_result(localization, model))


def map_result(localization: Localization, model: str) -> MapResult:
    """Return a localization with what the threshold's slider needs of it."""
    return MapResult(localization, ScoreHistogram.of(localization.foreground, localization.threshold), model)


def read_image(project: Project, id: int) -> OpenImage:
    """Read an image of a project, and its kept map.

    Raises
    ------
    MissingImageError, ChangedImageError
        It is gone, or another one lies in its place.
    """
    slide = project.slide(id)
    return OpenImage(id, slide, kept_map(project, id, slide))


def kept_map(
    project: Project, id: int, slide: Slide | None = None, *, without: ModelRef | None = None
) -> MapResult | None:
    """Return an image's kept map, `None` where there is none but by the model `without`.

    A project keeps no words about an image: those are made anew of the slide, where one is given.
    """
    kept = project.localization(id)
    if kept is None or kept.model == without:
        return None
    if slide is not None:
        kept = replace(kept, image_caution=stain_caution(slide), notes=slide.notes)
    name = backend.name_of(kept.model.sha256, kept.model.name)
    called = backend.foreground_name_of(name, kept.model.sha256)
    return map_result(replace(kept, foreground_name=called), name)


def read_thumbnails(project: Project, ids: Sequence[int]) -> dict[int, NDArray[np.uint8]]:
    """Return small pictures, (h, w, 3) uint8, of those of the images that have one."""
    found = {id: project.thumbnail(id) for id in ids}
    return {id: pixels for id, pixels in found.items() if pixels is not None}


def keep_map(project: Project, id: int, localization: Localization) -> None:
    """Keep a map in a project with its uncertainty, where the project may be changed."""
    if not project.read_only:
        uncertainty = map_uncertainty(localization.foreground, localization.threshold)
        project.keep_localization(id, localization, uncertainty)


class ReadAhead:
    """Reads one image before it is asked for, and localizes it where that has not been done.

    Parameters
    ----------
    session
        Whose background, model and device are used.
    """

    def __init__(self, session: Session) -> None:
        self._session = session
        self._ready: OpenImage | None = None
        self._task: Task | None = None
        self._wanted: int | None = None

    def begin(self, project: Project, id: int, done: Callable[[], None]) -> None:
        """Start with an image, in place of another one; `done` is called where it has a new map."""
        if self._ready is not None and self._ready.id == id:
            return
        if self._task is not None:
            if self._wanted == id:
                return
            self.stop()  # the reviewer has gone on to another part of the list
        session, choice = self._session, self._session.choice

        def work(task: Task) -> tuple[OpenImage, bool]:
            image = read_image(project, id)
            if image.maps is not None or not choice.model:
                return image, False
            localization = session.localizers.localize(
                image.slide, choice, on_event=task.emit, should_stop=task.should_stop
            )
            keep_map(project, id, localization)
            return image.with_maps(localization, choice.model), True

        def end(found: tuple[OpenImage, bool]) -> None:
            self._task = None
            if self._wanted == id:
                self._ready = found[0]
                if found[1]:
                    done()

        def failed(error: Exception) -> None:
            self._task = None  # it is told when the image itself is asked for

        turn = session.queue.turn("reading ahead", Urgency.AHEAD)
        self._task, self._wanted = turn, id
        session.queue.submit(turn, work, done=end, failed=failed)

    def take(self, id: int) -> OpenImage | None:
        """Return the image if it is the one that was read, and forget it."""
        ready, self._ready = self._ready, None
        return ready if ready is not None and ready.id == id else None

    def stop(self) -> None:
        """Give the model free for something more urgent."""
        if self._task is not None:
            self._task.stop()

    def forget(self) -> None:
        """Stop, and keep nothing that was read."""
        self.stop()
        self._ready, self._wanted = None, None
