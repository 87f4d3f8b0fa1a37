"""Copy the rows of one project into another: images by their bytes, reviewers by their names."""

from __future__ import annotations

import itertools
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pixelcam.errors import OutputError, ProjectError
from pixelcam.export.atomic import output_error, write_bytes
from pixelcam.files import is_made, refuse_links_below
from pixelcam.review import images, records
from pixelcam.review.arrays import MAP_NAME
from pixelcam.review.entries import Accepted, ImageEntry
from pixelcam.review.firstmap import first_map_path
from pixelcam.review.project import Project
from pixelcam.review.seedstore import image_part


@dataclass(frozen=True)
class Copying:
    """One project being copied into another, within the other's transaction.

    Attributes
    ----------
    source, target
        The projects, open.
    theirs, ours
        The connections to their databases.
    lock
        Called with each name that something is added under.
    """

    source: Project
    target: Project
    theirs: sqlite3.Connection
    ours: sqlite3.Connection
    lock: Callable[[str], None]

    def run(self) -> list[tuple[str, str]]:
        """Copy everything; return the names that were taken, with the names used instead."""
        numbers = self._copy_images()
        renamed = []
        for name in self.source.reviewers():
            here = self._copy_reviewer(name, numbers)
            if here not in (None, name):
                renamed.append((name, str(here)))
        self._copy_models()
        for theirs, ours in numbers.items():
            self._copy_localizations(theirs, ours)
        self._copy_runs()
        self._copy_events(numbers)
        return renamed

    def _copy_images(self) -> dict[int, int]:
        """Add the images that are not there; return for each of the source's numbers the target's."""
        numbers = {}
        for row in self.theirs.execute("SELECT * FROM images ORDER BY id"):
            known = self.ours.execute(
                "SELECT * FROM images WHERE fingerprint = ?", (row["fingerprint"],)
            ).fetchone()
            if known is None:
                numbers[row["id"]] = self._add_image(row)
            elif images.grid_of(known) != images.grid_of(row):
                raise ProjectError(
                    f"The seeds of {row['name']} in {self.source.folder} lie on another grid than in "
                    f"{self.target.folder}; merge them by exporting and importing."
                )
            else:
                numbers[row["id"]] = int(known["id"])
        return numbers

    def _add_image(self, row: sqlite3.Row) -> int:
        path = images.find_file(row, self.source.folder) or Path(row["path"])
        values = {key: row[key] for key in row.keys() if key != "id"}  # noqa: SIM118
        values |= {"path": str(path), "relative_path": images.relative_path(path, self.target.folder)}
        number = _insert(self.ours, "images", values)
        thumbnail = images.read_thumbnail(images.thumbnail_path(self.source.folder, row["id"]))
        if thumbnail is not None:
            images.keep_thumbnail(images.thumbnail_path(self.target.folder, number), thumbnail)
        images.describe_image(
            self.ours.execute("SELECT * FROM images WHERE id = ?", (number,)).fetchone(), self.target.folder
        )
        return number

    def _copy_reviewer(self, name: str, numbers: dict[int, int]) -> str | None:
        """Add a reviewer's work under the first name that no different work has; return that name."""
        work = {entry.id: entry for entry in self.source.images_of(name) if self._has_worked(name, entry)}
        if not work:
            return None
        names = itertools.chain([name], (f"{name} ({count})" for count in itertools.count(2)))
        here = next(each for each in names if not self._is_other_work(name, each, work, numbers))
        self.lock(here)
        theirs = records.reviewer_id(self.theirs, name)
        ours = records.add_reviewer(self.ours, here)
        for image in work:
            self._copy_saves((image, theirs), (numbers[image], ours))
            self._copy_judgement((image, theirs), (numbers[image], ours))
            self._copy_accepted((image, theirs), (numbers[image], ours))
        return here

    def _has_worked(self, name: str, entry: ImageEntry) -> bool:
        row = self.theirs.execute(
            "SELECT 1 FROM saves WHERE image = ?1 AND reviewer = ?2 "
            "UNION SELECT 1 FROM judgements WHERE image = ?1 AND reviewer = ?2",
            (entry.id, records.reviewer_id(self.theirs, name)),
        ).fetchone()
        return row is not None

    def _is_other_work(
        self, theirs: str, ours: str, work: dict[int, ImageEntry], numbers: dict[int, int]
    ) -> bool:
        """Return whether the target's reviewer has painted or judged one of these images differently."""
        number = records.reviewer_id(self.ours, ours)
        if number is None:
            return False
        kept = {entry.id: entry for entry in records.entries(self.ours, number)}
        for image, entry in work.items():
            other = kept[numbers[image]]
            if _judgement(entry) != _judgement(other) and _judged(entry) and _judged(other):
                return True
            if entry.accepted and other.accepted and _seen(entry.accepted) != _seen(other.accepted):
                return True
            if _painted(self.theirs, image, records.reviewer_id(self.theirs, theirs)) and _painted(
                self.ours, other.id, number
            ):
                one, another = self.source.seeds(image, theirs), self.target.seeds(other.id, ours)
                if not np.array_equal(one, another):
                    return True
        return False

    def _copy_saves(self, theirs: tuple[int, int | None], ours: tuple[int, int]) -> None:
        """Copy the whole journal of an image and reviewer, unless the target has the same seeds already."""
        if _painted(self.ours, *ours):
            return
        for row in self.theirs.execute(
            "SELECT * FROM saves WHERE image = ? AND reviewer = ? ORDER BY id", theirs
        ):
            values = {key: row[key] for key in ("kind", "time", "foreground", "background")}
            save = _insert(self.ours, "saves", {"image": ours[0], "reviewer": ours[1], **values})
            self.ours.executemany(
                "INSERT INTO patches (save, y0, x0, y1, x1, before, after) VALUES (?, ?, ?, ?, ?, ?, ?)",
                (
                    (save, *patch)
                    for patch in self.theirs.execute(
                        "SELECT y0, x0, y1, x1, before, after FROM patches WHERE save = ? ORDER BY id",
                        (row["id"],),
                    )
                ),
            )

    def _copy_judgement(self, theirs: tuple[int, int | None], ours: tuple[int, int]) -> None:
        row = self.theirs.execute(
            "SELECT * FROM judgements WHERE image = ? AND reviewer = ?", theirs
        ).fetchone()
        kept = records.entry(self.ours, ours[1], ours[0])
        if row is None or kept is None or _judged(kept):
            return
        given = {what: row[what] for what in ("status", "label", "note")}
        given["seconds"] = max(row["seconds"], kept.seconds)
        given["threshold"] = row["threshold"] if kept.threshold is None else kept.threshold
        for what, value in given.items():
            records.set_judgement(self.ours, *ours, what, value)

    def _copy_accepted(self, theirs: tuple[int, int | None], ours: tuple[int, int]) -> None:
        """Copy what was accepted of an image, and the map of the latest, unless the target has some of it."""
        if records.latest_accepted(self.ours, ours[1], ours[0]):
            return
        rows = self.theirs.execute(
            "SELECT * FROM accepted WHERE image = ? AND reviewer = ? ORDER BY id", theirs
        ).fetchall()
        rows = [row for row in rows if is_made(row["map"], MAP_NAME)]  # others are no program's of ours
        saves = _saves(self.theirs, theirs), _saves(self.ours, ours)
        for row in rows:
            facts = {key: row[key] for key in row.keys() if key not in ("id", "image", "reviewer")}  # noqa: SIM118
            facts["save"] = _same_save(row["save"], *saves)
            records.add_accepted(self.ours, *ours, facts)
        if rows:
            source, target = (
                image_part(project.folder, number, rows[-1]["map"])
                for project, number in ((self.source, theirs[0]), (self.target, ours[0]))
            )
            if source.is_dir() and not target.exists():
                _copy_folder(source, target)

    def _copy_models(self) -> None:
        for row in self.theirs.execute("SELECT sha256, name, path, first_used FROM models"):
            self.ours.execute(
                "INSERT OR IGNORE INTO models (sha256, name, path, first_used) VALUES (?, ?, ?, ?)",
                tuple(row),
            )

    def _copy_localizations(self, theirs: int, ours: int) -> None:
        """Copy what models said of an image, and the map where it is the latest of both projects."""
        for row in self.theirs.execute(
            "SELECT l.*, r.name AS who FROM localizations l JOIN reviewers r ON r.id = l.reviewer "
            "WHERE l.image = ? ORDER BY l.id",
            (theirs,),
        ):
            if self.ours.execute(
                "SELECT 1 FROM localizations WHERE image = ? AND map = ?", (ours, row["map"])
            ).fetchone():
                continue
            if not is_made(row["map"], MAP_NAME):
                continue  # no program of ours wrote this row
            values = {key: row[key] for key in row.keys() if key not in ("id", "who")}  # noqa: SIM118
            values |= {"image": ours, "reviewer": records.add_reviewer(self.ours, row["who"])}
            _insert(self.ours, "localizations", values)
        latest = records.latest_localization(self.ours, ours)
        if latest is not None and is_made(name := latest["map"], MAP_NAME):
            source, target = (
                image_part(project.folder, number, name)
                for project, number in ((self.source, theirs), (self.target, ours))
            )
            if source.is_dir() and not target.exists():
                _copy_folder(source, target)
        first, here = (
            first_map_path(project.folder, number)
            for project, number in ((self.source, theirs), (self.target, ours))
        )
        if first.is_file() and not here.exists():
            with suppress(OSError, OutputError):  # it knows itself which map it is of
                write_bytes(here, first.read_bytes())

    def _copy_runs(self) -> None:
        for row in self.theirs.execute(
            "SELECT u.folder, u.kind, u.model, u.time, r.name FROM runs u "
            "JOIN reviewers r ON r.id = u.reviewer"
        ):
            number = records.add_reviewer(self.ours, row["name"])
            self.ours.execute(
                "INSERT OR IGNORE INTO runs (folder, kind, model, time, reviewer) VALUES (?, ?, ?, ?, ?)",
                (*tuple(row)[:4], number),
            )

    def _copy_events(self, numbers: dict[int, int]) -> None:
        columns = "time, reviewer, image, what, detail"
        known = {tuple(row) for row in self.ours.execute(f"SELECT {columns} FROM events")}
        for time, who, image, what, detail in self.theirs.execute(
            f"SELECT {columns} FROM events ORDER BY id"
        ):
            values = (time, who, numbers.get(image), what, detail)
            if values not in known:
                self.ours.execute(f"INSERT INTO events ({columns}) VALUES (?, ?, ?, ?, ?)", values)


