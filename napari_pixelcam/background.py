"""Run slow work away from the interface; here without Qt, so that the logic is tested without a screen."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, TypeVar

from pixelcam.events import Event, EventSink, Stop, ignore_events

T = TypeVar("T")


class Task:
    """A piece of running work: what the work reports to, and what others stop it with."""

    def __init__(self, sink: EventSink = ignore_events) -> None:
        self._sink = sink
        self._stop = Stop.NO

    def emit(self, event: Event) -> None:
        """Report progress, from whichever thread the work runs in."""
        self._sink(event)

    def stop(self) -> None:
        """Ask the work to end soon and leave nothing."""
        self._stop = Stop.DISCARD

    def should_stop(self) -> Stop:
        """Return what is wanted of the work."""
        return self._stop


Work = Callable[[Task], T]


class Background(Protocol):
    """Something that runs work and calls back on the interface's thread."""

    def submit(
        self,
        work: Work[T],
        *,
        done: Callable[[T], None],
        failed: Callable[[Exception], None],
        progress: EventSink = ignore_events,
    ) -> Task:
        """Start `work` and return its handle; exactly one of `done` and `failed` is called when it ends."""
        ...


class Immediate:
    """Runs work on the spot, in the calling thread."""

    def submit(
        self,
        work: Work[T],
        *,
        done: Callable[[T], None],
        failed: Callable[[Exception], None],
        progress: EventSink = ignore_events,
    ) -> Task:
        """Run `work` and call back before returning."""
        task = Task(progress)
        try:
            result = work(task)
        except Exception as error:  # what went wrong is the caller's to say
            failed(error)
        else:
            done(result)
        return task
