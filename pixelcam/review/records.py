"""Rows of a project beside its seeds: entries, judgements, localizations, models, runs, events."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pixelcam.limits import parse_json
from pixelcam.localize.localization import Localization, ModelRef, area_mm2
from pixelcam.review.entries import Accepted, ImageEntry, ProjectEvent, UsedModel, UsedRun
from pixelcam.review.journal import local_time, now

Row = sqlite3.Row | Mapping[str, Any]
"""Values by the names of their columns."""

_ENTRIES = """
SELECT i.*, coalesce(j.status, 'to do') AS status, j.label, coalesce(j.note, '') AS note,
    coalesce(j.seconds, 0) AS seconds, j.threshold,
    l.classes, l.model, l.model_name, l.views, l.uncertainty, l.familiarity, l.time AS localized,
    coalesce(s.foreground, 0) AS foreground, coalesce(s.background, 0) AS background,
    coalesce(s.id, 0) AS last_save
FROM images i
LEFT JOIN judgements j ON j.image = i.id AND j.reviewer = :reviewer
LEFT JOIN localizations l ON l.id = (
    SELECT max(id) FROM localizations WHERE image = i.id
)
LEFT JOIN saves s ON s.id = (SELECT max(id) FROM saves WHERE image = i.id AND reviewer = :reviewer)
"""


def entries(connection: sqlite3.Connection, reviewer: int) -> list[ImageEntry]:
    """Return all images in the order in which they were added."""
    cursor = connection.execute(f"{_ENTRIES} ORDER BY i.id", {"reviewer": reviewer})
    accepted = {row["image"]: row for row in latest_accepted(connection, reviewer)}
    names = [column[0] for column in cursor.description]  # a row looks for each name from the first on
    rows = (dict(zip(names, row, strict=True)) for row in cursor)
    return [_entry(row, accepted.get(row["id"])) for row in rows]


def entry(connection: sqlite3.Connection, reviewer: int, image: int) -> ImageEntry | None:
    """Return one image, None where there is no such."""
    row = connection.execute(
        f"{_ENTRIES} WHERE i.id = :image", {"reviewer": reviewer, "image": image}
    ).fetchone()
    if row is None:
        return None
    return _entry(row, next(iter(latest_accepted(connection, reviewer, image)), None))


def _entry(row: Row, accepted: sqlite3.Row | None) -> ImageEntry:
    return ImageEntry(
        id=row["id"],
        name=row["name"],
        path=Path(row["path"]),
        fingerprint=row["fingerprint"],
        width=row["width"],
        height=row["height"],
        mpp=row["mpp"],
        status=row["status"],
        label=row["label"],
        note=row["note"],
        seconds=row["seconds"],
        threshold=row["threshold"],
        classes=parse_json(row["classes"]) if row["classes"] else {},
        model=model_of(row) if row["model"] else None,
        uncertainty=row["uncertainty"],
        familiarity=row["familiarity"],
        localized=local_time(row["localized"]) if row["localized"] else None,
        foreground=row["foreground"],
        background=row["background"],
        save=row["last_save"],
        accepted=None if accepted is None else _accepted(row, accepted),
    )


def _accepted(image: Row, row: sqlite3.Row) -> Accepted:
    mpp = image["mpp"]
    return Accepted(
        seq=row["id"],
        time=local_time(row["time"]),
        map=row["map"],
        threshold=row["threshold"],
        fraction=row["fraction"],
        area_mm2=area_mm2(row["fraction"], image["width"], image["height"], mpp),
        model=model_of(row),
        model_threshold=row["model_threshold"],
        classes=parse_json(row["classes"]),
        familiarity=row["familiarity"],
        refined=row["refined"],
        other_images=row["other_images"],
        other_cells=row["other_cells"],
        save=row["save"],
    )


def model_of(localization: Row) -> ModelRef:
    """Return which model made a localization, and from how many views."""
    return ModelRef(localization["model_name"], localization["model"], localization["views"])


def reviewer_id(connection: sqlite3.Connection, name: str) -> int | None:
    """Return the number of a reviewer, None where the name is unknown."""
    row = connection.execute("SELECT id FROM reviewers WHERE name = ?", (name,)).fetchone()
    return int(row[0]) if row else None


def add_reviewer(connection: sqlite3.Connection, name: str) -> int:
    """Return the number of a reviewer, a new one where the name is unknown."""
    connection.execute("INSERT INTO reviewers (name) VALUES (?) ON CONFLICT (name) DO NOTHING", (name,))
    found = reviewer_id(connection, name)
    assert found is not None
    return found


JUDGEMENTS = ("status", "label", "note", "seconds", "threshold")


def set_judgement(
    connection: sqlite3.Connection, image: int, reviewer: int, what: str, value: str | float | None
) -> None:
    """Set one of `JUDGEMENTS` of an image and a reviewer."""
    assert what in JUDGEMENTS
    connection.execute(
        f"INSERT INTO judgements (image, reviewer, {what}) VALUES (?, ?, ?) "
        f"ON CONFLICT (image, reviewer) DO UPDATE SET {what} = excluded.{what}",
        (image, reviewer, value),
    )


def log(
    connection: sqlite3.Connection, reviewer: str, what: str, image: int | None = None, **detail: object
) -> None:
    """Append a line to what happened."""
    connection.execute(
        "INSERT INTO events (time, reviewer, image, what, detail) VALUES (?, ?, ?, ?, ?)",
        (now(), reviewer, image, what, json.dumps(detail, ensure_ascii=False, default=str)),
    )


def events(connection: sqlite3.Connection) -> list[ProjectEvent]:
    """Return all that happened, oldest first."""
    rows = connection.execute("SELECT time, reviewer, image, what, detail FROM events ORDER BY id")
    return [ProjectEvent(local_time(time), *rest) for time, *rest in rows]


def add_model(connection: sqlite3.Connection, model: ModelRef, path: str = "") -> None:
    """Note that a model was used; a path that is told later is added."""
    connection.execute(
        "INSERT INTO models (sha256, name, path, first_used) VALUES (?, ?, ?, ?) "
        "ON CONFLICT (sha256) DO UPDATE SET path = excluded.path WHERE excluded.path != ''",
        (model.sha256, model.name, path, now()),
    )


def models(connection: sqlite3.Connection) -> list[UsedModel]:
    """Return the models that were used, in the order of their first use."""
    rows = connection.execute("SELECT name, sha256, path, first_used FROM models ORDER BY rowid")
    return [UsedModel(name, sha256, path, local_time(time)) for name, sha256, path, time in rows]


def add_run(connection: sqlite3.Connection, folder: Path, kind: str, model: str, reviewer: int) -> None:
    """Note a training run."""
    connection.execute(
        "INSERT INTO runs (folder, kind, model, reviewer, time) VALUES (?, ?, ?, ?, ?) "
        "ON CONFLICT (folder) DO UPDATE SET kind = excluded.kind, model = excluded.model",
        (str(folder), kind, model, reviewer, now()),
    )


def runs(connection: sqlite3.Connection) -> list[UsedRun]:
    """Return the training runs, oldest first."""
    rows = connection.execute(
        "SELECT u.folder, u.kind, u.model, r.name, u.time FROM runs u "
        "JOIN reviewers r ON r.id = u.reviewer ORDER BY u.id"
    )
    return [
        UsedRun(Path(folder), kind, model, who, local_time(time)) for folder, kind, model, who, time in rows
    ]


def add_localization(
    connection: sqlite3.Connection,
    image: int,
    reviewer: int,
    found: Localization,
    uncertainty: float,
    map_name: str,
) -> None:
    """Note a localization whose map is in the image's folder under `map_name`."""
    connection.execute(
        "INSERT INTO localizations (image, reviewer, time, model, model_name, classes, threshold, "
        "uncertainty, familiarity, views, scale_y, scale_x, translate_y, translate_x, map) "
        "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            image,
            reviewer,
            now(),
            found.model.sha256,
            found.model.name,
            json.dumps({name: float(p) for name, p in found.classes.items()}, ensure_ascii=False),
            float(found.threshold),
            float(uncertainty),
            found.familiarity,
            found.model.views,
            *(float(value) for value in (*found.scale, *found.translate)),
            map_name,
        ),
    )


