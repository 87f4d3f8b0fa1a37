"""The watcher's side of a run folder: start a job in another process, follow it, stop it, find it again."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal

from pixelcam.errors import OutputError, RunError
from pixelcam.events import Event
from pixelcam.jobs import folder as layout
from pixelcam.jobs.folder import JobRecord, State
from pixelcam.jobs.host import refuse_busy, refuse_foreign
from pixelcam.jobs.process import mark_process

KILLED = "The job was killed by the system, most often because memory ran out; try smaller images or batches."
SILENT = "The job died without saying why, most often because memory ran out."
UNWRITTEN = (
    "The job ended with an error that it could not write down, most often because the disk is full; "
    "free some space and start it again."
)
_ENDED = ("done", "stopped", "cancelled", "failed")
_BOX = "│┃|╭╮╰╯─━ \t"
_TAIL = 8192
_PATIENCE_AFTER_SIGNAL = 10.0

# The jobs that this process has started: only their parent learns their exit status, and must reap them.
_children: dict[int, _Child] = {}


class Run:
    """One job's folder, seen from outside the job.

    Nothing here blocks on the job: everything that is known of it is read from its folder, so that the
    job survives the death of whoever started it, and can be found again by `Run.open`.

    Parameters
    ----------
    folder
        A folder in which a job has been started; use `Run.start` or `Run.open`.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @classmethod
    def start(
        cls, folder: str | Path, arguments: Sequence[str], *, command: Sequence[str] | None = None
    ) -> Run:
        """Start ``pixelcam <arguments>`` in a process of its own and return at once.

        Parameters
        ----------
        folder
            The run folder; the arguments must name the same one (``--out``).
        arguments
            The command line after ``pixelcam``.
        command
            What to run instead of ``python -m pixelcam``.

        Raises
        ------
        RunError
            A job already works there, the folder is not a run folder, or the process does not start.
        OutputError
            The folder cannot be written.
        """
        folder = Path(folder).absolute()
        layout.make_folder(folder)
        with layout.locked(folder):
            record = JobRecord.read(folder)
            refuse_foreign(folder)
            refuse_busy(folder, record)
            record = JobRecord.begin(folder, tuple(arguments))
            layout.clear_stop(folder)
            record.write(folder)
            argv = [*(command or (sys.executable, "-m", "pixelcam")), *arguments]
            process = _spawn(argv, folder, record.token)
            _children[process.pid] = _Child(process)
            # None when the process is gone already; `state` then learns its exit status.
            mark = mark_process(process.pid)
            replace(record, process=mark).write(folder)
        run = cls(folder)
        run._exit_pid = process.pid
        return run

    @classmethod
    def open(cls, folder: str | Path) -> Run:
        """Attach to the job, running or ended, of a run folder.

        Raises
        ------
        RunError
            No job was ever started there, or its record is damaged.
        """
        folder = Path(folder).absolute()
        if JobRecord.read(folder) is None:
            raise RunError(f"{folder} is not a run folder: it has no {layout.JOB}.")
        return cls(folder)

    @property
    def arguments(self) -> tuple[str, ...]:
        """The command line after ``pixelcam`` of the last start."""
        return self._record().arguments

    @property
    def state(self) -> State:
        """What the job does now, or how it ended; a job that died silently has "failed"."""
        record = self._record()
        if record.outcome is None and record.is_busy(self.folder):
            return "running" if record.claimed else "starting"
        if record.outcome is None:
            # It may have said how it ended between the two looks.
            record = self._settle()
        return record.outcome or "starting"

    @property
    def has_ended(self) -> bool:
        """Whether the job is over, in whichever way."""
        return self.state in _ENDED

    def events(self, since: int = 0) -> tuple[list[Event], int]:
        """Return the events after an offset, and the offset to ask from the next time.

        Parameters
        ----------
        since
            0, or what the last call returned. Counts bytes of ``events.jsonl``.

        Returns
        -------
        events : list of Event
            A line that is still being written is left for the next call; a damaged one is left out.
        next : int
            Where to go on.
        """
        try:
            with (self.folder / layout.EVENTS).open("rb") as file:
                file.seek(since)
                text = file.read()
        except (OSError, OverflowError, ValueError):
            return [], since
        complete = text[: text.rfind(b"\n") + 1]
        events = []
        for line in complete.splitlines():
            # Half a line, left by a job that was killed while it wrote.
            with contextlib.suppress(ValueError, TypeError, AttributeError):
                events.append(Event.from_json(line.decode()))
        return events, since + len(complete)

    @property
    def events_from(self) -> int:
        """The offset for `events` at which the last start begins: earlier events are of earlier starts."""
        return self._record().events_from

    def stop(self, grace: float = 120.0) -> None:
        """Ask the job to end soon and keep its best weights; returns at once.

        Parameters
        ----------
        grace
            Seconds until a job that does not answer is sent SIGTERM, and ten later SIGKILL.
        """
        self._request("stop", grace)

    def cancel(self, grace: float = 30.0) -> None:
        """Ask the job to end soon and leave no checkpoints; returns at once.

        Parameters
        ----------
        grace
            Seconds until a job that does not answer is sent SIGTERM, and ten later SIGKILL.
        """
        self._request("cancel", grace)

    def wait(self, timeout: float | None = None) -> State:
        """Wait until the job has ended, or `timeout` seconds, and return its state."""
        deadline = None if timeout is None else time.monotonic() + timeout
        while not self.has_ended and (deadline is None or time.monotonic() < deadline):
            time.sleep(0.05)
        return self.state

    def error_message(self) -> str:
        """Return, in one sentence, why the job failed; empty when it has not."""
        if self.state != "failed":
            return ""
        record = self._record()
        if record.outcome is None:
            record = self._judged(record)  # which could not be written down
        events, _ = self.events(record.events_from)
        said = [event.message for event in events if event.kind == "failed" and event.message]
        return record.message or (said[-1] if said else SILENT)

    def checkpoint(self, name: Literal["best-loc", "best-cl", "last"] = "best-loc") -> Path | None:
        """Return one of the run's model files, or None where it is not there (yet)."""
        path = self.folder / layout.CHECKPOINTS / f"{name}.safetensors"
        return path if path.is_file() else None

    def _record(self) -> JobRecord:
        record = JobRecord.read(self.folder)
        if record is None:
            raise RunError(f"The run folder {self.folder} is gone.")
        return record

    _exit_pid: int | None = None

    def _exit_status(self, record: JobRecord) -> int | None:
        """Return the exit status of a child of this process; None when it is not one, or still runs."""
        pid = record.process.pid if record.process is not None else self._exit_pid
        child = _children.get(pid) if pid is not None else None
        return None if child is None else child.status()

    def _settle(self) -> JobRecord:
        """Write down how a job ended that is gone without having said so itself."""
        try:
            with layout.locked(self.folder):
                record = self._record()
                if record.outcome is not None or record.is_busy(self.folder):
                    return record
                record = self._judged(record)
                if record.outcome is not None:
                    record.write(self.folder)
                return record
        except OutputError:
            return self._judged(self._record())  # a folder that can be read only

    def _judged(self, record: JobRecord) -> JobRecord:
        status = self._exit_status(record)
        word = layout.read_stop(self.folder)
        if word == "cancel":
            layout.discard_results(self.folder)
            return record.ended("cancelled", "Cancelled; nothing was kept.")
        if word == "stop":
            return record.ended("stopped")
        if status == 0:
            return record.ended("done")
        return record.ended("failed", self._cause(record, status))

    def _cause(self, record: JobRecord, status: int | None) -> str:
        last = _last_line(self.folder / layout.LOG, record.log_from)
        if status is not None and status > 0 and last:
            return last
        if status is not None and status < 0 and status != -getattr(signal, "SIGKILL", 9):
            name = signal.Signals(-status).name
            return f"The job crashed ({name}); its log {layout.LOG} may say more."
        if status is not None and status < 0:
            return KILLED
        if status is not None and status > 0:
            return UNWRITTEN
        return f"{SILENT[:-1]}; the last line of its log is: {last}" if last else SILENT

    def _request(self, word: Literal["stop", "cancel"], grace: float) -> None:
        if self.has_ended:
            return
        layout.request_stop(self.folder, word)
        token = self._record().token
        threading.Thread(target=self._escalate, args=(token, grace), daemon=True).start()

    def _escalate(self, token: str, grace: float) -> None:
        """End a job that does not answer the note in time."""
        # The folder may vanish meanwhile, and nobody listens to this thread.
        with contextlib.suppress(RunError, OutputError):
            for patience, end in (
                (grace, "terminate"),
                (_PATIENCE_AFTER_SIGNAL, "kill"),
                (_PATIENCE_AFTER_SIGNAL, ""),
            ):
                if self._is_over(token, patience):
                    return
                process = self._record().process
                if process is not None and end:
                    getattr(process, end)()

    def _is_over(self, token: str, patience: float) -> bool:
        deadline = time.monotonic() + patience
        while time.monotonic() < deadline:
            # A later start in the same folder is not the job that was to end.
            if self.has_ended or self._record().token != token:
                return True
            time.sleep(0.1)
        return False


