"""The project's SQLite file: one connection, its transactions, and what its errors mean to a person."""

from __future__ import annotations

import errno
import shutil
import sqlite3
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil

from pixelcam.errors import OutputError, PixelCAMError, ProjectError
from pixelcam.export.atomic import output_error
from pixelcam.files import refuse_link
from pixelcam.review import schema
from pixelcam.review.schema import check_version, differing_tables, migrate, note_tables, show_as_newest
from pixelcam.review.values import find_wrong

DATABASE = "project.sqlite"
BUSY_SECONDS = 10.0
"""How long to wait for another reviewer's transaction; each takes milliseconds."""

_REMOTE = ("nfs", "nfs4", "cifs", "smb", "smb2", "smb3", "smbfs", "afpfs", "9p", "fuse.sshfs", "webdav")


ERRORS = (sqlite3.Error, UnicodeDecodeError)
"""What SQLite fails with; the latter where its message quotes bytes of a damaged file."""


class DamagedError(ProjectError):
    """The database does not hold together; `pixelcam.review.rescuing` saves what can be read."""


class WrongValueError(DamagedError):
    """The database holds together, but something in it is nothing that this program writes."""


def damaged(folder: Path, what: object) -> DamagedError:
    """Return the error that says what is wrong with a project's database, and what to do."""
    return DamagedError(
        f"The database of the project {folder} is damaged ({_plain(what)}); run "
        f"`pixelcam review rescue {folder}` to save what can be read."
    )


def _plain(what: object) -> str:
    """Return a message on one line, without the bytes of a damaged file that it may quote."""
    if isinstance(what, UnicodeDecodeError):
        what = "its message is unreadable"
    text = " ".join(str(what).split())
    return "".join(c if c.isprintable() and c != "\N{REPLACEMENT CHARACTER}" else "?" for c in text)[:200]


class Database:
    """A project's database, used by any thread, one at a time.

    A connection that fails, as when a share vanishes, is dropped and made anew at the next use.

    Parameters
    ----------
    folder
        The project's folder.
    read_only
        Never write, not even to bring an older version up to date.
    copy
        A folder with a copy of the database to look at in its place, which is removed in the end.

    Raises
    ------
    ProjectError
        The folder holds no project or one of a newer version.
    DamagedError
        The database is damaged.

    Attributes
    ----------
    lock
        Held by whoever does several things that belong together.
    updated
        Whether the tables were of an older version when it was opened.
    on_return
        Called when a lost connection is to be made anew.
    """

    def __init__(
        self, folder: Path, read_only: bool, copy: tempfile.TemporaryDirectory[str] | None = None
    ) -> None:
        self.path = folder / DATABASE
        self.read_only = read_only
        self.lock = threading.RLock()
        self._copy = copy
        self._connection: sqlite3.Connection | None = None
        self._inode: tuple[int, int] | None = None
        self._identity = ""
        self._closed = False
        self.updated = False
        self.on_return: Callable[[], None] = lambda: None
        self._connect()

    @property
    def identity(self) -> str:
        """The project's own random name."""
        return self._identity

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """Yield the connection; errors inside become a `PixelCAMError`."""
        with self.lock:
            connection = self._ready()
            try:
                yield connection
            except ERRORS as error:
                raise self._refusal(error) from error
            except (ValueError, OverflowError) as error:  # a date, a number or a text that is none
                raise damaged(self.path.parent, error) from error

    @contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        """Yield the connection in a transaction, on the disk once the block has ended, undone on any error.

        Raises
        ------
        OutputError
            The disk is full, the place is read-only, or another program keeps the database for long.
        ProjectError
            The folder is gone, or the project was opened read-only.
        """
        with self.lock:
            self.check_writable()
            connection = self._ready()
            try:
                connection.execute("BEGIN IMMEDIATE")
                yield connection
                connection.execute("COMMIT")
            except BaseException as error:
                with suppress(sqlite3.Error):
                    if connection.in_transaction:
                        connection.execute("ROLLBACK")
                if isinstance(error, ERRORS):
                    raise self._refusal(error) from error
                raise

    def check_writable(self) -> None:
        """Raise what `writing` would, before any work is done in vain."""
        if self.read_only:
            raise OutputError(
                f"The project {self.path.parent} is open read-only and cannot be changed; "
                "open it for writing, or copy it to where you may write."
            )
        with self.lock:
            self._ready()

    @property
    def closed(self) -> bool:
        """Whether `close` was called."""
        return self._closed

    def close(self) -> None:
        """End the connection; nothing is lost by not doing so."""
        with self.lock:
            self._drop()
            self._closed = True
            if self._copy is not None:
                self._copy.cleanup()

    def _ready(self) -> sqlite3.Connection:
        """Return the connection, made anew where it was lost.

        The folder must be where it was: SQLite would go on writing to a folder that was moved away, but the
        arrays beside it would be begun anew at the old place, and be in the way when it comes back.
        """
        if self._closed:
            raise ProjectError(f"The project {self.path.parent} was closed; open it again.")
        if self._copy is None:
            try:
                status = self.path.stat()
            except OSError as error:
                raise ProjectError(
                    f"The project {self.path.parent} cannot be reached; connect its drive or put the folder "
                    "back, what was saved is kept there."
                ) from error
            if self._inode is not None and (status.st_dev, status.st_ino) != self._inode:
                self._drop()
        if self._connection is None:
            self.on_return()
            self._connect()
        assert self._connection is not None
        return self._connection

    def _connect(self) -> None:
        if not self.path.is_file():
            raise ProjectError(
                f"{self.path.parent} holds no project ({DATABASE} is not there); choose another folder or "
                "make a new project."
            )
        refuse_foreign_parts(self.path)
        connection: sqlite3.Connection | None = None
        try:
            connection = self._open()
            identity, self.updated = _check(connection, self.path, self.read_only)
        except ERRORS as error:
            if connection is not None:
                connection.close()
            self._drop_copy()
            raise self._refusal(error) from error
        except PixelCAMError:
            if connection is not None:
                connection.close()
            self._drop_copy()
            raise
        if self._identity not in ("", identity):
            connection.close()
            raise ProjectError(
                f"Another project lies at {self.path.parent} now; put the one that was open back, "
                "or open this one."
            )
        status = self.path.stat()
        self._connection, self._identity = connection, identity
        self._inode = (status.st_dev, status.st_ino)

    def _open(self) -> sqlite3.Connection:
        if not self.read_only:
            return connect(self.path, "rw")
        if self._copy is not None:
            return connect(Path(self._copy.name) / DATABASE, "rw")
        try:
            connection = connect(self.path, "ro")
            connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
            return connection
        except sqlite3.OperationalError as error:
            if not error.sqlite_errorname.startswith(("SQLITE_READONLY", "SQLITE_CANTOPEN", "SQLITE_IOERR")):
                raise
            # SQLite needs to write beside the file even to read it; where it may not, a copy has to do.
            self._copy = tempfile.TemporaryDirectory(prefix="pixelcam-project-")
            for part in (self.path, self.path.with_name(f"{DATABASE}-wal")):
                if part.is_file():
                    shutil.copyfile(part, Path(self._copy.name) / part.name)
            return connect(Path(self._copy.name) / DATABASE, "rw")

    def _drop_copy(self) -> None:
        if self._copy is not None:
            self._copy.cleanup()
            self._copy = None

    def _drop(self) -> None:
        connection, self._connection, self._inode = self._connection, None, None
        if connection is not None:
            with suppress(sqlite3.Error):
                connection.close()

    def _refusal(self, error: Exception) -> PixelCAMError:
        """Say what an error means; drop a connection that may have lost its file."""
        name = getattr(error, "sqlite_errorname", "") or ""
        if name.startswith(("SQLITE_IOERR", "SQLITE_CANTOPEN", "SQLITE_READONLY", "SQLITE_NOTADB")):
            self._drop()
        return explain(error, self.path)


