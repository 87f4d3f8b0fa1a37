"""The run folder: which files it holds, and the record of the job that works in it."""

from __future__ import annotations

import codecs
import contextlib
import json
import os
import re
import shutil
import stat
import tempfile
import time
import uuid
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

from pixelcam.errors import OutputError, RunError
from pixelcam.export.atomic import output_error, write_text
from pixelcam.jobs.process import ProcessMark, mark_process
from pixelcam.limits import parse_own_json

State = Literal["starting", "running", "done", "stopped", "cancelled", "failed"]
Outcome = Literal["done", "stopped", "cancelled", "failed"]

CONFIG = "config.json"
ENVIRONMENT = "env.json"
EVENTS = "events.jsonl"
JOB = "job.json"
LOG = "stderr.log"
STOP = "STOP"
CHECKPOINTS = "checkpoints"
STATE = "state"
TOKEN_VARIABLE = "PIXELCAM_RUN_TOKEN"
"""Environment variable by which a started job knows that the folder's claim is its own."""

BEAT = 20.0
"""Seconds after which a job at work gives a sign of life: it touches ``job.json``."""
LEASE = 300.0
"""Seconds without one after which a job that cannot be looked at counts as gone."""
_EARLIER_LEASE = 24 * 3600.0
"""The same of a job of an earlier version, whose only signs are the events and what it logs."""

_LOCK = "job.lock"
_LOCK_WAIT = 5.0
_LOCK_LEASE = 60.0
"""Seconds after which a lock of another machine is nobody's: it is held for a moment."""
_LONGEST_NOTE = 4096
_SETTINGS = frozenset(["device", "momentum", "seed", "weight_decay"])
"""What the settings of every run hold, whichever job it is of."""


@dataclass(frozen=True)
class JobRecord:
    """Who works, or last worked, in a run folder, and how that ended.

    Parameters
    ----------
    arguments
        The command line after ``pixelcam``.
    token
        A random name of this start.
    started
        Seconds since the Unix epoch.
    process
        The process at work; None between the claim and the spawn.
    claimed
        Whether the process itself has taken over; until then the job is "starting".
    events_from, log_from
        Byte offsets in ``events.jsonl`` and ``stderr.log`` at which this start begins.
    outcome
        How the job ended; None while it runs, and for ever when it died silently.
    message
        One sentence about the outcome, where there is something to say.
    """

    arguments: tuple[str, ...]
    token: str
    started: float
    process: ProcessMark | None = None
    claimed: bool = False
    events_from: int = 0
    log_from: int = 0
    outcome: Outcome | None = None
    message: str = ""

    @classmethod
    def begin(cls, folder: Path, arguments: tuple[str, ...]) -> JobRecord:
        """Return the record of a start that happens now, after what earlier starts have left."""
        return cls(
            arguments=arguments,
            token=uuid.uuid4().hex,
            started=time.time(),
            events_from=_size(folder / EVENTS),
            log_from=_size(folder / LOG),
        )

    @classmethod
    def read(cls, folder: Path) -> JobRecord | None:
        """Read the record of `folder`, or None when no job has ever begun there.

        Raises
        ------
        RunError
            The record is damaged.
        """
        try:
            return cls._from_values(parse_own_json((folder / JOB).read_bytes()))
        except FileNotFoundError:
            return None
        except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
            raise RunError(
                f"The run folder {folder} cannot be read because its {JOB} is damaged, or is no run's; move "
                "that file away."
            ) from error

    @classmethod
    def _from_values(cls, values: dict[str, Any]) -> JobRecord:
        known = {name: value for name, value in values.items() if name in cls.__dataclass_fields__}
        known["arguments"] = tuple(str(each) for each in values["arguments"])
        if known.get("process") is not None:
            fields = ProcessMark.__dataclass_fields__
            known["process"] = ProcessMark(**{k: v for k, v in known["process"].items() if k in fields})
        known["started"] = float(known["started"])
        if not all(isinstance(known.get(name, ""), str) for name in ("token", "message")):
            raise ValueError("no text")
        if not isinstance(known.get("claimed", False), bool):
            raise ValueError("neither yes nor no")
        if not all(isinstance(known.get(name, 0), int) for name in ("events_from", "log_from")):
            raise ValueError("no offset")
        if min(known.get("events_from", 0), known.get("log_from", 0)) < 0:
            raise ValueError("no offset")
        if known.get("outcome") not in (None, "done", "stopped", "cancelled", "failed"):
            raise ValueError("no outcome")
        return cls(**known)

    def write(self, folder: Path) -> None:
        """Put the record into `folder`, replacing the one that is there; a folder that is gone stays gone."""
        write_text(folder / JOB, json.dumps(asdict(self), indent=1), make_folder=False)

    def ended(self, outcome: Outcome, message: str = "") -> JobRecord:
        """Return the record with how the job ended."""
        return replace(self, outcome=outcome, message=message)

    def is_busy(self, folder: Path) -> bool:
        """Return whether the job may still be writing to its folder.

        A process of another machine or container cannot be looked at: it counts as gone `LEASE` seconds after
        its last sign of life, by the clock of whoever keeps the files.
        """
        if self.outcome is not None or self.process is None:
            return False
        if self.process.is_here:
            return self.process.is_alive()
        last = _last_sign(folder)
        lease = LEASE if self.process.place else _EARLIER_LEASE
        if time.time() - last < lease:
            return True
        if self.process.was_before_this_start(last):
            return False
        return _clock_of(folder) - last < lease


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold the folder's lock, for the moment it takes to look at its record and replace it.

    Raises
    ------
    RunError
        Another process has held the lock for several seconds.
    OutputError
        The folder cannot be written.
    """
    lock = folder / _LOCK
    _take(lock, folder)
    try:
        yield
    finally:
        lock.unlink(missing_ok=True)


def _take(lock: Path, folder: Path) -> None:
    holder = json.dumps(asdict(mark) if (mark := mark_process()) else None)
    deadline = time.monotonic() + _LOCK_WAIT
    while True:
        try:
            with writing(folder):
                descriptor = os.open(lock, os.O_CREAT | os.O_EXCL | os.O_WRONLY)
        except FileExistsError:
            if lock.is_dir():
                raise RunError(
                    f"A folder called {_LOCK} is in the way in {folder}; move it away and try again."
                ) from None
            if _is_abandoned(lock):
                lock.unlink(missing_ok=True)
            elif time.monotonic() > deadline:
                raise RunError(f"Another process is just starting a job in {folder}; try again.") from None
            else:
                time.sleep(0.02)
        else:
            try:
                with writing(folder), os.fdopen(descriptor, "w", encoding="utf-8") as file:
                    file.write(holder)
            except OutputError:
                lock.unlink(missing_ok=True)
                raise
            return


def _is_abandoned(lock: Path) -> bool:
    """Return whether the process that took the lock has died with it."""
    try:
        taken = lock.stat().st_mtime
        if abs(time.time() - taken) < 1.0:
            return False
        holder = parse_own_json(lock.read_bytes())
        mark = ProcessMark(**holder)
    except FileNotFoundError:
        return False  # given back meanwhile
    except (OSError, ValueError, TypeError):
        return True
    if mark.is_here:
        return not mark.is_alive()
    return mark.was_before_this_start(taken) or _clock_of(lock.parent) - taken > _LOCK_LEASE


@contextlib.contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turn the system's refusals to write into an `OutputError` that names `path`."""
    try:
        yield
    except FileExistsError:
        raise
    except OSError as error:
        raise output_error(path, error) or error from error