class _Child:
    """A started process, reaped by a thread as soon as it ends."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._status: int | None = None
        self._thread = threading.Thread(target=self._wait, args=(process,), daemon=True)
        self._thread.start()

    def _wait(self, process: subprocess.Popen[bytes]) -> None:
        self._status = process.wait()

    def status(self) -> int | None:
        """Return how a process that is gone has ended; a moment is left to the thread to learn it."""
        self._thread.join(1.0)
        return self._status


def _spawn(argv: Sequence[str], folder: Path, token: str) -> subprocess.Popen[bytes]:
    """Start a process that neither dies with this one nor waits for it to read."""
    environment = {**os.environ, layout.TOKEN_VARIABLE: token, "PYTHONUNBUFFERED": "1"}
    flags = 0
    if sys.platform == "win32":
        flags = subprocess.CREATE_NO_WINDOW | subprocess.CREATE_NEW_PROCESS_GROUP
    try:
        with layout.writing(folder), (folder / layout.LOG).open("ab") as log:
            return subprocess.Popen(
                argv,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=environment,
                start_new_session=sys.platform != "win32",
                creationflags=flags,
            )
    except FileNotFoundError as error:
        raise RunError(f"The job cannot be started: {argv[0]} is not there.") from error


def _last_line(log: Path, start: int) -> str:
    """Return the last line with words in it that a job wrote to its log, without the box around it."""
    try:
        with log.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(start, size - _TAIL))
            text = file.read().decode(errors="replace")
    except OSError:
        return ""
    lines = [line.strip(_BOX) for line in text.splitlines()]
    return next((line for line in reversed(lines) if line), "")
