"""The run folder: which files it holds, and the record of the job that works in it."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import time
import uuid
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

from pixelcam.errors import OutputError, RunError
from pixelcam.export.atomic import output_error, write_text
from pixelcam.jobs.process import ProcessMark, mark_process
from pixelcam.limits import parse_json

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

_LOCK = "job.lock"
_LOCK_WAIT = 5.0


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
            values: dict[str, Any] = parse_json((folder / JOB).read_text(encoding="utf-8"))
            values["arguments"] = tuple(values["arguments"])
            if values.get("process") is not None:
                values["process"] = ProcessMark(**values["process"])
            return cls(**{k: v for k, v in values.items() if k in cls.__dataclass_fields__})
        except FileNotFoundError:
            return None
        except (OSError, ValueError, TypeError, KeyError) as error:
            raise RunError(
                f"The run folder {folder} cannot be read because its {JOB} is damaged; delete that file."
            ) from error

    def write(self, folder: Path) -> None:
        """Put the record into `folder`, replacing the one that is there."""
        write_text(folder / JOB, json.dumps(asdict(self), indent=1))

    def ended(self, outcome: Outcome, message: str = "") -> JobRecord:
        """Return the record with how the job ended."""
        return replace(self, outcome=outcome, message=message)

    @property
    def is_busy(self) -> bool:
        """Whether the job may still be writing to the folder."""
        if self.outcome is not None or self.process is None:
            return False
        # A process of another machine cannot be looked at: only its own word says that it ended.
        return self.process.is_alive() if self.process.is_here else True


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
        if time.time() - lock.stat().st_mtime < 1.0:
            return False
        holder = parse_json(lock.read_text(encoding="utf-8"))
        mark = ProcessMark(**holder)
    except (OSError, ValueError, TypeError):
        return True
    return mark.is_here and not mark.is_alive()


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


def request_stop(folder: Path, word: Literal["stop", "cancel"]) -> None:
    """Leave the note that asks the job to end; "cancel" is not taken back by a later "stop"."""
    if read_stop(folder) != "cancel":
        write_text(folder / STOP, word)


def read_stop(folder: Path) -> str:
    """Return what the note in the folder asks for: "stop", "cancel" or nothing ("")."""
    try:
        word = (folder / STOP).read_text(encoding="utf-8").strip()
    except OSError:
        return ""
    # An empty file, as `touch STOP` makes it, is a person's way of asking.
    return "cancel" if word == "cancel" else "stop"


def discard_results(folder: Path) -> None:
    """Remove what a cancelled job has made; its settings, events and log stay."""
    for name in (CHECKPOINTS, STATE):
        shutil.rmtree(folder / name, ignore_errors=True)


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0
