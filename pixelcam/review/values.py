"""What each column of a project's tables may hold: looked at when a project is opened, mended by a rescue."""

from __future__ import annotations

import json
import math
import re
import sqlite3
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from pixelcam.files import is_made
from pixelcam.limits import parse_json
from pixelcam.review.entries import STATUSES
from pixelcam.review.journal import KINDS, local_time, now

MOST = 2**40
"""More than any size, number or count of ours; SQLite's own largest is 2**63."""
LONGEST = 100_000
"""Characters of a text, a note's above all."""
_SECONDS = 1e12


@dataclass(frozen=True)
class Column:
    """What a column holds.

    Attributes
    ----------
    is_right
        Whether a value is one that this program writes.
    rescue
        What takes the place of another one where a database is rescued; None where the row is lost without.
    """

    is_right: Callable[[Any], bool]
    rescue: Callable[[Any], Any] | None = None


def _text(value: Any) -> bool:
    return isinstance(value, str) and len(value) <= LONGEST and "\0" not in value


def _name(value: Any) -> bool:
    return _text(value) and value != ""


@dataclass(frozen=True)
class _Within:
    """Whether a value is a number between two others, an integer or any; SQLite can be asked the same."""

    low: float
    high: float
    types: tuple[type[float], ...]
    or_none: bool = False

    def __call__(self, value: Any) -> bool:
        if value is None:
            return self.or_none
        return isinstance(value, self.types) and math.isfinite(value) and self.low <= value <= self.high

    def sql(self, column: str) -> str:
        types = "('integer')" if self.types == (int,) else "('integer', 'real')"
        right = f"(typeof({column}) IN {types} AND {column} BETWEEN {self.low!r} AND {self.high!r})"
        return f"({column} IS NULL OR {right})" if self.or_none else right


def _number(low: float, high: float) -> _Within:
    return _Within(low, high, (int, float))


def _integer(low: int, high: int = MOST) -> _Within:
    return _Within(low, high, (int,))


def _or_none(is_right: Callable[[Any], bool]) -> Callable[[Any], bool]:
    if isinstance(is_right, _Within):
        return replace(is_right, or_none=True)
    return lambda value: value is None or is_right(value)


_PLAIN_TIME = re.compile(
    r"20[0-9]{2}-(?:0[1-9]|1[0-2])-(?:0[1-9]|1[0-9]|2[0-8])T(?:[01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9]"
    r"(?:\.[0-9]{3})?\+00:00"
)
"""Times as this program writes them, in all months alike; others are looked at more closely."""


def _time(value: Any) -> bool:
    if not _text(value):
        return False
    if _PLAIN_TIME.fullmatch(value):
        return True
    try:
        return 1970 <= local_time(value).year <= 9998
    except (ValueError, OverflowError, OSError):
        return False


def _classes(value: Any) -> bool:
    if not _text(value):
        return False
    try:
        found = parse_json(value)
    except ValueError:
        return False
    share = _number(0, 1)
    return isinstance(found, dict) and bool(found) and all(map(share, found.values()))


def _details(value: Any) -> bool:
    if not _text(value):
        return False
    try:
        return isinstance(parse_json(value), dict)
    except ValueError:
        return False


def _blob(value: Any) -> bool:
    return isinstance(value, bytes)


def _always(value: Any) -> Callable[[Any], Any]:
    return lambda wrong: value


def _as_text(value: Any) -> str:
    text = value.decode(errors="replace") if isinstance(value, bytes) else "" if value is None else str(value)
    return text.replace("\0", "")[:LONGEST]


_ID = Column(_integer(1))
_SIDE = Column(_integer(1, 2**31))
_SHARE = _number(0, 1)
_WHEN = Column(_time, lambda wrong: now())
_GRID = {
    "scale_y": Column(_number(1e-9, 1e9)),
    "scale_x": Column(_number(1e-9, 1e9)),
    "translate_y": Column(_number(-1e9, 1e9)),
    "translate_x": Column(_number(-1e9, 1e9)),
}
_MAP = Column(_text)  # a name that is none of ours is passed over where it would be used
_VIEWS = Column(_integer(1, 1000), _always(1))
_FAMILIAR = Column(_or_none(_SHARE), _always(None))

