"""What a reviewer says of a project's images beside the seeds: status, note, threshold, time spent."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

from napari_pixelcam.controllers.autosave import Autosaver, Save

if TYPE_CHECKING:
    from napari_pixelcam.controllers.session import ImageRecord
    from pixelcam.localize.localization import Localization
    from pixelcam.review import ImageEntry, Project

IDLE = 60.0
"""Seconds without a sign of the reviewer after which time is no longer counted."""
WRITE = 10.0
"""Seconds of work after which they are noted."""


@dataclass(frozen=True)
class Judgement:
    """What is saved: one kind of judgement of one image."""

    what: str
    id: int


@dataclass(frozen=True)
class Seen:
    """The map that a reviewer saw.

    Parameters
    ----------
    localization
        The map.
    threshold
        What the reviewer looked at it with, `None` for the model's own.
    others
        How many other images counted for it, and how many labelled places on them.
    """

    localization: Localization
    threshold: float | None
    others: tuple[int, int]

    @classmethod
    def on(cls, record: ImageRecord) -> Seen | None:
        """Return what is seen on an image, `None` where there is no map."""
        maps = record.result
        return None if maps is None else cls(maps.localization, record.threshold, maps.others)


class Judgements:
    """Writes judgements to the project by way of the autosaver, which tries again and tells of failures.

    Parameters
    ----------
    project
        The open project.
    autosaver
        What writes.
    """

    def __init__(self, project: Project, autosaver: Autosaver) -> None:
        self._project, self._autosaver = project, autosaver
        self._said: dict[Judgement, str] = {}
        self._seconds: defaultdict[int, float] = defaultdict(float)

    def applied(self, entries: Sequence[ImageEntry]) -> list[ImageEntry]:
        """Return entries as they will be once all that was said is on the disk."""
        changes: defaultdict[int, dict[str, Any]] = defaultdict(dict)
        for judgement, value in self._said.items():
            changes[judgement.id][judgement.what] = value
        return [replace(entry, **changes[entry.id]) if entry.id in changes else entry for entry in entries]

    def settle(self, judgement: Judgement) -> None:
        """Take note that a judgement is on the disk."""
        self._said.pop(judgement, None)

    def set_status(self, id: int, status: str) -> None:
        """Say how far the reviewer is with an image."""
        self._say("status", id, status)
        self._mark("status", id, lambda: partial(self._project.set_status, id, status))

    def accept(self, id: int, seen: Seen, after: ImageRecord) -> None:
        """Say that an image is done, as it is seen; its seeds are kept first."""

        def save() -> None:
            self._project.accept(id, seen.localization, seen.threshold, others=seen.others)

        self._say("status", id, "done")
        self._mark("status", id, lambda: save, after)

    def set_note(self, id: int, text: str) -> None:
        """Keep a note on an image."""
        self._say("note", id, text)
        self._mark("note", id, lambda: partial(self._project.set_note, id, text))

    def set_threshold(self, id: int, threshold: float | None) -> None:
        """Keep the threshold that an image is looked at with, `None` for the model's own."""
        self._mark("threshold", id, lambda: partial(self._project.set_threshold, id, threshold))

    def add_seconds(self, id: int, seconds: float) -> None:
        """Add to the time spent on an image."""
        if seconds > 0:
            self._seconds[id] += seconds
            self._mark(
                "seconds", id, lambda: partial(self._project.add_seconds, id, self._seconds.pop(id, 0.0))
            )

    def _say(self, what: str, id: int, value: str) -> None:
        if not self._project.read_only:
            self._said[Judgement(what, id)] = value

    def _mark(self, what: str, id: int, prepare: Callable[[], Save], after: Hashable = None) -> None:
        if not self._project.read_only:
            self._autosaver.mark(Judgement(what, id), prepare, after)

    def says(self, id: int, status: str) -> bool:
        """Return whether that status of an image waits to be written."""
        return self._said.get(Judgement("status", id)) == status


class Stopwatch:
    """Counts the time in which there are signs of the reviewer.

    Parameters
    ----------
    clock
        Seconds that only grow.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._last: float | None = None
        self._sign: Hashable = None
        self._signed = 0.0
        self.seconds = 0.0

    def tick(self, sign: Hashable) -> None:
        """Count the time since the tick before; a `sign` unlike the last one shows that somebody works."""
        now = self._clock()
        if sign != self._sign:
            self._sign, self._signed = sign, now
        if self._last is not None and now - self._signed < IDLE:
            self.seconds += now - self._last
        self._last = now

    def take(self) -> float:
        """Return the seconds counted, and begin anew."""
        seconds, self.seconds, self._last = self.seconds, 0.0, None
        self._signed = self._clock()
        return seconds
