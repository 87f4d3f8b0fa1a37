"""A reviewer's project in the viewer: its list, one image after the other, and what is said of each."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from psygnal import Signal

from napari_pixelcam.controllers.batch import BatchController
from napari_pixelcam.controllers.judgements import WRITE, Judgement, Judgements, Seen, Stopwatch
from napari_pixelcam.controllers.localize import LocalizeController
from napari_pixelcam.controllers.lost import LostImages
from napari_pixelcam.controllers.opening import (
    OpenImage,
    ReadAhead,
    keep_map,
    kept_map,
    read_image,
    read_thumbnails,
)
from napari_pixelcam.controllers.seeds import SeedsController
from napari_pixelcam.controllers.session import ImageRecord, MapResult, Session
from napari_pixelcam.controllers.worklist import ListView, listed, neighbour, ordered
from napari_pixelcam.images import KEY, PROJECT_IMAGE
from napari_pixelcam.keeping import ProjectKeeper, kept_in, project_image
from napari_pixelcam.reader import layer_of
from pixelcam.errors import PixelCAMError, ProjectLockedError
from pixelcam.review import ImageEntry, Project


class WorkbenchController:
    """Opens a project and its images; reading, localizing and writing happen in the background.

    Parameters
    ----------
    session, seeds, localize
        The parts of the dock that show an image, paint on it, and run the model.
    """

    changed = Signal()
    """The project, its list, or the image at hand is different now."""
    locked = Signal(str)
    """The project is open under that name elsewhere, with a sentence; see `open_pending`."""
    said = Signal(str, str, object)
    """How something went: level, a sentence, and what it speaks of, as in `Session.notified`."""

    def __init__(self, session: Session, seeds: SeedsController, localize: LocalizeController) -> None:
        self.session, self.seeds, self.localize = session, seeds, localize
        self.batch = BatchController(session)
        self.lost = LostImages(session)
        self.project: Project | None = None
        self.entries: list[ImageEntry] = []
        self.view = ListView()
        self._order: list[int] = []
        self.current: int | None = None
        self.opening: int | None = None
        self._pending: Path | None = None
        self._judgements: Judgements | None = None
        self._ahead = ReadAhead(session)
        self._stopwatch = Stopwatch()
        self._told: set[int] = set()
        localize.finished.connect(self._on_localized)
        seeds.autosaver.saved.connect(lambda key, moment: self._on_saved(key))
        seeds.autosaver.failed.connect(self._on_save_failed)
        session.image_changed.connect(self._on_image)
        session.images_changed.connect(self._on_image)
        self.batch.changed.connect(self.changed.emit)
        self.lost.changed.connect(self.changed.emit)
        self.lost.found.connect(self._on_found)
        self.lost.failed.connect(self._fail)
        self.batch.progressed.connect(lambda event: self.refresh() if (event.step or 0) % 4 == 0 else None)
        self.batch.ended.connect(self._on_batch)

    # The project.

    @property
    def listed(self) -> list[ImageEntry]:
        """The images to go through, in their order."""
        return listed(self.entries, self._order, self.view, self.current)

    @property
    def entry(self) -> ImageEntry | None:
        """The image at hand."""
        return next((entry for entry in self.entries if entry.id == self.current), None)

    def open(self, folder: Path, reviewer: str, *, read_only: bool = False) -> None:
        """Open a project under a reviewer's name, in place of the one that is open."""
        self._pending = Path(folder)
        self._enter(lambda: Project.open(folder, reviewer=reviewer, read_only=read_only))

    def open_pending(self, reviewer: str, *, read_only: bool = False) -> None:
        """Try the project that was locked again, read-only or under another name."""
        if self._pending is not None:
            self.open(self._pending, reviewer, read_only=read_only)

    def create(self, folder: Path, reviewer: str) -> None:
        """Make a project in a new or empty folder, and open it."""
        self._enter(lambda: Project.create(folder, reviewer=reviewer))

    def _enter(self, make: Callable[[], Project]) -> None:
        self.close()
        self.session.background.submit(lambda task: make(), done=self._take, failed=self._refused)

    def _take(self, project: Project) -> None:
        self.close()  # another may have come in between
        self.project, self._pending = project, None
        self.seeds.keeper = ProjectKeeper(project, self.seeds.folder)
        self._judgements = Judgements(project, self.seeds.autosaver)
        if project.read_only:
            text = f"{project.name} is open read-only: nothing you do is kept. {project.warning}".strip()
            self.said.emit("warning", text, lambda: self.project)
        else:
            self.said.emit("info", "")
        self.refresh()
        self.sort()
        self.lost.look(project)

    def _refused(self, error: Exception) -> None:
        if isinstance(error, ProjectLockedError):
            self.locked.emit(str(error))
        else:
            self._fail(error)

    def close(self) -> None:
        """Write what is not written, put the image away, and give the reviewer's name free."""
        project = self.project
        if project is None:
            return
        self.batch.cancel()
        self._ahead.forget()
        self.note_work()
        self._remove_image()
        self.seeds.flush()
        self.seeds.keeper = self.seeds.folder
        self.project, self._judgements, self.entries = None, None, []
        self.current = self.opening = None
        self.lost.forget()
        project.close()
        self.changed.emit()

    def let_go(self) -> None:
        """Give the reviewer's name free when the viewer is gone, of which nothing can be asked any more."""
        project, self.project = self.project, None
        if project is not None:
            self.batch.cancel()
            self._ahead.forget()
            project.close()

    def refresh(self) -> None:
        """Read the list anew."""
        self._read(lambda project: project.images())

    def _refresh_one(self, id: int) -> None:
        """Read one line of the list anew, as after each stroke, when a long list would take too long."""
        self._read(lambda project: [project.image(id) if one.id == id else one for one in self.entries])

    def _read(self, entries_of: Callable[[Project], list[ImageEntry]]) -> None:
        if self.project is None:
            return
        try:
            entries = entries_of(self.project)
            self.entries = self._judgements.applied(entries) if self._judgements is not None else entries
        except PixelCAMError as error:
            self._fail(error)
        self.changed.emit()

    def set_view(self, view: ListView) -> None:
        """Show the list in another order, or other images."""
        self.view = view
        self.sort()

    def sort(self) -> None:
        """Order the list anew, by what is known now."""
        self._order = ordered(self.entries, self.view)
        self.changed.emit()

    # Going through the list.

    def step(self, by: int) -> None:
        """Open the next image of the list, or another one so many places on; lost ones are passed over."""
        here = self.current if self.opening is None else self.opening
        there = [one for one in self.listed if one.id not in self.lost.ids or one.id == here]
        id = neighbour(there, here, by)
        if id is not None:
            self.go(id)
        elif self.project is not None:
            text = "That was the last image of the list." if by > 0 else "This is the first."
            self.said.emit("info", text, lambda: (self.place_at_hand(), self.view.order, self.view.status))

    def go(self, id: int) -> None:
        """Open an image of the project, at once where it has been read ahead."""
        project = self.project
        if project is None or id in (self.current, self.opening):
            return
        self.opening = id
        ready = self._ahead.take(id)
        if ready is not None:
            self._show(project, ready)
            return
        self.changed.emit()
        self.session.background.submit(
            lambda task: read_image(project, id),
            done=partial(self._show, project),
            failed=partial(self._cannot_open, id),
        )

    def _cannot_open(self, id: int, error: Exception) -> None:
        if self.opening == id:
            self.opening = None
            self._fail(self.lost.note(id, self.entries, error))
            self.changed.emit()

    def _on_found(self, id: int, message: str) -> None:
        self.said.emit("good", message, lambda: (self.project, self.lost.ids))
        self.refresh()
        self.go(id)

    def _show(self, project: Project, image: OpenImage) -> None:
        if project is not self.project or image.id != self.opening:
            return
        self.opening = None
        self.note_work()
        self._remove_image()
        data, options, _ = layer_of(image.slide)
        options["metadata"][KEY][PROJECT_IMAGE] = self.current = image.id
        layer = self.session.viewer.add_image(data, **options)
        self.session.viewer.layers.selection.active = layer
        self.session.choose_image(layer)
        record = self.session.record
        assert record is not None
        self._fill(project, record, image)
        self.session.viewer.reset_view()
        self._stopwatch.take()
        if project.image(image.id).status == "to do":
            self.set_status("in review")
        if image.maps is None and self.session.model:
            self.localize.run()
        self.refresh()
        self._look_ahead()

    def _fill(self, project: Project, record: ImageRecord, image: OpenImage) -> None:
        entry = project.image(image.id)
        record.slide, record.fingerprint = image.slide, entry.fingerprint
        record.threshold, record.corrected_label = entry.threshold, entry.label
        kept = kept_in(project, image.id)  # as it is now, which may be later than when it was read ahead
        if kept.labels.any():
            self.seeds.adopt(record, kept)
        if image.maps is not None:
            self.localize.show(record, image.maps)
        self.session.image_changed.emit(record)  # now that all is known of it

    def _look_ahead(self) -> None:
        project, id = self.project, neighbour(self.listed, self.current, 1)
        if project is None or id is None or self.localize.running or self.batch.running:
            return
        self._ahead.begin(project, id, self.refresh)

    def _remove_image(self) -> None:
        layers = self.session.viewer.layers
        for record in [one for one in self.session.records() if project_image(one) is not None]:
            for layer in [record.layer, *record.layers()]:  # else the map would follow the seeds that go
                if layer in layers:
                    layers.remove(layer)

    # What the reviewer says of the image.

    def set_status(self, status: str, *, then: int = 0) -> None:
        """Say how far the image at hand is, and go so many places on in the list."""
        if self._judgements is None or self.current is None:
            return
        following = neighbour(self.listed, self.current, then) if then else None
        if status == "done":
            self._accept(self._judgements, self.current)
        else:
            self._judgements.set_status(self.current, status)
        self.refresh()
        if following is not None:
            self.go(following)

    def _accept(self, judgements: Judgements, id: int) -> None:
        """Keep what is seen of an image as what the reviewer accepts."""
        record = next((one for one in self.session.records() if project_image(one) == id), None)
        seen = None if record is None else Seen.on(record)
        if record is None or seen is None:
            judgements.set_status(id, "done")
            return
        threshold = seen.threshold
        judgements.accept(id, seen, record)
        self._told.discard(id)

        def whole() -> None:
            # The strokes made before are part of what is accepted, though their map comes a moment later.
            late = Seen.on(record)
            if late is not None and judgements is self._judgements and self._is_done(id):
                judgements.accept(id, replace(late, threshold=threshold), record)

        if record.pending:
            self.session.when_whole(record, whole)

    def _is_done(self, id: int) -> bool:
        return any(one.id == id and one.status == "done" for one in self.entries)

    def _tell_change(self) -> None:
        """Say once that what is changed on a done image does not count by itself."""
        entry = self.entry
        if entry is None or entry.accepted is None or not entry.changed or entry.id in self._told:
            return
        if self._judgements is not None and self._judgements.says(entry.id, "done"):
            return  # which is about to be kept anew
        self._told.add(entry.id)
        self.said.emit(
            "warning",
            f"{entry.name} is done with {entry.accepted.figures}; that stays what is reported until you "
            f"press Done again ({entry.changed} changed since).",
        )

    def set_note(self, text: str) -> None:
        """Keep a note on the image at hand."""
        entry = self.entry
        if self._judgements is not None and entry is not None and entry.note != text:
            self._judgements.set_note(entry.id, text)
            self.refresh()

    def tick(self) -> None:
        """Count the time spent; call it about once a second."""
        if self.project is None or self.current is None:
            return
        viewer = self.session.viewer
        pointer, camera = tuple(viewer.cursor.position), viewer.scene.camera
        self._stopwatch.tick((pointer, tuple(camera.center), camera.zoom, self.seeds.state))
        if self._stopwatch.seconds >= WRITE:
            self.note_work()

    def note_work(self) -> None:
        """Keep the time spent on the image at hand and its threshold, as before it goes."""
        entry, record = self.entry, self.session.record
        if self._judgements is None or entry is None:
            return
        self._judgements.add_seconds(entry.id, self._stopwatch.take())
        if record is not None and project_image(record) == entry.id and record.threshold != entry.threshold:
            self._judgements.set_threshold(entry.id, record.threshold)

    def read_thumbnails(self, ids: Sequence[int], done: Callable[[dict[int, Any]], None]) -> None:
        """Read small pictures of images, (h, w, 3) uint8; `done` gets those that there are."""
        project = self.project
        if project is not None:
            self.session.background.submit(
                lambda task: read_thumbnails(project, ids),
                done=done,
                failed=lambda error: None,  # they are a convenience
            )

    @property
    def all_done(self) -> bool:
        """Whether every image of the project is done or left out."""
        return bool(self.entries) and all(entry.status in ("done", "skipped") for entry in self.entries)

    def report(self, path: Path) -> None:
        """Write the project's report, in the background."""
        project = self.project
        if project is None:
            return
        self.note_work()
        self.seeds.flush()

        def work(task: Any) -> Path:
            from pixelcam.review.report import write_report

            return write_report(project, path)

        self.session.background.submit(work, done=self._reported, failed=self._fail)

    def _reported(self, path: Path) -> None:
        self.said.emit("good", f"The report is in {path}.", lambda: self.project)

    # Adding and localizing many.

    def add_images(self, paths: Sequence[Path]) -> None:
        """Add image files to the project."""
        if self.project is not None:
            self.batch.add_images(self.project, paths)

    def localize_all(self) -> None:
        """Localize the images of the list."""
        if self.project is None:
            return
        if not self.session.model:
            self.said.emit("error", self.localize.obstacle, lambda: (self.project, self.localize.obstacle))
            return
        self.batch.localize(self.project, self.listed)

    # What follows from the rest of the dock.

    def _on_localized(self, record: ImageRecord) -> None:
        """Keep the map that Localize has just made, and then read on."""
        id, project, maps = project_image(record), self.project, record.result
        if project is None or id is None or maps is None:
            return

        def done(ignored: object) -> None:
            self.refresh()
            self._look_ahead()

        self.session.background.submit(
            lambda task: keep_map(project, id, maps.localization),
            done=done,
            failed=lambda error: self._fail(error) if project is self.project else None,
        )

    def _on_saved(self, key: Any) -> None:
        if isinstance(key, Judgement):
            if self._judgements is not None:
                self._judgements.settle(key)
            self._refresh_one(key.id)
        elif (id := project_image(key)) is not None:
            self._refresh_one(id)
        self._tell_change()

    def _on_save_failed(self, key: Any, message: str) -> None:
        if isinstance(key, Judgement):  # the seeds section tells of seeds
            text = f"NOT SAVED. {message} Trying again every few seconds."
            self.said.emit("error", text, lambda: self.seeds.autosaver.is_clean(key))

    def _on_batch(self, level: str, message: str) -> None:
        self.refresh()
        self.sort()
        self.said.emit(level, message, lambda: (self.project, self.batch.running, self._without_map()))
        if self.current is None:
            self.step(1)
        else:
            self._renew_map()
            self._look_ahead()

    def _renew_map(self) -> None:
        """Show the map of the image at hand that another model has made meanwhile."""
        project, id, record = self.project, self.current, self.session.record
        if project is None or id is None or record is None or project_image(record) != id:
            return
        shown = None if record.result is None else record.result.localization.model

        def show(maps: MapResult | None) -> None:
            if maps is not None and project is self.project and self.session.holds(record):
                record.previous = record.result
                self.localize.show(record, maps)

        self.session.background.submit(
            lambda task: kept_map(project, id, record.slide, without=shown), done=show, failed=self._fail
        )

    def _on_image(self, record: ImageRecord | None = None) -> None:
        """Notice when the reviewer has removed the image's layer."""
        shown = [project_image(one) for one in self.session.records()]
        if self.current is not None and self.current not in shown:
            self.note_work()
            self.current = None
            self.changed.emit()

    def _fail(self, error: Exception) -> None:
        self.said.emit("info", "")  # what went well before is no longer the news
        self.session.report(error, lambda: (self.place_at_hand(), self.lost.ids))

    def place_at_hand(self) -> tuple[object, ...]:
        """Return what messages on the list speak of: the project, and where in it the reviewer is."""
        return self.project, self._pending, self.current, self.opening

    def _without_map(self) -> int:
        return sum(entry.predicted is None for entry in self.entries)
