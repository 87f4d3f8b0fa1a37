"""Save what can be read of a project with a damaged database; the damaged file is kept."""

from __future__ import annotations

import secrets
import shutil
import sqlite3
import zlib
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from filelock import FileLock, Timeout
from numpy.typing import NDArray

from pixelcam.errors import ProjectError
from pixelcam.export.atomic import output_error
from pixelcam.files import refuse_links_below
from pixelcam.limits import check_zarr, parse_json
from pixelcam.review import journal
from pixelcam.review.database import DATABASE, connect, create, refuse_foreign_parts
from pixelcam.review.journal import find_patches
from pixelcam.review.locking import LOCKS, read_holder
from pixelcam.review.salvage import damaged_copy, highest, readable_rows
from pixelcam.seeds import count_seeds

_TABLES = (
    "meta",
    "reviewers",
    "images",
    "judgements",
    "saves",
    "patches",
    "pictures",
    "models",
    "localizations",
    "runs",
    "events",
)


@dataclass(frozen=True)
class RescueReport:
    """What could be saved of a damaged project.

    Attributes
    ----------
    folder, kept
        The project, and the damaged file under its new name.
    images, judgements, saves
        Images, judgements and edits of seeds that are there again.
    lost_images, lost_saves
        How many of those the database has once held are not.
    from_pictures
        Seed maps (of one reviewer and image) that were taken from their array because their journal has gaps.
    """

    folder: Path
    kept: Path
    images: int
    judgements: int
    saves: int
    lost_images: int
    lost_saves: int
    from_pictures: int

    def __str__(self) -> str:
        lost = "nothing is known to be lost"
        if self.lost_saves or self.lost_images:
            lost = f"{self.lost_images} images and {self.lost_saves} edits are lost"
        pictures = f" ({self.from_pictures} maps of seeds as they were last drawn)"
        return (
            f"The database of the project {self.folder} was damaged; {self.images} images, {self.judgements} "
            f"judgements and {self.saves} edits of seeds{pictures if self.from_pictures else ''} were saved, "
            f"{lost}, and the damaged file is kept as {self.kept.name}; open the project again."
        )


def rescue(folder: str | Path) -> RescueReport:
    """Make a new database of what can be read of the old one and of the arrays beside it.

    Rows are read one by one around the damage. An image that the tables have lost is known by the note in its
    folder; seeds whose journal has gaps are taken as their array shows them, by an edit of the kind "import".

    Raises
    ------
    ProjectError
        There is no project, or somebody works in it.
    OutputError
        The folder cannot be written.
    """
    folder = Path(folder).absolute()
    path = folder / DATABASE
    if not path.is_file():
        raise ProjectError(f"{folder} holds no project ({DATABASE} is not there); choose another folder.")
    refuse_foreign_parts(path)
    for part in ("images", LOCKS):
        refuse_links_below(folder / part, ProjectError)
    fresh = folder / f".rescue-{secrets.token_hex(4)}.sqlite"
    with ExitStack() as stack:
        _take_all_locks(folder, stack)
        try:
            create(fresh, {})
            with damaged_copy(path) as source:
                target = connect(fresh, "rw")
                try:
                    report = _fill(source, target, folder)
                finally:
                    target.close()
            return _put_in_place(path, fresh, report)
        except OSError as error:
            raise output_error(folder, error) or error from error
        finally:
            for end in ("", "-wal", "-shm", "-journal"):
                with suppress(OSError):
                    fresh.with_name(fresh.name + end).unlink(missing_ok=True)


def _take_all_locks(folder: Path, stack: ExitStack) -> None:
    """Keep everybody out."""
    for path in sorted((folder / LOCKS).glob("*.lock")):
        try:
            stack.enter_context(FileLock(path, timeout=0))
        except Timeout:
            holder = read_holder(path.with_suffix(".json"))
            who = f" ({holder.reviewer!r}, {holder})" if holder else ""
            raise ProjectError(
                f"The database of the project {folder} is damaged and somebody works in it{who}; "
                "close it there, then open it again."
            ) from None
        except OSError as error:
            raise output_error(folder, error) or error from error


def _fill(source: sqlite3.Connection | None, target: sqlite3.Connection, folder: Path) -> dict[str, int]:
    """Fill the new database in one transaction; return the figures of the report."""
    target.execute("PRAGMA foreign_keys = OFF")
    target.execute("BEGIN IMMEDIATE")
    for table in _TABLES:
        for row in readable_rows(source, table) if source is not None else []:
            if table != "patches" or _is_sound(row):
                _insert(target, table, {key: row[key] for key in row.keys() if key != "rowid_"})  # noqa: SIM118
    _complete_meta(target, folder)
    _complete_images(target, folder)
    arrays = _complete_reviewers(target, folder)
    _complete_models(target)
    lost_images, lost_saves = (_gaps(source, target, table) for table in ("images", "saves"))
    _remove_strays(target)
    from_pictures = sum(_settle_seeds(target, *key, arrays.get(key)) for key in _owners(target, arrays))
    target.execute("DELETE FROM pictures")
    count = {
        table: int(target.execute(f"SELECT count(*) FROM {table}").fetchone()[0])
        for table in ("images", "judgements", "saves")
    }
    count["saves"] -= from_pictures
    target.execute("COMMIT")
    return {**count, "lost_images": lost_images, "lost_saves": lost_saves, "from_pictures": from_pictures}


def _insert(target: sqlite3.Connection, table: str, values: dict[str, Any]) -> None:
    names = ", ".join(values)
    marks = ", ".join("?" * len(values))
    with suppress(sqlite3.Error):  # a row of nonsense is no row
        target.execute(f"INSERT OR IGNORE INTO {table} ({names}) VALUES ({marks})", list(values.values()))


