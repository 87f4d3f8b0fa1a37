"""The order in which the images of a project are gone through, and which of them are shown."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from pixelcam.review import ImageEntry

Order = Literal["uncertain", "file", "random"]
ORDERS: dict[Order, str] = {
    "uncertain": "most uncertain first",
    "file": "as they were added",
    "random": "at random",
}
ALL = "all"


@dataclass(frozen=True)
class ListView:
    """How the list is looked at.

    Parameters
    ----------
    order
        Random and file order are for audits, which the order by uncertainty would bias.
    seed
        Of the random order: the same number gives the same order, whatever is filtered.
    status
        Images of this status are shown, of any where it is `ALL`.
    """

    order: Order = "uncertain"
    seed: int = 0
    status: str = ALL


def ordered(entries: Sequence[ImageEntry], view: ListView) -> list[int]:
    """Return the ids of images in the order of a view.

    By uncertainty that is the least certain first, those without a map last, and ties in file order. It is
    asked for once, not at every change: a list that sorts itself anew while the reviewer goes through it
    would bring some images twice, and others never.
    """
    found = list(entries)
    if view.order == "random":
        found.sort(key=lambda entry: random.Random(f"{view.seed}:{entry.id}").random())
    elif view.order == "uncertain":
        found.sort(key=lambda entry: -1.0 if entry.uncertainty is None else entry.uncertainty, reverse=True)
    return [entry.id for entry in found]


def listed(
    entries: Sequence[ImageEntry], order: Sequence[int], view: ListView, keep: int | None = None
) -> list[ImageEntry]:
    """Return the entries to show.

    Parameters
    ----------
    entries
        All of them.
    order
        Ids in the order of the list; those of new images may be missing, and come last.
    view
        Whose filter holds.
    keep
        The image that is open: it stays in the list though its status is filtered out, so that the place is
        not lost.
    """
    places = {id: place for place, id in enumerate(order)}
    found = sorted(entries, key=lambda entry: places.get(entry.id, len(places)))
    return [entry for entry in found if view.status in (ALL, entry.status) or entry.id == keep]


def neighbour(entries: Sequence[ImageEntry], current: int | None, step: int) -> int | None:
    """Return the id so many places on in a list, `None` past either end; from nowhere, the first or last."""
    ids = [entry.id for entry in entries]
    if not ids:
        return None
    if current not in ids:
        return ids[0] if step > 0 else ids[-1]
    at = ids.index(current) + step
    return ids[at] if 0 <= at < len(ids) else None
