"""A project whose database rots: each place of its first page, each label of its journal, each value.

`first_page`, `journal` and `values` yield the damages; `ending` says how one ended. None may end in a
traceback, in more than one sentence, or in other seeds than were painted.
"""

from __future__ import annotations

import argparse
import shutil
import sqlite3
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from PIL import Image

from pixelcam.errors import PixelCAMError
from pixelcam.localize import Localization, ModelRef
from pixelcam.review import DamagedError, Project, merge, rescue
from pixelcam.review.report import gather

PAGE = 4096
WRONG = (
    None,
    "",
    "text",
    "0",
    "-1",
    "2026-02-31",
    "31.12.2026",
    "10000-01-01T00:00:00+00:00",
    "0001-01-01T00:00:00+00:00",
    "{",
    '{"a": "b"}',
    "[" * 5000,
    "../../etc",
    "a\0b",
    b"",
    b"\xff\xfe",
    b"blob",
    0,
    -1,
    1,
    3,
    2**31,
    2**62,
    -(2**63),
    1e308,
    -1e308,
    float("inf"),
    0.5,
)
"""What is put into every column of every table."""


@dataclass(frozen=True)
class Trial:
    """One damage: what it is, and what does it to the project in a folder."""

    what: str
    do: Callable[[Path], None]
    spares_seeds: bool = True
    """Whether nothing of what is painted is touched: a wrong name or box may also be a right one."""


@dataclass(frozen=True)
class Ending:
    """How a trial ended.

    Attributes
    ----------
    what
        Of the trial.
    outcome
        "unharmed", "told" or "rescued"; "raw", or "wrong" where the seeds are others than they were.
    said
        The sentences, or what went wrong.
    """

    what: str
    outcome: str
    said: str


def make(folder: Path) -> dict[tuple[str, int], np.ndarray]:
    """Make a small project with something in every table; return the seeds by reviewer and image."""
    rng = np.random.default_rng(3)
    (folder / "images").mkdir(parents=True)
    paths = []
    for number, (height, width) in enumerate(((60, 80), (48, 64))):
        paths.append(folder / "images" / f"image-{number}.png")
        Image.fromarray(rng.integers(0, 255, (height, width, 3), np.uint8)).save(paths[-1])
    with Project.create(folder / "project", reviewer="Ann", name="Rot") as ann:
        for entry in ann.add_images(paths):
            values = np.linspace(0, 1, entry.height * entry.width, dtype=np.float32)
            found = Localization(
                entry.name,
                entry.width,
                entry.height,
                None,
                {"benign": 0.25, "malignant": 0.75},
                values.reshape(entry.height, entry.width),
                0.5,
                ModelRef("starter", "ab" * 32),
                familiarity=0.7,
            )
            ann.keep_localization(entry.id, found, 0.2)
            for _ in range(6):
                y, x = int(rng.integers(0, 40)), int(rng.integers(0, 50))
                ann.write_seeds(entry.id, (y, x, y + 8, x + 8), rng.integers(0, 3, (8, 8)).astype(np.uint8))
            ann.set_label(entry.id, "benign")
            ann.set_note(entry.id, "look again")
            ann.accept(entry.id, replace(found, refined=12), 0.4)
        ann.register_run(folder / "runs" / "first", model="cd" * 32)
        with Project.open(folder / "project", reviewer="Ben") as ben:
            ben.write_seeds(1, (5, 5, 9, 9), np.full((4, 4), 2, np.uint8))
        return {(name, id): ann.seeds(id, name) for name, id in (("Ann", 1), ("Ann", 2), ("Ben", 1))}


def first_page(database: Path, step: int = 13, length: int = 16) -> Iterator[Trial]:
    """Yield what overwrites a part of the first page with noise, with zeros, and turns single bits over."""
    for start in range(0, PAGE, step):
        for name, value in (("noise", None), ("zeros", 0), ("ones", 255)):
            yield Trial(f"{name} in the first page at {start}", _overwriting(start, length, value))
        yield Trial(f"a bit of the first page at {start}", _turning(start))


def _overwriting(start: int, length: int, value: int | None) -> Callable[[Path], None]:
    def do(project: Path) -> None:
        noise = np.random.default_rng(start).bytes(length)
        with (project / "project.sqlite").open("r+b") as file:
            file.seek(start)
            file.write((noise if value is None else bytes([value]) * length)[: PAGE - start])

    return do


def _turning(start: int) -> Callable[[Path], None]:
    def do(project: Path) -> None:
        with (project / "project.sqlite").open("r+b") as file:
            file.seek(start)
            byte = file.read(1)[0]
            file.seek(start)
            file.write(bytes([byte ^ (1 << start % 8)]))

    return do