def latest_localization(connection: sqlite3.Connection, image: int) -> sqlite3.Row | None:
    """Return the row of an image's latest localization, None where there is none."""
    row: sqlite3.Row | None = connection.execute(
        "SELECT * FROM localizations WHERE image = ? ORDER BY id DESC LIMIT 1", (image,)
    ).fetchone()
    return row


def replaced_maps(connection: sqlite3.Connection, image: int) -> list[str]:
    """Return the names of an image's maps that a later localization has replaced."""
    latest = latest_localization(connection, image)
    rows = connection.execute("SELECT DISTINCT map FROM localizations WHERE image = ?", (image,))
    return [row["map"] for row in rows if latest is not None and row["map"] != latest["map"]]


def first_localization(connection: sqlite3.Connection, image: int) -> sqlite3.Row | None:
    """Return the row of an image's first localization, None where there is none."""
    row: sqlite3.Row | None = connection.execute(
        "SELECT * FROM localizations WHERE image = ? ORDER BY id LIMIT 1", (image,)
    ).fetchone()
    return row


def add_accepted(connection: sqlite3.Connection, image: int, reviewer: int, values: dict[str, Any]) -> int:
    """Note what a reviewer accepted; `values` by the names of the table's columns. Return its number."""
    values = {"image": image, "reviewer": reviewer, **values}
    cursor = connection.execute(
        f"INSERT INTO accepted ({', '.join(values)}) VALUES ({', '.join('?' * len(values))})",
        list(values.values()),
    )
    assert cursor.lastrowid is not None
    return cursor.lastrowid


def latest_accepted(
    connection: sqlite3.Connection, reviewer: int, image: int | None = None
) -> list[sqlite3.Row]:
    """Return what a reviewer accepted last of each image, or of one image."""
    return connection.execute(
        "SELECT * FROM accepted WHERE id IN (SELECT max(id) FROM accepted WHERE reviewer = ?1 "
        "AND (?2 IS NULL OR image = ?2) GROUP BY image)",
        (reviewer, image),
    ).fetchall()


def replaced_accepted(connection: sqlite3.Connection, image: int, reviewer: int) -> list[str]:
    """Return the names of the maps that a reviewer accepted of an image before the latest."""
    rows = connection.execute(
        "SELECT map FROM accepted WHERE image = ? AND reviewer = ? ORDER BY id DESC", (image, reviewer)
    ).fetchall()
    return [row["map"] for row in rows[1:] if row["map"] != rows[0]["map"]]
