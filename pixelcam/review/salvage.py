"""Read what can still be read of a damaged SQLite file, row by row."""

from __future__ import annotations

import shutil
import sqlite3
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any

from pixelcam.export.atomic import output_error
from pixelcam.review.database import DATABASE, ERRORS, connect
from pixelcam.review.schema import APPLICATION, Schema, layouts, read_tables_note
from pixelcam.review.values import COLUMNS, MOST, wrong_values

_MOST_PROBED = 200_000
"""Numbers of rows that are asked for one by one, between the damaged place seen from both ends."""
_SAMPLE = 200
"""Rows at each end of a table by which it is judged whether its place in the file is the right one."""
_PAGE = 4096
_INTERIOR = 5
"""What says that a page of a table leads to others: https://sqlite.org/fileformat.html, section 1.6."""


@contextmanager
def damaged_copy(path: Path) -> Iterator[sqlite3.Connection | None]:
    """Yield a connection to a copy of a damaged database, its log with it; None where nothing can be read.

    Where the first page is damaged, which says at which pages the tables begin, others are tried: one with
    what was noted beside the database, and those of new projects of each version. The one by which most rows
    make sense is taken.

    Raises
    ------
    OutputError
        There is no room for the copy.
    """
    with tempfile.TemporaryDirectory(prefix="pixelcam-rescue-") as place:
        copy = Path(place) / DATABASE
        try:
            for end in ("", "-wal"):
                part = path.with_name(path.name + end)
                if part.is_file():
                    shutil.copyfile(part, copy.with_name(copy.name + end))
            _take_log_in(copy)
            _choose_schema(copy, read_tables_note(path))
        except OSError as error:
            raise output_error(copy, error) or error from error
        connection = _open(copy)
        try:
            yield connection
        finally:
            if connection is not None:
                connection.close()


def _choose_schema(copy: Path, noted: Schema | None) -> None:
    """Give a copy the first page by which most rows make sense, its own if none is better."""
    with copy.open("rb") as file:
        own = file.read(_PAGE)
    size, best, most = copy.stat().st_size, None, _sense(copy)
    for schema in [*([noted] if noted else []), *layouts()]:
        with suppress(*ERRORS):
            _write_schema(copy, size, schema)
            if (sense := _sense(copy)) > most:
                best, most = schema, sense
    if best is not None:
        _write_schema(copy, size, best)
        return
    with copy.open("r+b") as file:
        file.write(own)
        file.truncate(size)


def _take_log_in(copy: Path) -> None:
    """Write what the log holds into the file, even where its first page does not say that there is a log."""
    log = copy.with_name(f"{copy.name}-wal")
    if not log.exists() or _checkpoint(copy):
        return
    page = bytearray(_fresh_pages((1, []))[:_PAGE])
    page[18:20] = b"\2\2"  # there is a log
    page[28:32] = max(1, copy.stat().st_size // _PAGE).to_bytes(4, "big")
    with copy.open("r+b") as file:
        own = file.read(_PAGE)
        file.seek(0)
        file.write(page)
    _checkpoint(copy)
    with copy.open("r+b") as file:
        if file.read(100) == bytes(page[:100]):  # the log had no first page
            file.seek(0)
            file.write(own)
    for end in ("-wal", "-shm"):
        copy.with_name(f"{copy.name}{end}").unlink(missing_ok=True)


def _checkpoint(copy: Path) -> bool:
    """Write a log into its file; return whether that was possible."""
    with suppress(*ERRORS), closing(connect(copy, "rw")) as connection:
        found = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        return int(found[0]) == 0 and int(found[1]) >= 0
    return False


def _fresh_pages(schema: Schema) -> bytes:
    """Return a file with a list of tables and nothing in them."""
    version, rows = schema
    with tempfile.TemporaryDirectory(prefix="pixelcam-rescue-") as place:
        path = Path(place) / DATABASE
        with closing(connect(path, "rwc")) as connection:
            connection.execute(f"PRAGMA page_size = {_PAGE}")
            connection.execute(f"PRAGMA application_id = {APPLICATION}")
            connection.execute(f"PRAGMA user_version = {int(version)}")
            connection.execute("PRAGMA writable_schema = ON")
            connection.executemany("INSERT INTO sqlite_master VALUES (?, ?, ?, ?, ?)", rows)
        return path.read_bytes()


def _write_schema(copy: Path, size: int, schema: Schema) -> None:
    """Give a file of so many bytes a first page with a list of tables; its rest goes to the end of the file.

    Format: https://sqlite.org/fileformat.html, sections 1.3 and 1.6.
    """
    pages = _fresh_pages(schema)
    first = bytearray(pages[:_PAGE])
    count = -(-size // _PAGE)
    moved = []
    if first[100] == _INTERIOR:
        cells = int.from_bytes(first[103:105], "big")
        links = [108, *(int.from_bytes(first[112 + 2 * n : 114 + 2 * n], "big") for n in range(cells))]
        for link in links:
            child = int.from_bytes(first[link : link + 4], "big")
            moved.append(pages[(child - 1) * _PAGE : child * _PAGE])
            first[link : link + 4] = (count + len(moved)).to_bytes(4, "big")
    first[18:20] = b"\1\1"  # the log, if there was one, is in the file
    first[28:32] = (count + len(moved)).to_bytes(4, "big")
    first[32:40] = bytes(8)  # no list of free pages
    with copy.open("r+b") as file:
        file.write(first)
        file.truncate(count * _PAGE)
        file.seek(count * _PAGE)
        file.write(b"".join(moved))


def _open(copy: Path) -> sqlite3.Connection | None:
    """Open a database if its list of tables can be read."""
    connection: sqlite3.Connection | None = None
    try:
        connection = connect(copy, "rw")
        connection.text_factory = lambda raw: raw.decode(errors="replace")
        connection.execute("PRAGMA foreign_keys = OFF")
        connection.execute("SELECT id FROM saves LIMIT 0")
    except ERRORS:
        if connection is not None:
            connection.close()
        return None
    return connection


def _sense(copy: Path) -> int:
    """Return how many rows of ours, at both ends of each table, make sense."""
    connection = _open(copy)
    if connection is None:
        return 0
    found = 0
    with closing(connection):
        for table in COLUMNS:
            for order in ("ASC", "DESC"):
                with suppress(*ERRORS, TypeError):
                    rows = connection.execute(f"SELECT * FROM {table} ORDER BY rowid {order} LIMIT {_SAMPLE}")
                    found += sum(1 if is_ours(table, row) else -1 for row in map(dict, rows))
    return found


def is_ours(table: str, row: Mapping[str, Any]) -> bool:
    """Return whether all values of a row are such as this program writes."""
    return not wrong_values(table, row)


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
        except ERRORS:
            reached.append(last if last is not None else (0 if order == "ASC" else highest(source, table)))
    if len(reached) == 2:
        for number in range(reached[0] + 1, min(reached[1], reached[0] + _MOST_PROBED)):
            with suppress(*ERRORS):
                row = source.execute(
                    f"SELECT rowid AS rowid_, * FROM {table} WHERE rowid = ?", (number,)
                ).fetchone()
                if row is not None:
                    found[number] = row
    return [found[number] for number in sorted(found)]


def highest(source: sqlite3.Connection, table: str) -> int:
    """Return the highest number that a table ever gave, 0 where that cannot be read."""
    with suppress(*ERRORS, ValueError, TypeError):
        row = source.execute("SELECT seq FROM sqlite_sequence WHERE name = ?", (table,)).fetchone()
        if row is not None and 0 < int(row[0]) < MOST:
            return int(row[0])
    return 0