def journal(database: Path) -> Iterator[Trial]:
    """Yield what damages the labels of each edit, before it and after it, in several ways."""
    with closing(sqlite3.connect(database)) as connection:
        sizes = connection.execute("SELECT id, length(before), length(after) FROM patches").fetchall()
    for id, *lengths in sizes:
        for side, length in zip(("before", "after"), lengths, strict=True):
            for at in (0, 1, length // 2, length - 1):
                yield Trial(f"byte {at} of what was {side} edit {id}", _in_blob(id, side, at))
            yield Trial(f"the end of what was {side} edit {id}", _cut_blob(id, side))


def _in_blob(id: int, side: str, at: int) -> Callable[[Path], None]:
    def change(data: bytes) -> bytes:
        return data[:at] + bytes([data[at] ^ 0x55]) + data[at + 1 :]

    return lambda project: _set_blob(project, id, side, change)


def _cut_blob(id: int, side: str) -> Callable[[Path], None]:
    return lambda project: _set_blob(project, id, side, lambda data: data[: len(data) // 2])


def _set_blob(project: Path, id: int, side: str, change: Callable[[bytes], bytes]) -> None:
    with closing(sqlite3.connect(project / "project.sqlite")) as connection, connection:
        (data,) = connection.execute(f"SELECT {side} FROM patches WHERE id = ?", (id,)).fetchone()
        connection.execute(f"UPDATE patches SET {side} = ? WHERE id = ?", (change(data), id))


def values(database: Path) -> Iterator[Trial]:
    """Yield what puts each wrong value into each column of each table."""
    with closing(sqlite3.connect(database)) as connection:
        tables = [
            row[0]
            for row in connection.execute(
                "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'"
            )
        ]
        for table in tables:
            for row in connection.execute(f"PRAGMA table_info({table})").fetchall():
                for value in WRONG:
                    shown = repr(value)[:24]
                    yield Trial(f"{shown} as {table}.{row[1]}", _setting(table, row[1], value), False)


def _setting(table: str, column: str, value: object) -> Callable[[Path], None]:
    def do(project: Path) -> None:
        with closing(sqlite3.connect(project / "project.sqlite")) as connection, connection:
            connection.execute("PRAGMA foreign_keys = OFF")
            last = connection.execute(f"SELECT max(rowid) FROM {table}").fetchone()[0]
            # Some of it SQLite itself keeps out: NULL, another's key, text as a row's number.
            with suppress(sqlite3.IntegrityError, sqlite3.OperationalError):
                connection.execute(f"UPDATE {table} SET {column} = ? WHERE rowid = ?", (value, last))

    return do


def ending(original: Path, trial: Trial, place: Path, seeds: dict[tuple[str, int], np.ndarray]) -> Ending:
    """Damage a copy of a project in `place`, open and use it, and say how that ended."""
    shutil.rmtree(place, ignore_errors=True)
    shutil.copytree(original, place)
    project = place / "project"
    trial.do(project)
    said: list[str] = []
    try:
        _look(project, said)
        outcome = "unharmed" if _use(project, said) else "rescued"
        if outcome == "rescued" and not _use(project, said):
            rescue(project)
            if not _use(project, said):
                return Ending(trial.what, "wrong", f"it was not mended: {said}")
        if outcome == "unharmed" and said:
            outcome = "told"
        wrong = _differs(project, seeds) if trial.spares_seeds else ""
    except Exception as error:
        return Ending(trial.what, "raw", f"{type(error).__name__}: {error}")
    if any("\n" in one or not one.strip() for one in said):
        return Ending(trial.what, "raw", "; ".join(said))
    return Ending(trial.what, "wrong", wrong) if wrong else Ending(trial.what, outcome, "; ".join(said))


def _look(project: Path, said: list[str]) -> None:
    try:
        with Project.open(project, reviewer="Ann", read_only=True) as opened:
            _read_all(opened)
    except PixelCAMError as error:
        said.append(str(error))


def _use(project: Path, said: list[str]) -> bool:
    """Open a project for writing and do everything with it; return whether it was not damaged."""
    try:
        with Project.open(project, reviewer="Ann") as opened:
            _read_all(opened)
            for entry in opened.images():
                opened.write_seeds(entry.id, (0, 0, 2, 2), np.full((2, 2), 1, np.uint8))
                own = [save.seq for save in opened.history(entry.id) if save.reviewer == "Ann"]
                opened.restore(entry.id, own[-2])
        merge(project.parent / "merged", [project], reviewer="Ann")
    except DamagedError as error:
        said.append(str(error))
        if not list(project.glob("project.damaged-*")):
            said.append(str(rescue(project)))
        return False
    finally:
        shutil.rmtree(project.parent / "merged", ignore_errors=True)
    return True


def _read_all(opened: Project) -> None:
    for entry in opened.images():
        for name in opened.reviewers():
            opened.seeds(entry.id, name)
        saves = opened.history(entry.id)
        for save in saves[:2]:
            opened.seeds_at(entry.id, save.seq)
        opened.localization(entry.id)
        opened.first_map(entry.id)
        opened.accepted_map(entry.id)
    opened.events(), opened.runs(), opened.models()
    gather(opened)


def _differs(project: Path, seeds: dict[tuple[str, int], np.ndarray]) -> str:
    """Return whose seeds are not what they were, "" where all are."""
    with Project.open(project, reviewer="Ann") as opened:
        images, names = {entry.id for entry in opened.images()}, opened.reviewers()
        for (name, id), labels in seeds.items():
            if id not in images or name not in names:
                return f"{name}'s seeds of image {id} are gone"
            if not np.array_equal(opened.seeds(id, name), labels):
                return f"{name}'s seeds of image {id} are others"
    return ""


def trials(original: Path, every: int = 1) -> Iterator[Trial]:
    """Yield all damages of a project that `make` has made, or each so-manieth of them."""
    database = original / "project" / "project.sqlite"
    yield from list(first_page(database))[::every]
    yield from list(journal(database))[::every]
    yield from list(values(database))[::every]


def run(place: Path, every: int = 1) -> Iterator[Ending]:
    """Make a project in a folder, and yield how each of its damages ended, or each so-manieth."""
    seeds = make(place / "original")
    for trial in trials(place / "original", every):
        yield ending(place / "original", trial, place / "copy", seeds)


def main() -> None:
    """Run all of them, print each that went wrong, and how many ended how."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--every", type=int, default=1)
    with tempfile.TemporaryDirectory(prefix="pixelcam-rot-") as place:
        counts: Counter[str] = Counter()
        for found in run(Path(place), parser.parse_args().every):
            counts[found.outcome] += 1
            if found.outcome in ("raw", "wrong"):
                print(f"{found.outcome}: {found.what}: {found.said}", flush=True)
        print(dict(counts))


if __name__ == "__main__":
    main()
