"""Seeds as a project keeps them: first in the journal, then in the picture, read from both."""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pixelcam.errors import ProjectError, SeedsError
from pixelcam.files import own
from pixelcam.review import journal
from pixelcam.review.arrays import Box, SeedPicture
from pixelcam.review.database import ERRORS, Database
from pixelcam.review.journal import KINDS, JournalError, Patch, Save, find_patches
from pixelcam.review.locking import slug
from pixelcam.seeds import count_seeds

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Canvas:
    """Whose seeds of which image.

    Attributes
    ----------
    image, reviewer
        Their numbers in the project.
    name
        The reviewer's name.
    shape
        (height, width) of the seed grid.
    own
        Whether this process is the one that writes them.
    """

    image: int
    reviewer: int
    name: str
    shape: tuple[int, int]
    own: bool


class SeedStore:
    """The seeds of all images and reviewers of one project.

    An edit is committed to the journal, then drawn into the reviewer's picture. ``applied`` is the edit that
    a picture surely shows on the disk; it is written along with the next edit, so that it costs nothing.
    Whoever reads takes the picture and lays the edits after ``applied`` over it, which changes nothing where
    they are in it already. So it does not matter at which moment a process dies, or whether a picture could
    be written.

    Parameters
    ----------
    database
        The project's.
    folder
        The project's; pictures lie in ``images/<id>/``.
    """

    def __init__(self, database: Database, folder: Path) -> None:
        self._database, self._folder = database, folder
        self._pictures: dict[tuple[int, int], SeedPicture] = {}
        self._applied: dict[tuple[int, int], int] = {}
        # The grid that is being painted: a large one takes too long to read for every stroke.
        self._present: tuple[tuple[int, int], NDArray[np.uint8]] | None = None

    def forget(self) -> None:
        """Forget what is known of the files, as when they have been away."""
        self._applied.clear()
        self._present = None

    def read(self, canvas: Canvas, box: Box | None = None) -> NDArray[np.uint8]:
        """Return a copy of the labels of a box, or of the whole grid, (h, w) uint8."""
        with self._database.reading() as connection:
            if box is None:
                return self._whole(connection, canvas).copy()
            if self._present is not None and self._present[0] == (canvas.image, canvas.reviewer):
                return self._present[1][box[0] : box[2], box[1] : box[3]].copy()
            return self._read_box(connection, canvas, box)

    def write_box(self, canvas: Canvas, box: Box, labels: NDArray[np.uint8], kind: str) -> Save:
        """Keep the labels of one box; see `Project.write_seeds`."""
        # Plain integers: SQLite would keep numpy's as bytes.
        y0, x0, y1, x1 = box = (int(box[0]), int(box[1]), int(box[2]), int(box[3]))
        labels = _checked_labels(labels, (y1 - y0, x1 - x0))
        if not (0 <= y0 < y1 <= canvas.shape[0] and 0 <= x0 < x1 <= canvas.shape[1]):
            raise SeedsError(f"The box {box} lies outside the seeds of {canvas.shape} pixels.")
        with self._database.lock:
            return self._keep(canvas, find_patches(self.read(canvas, box), labels, (y0, x0)), kind)

    def write_whole(self, canvas: Canvas, labels: NDArray[np.uint8], kind: str) -> Save | None:
        """Keep what differs from the labels kept so far; None where nothing does."""
        labels = _checked_labels(labels, canvas.shape)
        with self._database.reading() as connection:
            patches = find_patches(self._whole(connection, canvas), labels)
            return self._keep(canvas, patches, kind) if patches else None

    def restore(
        self, canvas: Canvas, labels: NDArray[np.uint8], record: Callable[[sqlite3.Connection], None]
    ) -> Save:
        """Go to an earlier state by a new edit; `record` notes it in the same transaction."""
        with self._database.lock:
            return self._keep(canvas, find_patches(self.read(canvas), labels), "restore", record)

    def state_at(self, canvas: Canvas, seq: int) -> NDArray[np.uint8]:
        """Return the whole grid after an edit of `canvas`, by the shorter way through the journal."""
        with self._database.reading() as connection:
            before, after = connection.execute(
                "SELECT count(*) FILTER (WHERE id <= ?1), count(*) FILTER (WHERE id > ?1) FROM saves "
                "WHERE image = ?2 AND reviewer = ?3",
                (seq, canvas.image, canvas.reviewer),
            ).fetchone()
            if before < after:
                return journal.state_at(connection, canvas.image, canvas.reviewer, seq, canvas.shape)
            labels = self._read_whole(connection, canvas)
            journal.undo_after(connection, canvas.image, canvas.reviewer, seq, labels)
            return labels

    def catch_up(self, canvas: Canvas) -> None:
        """Draw into the picture what the journal is ahead of it; a picture that fails is left behind."""
        key = (canvas.image, canvas.reviewer)
        with self._database.reading() as connection:
            applied = self._applied_of(connection, canvas)
            newest = journal.last_seq(connection, *key)
            if newest != applied:
                self._draw(connection, canvas, applied, newest)

    def _draw(self, connection: sqlite3.Connection, canvas: Canvas, applied: int, newest: int) -> None:
        key, picture = (canvas.image, canvas.reviewer), self._picture(canvas)
        if not applied:
            picture.remove()
        try:
            picture.begin()
            picture.draw(journal.pieces_after(connection, *key, applied))
        except (JournalError, *ERRORS):
            raise  # which is not the picture's fault
        except Exception as error:  # zarr raises whatever it stumbles over; the journal has it all
            logger.warning("%s could not be written and is drawn again later: %s", picture.path, error)
            if not isinstance(error, OSError) or isinstance(error, FileNotFoundError):
                self._applied[key] = 0  # it is damaged, not the disk full
            return
        self._applied[key] = newest

    def remember(self) -> None:
        """Note in the database how far the pictures are, as at the end of a session."""
        if self._applied:
            with self._database.writing() as connection:
                for (image, reviewer), applied in self._applied.items():
                    _note_applied(connection, image, reviewer, applied)

    def _keep(
        self,
        canvas: Canvas,
        patches: list[Patch],
        kind: str,
        record: Callable[[sqlite3.Connection], None] | None = None,
    ) -> Save:
        """Commit one edit, then draw it."""
        if kind not in KINDS:
            raise SeedsError(f"An edit of seeds is one of {', '.join(KINDS)}, not {kind!r}.")
        key = (canvas.image, canvas.reviewer)
        with self._database.writing() as connection:
            seq = journal.append(connection, *key, kind, patches)
            if key in self._applied:
                _note_applied(connection, *key, self._applied[key])
            if record is not None:
                record(connection)
            found = journal.find_save(connection, canvas.image, seq)
        assert found is not None
        if self._present is not None and self._present[0] == key:
            for patch in patches:
                patch.apply(self._present[1])
        self.catch_up(canvas)
        return found

    def _whole(self, connection: sqlite3.Connection, canvas: Canvas) -> NDArray[np.uint8]:
        """Return the whole grid, not to be changed; one that nobody else writes is kept in memory."""
        if not canvas.own:
            return self._read_whole(connection, canvas)
        key = (canvas.image, canvas.reviewer)
        if self._present is None or self._present[0] != key:
            self._present = key, self._read_whole(connection, canvas)
        return self._present[1]

    def _read_whole(self, connection: sqlite3.Connection, canvas: Canvas) -> NDArray[np.uint8]:
        labels = self._read_box(connection, canvas, (0, 0, *canvas.shape))
        kept = journal.counts(connection, canvas.image, canvas.reviewer)
        if count_seeds(labels) == kept:
            return labels
        # Chunks are gone without their array being so, as after copying a part of the folder.
        self._distrust(canvas)
        return journal.state_at(connection, canvas.image, canvas.reviewer, 2**62, canvas.shape)

    def _read_box(self, connection: sqlite3.Connection, canvas: Canvas, box: Box) -> NDArray[np.uint8]:
        applied = self._applied_of(connection, canvas)
        labels = np.zeros((box[2] - box[0], box[3] - box[1]), np.uint8)
        if applied:
            try:
                labels = self._picture(canvas).read(box)
            except ProjectError:
                self._distrust(canvas)
                applied = 0
        for piece in journal.pieces_after(connection, canvas.image, canvas.reviewer, applied):
            piece.apply(labels, (box[0], box[1]))
        return labels

    def _distrust(self, canvas: Canvas) -> None:
        """Let a picture that does not show what the journal says be drawn anew by whoever writes it."""
        logger.warning("The seeds in %s are read from the journal.", self._picture(canvas).path)
        if canvas.own:
            self._applied[canvas.image, canvas.reviewer] = 0

    def _applied_of(self, connection: sqlite3.Connection, canvas: Canvas) -> int:
        key = (canvas.image, canvas.reviewer)
        if key in self._applied:
            return self._applied[key]
        row = connection.execute(
            "SELECT applied FROM pictures WHERE image = ? AND reviewer = ?", key
        ).fetchone()
        return int(row[0]) if row else 0

    def _picture(self, canvas: Canvas) -> SeedPicture:
        key = (canvas.image, canvas.reviewer)
        if key not in self._pictures:
            self._pictures[key] = SeedPicture(
                image_part(self._folder, canvas.image, f"seeds-{slug(canvas.name)}.zarr"),
                canvas.shape,
                {"pixelcam": {"reviewer": canvas.name, "number": canvas.reviewer}},
            )
        return self._pictures[key]


