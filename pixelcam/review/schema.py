"""The tables of a project, and the steps that bring an older project up to date."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import closing, suppress
from functools import lru_cache
from pathlib import Path
from typing import Any

from pixelcam.errors import OutputError, ProjectError
from pixelcam.export.atomic import write_text
from pixelcam.files import refuse_link
from pixelcam.limits import parse_json

APPLICATION = 0x50784341
"""What SQLite's ``application_id`` says in a project: "PxCA"."""

_FIRST = """
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL);

CREATE TABLE reviewers (id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT NOT NULL UNIQUE);

CREATE TABLE images (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    name TEXT NOT NULL,
    path TEXT NOT NULL,
    relative_path TEXT NOT NULL,
    fingerprint TEXT NOT NULL UNIQUE,
    bytes INTEGER NOT NULL,
    modified INTEGER NOT NULL,
    width INTEGER NOT NULL,
    height INTEGER NOT NULL,
    mpp REAL,
    level INTEGER NOT NULL,
    grid_height INTEGER NOT NULL,
    grid_width INTEGER NOT NULL
);

CREATE TABLE judgements (
    image INTEGER NOT NULL REFERENCES images (id),
    reviewer INTEGER NOT NULL REFERENCES reviewers (id),
    status TEXT NOT NULL DEFAULT 'to do',
    label TEXT,
    note TEXT NOT NULL DEFAULT '',
    seconds REAL NOT NULL DEFAULT 0,
    threshold REAL,
    PRIMARY KEY (image, reviewer)
);

CREATE TABLE saves (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    image INTEGER NOT NULL REFERENCES images (id),
    reviewer INTEGER NOT NULL REFERENCES reviewers (id),
    kind TEXT NOT NULL,
    time TEXT NOT NULL,
    foreground INTEGER NOT NULL,
    background INTEGER NOT NULL
);
CREATE INDEX saves_of ON saves (image, reviewer, id);

CREATE TABLE patches (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    save INTEGER NOT NULL REFERENCES saves (id),
    y0 INTEGER NOT NULL,
    x0 INTEGER NOT NULL,
    y1 INTEGER NOT NULL,
    x1 INTEGER NOT NULL,
    before BLOB NOT NULL,
    after BLOB NOT NULL
);
CREATE INDEX patches_of ON patches (save);

CREATE TABLE pictures (
    image INTEGER NOT NULL REFERENCES images (id),
    reviewer INTEGER NOT NULL REFERENCES reviewers (id),
    applied INTEGER NOT NULL,
    PRIMARY KEY (image, reviewer)
);

CREATE TABLE models (
    sha256 TEXT PRIMARY KEY,
    name TEXT NOT NULL,
    path TEXT NOT NULL DEFAULT '',
    first_used TEXT NOT NULL
);

CREATE TABLE localizations (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    image INTEGER NOT NULL REFERENCES images (id),
    reviewer INTEGER NOT NULL REFERENCES reviewers (id),
    time TEXT NOT NULL,
    model TEXT NOT NULL REFERENCES models (sha256),
    model_name TEXT NOT NULL,
    classes TEXT NOT NULL,
    threshold REAL NOT NULL,
    uncertainty REAL NOT NULL,
    scale_y REAL NOT NULL,
    scale_x REAL NOT NULL,
    translate_y REAL NOT NULL,
    translate_x REAL NOT NULL,
    map TEXT NOT NULL
);
CREATE INDEX localizations_of ON localizations (image, time);

CREATE TABLE runs (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    folder TEXT NOT NULL UNIQUE,
    kind TEXT NOT NULL,
    model TEXT NOT NULL,
    reviewer INTEGER NOT NULL REFERENCES reviewers (id),
    time TEXT NOT NULL
);

CREATE TABLE events (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    time TEXT NOT NULL,
    reviewer TEXT NOT NULL,
    image INTEGER,
    what TEXT NOT NULL,
    detail TEXT NOT NULL
);
"""

_FAMILIARITY = "ALTER TABLE localizations ADD COLUMN familiarity REAL"
_VIEWS = "ALTER TABLE localizations ADD COLUMN views INTEGER NOT NULL DEFAULT 1"

