"""Take away what a killed process left in a project: maps that it wrote and never named."""

from __future__ import annotations

import re
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from filelock import FileLock, Timeout

from pixelcam.files import is_link, remove_made
from pixelcam.review.arrays import MAP_NAME
from pixelcam.review.locking import LOCKS

_OURS = re.compile(rf"(?:{MAP_NAME})|thumbnail\.png|image\.json|first-map\.png", re.ASCII)


def killed_sessions(folder: Path, own: str) -> list[str]:
    """Return the slugs of other reviewers whose processes ended without giving their names free."""
    notes = sorted((folder / LOCKS).glob("*.json"))
    return [note.stem for note in notes if note.stem != own and not is_held(folder, note.stem)]


def is_held(folder: Path, slug: str) -> bool:
    """Return whether a process works under a name."""
    path = folder / LOCKS / f"{slug}.lock"
    if not path.is_file() or is_link(path):
        return False
    try:
        with FileLock(path, timeout=0):
            return False
    except (Timeout, OSError, NotImplementedError):
        return True


def clear(folder: Path, connection: sqlite3.Connection, own: str) -> None:
    """Remove maps, and folders of images that never came to be, that no table names and nobody will name.

    A map carries the slug of the reviewer whose process makes it. What was there before it was asked whether
    that process lives is named by now or never, where it does not: it is removed.

    Parameters
    ----------
    folder
        The project's.
    connection
        To its database.
    own
        The slug of this process's reviewer, under which nothing is being written yet.
    """
    found = list(_maps(folder))
    idle = list(_folders(folder))
    locks = [path.stem for path in (folder / LOCKS).glob("*.lock") if path.stem != own]
    held = {slug for slug in locks if is_held(folder, slug)}
    named = {
        (int(row[0]), row[1])
        for row in connection.execute(
            "SELECT image, map FROM localizations WHERE id IN (SELECT max(id) FROM localizations "
            "GROUP BY image) UNION SELECT image, map FROM accepted WHERE id IN (SELECT max(id) FROM accepted "
            "GROUP BY image, reviewer)"
        )
    }
    for image, name, writer in found:
        if (image, name) not in named and not (held if writer is None else writer in held):
            remove_made(folder / "images" / str(image), name, MAP_NAME)
    images = {int(row[0]) for row in connection.execute("SELECT id FROM images")}
    for image in idle if not held else ():
        place = folder / "images" / str(image)
        if image not in images and all(_OURS.fullmatch(path.name) for path in place.iterdir()):
            shutil.rmtree(place, ignore_errors=True)
    for slug in killed_sessions(folder, own):
        with suppress(OSError, Timeout), FileLock(folder / LOCKS / f"{slug}.lock", timeout=0):
            (folder / LOCKS / f"{slug}.json").unlink(missing_ok=True)


def _folders(folder: Path) -> Iterator[int]:
    """Yield the numbers of images that have a folder."""
    with suppress(OSError):
        for place in (folder / "images").iterdir():
            if place.name.isascii() and place.name.isdecimal() and place.is_dir() and not is_link(place):
                yield int(place.name)


def _maps(folder: Path) -> Iterator[tuple[int, str, str | None]]:
    """Yield the maps that there are: image, name, and the slug of whose process wrote it where it says so."""
    for image in _folders(folder):
        with suppress(OSError):
            for path in (folder / "images" / str(image)).iterdir():
                if found := re.fullmatch(MAP_NAME, path.name, re.ASCII):
                    yield image, path.name, found[1]
