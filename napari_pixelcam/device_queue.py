"""One queue for all that uses the device: what was asked for last goes first, the rest gives way."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum
from functools import partial
from typing import Any, TypeVar

from psygnal import Signal

from napari_pixelcam.background import Background, Task, Work
from pixelcam.errors import CancelledError
from pixelcam.events import Event, EventSink, Stop, ignore_events

T = TypeVar("T")


class Urgency(IntEnum):
    """What goes before what; of two alike the one that was asked for last."""

    AHEAD = 0
    """Read ahead: nobody has asked for it yet."""
    LIST = 1
    """The work list as a whole, while the reviewer does other things."""
    CORRECTIONS = 2
    """What an image's next stroke waits for."""
    ASKED = 3
    """What somebody sits before the screen and waits for."""


class Turn(Task):
    """A piece of work in the queue: waiting, running, or waiting again after it has given way."""

    def __init__(self, queue: DeviceQueue, what: str, urgency: Urgency, number: int) -> None:
        super().__init__()
        self.what, self.urgency, self.number = what, urgency, number
        self._queue = queue
        self._run: Task | None = None
        self.gives_way = False

    @property
    def rank(self) -> tuple[int, int]:
        """What is larger goes first."""
        return self.urgency, self.number

    def begin(self, run: Task | None) -> None:
        """Take note of the run, which may be one of several, that the work is in now."""
        self._run = run

    def emit(self, event: Event) -> None:
        """Report progress, from whichever thread the work runs in."""
        if self._run is not None:
            self._run.emit(event)

    def stop(self) -> None:
        """End it: who submitted it is told at once, though the device may take a moment to come free."""
        super().stop()
        self._queue.forget(self)

    def should_stop(self) -> Stop:
        """Return whether to end, for good or to give way: that makes no difference to the work."""
        if self.gives_way:
            return Stop.DISCARD
        if self._run is not None and self._run.should_stop() is not Stop.NO:
            return Stop.DISCARD
        return super().should_stop()


@dataclass(eq=False)
class _Job:
    turn: Turn
    work: Work[Any]
    done: Callable[[Any], None]
    failed: Callable[[Exception], None]
    progress: EventSink
    told: bool = False


class DeviceQueue:
    """Runs one piece of work at a time in the background.

    Work that gives way ends as if it were cancelled, and is begun anew when its turn comes again: it holds
    neither a thread nor memory meanwhile, and what it wants to keep of its first run it keeps itself. All
    methods are called on the interface's thread.

    Parameters
    ----------
    background
        Where the work runs.
    """

    changed = Signal()
    """Something else runs now, or nothing, or something else waits."""

    def __init__(self, background: Background) -> None:
        self._background = background
        self._waiting: list[_Job] = []
        self._running: _Job | None = None
        self._count = 0

    @property
    def running(self) -> str:
        """What the device is at, in a few words; empty where it is free."""
        return "" if self._running is None else self._running.turn.what

    def waits(self, task: Task) -> bool:
        """Return whether work is still to begin, or to begin anew."""
        return any(job.turn is task for job in self._waiting)

    def turn(self, what: str, urgency: Urgency) -> Turn:
        """Return the handle of work that is about to be submitted.

        Parameters
        ----------
        what
            A few words that tell people what it does, as in "waits for … to end".
        urgency
            What it goes before, and gives way to.
        """
        self._count += 1
        return Turn(self, what, urgency, self._count)

    def submit(
        self,
        turn: Turn,
        work: Work[T],
        *,
        done: Callable[[T], None],
        failed: Callable[[Exception], None],
        progress: EventSink = ignore_events,
    ) -> None:
        """Put work into the queue; it may have ended when this returns.

        Parameters
        ----------
        turn
            Its handle.
        work
            Asks `should_stop` of the task that it is given every fraction of a second, and raises
            `CancelledError` where that says so.
        done, failed
            Exactly one of them is called: with a `CancelledError` as soon as the handle is told to stop.
        progress
            Receives what the work emits; where it gives way, from the beginning again.
        """
        self._waiting.append(_Job(turn, work, done, failed, progress))
        self._go_on()

    def hurry(self, task: Task) -> None:
        """Put work that waits before all that is as urgent, as somebody asks for it again."""
        for job in self._waiting:
            if job.turn is task:
                self._count += 1
                job.turn.number = self._count
                self._go_on()
                return

    def stop(self, *urgencies: Urgency) -> None:
        """Stop all work of these kinds, as another program is to have the device."""
        jobs = [*self._waiting, *([self._running] if self._running is not None else [])]
        for job in jobs:
            if job.turn.urgency in urgencies:
                job.turn.stop()

    def forget(self, turn: Turn) -> None:
        """Take work that was told to stop out of the queue, and tell who asked for it."""
        here = [*self._waiting, *([self._running] if self._running is not None else [])]
        job = next((one for one in here if one.turn is turn), None)
        if job is None or job.told:
            return
        if job in self._waiting:
            self._waiting.remove(job)
        job.told = True
        job.failed(CancelledError())
        self.changed.emit()

    def _go_on(self) -> None:
        """Begin what is to go first, or ask what runs to give way to it."""
        if not self._waiting:
            return
        first = max(self._waiting, key=lambda job: job.turn.rank)
        if self._running is not None:
            if first.turn.rank > self._running.turn.rank:
                self._running.turn.gives_way = True
            self.changed.emit()
            return
        self._waiting.remove(first)
        self._running = first
        first.turn.gives_way = False
        self.changed.emit()
        self._background.submit(
            partial(_run, first),
            done=partial(self._end, first),
            failed=partial(self._end_badly, first),
            progress=first.progress if first.progress is ignore_events else partial(_progress, first),
        )

    def _end(self, job: _Job, result: Any) -> None:
        self._come_free(job)
        try:
            if not job.told:
                job.told = True
                job.done(result)
        finally:
            self._go_on()

    def _end_badly(self, job: _Job, error: Exception) -> None:
        self._come_free(job)
        try:
            if not job.told:
                if isinstance(error, CancelledError) and job.turn.gives_way:
                    self._waiting.append(job)
                else:
                    job.told = True
                    job.failed(error)
        finally:
            self._go_on()

    def _come_free(self, job: _Job) -> None:
        if self._running is job:
            self._running = None
        job.turn.begin(None)
        self.changed.emit()


def _run(job: _Job, run: Task) -> Any:
    job.turn.begin(run)
    if job.turn.should_stop() is not Stop.NO:  # told so before the thread began
        raise CancelledError
    return job.work(job.turn)


def _progress(job: _Job, event: Event) -> None:
    if not job.told:
        job.progress(event)
