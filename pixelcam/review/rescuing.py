"""Save what can be read of a project with a damaged database; the damaged file is kept."""

from __future__ import annotations

import secrets
import shutil
import sqlite3
import tempfile
from contextlib import ExitStack, closing, suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock, Timeout
from numpy.typing import NDArray

from pixelcam.errors import PixelCAMError, ProjectError
from pixelcam.export.atomic import output_error
from pixelcam.files import is_made, refuse_links_below
from pixelcam.limits import check_zarr, parse_json
from pixelcam.review import journal, records
from pixelcam.review.accepting import ACCEPTED
from pixelcam.review.arrays import MAP_NAME
from pixelcam.review.database import (
    DATABASE,
    ERRORS,
    Database,
    connect,
    create,
    explain,
    refuse_foreign_parts,
)
from pixelcam.review.journal import find_patches
from pixelcam.review.locking import LOCKS, read_holder
from pixelcam.review.salvage import damaged_copy, highest, readable_rows
from pixelcam.review.values import COLUMNS, mended, wrong_values
from pixelcam.seeds import count_seeds


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
    mended
        Values that made no sense, and were put right or lost with their rows.
    sound
        Whether no damage was found at all.
    """

    folder: Path
    kept: Path
    images: int
    judgements: int
    saves: int
    lost_images: int
    lost_saves: int
    from_pictures: int
    mended: int = 0
    sound: bool = False

    def __str__(self) -> str:
        lost = "nothing is known to be lost"
        if self.lost_saves or self.lost_images:
            lost = f"{self.lost_images} images and {self.lost_saves} edits are lost"
        if self.mended:
            values = "1 value" if self.mended == 1 else f"{self.mended} values"
            lost += f", {values} made no sense and were replaced or left out"
        pictures = f" ({self.from_pictures} maps of seeds as they were last drawn)"
        if self.sound:
            return (
                f"No damage was found in the database of the project {self.folder}; it was written anew with "
                f"all its {self.images} images and {self.saves} edits of seeds, and the file of before is "
                f"kept as {self.kept.name}."
            )
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
    sound = _is_whole(folder)
    with ExitStack() as stack:
        _take_all_locks(folder, stack, sound)
        try:
            create(fresh, {})
            with damaged_copy(path) as source:
                target = connect(fresh, "rw")
                try:
                    report = _fill(source, target, folder)
                finally:
                    target.close()
            return _put_in_place(path, fresh, report, sound)
        except ERRORS as error:
            raise explain(error, fresh) from error
        except OSError as error:
            raise output_error(folder, error) or error from error
        finally:
            for end in ("", "-wal", "-shm", "-journal"):
                with suppress(OSError):
                    fresh.with_name(fresh.name + end).unlink(missing_ok=True)


def readable_copy(folder: Path) -> tempfile.TemporaryDirectory[str]:
    """Return a new folder with what a rescue would make of a database, which stays as it is.

    Raises
    ------
    OutputError
        There is no room for it.
    """
    place = tempfile.TemporaryDirectory(prefix="pixelcam-project-")
    fresh = Path(place.name) / DATABASE
    try:
        create(fresh, {})
        with damaged_copy(folder / DATABASE) as source, closing(connect(fresh, "rw")) as target:
            _fill(source, target, folder)
    except BaseException as error:
        place.cleanup()
        if isinstance(error, ERRORS):
            raise explain(error, fresh) from error
        raise
    return place


def _is_whole(folder: Path) -> bool:
    """Return whether a database is as it should be, each label of the journal included."""
    try:
        with closing(Database(folder, read_only=True)) as database, database.reading() as connection:
            return all(map(journal.is_sound, connection.execute("SELECT * FROM patches")))
    except PixelCAMError:
        return False


def _take_all_locks(folder: Path, stack: ExitStack, sound: bool) -> None:
    """Keep everybody out."""
    for path in sorted((folder / LOCKS).glob("*.lock")):
        try:
            stack.enter_context(FileLock(path, timeout=0))
        except Timeout:
            holder = read_holder(path.with_suffix(".json"))
            who = f" ({holder.reviewer!r}, {holder})" if holder else ""
            raise ProjectError(
                f"No damage was found in the project {folder}, and somebody works in it{who}; close it "
                "there before you rescue it."
                if sound
                else f"The database of the project {folder} is damaged and somebody works in it{who}; "
                "close it there, then open it again."
            ) from None
        except OSError as error:
            raise output_error(folder, error) or error from error


def _fill(source: sqlite3.Connection | None, target: sqlite3.Connection, folder: Path) -> dict[str, int]:
    """Fill the new database in one transaction; return the figures of the report."""
    target.execute("PRAGMA foreign_keys = OFF")
    target.execute("BEGIN IMMEDIATE")
    mended_values = 0
    notes = _image_notes(folder)
    for table in COLUMNS:
        for row in readable_rows(source, table) if source is not None else []:
            values, wrong = _mended(table, row, notes)
            if values is not None and (table != "patches" or journal.is_sound(values)):
                _insert(target, table, values)
            mended_values += wrong
    _complete_meta(target, folder)
    _complete_images(target, notes)
    arrays = _complete_reviewers(target, folder)
    _complete_accepted(target, folder)
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
    lost = {"lost_images": lost_images, "lost_saves": lost_saves}
    return {**count, **lost, "from_pictures": from_pictures, "mended": mended_values}


def _insert(target: sqlite3.Connection, table: str, values: dict[str, Any]) -> None:
    names = ", ".join(values)
    marks = ", ".join("?" * len(values))
    with suppress(sqlite3.IntegrityError, sqlite3.InterfaceError, OverflowError):  # nonsense is no row
        target.execute(f"INSERT OR IGNORE INTO {table} ({names}) VALUES ({marks})", list(values.values()))


def _mended(
    table: str, row: sqlite3.Row, notes: dict[int, dict[str, Any]]
) -> tuple[dict[str, Any] | None, int]:
    """Return a row with right values, None where that cannot be, and how many were wrong.

    What is wrong with an image is known from the note in its folder.
    """
    values = {key: row[key] for key in row.keys() if key in COLUMNS[table]}  # noqa: SIM118
    known = notes.get(row["rowid_"], {}) if table == "images" else {}
    wrong = [name for name in wrong_values(table, values) if name in known]
    found, rest = mended(table, values | {name: known[name] for name in wrong})
    return found, len(wrong) + rest


def _image_notes(folder: Path) -> dict[int, dict[str, Any]]:
    """Return what the notes in the images' folders say, by the images' numbers."""
    found = {}
    for note in sorted(folder.glob("images/*/image.json")):
        with suppress(OSError, ValueError, AttributeError, RecursionError):
            said = parse_json(note.read_text(encoding="utf-8"))
            values = {key: value for key, value in said.items() if key in COLUMNS["images"]}
            if not wrong_values("images", values) and str(values["id"]) == note.parent.name:
                found[int(values["id"])] = values
    return found


def _complete_meta(target: sqlite3.Connection, folder: Path) -> None:
    for key, value in (
        ("identity", secrets.token_hex(16)),
        ("name", folder.name),
        ("created", journal.now()),
    ):
        _insert(target, "meta", {"key": key, "value": value})


def _complete_images(target: sqlite3.Connection, notes: dict[int, dict[str, Any]]) -> None:
    """Put back images whose rows are lost but whose notes are there."""
    for values in notes.values():
        _insert(target, "images", values)


def _complete_reviewers(target: sqlite3.Connection, folder: Path) -> dict[tuple[int, int], NDArray[np.uint8]]:
    """Put back reviewers named by their arrays; return all readable arrays of seeds by image and reviewer."""
    import zarr

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


def _complete_accepted(target: sqlite3.Connection, folder: Path) -> None:
    """Put back what reviewers accepted where the rows are lost: each map says it itself."""
    import zarr

    for path in sorted(folder.glob(f"images/*/{ACCEPTED}-*.zarr")):
        if not is_made(path.name, MAP_NAME):
            continue
        with suppress(Exception):  # as above
            array: Any = zarr.open_array(path, mode="r", zarr_format=3)
            said: Any = array.attrs[ACCEPTED]
            values = {key: value for key, value in said.items() if key != "reviewer"}
            name, values["image"], values["map"] = str(said["reviewer"]), int(path.parent.name), path.name
            _insert(target, "reviewers", {"name": name})
            values["reviewer"] = records.reviewer_id(target, name)
            known = target.execute(
                "SELECT 1 FROM accepted WHERE image = ? AND map = ?", (values["image"], path.name)
            ).fetchone()
            if known is None:
                _insert(target, "accepted", values)


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
            for piece in journal.pieces_after(target, image, reviewer, int(row[0])):
                piece.apply(present)
    patches = find_patches(told, present)
    if patches:
        journal.append(target, image, reviewer, "import", patches)
    foreground, background = count_seeds(present)
    target.execute(
        "UPDATE saves SET foreground = ?, background = ? WHERE id = ?",
        (foreground, background, journal.last_seq(target, image, reviewer)),
    )
    return bool(patches)


def _keep(part: Path, kept: Path) -> None:
    """Let a file be there under another name too, as a link, which takes no room, where those are known."""
    try:
        kept.hardlink_to(part)
    except OSError:
        shutil.copy2(part, kept)


def _put_in_place(path: Path, fresh: Path, figures: dict[str, int], sound: bool) -> RescueReport:
    """Keep the damaged file under another name, and let the new one take its place."""
    kept = path.with_name(f"project.damaged-{datetime.now():%Y%m%d-%H%M%S}-{secrets.token_hex(2)}.sqlite")
    made: list[Path] = []
    try:
        for end in ("", "-wal"):
            part = path.with_name(path.name + end)
            if part.is_file():
                made.append(kept.with_name(kept.name + end))
                _keep(part, made[-1])
    except OSError:
        for part in made:
            part.unlink(missing_ok=True)
        raise
    # The old log must not be taken for the new file's.
    for end in ("-wal", "-shm", "-journal"):
        path.with_name(path.name + end).unlink(missing_ok=True)
    fresh.replace(path)
    return RescueReport(path.parent, kept, sound=sound, **figures)