def make_folder(folder: Path) -> None:
    """Create `folder` and its parents.

    Raises
    ------
    OutputError
        It cannot be created, or a file is in the way.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise output_error(folder, error) or error from error


def refuse_gone(run: Path) -> None:
    """Raise `RunError` when a run's folder was deleted under it: saving must not bring it back."""
    if not run.is_dir():
        raise RunError(f"The run folder {run} is gone.")


def request_stop(folder: Path, word: Literal["stop", "cancel"]) -> None:
    """Leave the note that asks the job to end; "cancel" is not taken back by a later "stop"."""
    if read_stop(folder) != "cancel":
        if (folder / STOP).is_dir():
            clear_stop(folder)
        write_text(folder / STOP, word, make_folder=False)


def read_stop(folder: Path) -> str:
    """Return what the note in the folder asks for: "stop", "cancel" or nothing ("").

    However it was written, anything of that name is a person's way of asking: empty, as ``touch STOP`` makes
    it; a folder; in the UTF-16 of Windows' shells. Only the word "cancel" discards.
    """
    path = folder / STOP
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            return "stop"
        with path.open("rb") as file:
            data = file.read(_LONGEST_NOTE)
    except PermissionError:
        return "stop"
    except OSError:
        return ""
    return "cancel" if re.fullmatch(r"\W*cancel\W*", _note_text(data), re.IGNORECASE) else "stop"


def _note_text(data: bytes) -> str:
    """Return the text of a note, in whichever of the encodings that editors and shells write."""
    for mark, encoding in (
        (codecs.BOM_UTF8, "utf-8"),
        (codecs.BOM_UTF16_LE, "utf-16-le"),
        (codecs.BOM_UTF16_BE, "utf-16-be"),
    ):
        if data.startswith(mark):
            return data.removeprefix(mark).decode(encoding, "replace")
    # Without a mark, the letters of these words tell UTF-16 by the zeros between them.
    return data.replace(b"\0", b"").decode("utf-8", "replace")


def clear_stop(folder: Path) -> None:
    """Remove the note of an earlier start.

    Raises
    ------
    OutputError
        It cannot be removed, as a folder with files in it.
    """
    path = folder / STOP
    try:
        if path.is_dir() and not path.is_symlink():
            path.rmdir()
        else:
            path.unlink(missing_ok=True)
    except OSError as error:
        raise OutputError(
            f"{path} asks every job there to end, and cannot be removed: {error.strerror}; move it away."
        ) from error


def is_run(folder: Path) -> bool:
    """Return whether a folder is a run's: it holds the record of a job, or the settings of one."""
    for name, keys in ((JOB, {"arguments", "token"}), (CONFIG, _SETTINGS)):
        with contextlib.suppress(OSError, ValueError):
            values = parse_own_json((folder / name).read_bytes())
            if isinstance(values, dict) and keys <= values.keys():
                return True
    return False


def discard_results(folder: Path) -> None:
    """Remove what a cancelled job has made; its settings, events and log stay."""
    for name in (CHECKPOINTS, STATE):
        shutil.rmtree(folder / name, ignore_errors=True)


def _last_sign(folder: Path) -> float:
    """Return when a job was last heard of, by the clock of whoever keeps its files."""
    times = []
    for name in (JOB, EVENTS, LOG):
        with contextlib.suppress(OSError):
            times.append((folder / name).stat().st_mtime)
    return max(times, default=0.0)


def _clock_of(folder: Path) -> float:
    """Return the time as whoever keeps the files of a folder tells it; this machine's where that is not told.

    The clocks of two machines may differ, and the times of files are by one alone.
    """
    try:
        with tempfile.TemporaryFile(dir=folder) as file:
            return os.fstat(file.fileno()).st_mtime
    except OSError:
        return time.time()


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0
