"""The job's own side of a run folder: claim it, write its events, notice `STOP`, say how the work ended."""

from __future__ import annotations

import contextlib
import importlib.metadata
import json
import os
import platform
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from pixelcam.errors import CancelledError, RunError
from pixelcam.events import Event, EventSink, Stop, StopCheck
from pixelcam.export.atomic import write_text
from pixelcam.jobs import folder as layout
from pixelcam.jobs.folder import JobRecord, Outcome
from pixelcam.jobs.process import mark_process

INTERRUPTED = "Interrupted; the same command goes on from the last complete epoch."
BEGINS_ANEW = "Interrupted; the same command begins anew."
_STOP_CACHE = 0.2
_ALWAYS_THERE = {layout.LOG, layout.EVENTS, layout.ENVIRONMENT, layout.STOP, "job.lock"}
_DISTRIBUTIONS = ("napari-pixelcam", "torch", "timm", "numpy", "scikit-image", "safetensors")


def run_events(folder: Path) -> EventSink:
    """Return a sink that appends each event as one line of JSON to the run's ``events.jsonl``.

    Raises
    ------
    OutputError
        From the sink: the line cannot be written (disk full, folder gone).
    """
    path = folder / layout.EVENTS

    def write(event: Event) -> None:
        line = event.to_json().encode() + b"\n"
        with layout.writing(path), path.open("ab+", buffering=0) as file:
            # What a killed job left of its last line must not swallow this one.
            if file.seek(0, os.SEEK_END) and (file.seek(-1, os.SEEK_END), file.read(1))[1] != b"\n":
                line = b"\n" + line
            file.write(line)

    return write


def stop_check(folder: Path) -> StopCheck:
    """Return a check of the run's ``STOP`` file, cheap enough to be called at every step.

    The file is looked at no more often than every 0.2 s.
    """
    seen, at = Stop.NO, -_STOP_CACHE

    def check() -> Stop:
        nonlocal seen, at
        now = time.monotonic()
        if now - at >= _STOP_CACHE:
            at = now
            word = layout.read_stop(folder)
            seen = Stop(word) if word else Stop.NO
        return seen

    return check


@dataclass(frozen=True)
class JobHost:
    """What a job needs of its run folder while it works.

    Parameters
    ----------
    folder
        The run folder.
    emit
        Where events go: the run's file, and the caller's own sink.
    should_stop
        What the user wants, as the ``STOP`` file says.
    """

    folder: Path
    emit: EventSink
    should_stop: StopCheck


@contextlib.contextmanager
def host_job(
    folder: Path,
    arguments: tuple[str, ...],
    *,
    on_event: EventSink | None = None,
    describe: Callable[[BaseException], str] = str,
) -> Iterator[JobHost]:
    """Work in a run folder, and leave word there of how the work ended, whichever way it does.

    Parameters
    ----------
    folder
        The run folder; made when it is not there.
    arguments
        The command line after ``pixelcam``, for the record.
    on_event
        A second listener beside the run's file.
    describe
        Says an error in one sentence.

    Yields
    ------
    JobHost
        The sink and the stop check to hand to the work.

    Raises
    ------
    RunError
        Another job works in the folder, or the folder holds something else.
    OutputError
        The folder cannot be written.

    Notes
    -----
    A job that is interrupted (Ctrl-C, SIGTERM) counts as "stopped": what it has saved stays, so that it
    can go on. Only the note "cancel" in the ``STOP`` file discards.
    """
    record = _claim(folder, arguments)
    write = run_events(folder)
    said_done = False
    life = _Life(folder, record)

    def emit(event: Event) -> None:
        nonlocal said_done
        life.check()
        said_done = said_done or event.kind == "done"
        write(event)
        if on_event is not None:
            with contextlib.suppress(OSError):  # a terminal that was closed does not end the work
                on_event(event)

    job = JobHost(folder, emit, stop_check(folder))
    try:
        with life:
            yield job
            life.check()
    except BaseException as error:
        if not _is_ours(folder, record):  # what is there now is not this job's to change
            raise
        outcome, message = _judge(error, folder, describe)
        if outcome == "cancelled":
            layout.discard_results(folder)
        # The first error is the one to report, even when its own record cannot be written.
        with contextlib.suppress(Exception):
            emit(Event("failed" if outcome == "failed" else "warning", message=message))
        _end(folder, record, outcome, message)
        raise
    outcome = "stopped" if layout.read_stop(folder) else "done"
    if not said_done:
        emit(Event("done"))
    _end(folder, record, outcome, "")


