"""The tables of a project, and the steps that bring an older project up to date."""

from __future__ import annotations

import sqlite3

from pixelcam.errors import ProjectError

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

MIGRATIONS: tuple[str, ...] = (_FIRST, _FAMILIARITY, _VIEWS)
"""The script that leads from version n to version n + 1, n being its index."""

_SHOWN: tuple[str, ...] = (
    "",
    "CREATE TEMP VIEW localizations AS SELECT *, NULL AS familiarity, 1 AS views FROM main.localizations",
    "CREATE TEMP VIEW localizations AS SELECT *, 1 AS views FROM main.localizations",
)
"""What lets a connection read tables of version n, n being its index, as those of the newest."""


def check_version(connection: sqlite3.Connection, subject: str) -> int:
    """Return the version of a project's tables.

    Raises
    ------
    ProjectError
        The file is another program's database, or a newer version of this one made it.
    """
    (application,) = connection.execute("PRAGMA application_id").fetchone()
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if application != APPLICATION:
        raise ProjectError(f"{subject} is another program's database; choose the folder of a project.")
    if version > len(MIGRATIONS):
        raise ProjectError(
            f"{subject} was made by a newer version of napari-pixelcam; update this one to open it."
        )
    return int(version)


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
        connection.execute(_SHOWN[version])
