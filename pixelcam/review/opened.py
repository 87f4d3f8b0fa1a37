"""A project that is open: its folder, its name taken, and the images in it."""

from __future__ import annotations

import os
import secrets
import sqlite3
import tempfile
from collections.abc import Iterable
from contextlib import closing, suppress
from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import NDArray

from pixelcam.errors import CancelledError, ImageError, OutputError, PixelCAMError, ProjectError
from pixelcam.events import Event, EventSink, Stop, StopCheck, ignore_events, never_stop
from pixelcam.export.atomic import output_error
from pixelcam.review import clearing, database, images, journal, records
from pixelcam.review.database import (
    DATABASE,
    ERRORS,
    DamagedError,
    Database,
    WrongValueError,
    connect,
    refuse_foreign_parts,
)
from pixelcam.review.entries import ImageEntry
from pixelcam.review.locking import ReviewerLock, checked_reviewer, folded_reviewer, is_read_only, slug
from pixelcam.review.rescuing import readable_copy, rescue
from pixelcam.review.seedstore import Canvas, SeedStore
from pixelcam.slides import Slide, open_slide, series_of


def is_project(folder: str | Path) -> bool:
    """Return whether a folder holds a project."""
    return (Path(folder) / DATABASE).is_file()


class OpenProject:
    """What `Project` begins with; see there."""

    def __init__(
        self,
        folder: Path,
        reviewer: str,
        lock: ReviewerLock | None,
        copy: tempfile.TemporaryDirectory[str] | None = None,
        warning: str = "",
    ) -> None:
        self.folder, self.reviewer, self.warning = folder, reviewer, warning
        self._lock = lock
        try:
            self._database = Database(folder, read_only=lock is None, copy=copy)
            if lock is not None:
                # A share that comes back may have forgotten who held the name, or be another copy.
                self._database.on_return = self._return
            self._seeds = SeedStore(self._database, folder)
            with self._database.reading() as connection:
                row = connection.execute("SELECT value FROM meta WHERE key = 'name'").fetchone()
            self.name = str(row[0]) if row else folder.name
            self._reviewer_id = self._enter()
            if lock is not None:
                self._clear(lock)
        except BaseException:
            if lock is not None:
                lock.release()
            raise

    @property
    def read_only(self) -> bool:
        """Whether it can only be looked at."""
        return self._lock is None

    @classmethod
    def create(cls, folder: str | Path, *, reviewer: str, name: str = "") -> Self:
        """Make a project in a new or empty folder, and open it.

        Raises
        ------
        OutputError
            The folder cannot be written.
        ProjectError
            There is a project already, or other files; or the reviewer's name is empty.
        """
        folder, reviewer = Path(folder).absolute(), checked_reviewer(reviewer)
        if is_project(folder):
            raise ProjectError(f"{folder} holds a project already; open it, or choose another folder.")
        try:
            folder.mkdir(parents=True, exist_ok=True)
            if any(path.name != "locks" and not path.name.startswith(".") for path in folder.iterdir()):
                raise ProjectError(
                    f"{folder} holds other files; choose a new or empty folder for the project."
                )
        except OSError as error:
            raise output_error(folder, error) or error from error
        meta = {
            "identity": secrets.token_hex(16),
            "name": name.strip() or folder.name,
            "created": journal.now(),
        }
        database.create(folder / DATABASE, meta)
        return cls.open(folder, reviewer=reviewer)

    @classmethod
    def open(cls, folder: str | Path, *, reviewer: str, read_only: bool = False) -> Self:
        """Open a project under a reviewer's name.

        Where the folder cannot be written it is opened read-only, as `Project.read_only` tells.

        Raises
        ------
        ProjectLockedError
            Somebody works in it under that name; it can be opened read-only or under another.
        DamagedError
            The database was damaged. What could be read was saved, as the error tells: open it again. A
            project that is opened read-only is left as it is: single wrong values are passed over, as
            `Project.warning` tells.
        ProjectError
            There is no project, or it is of a newer version.
        """
        folder, reviewer = Path(folder).absolute(), checked_reviewer(reviewer)
        if not is_project(folder):
            raise ProjectError(
                f"{folder} holds no project ({DATABASE} is not there); choose another folder or make a "
                "new project."
            )
        reviewer = _known_spelling(folder, reviewer)
        lock = None
        if not read_only:
            try:
                lock = ReviewerLock(folder, reviewer)
            except OutputError as error:
                if not is_read_only(error):
                    raise
        try:
            return cls(folder, reviewer, lock)
        except DamagedError as error:
            if lock is not None:
                raise DamagedError(str(rescue(folder))) from None
            if not isinstance(error, WrongValueError):
                raise
            warning = f"{error} Until then what makes no sense is left out or replaced in what you see."
            return cls(folder, reviewer, None, readable_copy(folder), warning)

    @property
    def closed(self) -> bool:
        """Whether it was closed, after which nothing can be read or written."""
        return self._database.closed

    def close(self) -> None:
        """Give the name free; to be killed instead loses nothing."""
        with suppress(PixelCAMError):
            if not self.read_only:
                self._seeds.remember()
        self._database.close()
        if self._lock is not None:
            self._lock.release()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _enter(self) -> int:
        """Return this reviewer's number; make the pictures complete that a killed session left behind."""
        if self.read_only:
            with self._database.reading() as connection:
                # A reviewer of no number has judged nothing.
                return records.reviewer_id(connection, self.reviewer) or -1
        with self._database.writing() as connection:
            number = records.add_reviewer(connection, self.reviewer)
            records.log(connection, self.reviewer, "opened")
            behind = connection.execute(
                "SELECT DISTINCT s.image FROM saves s LEFT JOIN pictures p "
                "ON p.image = s.image AND p.reviewer = s.reviewer WHERE s.reviewer = ? "
                "AND s.id > coalesce(p.applied, 0)",
                (number,),
            ).fetchall()
        self._reviewer_id = number
        for (image,) in behind:
            self._seeds.catch_up(self._canvas(image))
        return number

    def _clear(self, lock: ReviewerLock) -> None:
        """Take away what killed processes left; what cannot be removed now is so another time."""
        own = slug(self.reviewer)
        if not (lock.after_kill or self._database.updated or clearing.killed_sessions(self.folder, own)):
            return
        with suppress(OSError, PixelCAMError), self._database.reading() as connection:
            clearing.clear(self.folder, connection, own)

    def _return(self) -> None:
        if self._lock is not None:
            self._lock.take_again()
        self._seeds.forget()

    # Images.

    def reviewers(self) -> list[str]:
        """Return the names of all who have painted or judged, in the order of their coming.

        Who has merged, localized or looked only is no reviewer with everything to do.
        """
        with self._database.reading() as connection:
            return [
                name
                for (name,) in connection.execute(
                    "SELECT name FROM reviewers WHERE id IN (SELECT reviewer FROM saves "
                    "UNION SELECT reviewer FROM judgements) ORDER BY id"
                )
            ]

    def add_images(
        self,
        paths: Iterable[str | Path],
        on_event: EventSink = ignore_events,
        should_stop: StopCheck = never_stop,
        series: int | None = None,
    ) -> list[ImageEntry]:
        """Add image files by reference.

        Parameters
        ----------
        paths
            Image files. One whose bytes are in the project already is not added twice.
        on_event
            Receives a "step" of the stage "images" for each file, and a "warning" for one that fails.
        should_stop
            Asked before each file; those before it stay added.
        series
            Which picture of files that hold several, see `open_slide`.

        Returns
        -------
        list[ImageEntry]
            One entry a file, each once.

        Raises
        ------
        ImageError
            Some could not be read; the others are in the project.
        CancelledError
            As asked for.
        """
        files = [Path(path) for path in paths]
        known = self._known_files()
        found: dict[int, None] = {}
        failures: list[ImageError] = []
        for number, path in enumerate(files, start=1):
            if should_stop() is not Stop.NO:
                raise CancelledError
            try:
                id = _known_as(path, series, known)
                found[self._add_image(path, series) if id is None else id] = None
            except ImageError as error:
                failures.append(error)
                on_event(Event("warning", "images", message=str(error)))
            on_event(Event("step", "images", step=number, total=len(files)))
        if len(failures) == 1:
            raise failures[0]
        if failures:
            raise ImageError(f"{len(failures)} images could not be added; the first of them: {failures[0]}")
        if len(found) <= 20:
            return [self.image(id) for id in found]
        entries = {entry.id: entry for entry in self.images()}
        return [entries[id] for id in found]

    def _known_files(self) -> Known:
        """Return by place and number in its file each image's number, size and time of the last change."""
        known: Known = {}
        with self._database.reading() as connection:
            for id, path, relative, fingerprint, size, modified in connection.execute(
                "SELECT id, path, relative_path, fingerprint, bytes, modified FROM images"
            ):
                series = series_of(fingerprint)
                if relative:
                    known[os.path.normpath(self.folder / relative), series] = (id, size, modified)
                known[path, series] = (id, size, modified)
        return known

    def _add_image(self, path: Path, series: int | None) -> int:
        slide = images.read_slide(path, series)
        thumbnail = images.make_thumbnail(slide)
        with self._database.writing() as connection:
            known = connection.execute("SELECT coalesce(max(id), 0) FROM images").fetchone()[0]
            number = images.insert_image(connection, self.folder, slide)
            row = self._row(connection, number)
            if number > known:
                records.log(connection, self.reviewer, "added", number, path=path.absolute())
            elif images.find_file(row, self.folder) is None:
                images.note_place(connection, number, path, self.folder)
        with suppress(OutputError):  # both are conveniences
            images.describe_image(row, self.folder)
        images.keep_thumbnail(images.thumbnail_path(self.folder, number), thumbnail)
        return number

    def images(self) -> list[ImageEntry]:
        """Return all images, in the order in which they were added, as this reviewer sees them."""
        with self._database.reading() as connection:
            return records.entries(connection, self._reviewer_id)

    def images_of(self, reviewer: str) -> list[ImageEntry]:
        """Return all images as another reviewer sees them."""
        with self._database.reading() as connection:
            return records.entries(connection, self._number_of(connection, reviewer))

    def image(self, id: int) -> ImageEntry:
        """Return one image."""
        with self._database.reading() as connection:
            found = records.entry(connection, self._reviewer_id, id)
        if found is None:
            raise self._unknown(id)
        return found

    def find(self, fingerprint: str) -> ImageEntry | None:
        """Return the image with these bytes, None where it is not in the project."""
        return next((entry for entry in self.images() if entry.fingerprint == fingerprint), None)

    def locate(self, id: int) -> Path:
        """Return the file of an image, verified to be the one that was added.

        Raises
        ------
        MissingImageError, ChangedImageError
            It is gone, or another one lies in its place.
        """
        with self._database.reading() as connection:
            row = self._row(connection, id)
        path, _, is_news = images.verified_file(row, self.folder)
        if is_news and not self.read_only:
            with suppress(OutputError), self._database.writing() as connection:
                images.note_place(connection, id, path, self.folder)
        return path

    def slide(self, id: int) -> Slide:
        """Open an image: its file, and of several pictures in it the one that was added.

        Raises
        ------
        ImageError
            It is gone, changed, or cannot be read any more.
        """
        return open_slide(self.locate(id), series_of(self.image(id).fingerprint))

    def relink(self, id: int, path: str | Path) -> ImageEntry:
        """Tell where an image is now: its file, or a folder in or below which it lies.

        Raises
        ------
        MissingImageError, ChangedImageError
            It is not there, or that file has other bytes.
        """
        with self._database.reading() as connection:
            row = self._row(connection, id)
        found = images.search_file(row, Path(path))
        with self._database.writing() as connection:
            images.note_place(connection, id, found, self.folder)
            records.log(connection, self.reviewer, "relinked", id, path=found.absolute())
        return self.image(id)

    def missing(self) -> list[int]:
        """Return the numbers of the images whose files are not where they were, without reading any."""
        with self._database.reading() as connection:
            rows = connection.execute("SELECT * FROM images ORDER BY id").fetchall()
        return [row["id"] for row in rows if images.find_file(row, self.folder) is None]

    def relink_beside(self, path: str | Path) -> list[ImageEntry]:
        """Find the missing images that lie beside a file under their old names; return those found."""
        found = []
        for id in self.missing():
            place = Path(path).parent / self.image(id).path.name
            if os.path.isfile(place):  # noqa: PTH113 - Path raises where it may not look
                with suppress(ImageError):  # another image of that name
                    found.append(self.relink(id, place))
        return found

    def thumbnail(self, id: int) -> NDArray[np.uint8] | None:
        """Return the image at most 160 pixels wide and high, (h, w, 3) uint8; None if it cannot be read."""
        path = images.thumbnail_path(self.folder, self.image(id).id)
        pixels = images.read_thumbnail(path)
        if pixels is None:
            with suppress(ImageError):
                pixels = images.make_thumbnail(self.slide(id))
                if not self.read_only:
                    images.keep_thumbnail(path, pixels)
        return pixels

    # For the rest of the project.

    def _row(self, connection: sqlite3.Connection, id: int) -> sqlite3.Row:
        row: sqlite3.Row | None = connection.execute("SELECT * FROM images WHERE id = ?", (id,)).fetchone()
        if row is None:
            raise self._unknown(id)
        return row

    def _canvas(self, id: int, reviewer: str | None = None) -> Canvas:
        """Return whose seeds of which image; this reviewer's where no name is given."""
        with self._database.reading() as connection:
            row = self._row(connection, id)
            number = self._number_of(connection, reviewer or self.reviewer)
        own = number == self._reviewer_id and not self.read_only
        shape = (int(row["grid_height"]), int(row["grid_width"]))
        return Canvas(id, number, reviewer or self.reviewer, shape, own)

    def _number_of(self, connection: sqlite3.Connection, reviewer: str) -> int:
        if reviewer == self.reviewer:
            return self._reviewer_id
        found = records.reviewer_id(connection, reviewer)
        if found is None:
            raise ProjectError(f"Nobody called {reviewer!r} has worked in {self.folder}; look who has.")
        return found

    def _unknown(self, id: int) -> ProjectError:
        return ProjectError(f"The project {self.folder} holds no image of the number {id}; look at its list.")


def _known_spelling(folder: Path, reviewer: str) -> str:
    """Return a name as it is written in a project already, where it differs by case or look-alike forms."""
    try:
        refuse_foreign_parts(folder / DATABASE)
        with closing(connect(folder / DATABASE, "ro")) as connection:
            names = [str(row[0]) for row in connection.execute("SELECT name FROM reviewers ORDER BY id")]
    except (*ERRORS, ProjectError):  # opening it will say what is wrong
        return reviewer
    if reviewer in names:
        return reviewer
    return next((name for name in names if folded_reviewer(name) == folded_reviewer(reviewer)), reviewer)


Known = dict[tuple[str, int | None], tuple[int, int, int]]


def _known_as(path: Path, series: int | None, known: Known) -> int | None:
    """Return the number of an image that lies where it was, of the size and time that it had; else None.

    What `Project.locate` trusts does here too: the bytes are not read again.
    """
    found = known.get((str(path.absolute()), series))
    if found is None:
        return None
    try:
        status = path.stat()
    except OSError:
        return None
    return found[0] if (status.st_size, status.st_mtime_ns) == found[1:] else None
