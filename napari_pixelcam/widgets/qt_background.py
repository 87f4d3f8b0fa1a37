"""Run slow work in napari's worker threads, and show it in the activity dock."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from napari.qt.threading import create_worker
from napari.utils import progress
from qtpy.QtCore import QObject, QThreadPool, Signal

from napari_pixelcam.background import Task, Work
from pixelcam.events import Event, EventSink, ignore_events

T = TypeVar("T")
THREADS = 8
"""Pieces of work that may run at once, however few the cores; most wait for a disk or a lock."""


class _Relay(QObject):
    """Carries events and results over to the interface's thread: its slots run where it was made."""

    reported = Signal(object)
    ended = Signal(object)

    def __init__(
        self, done: Callable[[Any], None], failed: Callable[[Exception], None], progress: EventSink
    ) -> None:
        super().__init__()
        self._done, self._failed, self._progress = done, failed, progress
        self.on_end: Callable[[], None] = lambda: None
        self.silent = False
        self.reported.connect(self._on_reported)
        self.ended.connect(self._on_ended)

    def silence(self) -> None:
        """Call nobody back any more, nor keep them alive: napari remembers workers for long."""
        self.silent = True
        self._done, self._failed, self._progress = _ignore, _ignore, ignore_events

    def _on_reported(self, event: Event) -> None:
        if not self.silent:
            self._progress(event)

    def _on_ended(self, outcome: Any) -> None:
        self.on_end()
        if self.silent:
            return
        done, failed = self._done, self._failed
        self.silence()
        if isinstance(outcome, _Failure):
            failed(outcome.error)
        else:
            done(outcome)


def _ignore(outcome: object) -> None:
    """Call nobody."""


class _Failure:
    def __init__(self, error: Exception) -> None:
        self.error = error


class QtBackground:
    """Runs each piece of work in a thread of its own; closed, it ends them all and calls back no more."""

    def __init__(self) -> None:
        # Qt runs as many workers as there are cores, and lets the rest wait: on two cores the opening of an
        # image would wait for a localization and a refitting that only read ahead.
        pool = QThreadPool.globalInstance()
        pool.setMaxThreadCount(max(pool.maxThreadCount(), THREADS))
        self._running: dict[_Relay, Task] = {}

    def submit(
        self,
        work: Work[T],
        *,
        done: Callable[[T], None],
        failed: Callable[[Exception], None],
        progress: EventSink = ignore_events,
    ) -> Task:
        """Start `work` in a thread; the callbacks run on the interface's thread."""
        bar = _ActivityBar()
        watched = progress is not ignore_events

        def on_event(event: Event) -> None:
            bar.show(event)
            progress(event)

        relay = _Relay(done, failed, on_event if watched else ignore_events)
        task, held = Task(relay.reported.emit), [work]

        def run() -> None:
            outcome: object
            try:
                outcome = held.pop()(task)  # as it may know of the window, and napari remembers this function
            except Exception as error:  # the caller's callback says it
                outcome = _Failure(error)
            relay.ended.emit(outcome)
            del outcome  # a failure holds this frame by its traceback, and with it the window

        def forget() -> None:
            bar.close()
            self._running.pop(relay, None)

        relay.on_end = forget
        self._running[relay] = task
        create_worker(run, _start_thread=True)
        return task

    @property
    def busy(self) -> bool:
        """Whether anything runs, or has not called back yet."""
        return bool(self._running)

    def close(self) -> None:
        """Ask all work to end, and drop what it will say."""
        for relay, task in self._running.items():
            relay.silence()
            task.stop()


class _ActivityBar:
    """A bar in napari's activity dock that appears with the first event and goes with `close`."""

    def __init__(self) -> None:
        self._bar: Any = None
        self._step = 0
        self._closed = False

    def show(self, event: Event) -> None:
        if event.step is None or not event.total or self._closed:
            return
        if self._bar is None:
            self._bar = progress(total=event.total, desc="Localize")
            if self._closed:  # napari goes through the waiting events as it makes a bar: the end may be one
                self.close()
                return
        if event.step > self._step:
            self._bar.update(event.step - self._step)
            self._step = event.step

    def close(self) -> None:
        self._closed = True
        if self._bar is not None:
            self._bar.close()
            self._bar = None
