"""Read what can still be read of a damaged SQLite file, row by row."""

from __future__ import annotations

import shutil
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

from pixelcam.review.database import DATABASE, connect, create

_MOST_PROBED = 200_000
"""Numbers of rows that are asked for one by one, between the damaged place seen from both ends."""


@contextmanager
def damaged_copy(path: Path) -> Iterator[sqlite3.Connection | None]:
    """Yield a connection to a copy of a damaged database, its log with it; None where nothing can be read."""
    with tempfile.TemporaryDirectory(prefix="pixelcam-rescue-") as place:
        copy = Path(place) / DATABASE
        for part in (path, path.with_name(f"{path.name}-wal")):
            if part.is_file():
                shutil.copyfile(part, copy.with_name(copy.name + part.name.removeprefix(path.name)))
        connection = _open(copy)
        if connection is None:
            _replace_first_page(copy)
            connection = _open(copy)
        try:
            yield connection
        finally:
            if connection is not None:
                connection.close()


def _open(copy: Path) -> sqlite3.Connection | None:
    """Open a database if its list of tables can be read."""
    connection: sqlite3.Connection | None = None
    try:
        connection = connect(copy, "rw")
        connection.execute("PRAGMA foreign_keys = OFF")
        connection.execute("SELECT id FROM saves LIMIT 0")
    except sqlite3.Error:
        if connection is not None:
            connection.close()
        return None
    return connection


def _replace_first_page(copy: Path) -> None:
    """Give a file whose first page is lost that of a new project: the tables begin at the same pages.

    Format: https://sqlite.org/fileformat.html, section 1.3.
    """
    with tempfile.TemporaryDirectory(prefix="pixelcam-rescue-") as place, suppress(OSError):
        fresh = Path(place) / DATABASE
        create(fresh, {})
        page = bytearray(fresh.read_bytes())
        size = int.from_bytes(page[16:18], "big")
        page = page[:size]
        page[18:20] = b"\1\1"  # a log, if there was one, is not known to belong to this page
        page[28:32] = (copy.stat().st_size // size).to_bytes(4, "big")
        page[32:40] = bytes(8)  # no list of free pages
        with copy.open("r+b") as file:
            file.write(page)
        copy.with_name(f"{copy.name}-wal").unlink(missing_ok=True)


def readable_rows(source: sqlite3.Connection, table: str) -> list[sqlite3.Row]:
    """Return all rows of a table that can be read, in order: from both ends, then one by one between them."""
    found: dict[int, sqlite3.Row] = {}
    reached: list[int] = []
    for order in ("ASC", "DESC"):
        last = None
        try:
            with closing(
                source.execute(f"SELECT rowid AS rowid_, * FROM {table} ORDER BY rowid {order}")
            ) as rows:
                for row in rows:
                    last = int(row[0])
                    found[last] = row
            break
        except sqlite3.Error:
            reached.append(last if last is not None else (0 if order == "ASC" else highest(source, table)))
    if len(reached) == 2:
        for number in range(reached[0] + 1, min(reached[1], reached[0] + _MOST_PROBED)):
            with suppress(sqlite3.Error):
                row = source.execute(
                    f"SELECT rowid AS rowid_, * FROM {table} WHERE rowid = ?", (number,)
                ).fetchone()
                if row is not None:
                    found[number] = row
    return [found[number] for number in sorted(found)]


def highest(source: sqlite3.Connection, table: str) -> int:
    """Return the highest number that a table ever gave, 0 where that cannot be read."""
    with suppress(sqlite3.Error):
        row = source.execute("SELECT seq FROM sqlite_sequence WHERE name = ?", (table,)).fetchone()
        if row is not None:
            return int(row[0])
    return 0
