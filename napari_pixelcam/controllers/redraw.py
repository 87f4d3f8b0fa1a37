"""The way of a refitted map to the screen: first what is in view, then all of it."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

from napari_pixelcam.background import Task
from napari_pixelcam.controllers.session import ImageRecord, MapResult, Session
from napari_pixelcam.histogram import ScoreHistogram
from napari_pixelcam.livemap import Patch, View
from napari_pixelcam.overlays import redraw_maps
from napari_pixelcam.viewport import view_of
from pixelcam.events import StopCheck, never_stop

if TYPE_CHECKING:
    from pixelcam.refine import Refiner, Refit, SeedSamples
    from pixelcam.seeds.seedmap import SeedMap

MOST_PATCHES = 8
"""Views of a map in the making that are kept; those seen longest ago go first."""


@dataclass(frozen=True, eq=False)
class Refitted:
    """What a stroke has led to.

    Parameters
    ----------
    refit
        The head.
    maps
        The whole map, where it was drawn at once.
    patch
        What is in view of it, where it was not.
    seconds
        What that took.
    """

    refit: Refit
    maps: MapResult | None
    patch: Patch | None
    seconds: float


def refitted(
    refiner: Refiner, seeds: SeedMap, others: list[SeedSamples], model: MapResult, view: View | None
) -> Refitted:
    """Refit to seeds, and draw the view, or the whole map where there is none; runs in the background."""
    from pixelcam.refine import MapGrid

    before = time.perf_counter()
    refit = refiner.fit(seeds, others)
    maps, patch = None, None
    if refit.samples and view is not None:
        patch = Patch.drawn(refiner, refit, MapGrid.of(model.localization), view)
    elif refit.samples:
        maps = whole(refiner, refit, model)
    return Refitted(refit, maps, patch, time.perf_counter() - before)


def whole(refiner: Refiner, refit: Refit, model: MapResult, should_stop: StopCheck = never_stop) -> MapResult:
    """Draw all of a refitted map, on the grid of the model's own; runs in the background."""
    from pixelcam.refine import MapGrid

    scores = refiner.draw_all(refit, MapGrid.of(model.localization), should_stop)
    localization = replace(model.localization, foreground=scores, refined=refit.samples)
    return MapResult(localization, ScoreHistogram.of(scores, localization.threshold), model.model)


def view_to_draw(session: Session, record: ImageRecord, model: MapResult) -> View | None:
    """Return what to draw first of a map and what surrounds it; `None` for all of it at once."""
    if record.live is None or not record.overlays:
        return None
    return view_of(session.viewer, record, model.localization).widened(record.live.shape)


class Redraw:
    """Shows what there is of a refitted map while the rest is drawn, wherever the reviewer looks.

    Parameters
    ----------
    session, record
        Whose map it is.
    refiner, refit, model
        What draws it, and the model's own map, on whose grid it lies.
    first
        What is in view.
    """

    def __init__(
        self,
        session: Session,
        record: ImageRecord,
        refiner: Refiner,
        refit: Refit,
        model: MapResult,
        first: Patch,
    ) -> None:
        self._session, self._record = session, record
        self._refiner, self._refit, self._model = refiner, refit, model
        self._patches = [first]
        self._stopped = self._looking = False
        self._task: Task | None = None
        self.hidden = True

    def begin(self, done: Callable[[MapResult], None], failed: Callable[[Exception], None]) -> None:
        """Draw all of the map; exactly one of the two is called in the end, and neither after `stop`."""
        if self._stopped or self._task is not None:
            return
        self._task = self._session.background.submit(
            lambda task: whole(self._refiner, self._refit, self._model, task.should_stop),
            done=partial(self._end, done),
            failed=partial(self._end, failed),
        )

    def stop(self) -> None:
        """Draw no more of it, as another map takes its place."""
        self._stopped = True
        if self._task is not None:
            self._task.stop()

    def show(self) -> None:
        """Put on the screen what there is, and what comes."""
        self.hidden = False
        if self._record.live is not None:
            self._record.live.show_patches(self._patches)
            redraw_maps(self._record)
            self.follow()

    def hide(self) -> None:
        """Put no more on the screen, as the reviewer looks at another map meanwhile."""
        self.hidden = True

    def follow(self) -> None:
        """Draw next what the window shows now, where that is not drawn yet."""
        live, model = self._record.live, self._model
        if self._stopped or self._looking or self.hidden or live is None:
            return
        view = view_of(self._session.viewer, self._record, model.localization)
        if any(patch.view.covers(view) for patch in self._patches):
            return
        self._looking = True
        self._session.background.submit(
            lambda task: self._draw(view.widened(live.shape)), done=self._seen, failed=self._unseen
        )

    def _draw(self, view: View) -> Patch:
        from pixelcam.refine import MapGrid

        return Patch.drawn(self._refiner, self._refit, MapGrid.of(self._model.localization), view)

    def _seen(self, patch: Patch) -> None:
        self._looking = False
        self._patches = [*self._patches, patch][-MOST_PATCHES:]
        if not self._stopped and not self.hidden:
            self.show()

    def _unseen(self, error: Exception) -> None:
        self._looking = False  # the whole map is still to come

    def _end(self, then: Callable[..., None], outcome: object) -> None:
        if not self._stopped:
            self._stopped = True
            then(outcome)