_ACCEPTED = """
CREATE TABLE accepted (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    image INTEGER NOT NULL REFERENCES images (id),
    reviewer INTEGER NOT NULL REFERENCES reviewers (id),
    time TEXT NOT NULL,
    map TEXT NOT NULL,
    threshold REAL NOT NULL,
    fraction REAL NOT NULL,
    model TEXT NOT NULL,
    model_name TEXT NOT NULL,
    views INTEGER NOT NULL,
    model_threshold REAL NOT NULL,
    classes TEXT NOT NULL,
    familiarity REAL,
    refined INTEGER NOT NULL,
    other_images INTEGER NOT NULL,
    other_cells INTEGER NOT NULL,
    save INTEGER NOT NULL,
    scale_y REAL NOT NULL,
    scale_x REAL NOT NULL,
    translate_y REAL NOT NULL,
    translate_x REAL NOT NULL
);
CREATE INDEX accepted_of ON accepted (image, reviewer, id);
"""

MIGRATIONS: tuple[str, ...] = (_FIRST, _FAMILIARITY, _VIEWS, _ACCEPTED)
"""The script that leads from version n to version n + 1, n being its index."""

_NONE_ACCEPTED = _ACCEPTED.partition("CREATE INDEX")[0].replace("CREATE TABLE", "CREATE TEMP TABLE")

_SHOWN: tuple[str, ...] = (
    "",
    "CREATE TEMP VIEW localizations AS SELECT *, NULL AS familiarity, 1 AS views FROM main.localizations;"
    + _NONE_ACCEPTED,
    "CREATE TEMP VIEW localizations AS SELECT *, 1 AS views FROM main.localizations;" + _NONE_ACCEPTED,
    _NONE_ACCEPTED,
)
"""What lets a connection read tables of version n, n being its index, as those of the newest."""


FAR = 100
"""A version so much newer than this program's is no version, but damage."""

TABLES_NOTE = "project.tables.json"
"""What lies beside the database and says where its tables begin, for when its own first page is lost."""


def check_version(connection: sqlite3.Connection, subject: str) -> int | None:
    """Return the version of a project's tables, None where its number is damaged.

    Raises
    ------
    ProjectError
        The file is another program's database, or a newer version of this one made it.
    """
    (application,) = connection.execute("PRAGMA application_id").fetchone()
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if (application != APPLICATION and _has_ours(connection)) or version > len(MIGRATIONS) + FAR:
        return None
    if application != APPLICATION:
        raise ProjectError(f"{subject} is another program's database; choose the folder of a project.")
    if version > len(MIGRATIONS):
        raise ProjectError(
            f"{subject} was made by a newer version of napari-pixelcam; update this one to open it."
        )
    return int(version) if version > 0 else None


def migrate(connection: sqlite3.Connection, version: int) -> None:
    """Bring the tables from `version` to the newest, wholly or not at all.

    The connection must be in no transaction and commit by itself (``isolation_level=None``).
    """
    steps = [
        f"{script}; PRAGMA user_version = {number};"
        for number, script in enumerate(MIGRATIONS[version:], start=version + 1)
    ]
    if not steps:
        return
    try:
        connection.executescript(
            f"BEGIN IMMEDIATE; PRAGMA application_id = {APPLICATION}; {''.join(steps)} COMMIT;"
        )
    except sqlite3.Error:
        if connection.in_transaction:
            connection.rollback()
        raise


def show_as_newest(connection: sqlite3.Connection, version: int) -> None:
    """Let a connection that must not write read the tables of an older version as if they were the newest.

    Nothing of it is on the disk but for this connection.
    """
    connection.execute("PRAGMA temp_store = MEMORY")
    if version < len(_SHOWN):
        connection.executescript(_SHOWN[version])


def _has_ours(connection: sqlite3.Connection) -> bool:
    """Return whether a database has tables by the names of ours."""
    names = {row[0] for row in connection.execute("SELECT name FROM main.sqlite_master")}
    return {"images", "reviewers", "saves"} <= names


Shape = dict[str, list[tuple[Any, ...]]]
"""By table: its columns, what they refer to, and its indexes."""


