"""The journal of seeds: each edit is a row before it is anything else, and every earlier state can be had."""

from __future__ import annotations

import sqlite3
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from pixelcam.review.arrays import CHUNK, Box

Kind = Literal["stroke", "undo", "redo", "proposal", "import", "restore", "clear", "fill"]
KINDS: tuple[str, ...] = get_args(Kind)


@dataclass(frozen=True)
class Save:
    """One edit that the journal holds.

    Attributes
    ----------
    seq
        Its number, which grows over the whole project.
    time
        When, with the local time zone.
    kind
        What the reviewer did; one of `KINDS`.
    reviewer
        Who.
    foreground, background
        Seed pixels of this reviewer on this image after it.
    """

    seq: int
    time: datetime
    kind: str
    reviewer: str
    foreground: int
    background: int


class JournalError(ValueError):
    """Labels of the journal that cannot be read; whoever has the database open says so in its words."""


@dataclass(frozen=True, eq=False)
class Piece:
    """A box of labels, (h, w) uint8."""

    box: Box
    labels: NDArray[np.uint8]

    def apply(self, labels: NDArray[np.uint8], origin: tuple[int, int] = (0, 0)) -> None:
        """Write the piece onto `labels`, whose first pixel lies at `origin`; outside is left out."""
        y0, x0, y1, x1 = self.box
        top, left = max(y0, origin[0]), max(x0, origin[1])
        bottom, right = min(y1, origin[0] + labels.shape[0]), min(x1, origin[1] + labels.shape[1])
        if top >= bottom or left >= right:
            return
        labels[top - origin[0] : bottom - origin[0], left - origin[1] : right - origin[1]] = self.labels[
            top - y0 : bottom - y0, left - x0 : right - x0
        ]


@dataclass(frozen=True, eq=False)
class Patch:
    """A box of labels, (h, w) uint8, before and after an edit."""

    box: Box
    before: NDArray[np.uint8]
    after: NDArray[np.uint8]

    def apply(self, labels: NDArray[np.uint8]) -> None:
        """Write what is after the edit onto the labels of the whole grid."""
        Piece(self.box, self.after).apply(labels)