def _is_sound(row: sqlite3.Row) -> bool:
    """Return whether a patch holds as many labels as its box has pixels, before and after."""
    try:
        size = (row["y1"] - row["y0"]) * (row["x1"] - row["x0"])
        return all(len(zlib.decompress(row[name])) == size for name in ("before", "after"))
    except (zlib.error, TypeError):
        return False


def _complete_meta(target: sqlite3.Connection, folder: Path) -> None:
    for key, value in (
        ("identity", secrets.token_hex(16)),
        ("name", folder.name),
        ("created", journal.now()),
    ):
        _insert(target, "meta", {"key": key, "value": value})


def _complete_images(target: sqlite3.Connection, folder: Path) -> None:
    """Put back images whose rows are lost but whose notes are there."""
    columns = {row["name"] for row in target.execute("PRAGMA table_info(images)")}
    for note in sorted(folder.glob("images/*/image.json")):
        with suppress(OSError, ValueError, AttributeError):
            values = parse_json(note.read_text(encoding="utf-8"))
            _insert(target, "images", {key: value for key, value in values.items() if key in columns})


def _complete_reviewers(target: sqlite3.Connection, folder: Path) -> dict[tuple[int, int], NDArray[np.uint8]]:
    """Put back reviewers named by their arrays; return all readable arrays of seeds by image and reviewer."""
    arrays = {}
    for path in sorted(folder.glob("images/*/seeds-*.zarr")):
        with suppress(Exception):  # whatever the decoders stumble over: the journal has to do
            array: Any = zarr.open_array(path, mode="r", zarr_format=3)
            check_zarr(array, path, ProjectError, "it is left out")
            said: Any = array.attrs["pixelcam"]
            _insert(target, "reviewers", {"id": int(said["number"]), "name": str(said["reviewer"])})
            arrays[int(path.parent.name), int(said["number"])] = np.asarray(array[...], np.uint8)
    for (number,) in target.execute(
        "SELECT reviewer FROM saves UNION SELECT reviewer FROM judgements EXCEPT SELECT id FROM reviewers"
    ).fetchall():
        _insert(target, "reviewers", {"id": number, "name": f"reviewer {number}"})
    return arrays


def _complete_models(target: sqlite3.Connection) -> None:
    target.execute(
        "INSERT OR IGNORE INTO models (sha256, name, first_used) "
        "SELECT model, model_name, min(time) FROM localizations GROUP BY model"
    )


def _gaps(source: sqlite3.Connection | None, target: sqlite3.Connection, table: str) -> int:
    """Return how many numbers are missing up to the highest one that was given; none was ever taken away."""
    last, count = target.execute(f"SELECT coalesce(max(id), 0), count(*) FROM {table}").fetchone()
    return max(int(last), highest(source, table) if source is not None else 0) - int(count)


def _remove_strays(target: sqlite3.Connection) -> None:
    """Remove rows that refer to lost ones."""
    while strays := target.execute("PRAGMA foreign_key_check").fetchall():
        for table, number, *_ in strays:
            target.execute(f"DELETE FROM {table} WHERE rowid = ?", (number,))


def _owners(target: sqlite3.Connection, arrays: dict[tuple[int, int], Any]) -> list[tuple[int, int]]:
    """Return each image and reviewer with an edit or an array."""
    known = {int(row[0]) for row in target.execute("SELECT id FROM images")}
    edited = {(int(row[0]), int(row[1])) for row in target.execute("SELECT image, reviewer FROM saves")}
    return sorted(key for key in edited | set(arrays) if key[0] in known)


def _settle_seeds(
    target: sqlite3.Connection, image: int, reviewer: int, array: NDArray[np.uint8] | None
) -> bool:
    """Make the journal end with the seeds as they were; return whether it took the array to know them."""
    height, width = target.execute(
        "SELECT grid_height, grid_width FROM images WHERE id = ?", (image,)
    ).fetchone()
    told = journal.state_at(target, image, reviewer, 2**62, (height, width))
    present = told
    if array is not None and array.shape == told.shape and array.max(initial=0) <= 2:
        row = target.execute(
            "SELECT applied FROM pictures WHERE image = ? AND reviewer = ?", (image, reviewer)
        ).fetchone()
        present = array.copy()
        if row is not None:
            for patch in journal.patches_after(target, image, reviewer, int(row[0])):
                patch.apply(present)
    patches = find_patches(told, present)
    if patches:
        journal.append(target, image, reviewer, "import", patches)
    foreground, background = count_seeds(present)
    target.execute(
        "UPDATE saves SET foreground = ?, background = ? WHERE id = ?",
        (foreground, background, journal.last_seq(target, image, reviewer)),
    )
    return bool(patches)


def _put_in_place(path: Path, fresh: Path, figures: dict[str, int]) -> RescueReport:
    """Keep the damaged file under another name, and let the new one take its place."""
    kept = path.with_name(f"project.damaged-{datetime.now():%Y%m%d-%H%M%S}-{secrets.token_hex(2)}.sqlite")
    for end in ("", "-wal"):
        part = path.with_name(path.name + end)
        if part.is_file():
            shutil.copy2(part, kept.with_name(kept.name + end))
    # The old log must not be taken for the new file's.
    for end in ("-wal", "-shm", "-journal"):
        path.with_name(path.name + end).unlink(missing_ok=True)
    fresh.replace(path)
    return RescueReport(path.parent, kept, **figures)
