"""What a run's folder tells of its training: how long it worked, what it saw, how its figures went."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import accumulate
from typing import Any

from pixelcam.events import Event


def seconds_at_work(events: Sequence[Event]) -> float:
    """Return how long a run worked, by its events, without the time between interrupted sessions."""
    sessions: list[list[Event]] = []
    for event in events:
        if not sessions or (event.kind == "started" and event.stage == "classifier"):
            sessions.append([])
        sessions[-1].append(event)
    return sum((session[-1].time - session[0].time for session in sessions), 0.0)


def masks_seen(events: Sequence[Event]) -> int:
    """Return how many masks a run's validation looked at."""
    return int(max((event.metrics.get("valpx_images", 0) for event in events), default=0))


def curve_of(events: Sequence[Event]) -> dict[str, Any]:
    """Return the validation figures of a run over its epochs, as they go into a record.

    Returns
    -------
    dict
        "epochs", those of all stages counted on; "pxap" and "accuracy" in percent, one for each epoch, None
        where a validation gives no such figure; "chance", the PxAP of a map that knows nothing, None where no
        mask was looked at. An epoch that was repeated counts as the last time.
    """
    validations = [event for event in events if event.kind == "validation"]
    lengths = {event.stage: event.epochs or 0 for event in validations}
    begins = dict(zip(lengths, accumulate(lengths.values(), initial=0), strict=False))
    found: dict[int, Mapping[str, float]] = {
        begins[event.stage] + (event.epoch or 0): event.metrics for event in validations
    }
    epochs = sorted(found)

    def figures(key: str) -> list[float | None]:
        return [round(found[epoch][key], 2) if key in found[epoch] else None for epoch in epochs]

    return {
        "epochs": epochs,
        "pxap": figures("valpx_pxap"),
        "accuracy": figures("valcl_accuracy"),
        "chance": next((value for value in figures("valpx_chance") if value is not None), None),
    }
