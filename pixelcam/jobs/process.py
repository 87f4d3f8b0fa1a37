"""Knowing a process again: its id alone is reused by the system, its id with its start time is not."""

from __future__ import annotations

import contextlib
import os
import socket
import sys
import uuid
from dataclasses import dataclass
from functools import lru_cache
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
        The name of the machine it runs on, for people: it may change while the process runs.
    place
        Where its id means something, see `this_place`; "" in what earlier versions have written.
    """

    pid: int
    started: str
    host: str
    place: str = ""

    def __post_init__(self) -> None:
        if not isinstance(self.pid, int) or isinstance(self.pid, bool) or not 0 < self.pid < 2**31:
            raise ValueError("no process id")
        if not all(isinstance(text, str) for text in (self.started, self.host, self.place)):
            raise ValueError("no process")

    @property
    def is_here(self) -> bool:
        """Whether the process belongs to this machine as it runs now, and can thus be looked at."""
        if self.place:
            return self.place == this_place()
        boot, colon, _ = self.started.partition(":")
        return boot == _boot() if colon else self.host == socket.gethostname()

    def is_alive(self) -> bool:
        """Return whether this very process still runs; a zombie does not. Always False elsewhere."""
        return self.is_here and _start_mark(self.pid) == self.started

    def was_before_this_start(self, last_sign: float) -> bool:
        """Return whether the process ran on this machine before it was started anew, and so is no more.

        The name alone may be another machine's: what was last heard of before this start was not heard of
        since.
        """
        return self.host == socket.gethostname() and last_sign < psutil.boot_time() - 1

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
    return None if started is None else ProcessMark(pid, started, socket.gethostname(), this_place())


@lru_cache(maxsize=1)
def this_place() -> str:
    """Return what all processes have in common that can look at each other, and no others.

    On Linux that is one start of the system, and within it one container; elsewhere the machine's network
    card, or its name where it has none. The name alone is no sign: it changes with the network, and two
    containers may share it.
    """
    if sys.platform == "linux" and (boot := _boot()):
        try:
            return f"{boot}:{Path('/proc/self/ns/pid').readlink()}"
        except OSError:
            return boot
    card = uuid.getnode()
    made_up = card >> 40 & 1  # drawn anew by each process where there is no card
    return socket.gethostname() if made_up else f"{card:012x}"


@lru_cache(maxsize=1)
def _boot() -> str:
    """Return the random name of this start of Linux, "" elsewhere."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except (OSError, ValueError):
        return ""


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
    except OSError:
        return None
    # The name, in parentheses, may itself hold spaces and parentheses.
    fields = stat[stat.rfind(b")") + 2 :].split()
    state, ticks = fields[0], fields[19]
    return None if state in (b"Z", b"X") else f"{_boot()}:{ticks.decode()}"
