"""Seeds on a project's other images: read in the background, so that they count where the map is refitted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, partial
from typing import TYPE_CHECKING

from psygnal import Signal

from napari_pixelcam import backend
from napari_pixelcam.background import Task
from napari_pixelcam.controllers.refine import RefineController
from napari_pixelcam.controllers.session import ImageRecord, Session
from napari_pixelcam.controllers.workbench import WorkbenchController
from napari_pixelcam.device_queue import Urgency
from napari_pixelcam.keeping import project_image
from pixelcam.errors import CancelledError, PixelCAMError
from pixelcam.events import Event

if TYPE_CHECKING:
    from numpy import uint8
    from numpy.typing import NDArray

    from pixelcam.refine import SeedSamples
    from pixelcam.review import Project
    from pixelcam.review.samples import Gathered
    from pixelcam.slides import Slide


MOST_HELD = 1 << 28
"""Bytes of labelled cells that stay in memory from image to image; more are read again from the project."""


@dataclass(frozen=True)
class _Wanted:
    """What is to be read: a project's images but the one at hand, with the features of a model."""

    project: Project
    without: int | None
    name: str
    sha256: str


class SharedSeedsController:
    """Gathers the labelled cells of all images that the project's reviewer has seeds on.

    Parameters
    ----------
    session
        The dock's shared state.
    refine
        Whose maps they count for, as long as it is asked to let all images count.
    workbench
        Whose project they are of.
    """

    progressed = Signal(object)
    """So far it is, an `Event`; `None` when nothing is read any more."""

    def __init__(self, session: Session, refine: RefineController, workbench: WorkbenchController) -> None:
        self._session, self._refine, self._workbench = session, refine, workbench
        self._wanted: _Wanted | None = None
        self._task: Task | None = None
        self._counting: list[SeedSamples] = []
        self._known: dict[str, Gathered] = {}  # of the latest model only
        self._told: set[str] = set()
        refine.elsewhere = self.samples
        refine.changed.connect(lambda state: self._look())
        workbench.changed.connect(self._on_workbench)
        session.seeds_leaving.connect(self._on_leaving)

    def samples(self, record: ImageRecord, sha256: str) -> Sequence[SeedSamples]:
        """Return what has been gathered for a model, one part an image, without the project's open one."""
        return self._counting if self._wanted is not None and self._wanted.sha256 == sha256 else []

    def stop(self) -> None:
        """Read no further, and let the image at hand count alone; what was read stays kept."""
        self._refine.set_everywhere(False)

    # When to read.

    def _want(self) -> _Wanted | None:
        project, record = self._workbench.project, self._session.record
        if project is None or record is None or record.result is None:
            return None
        if not (self._refine.everywhere and self._refine.live):
            return None
        result = record.result
        return _Wanted(project, self._workbench.current, result.model, result.localization.model.sha256)

    def _look(self) -> None:
        """Begin to read where something else is wanted than before."""
        wanted = self._want()
        if wanted == self._wanted:
            return
        self._wanted, self._counting = wanted, []
        if self._task is not None:
            self._task.stop()
            self._end()
        if wanted is not None:
            self._gather(wanted)

    def _on_workbench(self) -> None:
        if self._workbench.project is None:
            self._known, self._told = {}, set()
        self._look()

    def _gather(self, wanted: _Wanted) -> None:
        known, choice = self._known.get(wanted.sha256), backend.Choice(wanted.name, self._session.device)
        digest = cache(partial(backend.digest, wanted.name))
        turn = self._task = self._session.queue.turn(
            "the reading of seeds on other images", Urgency.CORRECTIONS
        )

        def work(task: Task) -> Gathered:
            from pixelcam.review.samples import gather_samples

            def make(slide: Slide, labels: NDArray[uint8]) -> SeedSamples:
                if digest() != wanted.sha256:
                    raise PixelCAMError(
                        f"{wanted.name} is another model than the one that made this map; localize again."
                    )
                refiner = self._session.localizers.refiner(slide, choice, should_stop=task.should_stop)
                return refiner.samples(labels)

            return gather_samples(
                wanted.project,
                wanted.sha256,
                make,
                known=known,
                without=wanted.without,
                on_event=task.emit,
                should_stop=task.should_stop,
            )

        self._session.queue.submit(
            turn,
            work,
            done=partial(self._take, wanted),
            failed=partial(self._failed, wanted),
            progress=partial(self._on_progress, wanted),
        )

    def _on_progress(self, wanted: _Wanted, event: Event) -> None:
        if wanted is self._wanted and self._task is not None:
            self.progressed.emit(event)

    def _take(self, wanted: _Wanted, found: Gathered) -> None:
        if wanted is not self._wanted:
            return
        from pixelcam.refine import share

        self._end()
        parts = [one.samples for one in found.images.values()]
        self._counting = share(parts)
        small = sum(part.features.nbytes for part in parts) <= MOST_HELD
        self._known = {wanted.sha256: found} if small else {}
        news = [reason for reason in found.left_out if reason not in self._told]
        self._told.update(news)
        if news:
            count = "1 image does" if len(news) == 1 else f"{len(news)} images do"
            self._session.notified.emit(
                "warning",
                f"Seeds on {count} not count: {news[0]}",
                lambda: (self._workbench.project, self._refine.everywhere),
            )
        self._refine.renew()

    def _failed(self, wanted: _Wanted, error: Exception) -> None:
        if wanted is self._wanted:
            self._end()
            if not isinstance(error, CancelledError):
                self._session.report(error)

    def _end(self) -> None:
        self._task = None
        self.progressed.emit(None)

    # What is known of an image that goes.

    def _on_leaving(self, record: ImageRecord) -> None:
        """Keep the cells that the last refit was made from: reading them anew takes a pass of the model."""
        project, id, fitted = self._workbench.project, project_image(record), self._refine.fitted(record)
        if project is None or id is None or fitted is None:
            return
        model, seeds, samples = fitted
        if not len(samples):
            return

        def work(task: Task) -> None:
            from pixelcam.review.samples import ImageSamples, keep_samples

            state = project.seed_state(id)
            if (project.seeds(id) == seeds.array()).all():
                keep_samples(project, id, model, ImageSamples(state, samples))

        self._session.background.submit(
            work,
            done=lambda nothing: None,
            failed=lambda error: None,  # they are made anew when they are needed
        )
