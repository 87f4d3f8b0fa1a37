"""One name, one process: who works in a project, and under which name."""

from __future__ import annotations

import errno
import hashlib
import json
import unicodedata
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path

from filelock import FileLock, Timeout

from pixelcam.errors import OutputError, ProjectError, ProjectLockedError
from pixelcam.export.atomic import output_error, write_text
from pixelcam.files import own
from pixelcam.jobs.process import ProcessMark, mark_process
from pixelcam.limits import parse_json

LOCKS = "locks"
PATIENCE = 0.3
"""Seconds to wait for a name."""


@dataclass(frozen=True)
class Holder:
    """Who holds a name.

    Attributes
    ----------
    reviewer
        The name.
    process
        The process, with its host.
    since
        When it began, in ISO 8601.
    """

    reviewer: str
    process: ProcessMark
    since: str

    def __str__(self) -> str:
        since = datetime.fromisoformat(self.since).astimezone()
        return f"process {self.process.pid} on {self.process.host} since {since:%Y-%m-%d %H:%M}"


def checked_reviewer(name: str) -> str:
    """Return a reviewer's name in one spelling.

    Raises
    ------
    ProjectError
        It is empty, too long, or has characters that cannot be shown.
    """
    cleaned = unicodedata.normalize("NFC", " ".join(name.split()))
    if not cleaned or len(cleaned) > 80 or not cleaned.isprintable():
        raise ProjectError("Give the reviewer a name of 1 to 80 letters; the project keeps who did what.")
    return cleaned


def folded_reviewer(name: str) -> str:
    """Return what is the same for all names that people take for the same: by case, width or ligature."""
    return " ".join(unicodedata.normalize("NFKC", name).casefold().split())


def slug(reviewer: str) -> str:
    """Return a reviewer's name as a part of file names, different for each name on any file system."""
    plain = "".join(c if c.isascii() and c.isalnum() else "_" for c in reviewer)[:24]
    return f"{plain}-{hashlib.sha256(reviewer.encode()).hexdigest()[:8]}"


class ReviewerLock:
    """A name in a project, held by this process until it ends, however it ends.

    The system's own lock on a file says whether it is held; the file beside it says by whom.

    Parameters
    ----------
    folder
        The project's folder.
    reviewer
        The name.

    Raises
    ------
    ProjectLockedError
        Another process, or another window of this one, works under that name.
    OutputError
        The folder cannot be written.

    Attributes
    ----------
    after_kill
        Whether the process that worked under the name before ended without giving it free.
    """

    def __init__(self, folder: Path, reviewer: str) -> None:
        self.folder, self.reviewer = folder, reviewer
        self.after_kill = False
        self._note = own(folder, LOCKS, f"{slug(reviewer)}.json", error=ProjectError)
        # Not of one thread: a project is closed by another one than opened it.
        lock = own(folder, LOCKS, f"{slug(reviewer)}.lock", error=ProjectError)
        self._lock = FileLock(lock, timeout=0, thread_local=False)
        self.take()

    def take(self) -> None:
        """Take the lock, unless it is held already."""
        if self._lock.is_locked:
            return
        try:
            self._note.parent.mkdir(exist_ok=True)
            # A moment's patience: whoever opens the project looks whether names are held by taking them.
            self._lock.acquire(timeout=PATIENCE)
        except Timeout:
            raise self._refusal() from None
        except NotImplementedError as error:
            raise OutputError(
                f"{self.folder} lies on a drive that knows no file locks; copy the project to another one."
            ) from error
        except OSError as error:
            raise output_error(self.folder, error) or error from error
        self.after_kill = self._note.exists()
        process = mark_process()
        if process is not None:
            holder = Holder(self.reviewer, process, datetime.now().astimezone().isoformat(timespec="seconds"))
            with suppress(OutputError):  # whoever comes next will merely not be told who it is
                write_text(self._note, json.dumps(asdict(holder)))

    def take_again(self) -> None:
        """Take the lock anew, which a drive that was away may have dropped."""
        self.release()
        self.take()

    def release(self) -> None:
        """Give the name free."""
        if self._lock.is_locked:
            with suppress(OSError):
                self._note.unlink(missing_ok=True)
            self._lock.release()

    def _refusal(self) -> ProjectLockedError:
        holder = read_holder(self._note)
        who = f" ({holder})" if holder else ""
        return ProjectLockedError(
            f"Somebody works in {self.folder} as {self.reviewer!r} already{who}; close it there, "
            "open the project read-only, or use another name."
        )


def read_holder(note: Path) -> Holder | None:
    """Return who a lock's note names, None where there is none."""
    try:
        values = parse_json(note.read_text(encoding="utf-8"))
        return Holder(str(values["reviewer"]), ProcessMark(**values["process"]), str(values["since"]))
    except (OSError, ValueError, TypeError, KeyError):
        return None


def is_read_only(error: OutputError) -> bool:
    """Return whether an error says that a place may be read but not written."""
    cause = error.__cause__
    return isinstance(cause, OSError) and cause.errno in (errno.EACCES, errno.EPERM, errno.EROFS)