def find_patches(
    before: NDArray[np.uint8], after: NDArray[np.uint8], origin: tuple[int, int] = (0, 0)
) -> list[Patch]:
    """Return what leads from one (h, w) state to another: at most one tight box a chunk.

    Parameters
    ----------
    before, after
        (h, w) uint8 labels of the same place.
    origin
        Where their first pixel lies, (y, x).
    """
    changed = before != after
    rows, columns = (np.flatnonzero(changed.any(axis=axis)) for axis in (1, 0))
    if not rows.size:
        return []
    patches = []
    for top in range(rows[0] // CHUNK * CHUNK, rows[-1] + 1, CHUNK):
        for left in range(columns[0] // CHUNK * CHUNK, columns[-1] + 1, CHUNK):
            part = changed[top : top + CHUNK, left : left + CHUNK]
            ys, xs = (np.flatnonzero(part.any(axis=axis)) for axis in (1, 0))
            if not ys.size:
                continue
            y0, y1, x0, x1 = top + ys[0], top + ys[-1] + 1, left + xs[0], left + xs[-1] + 1
            box = (int(y0) + origin[0], int(x0) + origin[1], int(y1) + origin[0], int(x1) + origin[1])
            patches.append(Patch(box, before[y0:y1, x0:x1].copy(), after[y0:y1, x0:x1].copy()))
    return patches


def append(
    connection: sqlite3.Connection,
    image: int,
    reviewer: int,
    kind: str,
    patches: Sequence[Patch],
    time: str | None = None,
) -> int:
    """Write one edit, within the caller's transaction; return its number."""
    foreground, background = counts(connection, image, reviewer)
    for patch in patches:
        foreground += int((patch.after == 2).sum()) - int((patch.before == 2).sum())
        background += int((patch.after == 1).sum()) - int((patch.before == 1).sum())
    cursor = connection.execute(
        "INSERT INTO saves (image, reviewer, kind, time, foreground, background) VALUES (?, ?, ?, ?, ?, ?)",
        (image, reviewer, kind, time or now(), foreground, background),
    )
    seq = cursor.lastrowid
    assert seq is not None
    connection.executemany(
        "INSERT INTO patches (save, y0, x0, y1, x1, before, after) VALUES (?, ?, ?, ?, ?, ?, ?)",
        [(seq, *patch.box, _packed(patch.before), _packed(patch.after)) for patch in patches],
    )
    return seq


def counts(connection: sqlite3.Connection, image: int, reviewer: int) -> tuple[int, int]:
    """Return the foreground and background pixels that the journal ends with."""
    row = connection.execute(
        "SELECT foreground, background FROM saves WHERE image = ? AND reviewer = ? ORDER BY id DESC LIMIT 1",
        (image, reviewer),
    ).fetchone()
    return (int(row[0]), int(row[1])) if row else (0, 0)


def last_seq(connection: sqlite3.Connection, image: int, reviewer: int) -> int:
    """Return the number of the latest edit, 0 where there is none."""
    row = connection.execute(
        "SELECT max(id) FROM saves WHERE image = ? AND reviewer = ?", (image, reviewer)
    ).fetchone()
    return int(row[0] or 0)


def pieces_after(connection: sqlite3.Connection, image: int, reviewer: int, seq: int) -> Iterator[Piece]:
    """Yield what all edits after `seq` painted, oldest first.

    Raises
    ------
    JournalError
        An edit is damaged.
    """
    return _pieces(connection, image, reviewer, (seq, 2**62), "after", "ASC")


def state_at(
    connection: sqlite3.Connection, image: int, reviewer: int, seq: int, shape: tuple[int, int]
) -> NDArray[np.uint8]:
    """Return the labels as they were after edit `seq`, (h, w) uint8, from the journal alone."""
    labels = np.zeros(shape, np.uint8)
    for piece in _pieces(connection, image, reviewer, (0, seq), "after", "ASC"):
        piece.apply(labels)
    return labels


def undo_after(
    connection: sqlite3.Connection, image: int, reviewer: int, seq: int, labels: NDArray[np.uint8]
) -> None:
    """Take the edits after `seq` back from the present labels, newest first, in place."""
    for piece in _pieces(connection, image, reviewer, (seq, 2**62), "before", "DESC"):
        piece.apply(labels)


def history(connection: sqlite3.Connection, image: int) -> list[Save]:
    """Return all edits of an image, oldest first."""
    rows = connection.execute(
        "SELECT s.id, s.time, s.kind, r.name, s.foreground, s.background FROM saves s "
        "JOIN reviewers r ON r.id = s.reviewer WHERE s.image = ? ORDER BY s.id",
        (image,),
    )
    return [_save(row) for row in rows]


def find_save(connection: sqlite3.Connection, image: int, seq: int) -> Save | None:
    """Return an edit of an image, None where there is no such."""
    row = connection.execute(
        "SELECT s.id, s.time, s.kind, r.name, s.foreground, s.background FROM saves s "
        "JOIN reviewers r ON r.id = s.reviewer WHERE s.image = ? AND s.id = ?",
        (image, seq),
    ).fetchone()
    return _save(row) if row else None


def last_save(connection: sqlite3.Connection, image: int, reviewer: int) -> Save | None:
    """Return the latest edit of an image's seeds by a reviewer, None where there is none."""
    return find_save(connection, image, last_seq(connection, image, reviewer))


def now() -> str:
    """Return the time as the project keeps it: ISO 8601 in UTC."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")


def local_time(text: str) -> datetime:
    """Return a kept time in the local time zone."""
    return datetime.fromisoformat(text).astimezone()


def _save(row: Sequence[Any]) -> Save:
    seq, time, kind, reviewer, foreground, background = row
    return Save(seq, local_time(time), kind, reviewer, foreground, background)


def _pieces(
    connection: sqlite3.Connection,
    image: int,
    reviewer: int,
    between: tuple[int, int],
    side: Literal["before", "after"],
    order: Literal["ASC", "DESC"],
) -> Iterator[Piece]:
    rows: Iterable[tuple[int, int, int, int, int, bytes]] = connection.execute(
        f"SELECT p.save, p.y0, p.x0, p.y1, p.x1, p.{side} FROM patches p JOIN saves s ON s.id = p.save "
        "WHERE s.image = ? AND s.reviewer = ? AND s.id > ? AND s.id <= ? "
        f"ORDER BY s.id {order}, p.id {order}",
        (image, reviewer, *between),
    )
    for seq, y0, x0, y1, x1, data in rows:
        yield Piece((y0, x0, y1, x1), _unpacked(data, (y1 - y0, x1 - x0), seq))


def is_sound(row: Mapping[str, Any] | sqlite3.Row) -> bool:
    """Return whether a row of the table of patches holds labels for its whole box, before and after."""
    try:
        size = (row["y1"] - row["y0"], row["x1"] - row["x0"])
        for side in ("before", "after"):
            _unpacked(row[side], size, 0)
    except (JournalError, TypeError):
        return False
    return True


def _packed(labels: NDArray[np.uint8]) -> bytes:
    return zlib.compress(np.ascontiguousarray(labels).tobytes(), 6)


def _unpacked(data: bytes, shape: tuple[int, int], seq: int) -> NDArray[np.uint8]:
    """Return the labels of a box.

    Raises
    ------
    JournalError
        They are damaged, other than the box has room for, or no labels.
    """
    size = shape[0] * shape[1]
    # Nobody paints more at once; a few bytes can stand for more than any memory holds.
    if not (0 < shape[0] <= CHUNK and 0 < shape[1] <= CHUNK):
        raise JournalError(f"the edit {seq} of the journal has a box of {shape[0]} x {shape[1]} pixels")
    try:
        reader = zlib.decompressobj()
        labels = np.frombuffer(reader.decompress(data, size + 1), np.uint8)
    except zlib.error as error:
        raise JournalError(f"the edit {seq} of the journal cannot be read") from error
    if labels.size != size or not reader.eof or labels.max() > 2:
        raise JournalError(f"the edit {seq} of the journal does not hold the labels of its box")
    return labels.reshape(shape)