COLUMNS: Mapping[str, Mapping[str, Column]] = {
    "meta": {"key": Column(_name), "value": Column(_text, _as_text)},
    "reviewers": {"id": _ID, "name": Column(_name)},
    "images": {
        "id": _ID,
        "name": Column(_name),
        "path": Column(_name),
        "relative_path": Column(_text, _always("")),
        "fingerprint": Column(lambda value: is_made(value, r"(?:s[0-9]{1,9}-)?[0-9a-f]{64}")),
        "bytes": Column(_integer(0, 2**62), _always(0)),
        "modified": Column(_integer(-(2**62), 2**62), _always(0)),
        "width": _SIDE,
        "height": _SIDE,
        "mpp": Column(_or_none(_number(1e-6, 1e6)), _always(None)),
        "level": Column(_integer(0, 100)),
        "grid_height": _SIDE,
        "grid_width": _SIDE,
    },
    "judgements": {
        "image": _ID,
        "reviewer": _ID,
        "status": Column(lambda value: value in STATUSES, _always("in review")),
        "label": Column(_or_none(_name), lambda wrong: _as_text(wrong) or None),
        "note": Column(_text, _as_text),
        "seconds": Column(_number(0, _SECONDS), _always(0.0)),
        "threshold": Column(_or_none(_SHARE), _always(None)),
    },
    "saves": {
        "id": _ID,
        "image": _ID,
        "reviewer": _ID,
        "kind": Column(lambda value: value in KINDS, _always("import")),
        "time": _WHEN,
        "foreground": Column(_integer(0), _always(0)),
        "background": Column(_integer(0), _always(0)),
    },
    "patches": {
        "id": _ID,
        "save": _ID,
        "y0": Column(_integer(0, 2**31)),
        "x0": Column(_integer(0, 2**31)),
        "y1": Column(_integer(0, 2**31)),
        "x1": Column(_integer(0, 2**31)),
        "before": Column(_blob),
        "after": Column(_blob),
    },
    "pictures": {"image": _ID, "reviewer": _ID, "applied": Column(_integer(0))},
    "models": {
        "sha256": Column(_name),
        "name": Column(_name, lambda wrong: _as_text(wrong) or "unknown"),
        "path": Column(_text, _always("")),
        "first_used": _WHEN,
    },
    "localizations": {
        "id": _ID,
        "image": _ID,
        "reviewer": _ID,
        "time": _WHEN,
        "model": Column(_name),
        "model_name": Column(_name, lambda wrong: _as_text(wrong) or "unknown"),
        "classes": Column(_classes),
        "threshold": Column(_SHARE),
        "uncertainty": Column(_number(-1e9, 1e9), _always(0.0)),
        **_GRID,
        "map": _MAP,
        "familiarity": _FAMILIAR,
        "views": _VIEWS,
    },
    "accepted": {
        "id": _ID,
        "image": _ID,
        "reviewer": _ID,
        "time": _WHEN,
        "map": _MAP,
        "threshold": Column(_SHARE),
        "fraction": Column(_SHARE),
        "model": Column(_name),
        "model_name": Column(_name, lambda wrong: _as_text(wrong) or "unknown"),
        "views": _VIEWS,
        "model_threshold": Column(_SHARE),
        "classes": Column(_classes),
        "familiarity": _FAMILIAR,
        "refined": Column(_integer(0)),
        "other_images": Column(_integer(0), _always(0)),
        "other_cells": Column(_integer(0), _always(0)),
        "save": Column(_integer(0), _always(0)),
        **_GRID,
    },
    "runs": {
        "id": _ID,
        "folder": Column(_name),
        "kind": Column(_text, _as_text),
        "model": Column(_text, _always("")),
        "reviewer": _ID,
        "time": _WHEN,
    },
    "events": {
        "id": _ID,
        "time": _WHEN,
        "reviewer": Column(_text, _as_text),
        "image": Column(_or_none(_integer(1)), _always(None)),
        "what": Column(_text, _as_text),
        "detail": Column(_details, lambda wrong: json.dumps({"lost": True})),
    },
}
"""By table and column."""


