"""Images of a project that are not where they were: which they are, and where they are now."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from psygnal import Signal

from napari_pixelcam.controllers.session import Session
from pixelcam.errors import ChangedImageError, MissingImageError
from pixelcam.review import ImageEntry

if TYPE_CHECKING:
    from pixelcam.review import Project


class LostImages:
    """Looks for lost images in the background, and finds them again where the reviewer says.

    Parameters
    ----------
    session
        The dock's shared state.
    """

    changed = Signal()
    """Other images are lost now."""
    found = Signal(int, str)
    """This image is there again, in a sentence."""
    failed = Signal(Exception)
    """What was shown is not the image."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self.ids: frozenset[int] = frozenset()
        self._project: Project | None = None
        self._asked: int | None = None

    def look(self, project: Project) -> None:
        """Look which images are missing; a share that answers slowly holds nothing up."""
        self.forget()
        self._project = project
        self._session.background.submit(
            lambda task: project.missing(),
            done=partial(self._take, project),
            failed=lambda error: None,  # whoever opens an image is told
        )

    def note(self, id: int, entries: Sequence[ImageEntry], error: Exception) -> Exception:
        """Take note of an image that is lost, where that is the failure; return it in the dock's words."""
        if not isinstance(error, MissingImageError | ChangedImageError):
            return error
        self._asked = id
        self._set(self.ids | {id})
        if isinstance(error, ChangedImageError):
            return error
        name = next(entry.path.name for entry in entries if entry.id == id)
        return MissingImageError(
            f"{name} is not where it was; put it back, or press “Find it…” in the work list."
        )

    def forget(self) -> None:
        """Know of no image."""
        self._project, self._asked = None, None
        self._set(frozenset())

    def asked(self, entries: Sequence[ImageEntry]) -> ImageEntry | None:
        """Return the lost image to ask for: the one opened last, or the first of a list."""
        lost = [entry for entry in entries if entry.id in self.ids]
        return next((entry for entry in lost if entry.id == self._asked), lost[0] if lost else None)

    def find(self, entries: Sequence[ImageEntry], path: Path) -> None:
        """Tell where the lost image of a list is that is asked for; those missing beside it come along."""
        project, entry = self._project, self.asked(entries)
        if project is None or entry is None:
            return

        def work(task: object) -> list[ImageEntry]:
            return [project.relink(entry.id, path), *project.relink_beside(path)]

        def end(found: list[ImageEntry]) -> None:
            if project is not self._project:
                return
            self._asked = None
            self._set(self.ids - {one.id for one in found})
            others = len(found) - 1
            beside = f", and {others} more beside it" if others else ""
            self.found.emit(entry.id, f"{entry.name} is found again{beside}.")

        self._session.background.submit(work, done=end, failed=self.failed.emit)

    def _take(self, project: Project, found: list[int]) -> None:
        if project is self._project:
            self._set(self.ids | set(found))

    def _set(self, ids: frozenset[int]) -> None:
        if ids != self.ids:
            self.ids = ids
            self.changed.emit()