def image_folder(project: Path, image: int) -> Path:
    """Return where a project keeps what belongs to an image.

    Raises
    ------
    ProjectError
        The folder is a symbolic link, or lies in one.
    """
    return own(project, "images", str(image), error=ProjectError)


def image_part(project: Path, image: int, name: str) -> Path:
    """Return where a project keeps one of the things that belong to an image.

    Raises
    ------
    ProjectError
        It is a symbolic link, or lies in one.
    """
    return own(project, "images", str(image), name, error=ProjectError)


def _note_applied(connection: sqlite3.Connection, image: int, reviewer: int, applied: int) -> None:
    connection.execute(
        "INSERT INTO pictures (image, reviewer, applied) VALUES (?, ?, ?) "
        "ON CONFLICT (image, reviewer) DO UPDATE SET applied = excluded.applied",
        (image, reviewer, applied),
    )


def _checked_labels(labels: NDArray[np.uint8], shape: tuple[int, int]) -> NDArray[np.uint8]:
    values = np.asarray(labels)
    if values.shape != shape:
        size = " x ".join(str(side) for side in values.shape)
        raise SeedsError(
            f"These seeds have {size} pixels (rows x columns), but their place has {shape[0]} x {shape[1]}; "
            "paint them on the image that the project knows."
        )
    if values.dtype.kind not in "uib" or (
        values.size and not 0 <= int(values.min()) <= int(values.max()) <= 2
    ):
        raise SeedsError("Seeds hold 0 (unlabelled), 1 (background) or 2 (foreground) and nothing else.")
    return values.astype(np.uint8, copy=False)