_JOURNAL_END = bytes.fromhex("d9d505f920a163d7")
"""What ends a rollback journal that names a further one: https://sqlite.org/fileformat.html, section 3."""


def refuse_foreign_parts(path: Path) -> None:
    """Refuse a database whose files lead SQLite to other ones, before SQLite looks at them.

    It follows symbolic links; and a rollback journal may end with the name of a file that SQLite removes
    after rolling back. That is one of transactions over several databases, of which this program makes none.

    Raises
    ------
    ProjectError
        One of the files is such.
    """
    for end in ("", "-wal", "-shm", "-journal"):
        refuse_link(path.with_name(path.name + end), ProjectError)
    journal = path.with_name(f"{path.name}-journal")
    with suppress(OSError), journal.open("rb") as file:
        file.seek(max(0, file.seek(0, 2) - len(_JOURNAL_END)))
        if file.read() == _JOURNAL_END:
            raise ProjectError(
                f"{journal} tells to remove another file, which no journal of this program does; delete that "
                "journal, or get the project anew from who sent it."
            )


def _refuse_foreign_schema(connection: sqlite3.Connection, folder: Path) -> None:
    """Refuse views, triggers and virtual tables: what they do when they are read or written is not ours."""
    row = connection.execute(
        # SQLite goes by the statement, whatever the other columns say of it.
        "SELECT name FROM main.sqlite_master WHERE sql NOT LIKE 'CREATE TABLE %' "
        "AND sql NOT LIKE 'CREATE INDEX %' AND sql NOT LIKE 'CREATE UNIQUE INDEX %'"
    ).fetchone()
    if row is not None:
        raise ProjectError(
            f"The database of the project {folder} holds the view or trigger {row['name']!r}, which this "
            "program did not make; get the project anew from who sent it."
        )


