"""The one stream through which long work says how far it is, and the one way to ask it to end."""

from __future__ import annotations

import enum
import json
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from pixelcam.limits import parse_json

Kind = Literal["started", "step", "epoch", "validation", "checkpoint", "warning", "done", "failed"]


@dataclass(frozen=True)
class Event:
    """One thing that happened in a training, localization or evaluation.

    Parameters
    ----------
    kind
        What happened.
    stage
        The part of the work: "classifier", "teacher", "joint" (its second round: "joint-2"), "finetune",
        "localize", "evaluate".
    step, total
        Progress within the stage, in the units the stage counts (steps, tiles or images).
    epoch, epochs
        Progress in epochs, where the stage has any.
    metrics
        Named figures, e.g. ``{"loss": 0.41, "pxap": 71.3}``.
    message
        One sentence for a person, where there is something to say.
    path
        The file that the event is about (a checkpoint), as text.
    time
        Seconds since the Unix epoch.
    """

    kind: Kind
    stage: str = ""
    step: int | None = None
    total: int | None = None
    epoch: int | None = None
    epochs: int | None = None
    metrics: Mapping[str, float] = field(default_factory=dict)
    message: str = ""
    path: str | None = None
    time: float = field(default_factory=time.time)

    def to_json(self) -> str:
        """Return the event as one line of JSON, without its empty fields."""
        values = asdict(self)
        return json.dumps({k: v for k, v in values.items() if v not in (None, "", {})})

    @classmethod
    def from_json(cls, line: str) -> Event:
        """Read an event back from `to_json`; unknown fields of a later version are left out."""
        values: dict[str, Any] = parse_json(line)
        return cls(**{k: v for k, v in values.items() if k in cls.__dataclass_fields__})


class Stop(enum.Enum):
    """What the user wants of running work."""

    NO = "no"
    KEEP = "stop"
    """End soon and keep the best weights so far."""
    DISCARD = "cancel"
    """End soon and leave nothing."""


EventSink = Callable[[Event], None]
StopCheck = Callable[[], Stop]


def ignore_events(event: Event) -> None:
    """Drop the event: the default sink."""


def never_stop() -> Stop:
    """Never ask to stop: the default check."""
    return Stop.NO