def wrong_values(table: str, row: Mapping[str, Any]) -> list[str]:
    """Return the columns of a row that hold what this program never writes there."""
    found = [
        name for name, column in COLUMNS[table].items() if name in row and not column.is_right(row[name])
    ]
    return found or _contradictions(table, row)


def _contradictions(table: str, row: Mapping[str, Any]) -> list[str]:
    """Return columns of single values that make no sense beside each other."""
    if table == "patches" and not (row["y0"] < row["y1"] and row["x0"] < row["x1"]):
        return ["y1", "x1"]
    if table == "images" and (row["grid_height"] > row["height"] or row["grid_width"] > row["width"]):
        return ["grid_height", "grid_width"]
    if table == "images" and row["grid_height"] * row["grid_width"] > 2**30:
        return ["grid_height", "grid_width"]  # seeds lie on a level that fits into memory
    return []


def mended(table: str, row: Mapping[str, Any]) -> tuple[dict[str, Any] | None, int]:
    """Return a row with something sensible for each wrong value, and how many there were.

    None in place of the row where it means nothing without one of them.
    """
    values, wrong = dict(row), wrong_values(table, row)
    for name in wrong:
        rescue = COLUMNS[table][name].rescue
        if rescue is None:
            return None, len(wrong)
        values[name] = rescue(values[name])
    return values, len(wrong)


def find_wrong(connection: sqlite3.Connection) -> str:
    """Return the first wrong value of a database in a few words, "" where all are right.

    Labels are not decompressed for it. Tables and columns that an older version lacks are passed over.
    """
    for table, columns in COLUMNS.items():
        there = {row[1] for row in connection.execute(f"PRAGMA main.table_info({table})")}
        names = [name for name in columns if name in there]
        if not names:
            continue
        if table == "patches":
            if row := connection.execute(_WRONG_PATCH).fetchone():
                return f"row {row[0]} of the table patches holds no labels of a box"
            continue
        if _all_right(connection, table, names):
            continue
        for row in connection.execute(f"SELECT rowid, {', '.join(names)} FROM main.{table}"):
            for number, name in enumerate(names, start=1):
                if not columns[name].is_right(row[number]):
                    return f"row {row[0]} of the table {table} holds {_shown(row[number])} as its {name}"
            if found := _contradictions(table, dict(zip(names, tuple(row)[1:], strict=True))):
                return f"row {row[0]} of the table {table} contradicts itself ({', '.join(found)})"
    return ""


def _all_right(connection: sqlite3.Connection, table: str, names: list[str]) -> bool:
    """Return whether a table holds nothing wrong, which SQLite says of numbers, Python of each text once."""
    tests, texts = [], []
    for name in names:
        is_right = COLUMNS[table][name].is_right
        if isinstance(is_right, _Within):
            tests.append(is_right.sql(name))
        else:
            texts.append(name)
    if table == "images":
        tests.append(
            "grid_height <= height AND grid_width <= width AND grid_height * grid_width <= 1073741824"
        )
    if tests:
        wrong = f"SELECT 1 FROM main.{table} WHERE ({' AND '.join(tests)}) IS NOT 1 LIMIT 1"
        if connection.execute(wrong).fetchone():
            return False
    for name in texts:
        found = {row[0] for row in connection.execute(f"SELECT {name} FROM main.{table}")}
        if not all(map(COLUMNS[table][name].is_right, found)):
            return False
    return True


# As `COLUMNS` says; there may be a million of them.
_WRONG_PATCH = """
SELECT rowid FROM main.patches WHERE NOT (
    typeof(y0) = 'integer' AND typeof(x0) = 'integer' AND typeof(y1) = 'integer' AND typeof(x1) = 'integer'
    AND 0 <= y0 AND y0 < y1 AND y1 <= 2147483648 AND 0 <= x0 AND x0 < x1 AND x1 <= 2147483648
    AND typeof(save) = 'integer' AND save > 0 AND typeof(before) = 'blob' AND typeof(after) = 'blob'
) LIMIT 1
"""


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:60]}..."