class _Life:
    """Gives a sign of life now and then, and notices that the folder is not this job's any more."""

    def __init__(self, folder: Path, record: JobRecord) -> None:
        self._folder, self._record = folder, record
        self._over, self._lost = threading.Event(), False
        self._thread = threading.Thread(target=self._beat, daemon=True)

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *ending: object) -> None:
        self._over.set()
        self._thread.join()

    def check(self) -> None:
        """Raise `RunError` where the folder was deleted, or another job has taken it over."""
        if self._lost or not (self._folder / layout.JOB).exists():
            raise RunError(f"The run folder {self._folder} was deleted or taken over by another job.")

    def _beat(self) -> None:
        while not self._over.wait(layout.BEAT):
            with contextlib.suppress(OSError):
                if not _is_ours(self._folder, self._record):
                    self._lost = True
                    return
                os.utime(self._folder / layout.JOB)


def _is_ours(folder: Path, record: JobRecord) -> bool:
    """Return whether the record in the folder is still that of this start."""
    try:
        found = JobRecord.read(folder)
    except RunError:
        return True  # damaged; writing it anew mends it
    return found is not None and found.token == record.token


def _judge(
    error: BaseException, folder: Path, describe: Callable[[BaseException], str]
) -> tuple[Outcome, str]:
    """Return what an error that ended the work means for the run, and the sentence to keep."""
    if isinstance(error, CancelledError | KeyboardInterrupt):
        if layout.read_stop(folder) == "cancel":
            return "cancelled", "Cancelled; nothing was kept."
        return "stopped", INTERRUPTED if any((folder / "state").glob("*")) else BEGINS_ANEW
    return "failed", describe(error) or type(error).__name__


def _claim(folder: Path, arguments: tuple[str, ...]) -> JobRecord:
    """Take the folder for this process, or say why it cannot be had."""
    layout.make_folder(folder)
    token = os.environ.pop(layout.TOKEN_VARIABLE, "")
    with layout.locked(folder):
        record = JobRecord.read(folder)
        is_ours = record is not None and token == record.token and record.outcome is None
        if record is None or not is_ours:
            refuse_foreign(folder)
            refuse_busy(folder, record)
            record = JobRecord.begin(folder, arguments)
            layout.clear_stop(folder)
        record = replace(record, process=mark_process(), claimed=True)
        record.write(folder)
    environment = json.dumps(_environment(), indent=1)
    write_text(folder / layout.ENVIRONMENT, environment, make_folder=False)
    return record


def refuse_busy(folder: Path, record: JobRecord | None) -> None:
    """Raise `RunError` when a job works in the folder."""
    if record is None or not record.is_busy(folder) or record.process is None:
        return
    who = record.process
    if not who.is_here:
        raise RunError(
            f"{folder} is in use by a job on {who.host}; stop it there, or choose another folder (a job that "
            f"was killed counts as gone {layout.LEASE / 60:.0f} minutes after its last sign of life)."
        )
    raise RunError(f"A job (process {who.pid}) is at work in {folder}; stop it or choose another folder.")


def refuse_foreign(folder: Path) -> None:
    """Raise `RunError` when the folder holds files but no run: cancelling would endanger them."""
    if layout.is_run(folder):
        return
    try:
        names = sorted(path.name for path in folder.iterdir())
    except OSError as error:
        raise RunError(f"{folder} cannot be read: {error.strerror}; choose another folder.") from error
    other = [name for name in names if name not in _ALWAYS_THERE and not name.startswith(".")]
    if other:
        raise RunError(
            f"{folder} is not a run folder but holds other files ({other[0]}); choose a new or empty folder."
        )


def _end(folder: Path, record: JobRecord, outcome: Outcome, message: str) -> None:
    # A full disk must not hide how the work went; the watcher then finds the process gone.
    with contextlib.suppress(Exception):
        if _is_ours(folder, record):
            record.ended(outcome, message).write(folder)


def _environment() -> dict[str, object]:
    """Return what the job runs on: versions, machine, accelerator."""
    versions = {}
    for name in _DISTRIBUTIONS:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            versions[name] = importlib.metadata.version(name)
    torch = sys.modules.get("torch")
    cuda = torch is not None and torch.cuda.is_available()
    return {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "versions": versions,
        "cpus": os.cpu_count(),
        "accelerator": torch.cuda.get_device_name(0) if cuda and torch is not None else None,
    }
