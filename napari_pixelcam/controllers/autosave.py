"""Keep seeds on disk as they are made: soon, whole, and loudly where it fails."""

from __future__ import annotations

import time
from collections.abc import Callable, Hashable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime

from psygnal import Signal

from napari_pixelcam.controllers.session import sentence

QUIET = 0.4
"""Seconds without a change after which a save begins."""
LONGEST = 0.9
"""Seconds after the first change at which a save begins even while the user goes on painting."""
RETRY = 5.0
"""Seconds after a failed save until the next try."""

Save = Callable[[], "str | None"]
"""Writes; what it returns, the user must hear though all is saved."""


@dataclass
class _Pending:
    prepare: Callable[[], Save]
    first: float
    last: float
    after: Hashable = None
    not_before: float = 0.0


class Autosaver:
    """Saves what was marked as changed, one at a time in a thread of its own; driven by `tick`.

    Parameters
    ----------
    clock
        Seconds that only grow.
    """

    saved = Signal(object, datetime)
    """This key's latest state is on disk, since this moment."""
    warned = Signal(str)
    """Something was saved, and this is to be said of it."""
    failed = Signal(object, str)
    """This key could not be saved, with a sentence; it is tried again by itself."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._pending: dict[Hashable, _Pending] = {}
        self._running: tuple[Hashable, _Pending, Future[str | None]] | None = None
        self._pool = ThreadPoolExecutor(1, "pixelcam-autosave")

    def mark(self, key: Hashable, prepare: Callable[[], Save], after: Hashable = None) -> None:
        """Note a change.

        Parameters
        ----------
        key
            What has changed.
        prepare
            Called on the interface's thread when the save begins: takes a copy of the state, and returns the
            function that writes it, which runs in another thread.
        after
            Another key that is to be on disk first.
        """
        now = self._clock()
        pending = self._pending.get(key)
        if pending is None:
            self._pending[key] = _Pending(prepare, now, now, after)
        else:
            pending.prepare, pending.last, pending.after = prepare, now, after

    def is_clean(self, key: Hashable) -> bool:
        """Return whether everything marked for the key is on disk."""
        running = self._running is not None and self._running[0] == key
        return key not in self._pending and not running

    def tick(self) -> None:
        """Look whether a save has ended or is due; call it several times a second."""
        if self._running is not None:
            if not self._running[2].done():
                return
            self._settle()
        now = self._clock()
        for key, pending in list(self._pending.items()):
            due = now - pending.last >= QUIET or now - pending.first >= LONGEST
            if due and now >= pending.not_before and pending.after not in self._pending:
                self._begin(key, pending)
                return

    def flush(self) -> None:
        """Save everything now and wait for it, as when the window closes."""
        if self._running is not None:
            self._running[2].exception()
            self._settle()
        for key, pending in sorted(self._pending.items(), key=lambda item: item[1].after is not None):
            self._begin(key, pending)
            if self._running is not None:
                self._running[2].exception()
                self._settle()

    def close(self) -> None:
        """Save everything without telling anyone, and end the thread."""
        with self.saved.blocked(), self.warned.blocked(), self.failed.blocked():
            self.flush()
        self._pool.shutdown(wait=True)

    def _begin(self, key: Hashable, pending: _Pending) -> None:
        del self._pending[key]
        try:
            save = pending.prepare()
        except Exception as error:  # whatever it is, the user must hear that nothing was saved
            self._again(key, pending, error)
            return
        self._running = (key, pending, self._pool.submit(save))

    def _settle(self) -> None:
        assert self._running is not None
        key, pending, future = self._running
        self._running = None
        error = future.exception()
        if error is None:
            self.saved.emit(key, datetime.now())
            if warning := future.result():
                self.warned.emit(warning)
        else:
            self._again(key, pending, error)

    def _again(self, key: Hashable, pending: _Pending, error: BaseException) -> None:
        newer = self._pending.get(key)
        kept = newer or pending
        kept.not_before = self._clock() + RETRY
        self._pending[key] = kept
        self.failed.emit(key, sentence(error) if isinstance(error, Exception) else str(error))