def shape_of(connection: sqlite3.Connection, names: Iterable[str]) -> Shape:
    """Return what tables look like, those by these names that there are."""
    found: Shape = {}
    for name in names:
        columns = connection.execute(f"PRAGMA main.table_info({name})").fetchall()
        if not columns:
            continue
        indexes = [tuple(row)[1:] for row in connection.execute(f"PRAGMA main.index_list({name})")]
        rows = [
            *(tuple(row) for row in columns),
            *(tuple(row) for row in connection.execute(f"PRAGMA main.foreign_key_list({name})")),
            *sorted(indexes),
            *(
                (index, *row)
                for index, *_ in sorted(indexes)
                for row in connection.execute(f"PRAGMA main.index_info({index})")
            ),
        ]
        found[name] = rows
    return found


@lru_cache
def _right_shape(scripts: tuple[str, ...]) -> Shape:
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as connection:
        for script in scripts:
            connection.executescript(script)
        names = [row[0] for row in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        return shape_of(connection, [name for name in names if not name.startswith("sqlite_")])


def table_names() -> tuple[str, ...]:
    """Return the names of all tables, those first that others refer to."""
    return tuple(_right_shape(MIGRATIONS))


def differing_tables(connection: sqlite3.Connection, version: int) -> str:
    """Return the names of tables that lack what those of a version have; "" where all is there."""
    right = _right_shape(MIGRATIONS[:version])
    found = shape_of(connection, dict.fromkeys((*right, *table_names())))
    lacking = (name for name in right if not set(right[name]) <= set(found.get(name, ())))
    return ", ".join(sorted({*lacking, *(found.keys() - right.keys())}))


def note_tables(connection: sqlite3.Connection, path: Path) -> None:
    """Note beside a database where its tables begin, unless that is known; where it can be written."""
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    rows = [list(row) for row in master_rows(connection)]
    text = json.dumps({"version": version, "tables": rows}, ensure_ascii=False, indent=1) + "\n"
    place = path.with_name(TABLES_NOTE)
    with suppress(OSError, OutputError, UnicodeDecodeError, ProjectError):
        refuse_link(place, ProjectError)
        if not place.is_file() or place.read_text(encoding="utf-8") != text:
            write_text(place, text)


def master_rows(connection: sqlite3.Connection) -> list[tuple[Any, ...]]:
    """Return a database's list of tables and indexes, with the pages that they begin at."""
    rows = connection.execute("SELECT type, name, tbl_name, rootpage, sql FROM main.sqlite_master")
    return [tuple(row) for row in rows]


Schema = tuple[int, list[tuple[Any, ...]]]
"""A version, and the rows of SQLite's list of tables and indexes."""


def read_tables_note(path: Path) -> Schema | None:
    """Return the version and the rows that were noted beside a database; None where there are none."""
    place = path.with_name(TABLES_NOTE)
    try:
        refuse_link(place, ProjectError)
        if place.stat().st_size > LARGEST_NOTE:
            return None
        said = parse_json(place.read_text(encoding="utf-8"))
        rows = [tuple(row) for row in said["tables"]]
        return int(said["version"]), [row for row in rows if _is_master_row(row)]
    except (OSError, ValueError, TypeError, KeyError, ProjectError):
        return None


LARGEST_NOTE = 1_000_000
"""Bytes."""


def _is_master_row(row: tuple[Any, ...]) -> bool:
    """Return whether a noted row is of one of our tables or indexes."""
    texts = [*row[:3], "" if row[4:] == (None,) else row[-1]]
    if len(row) != 5 or not all(isinstance(text, str) for text in texts) or not isinstance(row[3], int):
        return False
    plain = row[4] is None or row[4].startswith(("CREATE TABLE ", "CREATE INDEX "))
    return row[0] in ("table", "index") and row[3] > 1 and plain


def layouts() -> Iterator[Schema]:
    """Yield the rows that a project has which was made at a version, newest first, with that version."""
    for version in range(len(MIGRATIONS), 0, -1):
        with closing(sqlite3.connect(":memory:", isolation_level=None)) as connection:
            for script in MIGRATIONS[:version]:
                connection.executescript(script)
            yield version, master_rows(connection)
