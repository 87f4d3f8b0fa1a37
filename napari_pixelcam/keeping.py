"""Where seeds are kept as they are made: a folder of the user's, or the project that is open."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

from napari_pixelcam import seedfiles
from pixelcam.errors import OutputError

if TYPE_CHECKING:
    from napari_pixelcam.controllers.autosave import Save
    from napari_pixelcam.controllers.session import ImageRecord, Session
    from pixelcam.review import Project
    from pixelcam.review.exporting import Exported
    from pixelcam.seeds.seedmap import SeedMap
    from pixelcam.slides import Slide

READ_ONLY = "The project is open read-only; open it under a reviewer's name of its own to change it."


@dataclass(frozen=True)
class Kept:
    """What is known of an image from before.

    Parameters
    ----------
    labels
        (h, w) uint8 of the seed grid.
    label
        What the reviewer said of the image's class.
    started
        When the first seed was painted, in ISO 8601.
    saved
        When the seeds were last written, `None` where they never were.
    """

    labels: NDArray[np.uint8]
    label: str | None
    started: str | None
    saved: datetime | None


class Keeper(Protocol):
    """Something that keeps seeds and finds them again."""

    def find(self, record: ImageRecord, slide: Slide) -> Kept | None:
        """Return what is kept of an image; may take a while."""
        ...

    def saving(self, record: ImageRecord, slide: Callable[[], Slide], seeds: SeedMap, kind: str) -> Save:
        """Return the function that writes an image's seeds and label; it runs in another thread.

        `slide` reads the image, where the saving needs it; `kind` is what the reviewer did, as a project's
        journal words it.
        """
        ...

    def obstacle(self, record: ImageRecord) -> str:
        """Return why nothing can be kept of an image, as a sentence; empty where it can."""
        ...

    def closed(self, records: Iterable[ImageRecord]) -> list[int]:
        """Return the numbers of the images with kept seeds that are to be learned from beside these."""
        ...

    def export(self, ids: Iterable[int], folder: Path, formats: Sequence[str]) -> Exported:
        """Write the seeds of such images."""
        ...

    def note_run(self, folder: Path, model: str = "") -> None:
        """Note a fine-tuning run, and the sha256 of the model that it made, where such things are noted."""
        ...


class FolderKeeper:
    """Keeps each image's seeds in a folder of the user's, named by the image's fingerprint.

    What another window has saved there meanwhile is not written over: it is set aside, and the user hears of
    it.
    """

    def __init__(self, session: Session) -> None:
        self._session = session
        self._known: dict[Path, seedfiles.State] = {}
        self._ahead: dict[Path, Path] = {}  # set aside by a save that came before the looking for them

    def find(self, record: ImageRecord, slide: Slide) -> Kept | None:
        """Return the latest autosaved seeds."""
        folder = seedfiles.autosave_folder(self._session, slide.fingerprint)
        self._known[folder] = seedfiles.state(folder)
        found = seedfiles.find_kept(self._ahead.pop(folder, folder), slide.fingerprint)
        if found is None:
            return None
        sidecar = found.sidecar
        return Kept(found.labels, sidecar.corrected_label, sidecar.started, found.saved)

    def saving(self, record: ImageRecord, slide: Callable[[], Slide], seeds: SeedMap, kind: str) -> Save:
        """Write PNG and sidecar."""
        sought = record.fingerprint is None and project_image(record) is None

        def save() -> str | None:
            of = slide()
            folder = seedfiles.autosave_folder(self._session, of.fingerprint)
            aside, others = "", seedfiles.state(folder)
            if others and others != self._known.get(folder):
                aside = str(seedfiles.set_aside(folder))
            seedfiles.save(folder, seeds.array(), seedfiles.make_sidecar(record, of), of)
            if aside and sought and folder not in self._known:
                self._ahead[folder] = Path(aside)
                aside = ""  # they are about to be shown
            self._known[folder] = seedfiles.state(folder)
            return aside and (
                f"Other seeds of {record.name!r} had been saved meanwhile, perhaps by another window. "
                f"They are kept in {aside}; those of this window are saved."
            )

        return save

    def obstacle(self, record: ImageRecord) -> str:
        """Return nothing: whether the folder can be written is seen as it is written."""
        return ""

    def closed(self, records: Iterable[ImageRecord]) -> list[int]:
        """Return none: what the user painted long ago does not belong to what is open."""
        return []

    def export(self, ids: Iterable[int], folder: Path, formats: Sequence[str]) -> Exported:
        """Write nothing."""
        from pixelcam.review.exporting import Exported

        return Exported()

    def note_run(self, folder: Path, model: str = "") -> None:
        """Note nothing: the run's folder says it all."""


class ProjectKeeper:
    """Keeps the seeds of a project's images in the project, and of others where they were kept before.

    Parameters
    ----------
    project
        The open project.
    others
        Who keeps the rest.
    """

    def __init__(self, project: Project, others: Keeper) -> None:
        self._project, self._others = project, others

    def find(self, record: ImageRecord, slide: Slide) -> Kept | None:
        """Return the reviewer's seeds and label in the project."""
        id = project_image(record)
        return self._others.find(record, slide) if id is None else kept_in(self._project, id)

    def saving(self, record: ImageRecord, slide: Callable[[], Slide], seeds: SeedMap, kind: str) -> Save:
        """Journal what has changed."""
        id, label, project = project_image(record), record.corrected_label, self._project
        elsewhere = self._others.saving(record, slide, seeds, kind)
        if id is None:
            return elsewhere

        def save() -> str | None:
            if project.read_only:
                raise OutputError(READ_ONLY)
            if project.closed:  # with this unsaved, as when its folder was not to be reached
                return elsewhere()
            project.write_changes(id, seeds.array(), kind)
            project.set_label(id, label)
            return None

        return save

    def obstacle(self, record: ImageRecord) -> str:
        """Return that the project is open for looking only, where it is."""
        looking = self._project.read_only and project_image(record) is not None
        return READ_ONLY if looking else ""

    def closed(self, records: Iterable[ImageRecord]) -> list[int]:
        """Return the project's images with seeds of the reviewer that are not open."""
        here = {project_image(record) for record in records}
        entries = self._project.images()
        return [one.id for one in entries if one.foreground + one.background and one.id not in here]

    def export(self, ids: Iterable[int], folder: Path, formats: Sequence[str]) -> Exported:
        """Write what the project keeps."""
        from pixelcam.review.exporting import export_seeds_of

        return export_seeds_of(self._project, folder, ids, formats)

    def note_run(self, folder: Path, model: str = "") -> None:
        """Note the run in the project, where it can be."""
        if not self._project.read_only:
            self._project.register_run(folder, model=model)


def project_image(record: ImageRecord) -> int | None:
    """Return the number that an image has in the open project, `None` where it is not of it."""
    return record.project_image


def kept_in(project: Project, id: int) -> Kept:
    """Return what a project keeps of one of its images."""
    entry = project.image(id)
    own = [save for save in project.history(id) if save.reviewer == project.reviewer]
    started = own[0].time.isoformat(timespec="seconds") if own else None
    return Kept(project.seeds(id), entry.label, started, own[-1].time if own else None)
