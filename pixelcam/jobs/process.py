"""Knowing a process again: its id alone is reused by the system, its id with its start time is not."""

from __future__ import annotations

import contextlib
import os
import socket
import sys
from dataclasses import dataclass
from pathlib import Path

import psutil


@dataclass(frozen=True)
class ProcessMark:
    """One process, named so that it cannot be taken for a later one of the same id.

    Parameters
    ----------
    pid
        The process id.
    started
        When the process began, as the system tells it: comparable, not for people.
    host
        The machine it runs on, since a run folder may lie on a shared drive.
    """

    pid: int
    started: str
    host: str

    @property
    def is_here(self) -> bool:
        """Whether the process belongs to this machine, and can thus be looked at."""
        return self.host == socket.gethostname()

    def is_alive(self) -> bool:
        """Return whether this very process still runs; a zombie does not. Always False elsewhere."""
        return self.is_here and _start_mark(self.pid) == self.started

    def terminate(self) -> None:
        """Ask the process to end (SIGTERM); nothing happens when it is gone."""
        if self.is_alive():
            with contextlib.suppress(psutil.Error):
                psutil.Process(self.pid).terminate()

    def kill(self) -> None:
        """End the process and its children at once; nothing happens when it is gone."""
        if not self.is_alive():
            return
        with contextlib.suppress(psutil.Error):
            process = psutil.Process(self.pid)
            children = process.children(recursive=True)
            process.kill()
            for child in children:
                with contextlib.suppress(psutil.Error):
                    child.kill()


def mark_process(pid: int | None = None) -> ProcessMark | None:
    """Return the mark of a process (this one by default), or None when there is no such process."""
    pid = os.getpid() if pid is None else pid
    started = _start_mark(pid)
    return None if started is None else ProcessMark(pid, started, socket.gethostname())


def _start_mark(pid: int) -> str | None:
    """Return when a live process began, or None when it is gone or a zombie."""
    if sys.platform == "linux":
        return _start_mark_linux(pid)
    try:
        process = psutil.Process(pid)
        if process.status() == psutil.STATUS_ZOMBIE:
            return None
        return f"{process.create_time():.2f}"
    except psutil.Error:
        return None


def _start_mark_linux(pid: int) -> str | None:
    # Ticks since boot do not move when the clock is set; a start time in seconds since 1970 does.
    try:
        stat = Path(f"/proc/{pid}/stat").read_bytes()
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        return None
    # The name, in parentheses, may itself hold spaces and parentheses.
    fields = stat[stat.rfind(b")") + 2 :].split()
    state, ticks = fields[0], fields[19]
    return None if state in (b"Z", b"X") else f"{boot}:{ticks.decode()}"
