"""Whether a TIFF file holds all that its own lists of pages and tags point to."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import BinaryIO

_TYPE_SIZES = {
    1: 1,
    2: 1,
    3: 2,
    4: 4,
    5: 8,
    6: 1,
    7: 1,
    8: 2,
    9: 4,
    10: 8,
    11: 4,
    12: 8,
    13: 4,
    16: 8,
    17: 8,
    18: 8,
}
_OFFSET_TYPES = {4: "I", 13: "I", 16: "Q", 18: "Q"}
_SUBIFDS = 330
_SIZES = frozenset({256, 257, 277, 278, 322, 323, 32997, 32998})
"""Width, length, samples, rows of a strip, sides of a tile, depths: below 0, pages are counted for ever."""
_SIGNED = frozenset({6, 8, 9, 17})


@dataclass(frozen=True)
class _Flavour:
    """How classic TIFF and BigTIFF differ; `struct` codes of counts, tags and offsets."""

    first: int
    count: str
    tag: str
    offset: str
    inline: int


_CLASSIC = _Flavour(first=4, count="H", tag="HHI4s", offset="I", inline=4)
_BIG = _Flavour(first=8, count="Q", tag="HHQ8s", offset="Q", inline=8)


def is_complete(file: BinaryIO, size: int) -> bool:
    """Tell whether every page and every tag's value lies within the file, and no size can be below 0.

    Readers forgive what lies beyond the end, and then give fewer levels, or pixels under wrong settings.
    The pixels themselves are not looked at. Format: https://www.itu.int/itudoc/itu-t/com16/tiff-fx/docs/tiff6.pdf

    Parameters
    ----------
    file
        A TIFF or BigTIFF file, open for reading; its position is moved.
    size
        Its length in bytes.
    """
    try:
        return _walk(file, size)
    except struct.error:
        return False


def has_more_pages(file: BinaryIO, most: int) -> bool:
    """Tell whether a file's main list of pages is longer than `most`, by its links alone.

    Parameters
    ----------
    file
        A TIFF or BigTIFF file, open for reading; its position is moved.
    most
        How many are followed.
    """
    try:
        order, flavour = _flavour(file)
        (position,) = _read(file, flavour.first, order + flavour.offset)
        for _ in range(most):
            if position == 0:
                return False
            (count,) = _read(file, position, order + flavour.count)
            position += struct.calcsize(order + flavour.count) + count * struct.calcsize(order + flavour.tag)
            (position,) = _read(file, position, order + flavour.offset)
    except (struct.error, OverflowError, ValueError, OSError):
        return False  # what is damaged is told by those who read it
    return position != 0


def _flavour(file: BinaryIO) -> tuple[str, _Flavour]:
    """Return the byte order, as `struct` has it, and the flavour."""
    file.seek(0)
    start = file.read(4)
    order = "<" if start[:2] == b"II" else ">"
    return order, _BIG if struct.unpack(f"{order}H", start[2:4])[0] == 43 else _CLASSIC


def _walk(file: BinaryIO, size: int) -> bool:
    order, flavour = _flavour(file)
    pending = [_read(file, flavour.first, order + flavour.offset)[0]]
    seen: set[int] = set()
    while pending:
        position = pending.pop()
        if position == 0 or position in seen:
            continue
        if position >= size:
            return False
        seen.add(position)
        (count,) = _read(file, position, order + flavour.count)
        position += struct.calcsize(order + flavour.count)
        length = struct.calcsize(order + flavour.tag)
        if position + count * length > size:
            return False
        for index in range(count):
            file.seek(position + index * length)
            code, kind, number, value = struct.unpack(order + flavour.tag, file.read(length))
            extent = _TYPE_SIZES.get(kind, 0) * number
            (place,) = struct.unpack(order + flavour.offset, value)
            if extent > flavour.inline and place + extent > size:
                return False
            if code in _SIZES and kind in _SIGNED:
                return False
            if code == _SUBIFDS and kind in _OFFSET_TYPES:
                at = place if extent > flavour.inline else position + index * length + length - flavour.inline
                pending += _read(file, at, f"{order}{number}{_OFFSET_TYPES[kind]}")
        pending += _read(file, position + count * length, order + flavour.offset)
    return True


def _read(file: BinaryIO, position: int, code: str) -> tuple[int, ...]:
    file.seek(position)
    return struct.unpack(code, file.read(struct.calcsize(code)))