def _insert(connection: sqlite3.Connection, table: str, values: dict[str, object]) -> int:
    # What else a table of the source holds is not ours, its name least of all.
    columns = {row["name"] for row in connection.execute(f"PRAGMA table_info({table})")}
    values = {key: value for key, value in values.items() if key in columns}
    marks = ", ".join("?" * len(values))
    cursor = connection.execute(
        f"INSERT INTO {table} ({', '.join(values)}) VALUES ({marks})", list(values.values())
    )
    assert cursor.lastrowid is not None
    return cursor.lastrowid


def _judgement(entry: ImageEntry) -> tuple[str, str | None, str]:
    return entry.status, entry.label, entry.note


def _seen(accepted: Accepted) -> tuple[object, ...]:
    return accepted.threshold, accepted.fraction, accepted.model, accepted.refined


def _saves(connection: sqlite3.Connection, of: tuple[int, int | None]) -> list[int]:
    """Return the numbers of the edits of an image by a reviewer."""
    rows = connection.execute("SELECT id FROM saves WHERE image = ? AND reviewer = ? ORDER BY id", of)
    return [int(row[0]) for row in rows]


def _same_save(save: int, theirs: list[int], ours: list[int]) -> int:
    """Return the number here of an edit there; 0 where there is no such, which is none of this reviewer."""
    if len(theirs) == len(ours):
        return dict(zip(theirs, ours, strict=True)).get(save, 0)
    return ours[-1] if ours and theirs[-1:] == [save] else 0


def _judged(entry: ImageEntry) -> bool:
    return _judgement(entry) != ("to do", None, "")


def _painted(connection: sqlite3.Connection, image: int, reviewer: int | None) -> bool:
    row = connection.execute(
        "SELECT 1 FROM saves WHERE image = ? AND reviewer = ? LIMIT 1", (image, reviewer)
    ).fetchone()
    return row is not None


def _copy_folder(source: Path, target: Path) -> None:
    refuse_links_below(source, ProjectError)
    try:
        shutil.copytree(source, target)
    except (OSError, shutil.Error) as error:
        shutil.rmtree(target, ignore_errors=True)
        if isinstance(error, shutil.Error):
            raise OutputError(
                f"{target} cannot be written; free some space or choose another folder."
            ) from error
        raise output_error(target, error) or error from error