def explain(error: Exception, path: Path) -> PixelCAMError:
    """Return an error of SQLite as one sentence that says what to do."""
    said = ("Could not decode to UTF-8", "unsupported file format", "malformed database schema")
    if isinstance(error, UnicodeDecodeError) or any(words in str(error) for words in said):
        return damaged(path.parent, error)
    name = getattr(error, "sqlite_errorname", "") or ""
    if name.startswith("SQLITE_IOERR"):  # which does not tell a used-up quota from a drive that is gone
        return OutputError(
            f"{path} cannot be used: the disk or quota is full, or the drive has failed; free some space or "
            "check the drive, what was saved before is kept."
        )
    code = next((number for start, number in _ERRNO.items() if name.startswith(start)), None)
    if code is not None:
        found = output_error(path, OSError(code, ""))
        assert found is not None
        return found
    if name.startswith(("SQLITE_BUSY", "SQLITE_LOCKED")):
        return OutputError(f"{path} is kept busy by another program; try again in a moment.")
    if name.startswith("SQLITE_CANTOPEN"):
        return ProjectError(f"{path} cannot be opened; check that it is there and that you may read it.")
    if name.startswith(("SQLITE_CORRUPT", "SQLITE_NOTADB")):
        return damaged(path.parent, error)
    return ProjectError(f"{path} could not be used ({_plain(error)}); copy it aside and report this.")


_ERRNO = {
    "SQLITE_FULL": errno.ENOSPC,
    "SQLITE_READONLY": errno.EROFS,
    "SQLITE_PERM": errno.EACCES,
}


def connect(path: Path, mode: str) -> sqlite3.Connection:
    """Open a database ("rw", "ro" or "rwc"): each commit on the disk before it returns, foreign keys held."""
    connection = sqlite3.connect(
        f"{path.absolute().as_uri()}?mode={mode}",
        uri=True,
        timeout=BUSY_SECONDS,
        isolation_level=None,
        check_same_thread=False,
    )
    connection.row_factory = sqlite3.Row
    try:
        connection.execute("PRAGMA trusted_schema = OFF")
        connection.execute("PRAGMA foreign_keys = ON")
        connection.execute("PRAGMA synchronous = FULL")
    except sqlite3.Error:
        connection.close()
        raise
    return connection


def create(path: Path, meta: dict[str, str]) -> None:
    """Make a database with the newest tables and these facts in it, whole or not at all.

    Raises
    ------
    OutputError
        It cannot be written.
    """
    connection: sqlite3.Connection | None = None
    try:
        connection = connect(path, "rwc")
        _choose_log(connection, path.parent)
        migrate(connection, 0)
        connection.executemany("INSERT INTO meta (key, value) VALUES (?, ?)", sorted(meta.items()))
        connection.close()
    except sqlite3.Error as error:
        if connection is not None:
            connection.close()
        for end in ("", "-wal", "-shm", "-journal"):
            with suppress(OSError):
                path.with_name(path.name + end).unlink(missing_ok=True)
        raise explain(error, path) from error


def _choose_log(connection: sqlite3.Connection, folder: Path) -> None:
    """Let SQLite write ahead where it can: a project that was copied to a share, or from one, changes."""
    with suppress(sqlite3.OperationalError):  # somebody else has it open: then it works as it is
        connection.execute(f"PRAGMA journal_mode = {'DELETE' if on_network(folder) else 'WAL'}")


def on_network(folder: Path) -> bool:
    """Return whether a folder lies on a share, where SQLite's write-ahead log does not work.

    See https://sqlite.org/wal.html, "all processes using a database must be on the same host computer".
    """
    resolved = folder.resolve()
    try:
        disks = psutil.disk_partitions(all=True)
    except (OSError, RuntimeError):
        return False
    homes = [disk for disk in disks if resolved.is_relative_to(disk.mountpoint)]
    home = max(homes, key=lambda disk: len(disk.mountpoint), default=None)
    unc = str(resolved).startswith("\\\\")
    return unc or (home is not None and (home.fstype.lower() in _REMOTE or "remote" in home.opts))


def _check_content(connection: sqlite3.Connection, path: Path) -> int:
    """Return the version of a database's tables after looking at all that it holds."""
    if connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0] == 0:
        raise DamagedError(
            f"The database of the project {path.parent} is empty; run `pixelcam review rescue {path.parent}` "
            "to save what can be read."
        )
    _refuse_foreign_schema(connection, path.parent)
    version = check_version(connection, str(path.parent))
    if version is None:
        raise damaged(path.parent, "its header")
    if found := differing_tables(connection, version):
        raise damaged(path.parent, f"its tables: {found}")
    findings = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
    if findings != "ok":
        raise damaged(path.parent, findings)
    if wrong := find_wrong(connection):
        raise WrongValueError(str(damaged(path.parent, wrong)))
    return version


def _check(connection: sqlite3.Connection, path: Path, read_only: bool) -> tuple[str, bool]:
    """Return the project's identity, and whether its tables were brought up to date.

    Before that it is looked whether the database is sound and of a known version.
    """
    try:
        version = _check_content(connection, path)
    except sqlite3.Error as error:
        if getattr(error, "sqlite_errorname", "") == "SQLITE_ERROR":  # of a file that SQLite cannot follow
            raise damaged(path.parent, error) from error
        raise
    if read_only:
        show_as_newest(connection, version)
    else:
        migrate(connection, version)
        _choose_log(connection, path.parent)
        note_tables(connection, path)
    row = connection.execute("SELECT value FROM meta WHERE key = 'identity'").fetchone()
    return str(row[0]) if row else "", not read_only and version < len(schema.MIGRATIONS)
