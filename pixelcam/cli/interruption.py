"""Ctrl-C, SIGTERM and a closed terminal as one: a `KeyboardInterrupt` that lets every file be left whole."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType


@dataclass
class Interruption:
    """Whether somebody has asked the process to end."""

    came: bool = False


@contextmanager
def interruptible() -> Iterator[Interruption]:
    """Raise `KeyboardInterrupt` on SIGINT, SIGTERM and SIGHUP inside the block, if in the main thread.

    A signal that the process was started to ignore, as shells do for background commands, stays ignored.
    """
    state = Interruption()
    if threading.current_thread() is not threading.main_thread():
        yield state
        return

    def interrupt(number: int, frame: FrameType | None) -> None:
        state.came = True
        raise KeyboardInterrupt

    known = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]
    signals = [number for number in known if signal.getsignal(number) is not signal.SIG_IGN]
    before = {number: signal.signal(number, interrupt) for number in signals}
    try:
        yield state
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
